//! The swarm itself: init, join, leave, inspect, update.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize};
use swarm_node::security::JoinToken;
use swarm_node::{InitRequest, JoinRequest, LocalState};
use swarm_state::Action;
use swarm_state::object::{Cluster, JoinTokens};
use swarm_state::spec::{Availability, SwarmSpec};

use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Body, Params};
use crate::view::SwarmView;

/// `docker swarm init`; answers this node's id.
pub(crate) async fn init(
    State(app): State<App>,
    Body(body): Body<InitBody>,
) -> Result<Json<String>, ApiError> {
    let request = body.request()?;
    Ok(Json(app.node.init(request).await?.to_string()))
}

/// `docker swarm join`.
pub(crate) async fn join(State(app): State<App>, Body(body): Body<JoinBody>) -> Result<StatusCode, ApiError> {
    check_availability(&body.availability)?;
    let request = JoinRequest {
        listen_addr: body.listen_addr,
        advertise_addr: body.advertise_addr,
        data_path_addr: body.data_path_addr,
        remote_addrs: body.remote_addrs,
        token: body.join_token,
        availability: body.availability,
    };
    app.node.join(request).await?;
    Ok(StatusCode::OK)
}

/// `docker swarm leave`.
pub(crate) async fn leave(State(app): State<App>, params: Params) -> Result<StatusCode, ApiError> {
    app.node.leave(params.flag("force")).await?;
    Ok(StatusCode::OK)
}

/// The cluster with its join tokens.
pub(crate) async fn inspect(State(app): State<App>) -> Result<Json<SwarmView>, ApiError> {
    Ok(Json(SwarmView::new(&cluster(&app)?)))
}

/// `docker swarm update`, `docker swarm join-token --rotate`.
pub(crate) async fn update(
    State(app): State<App>,
    params: Params,
    Body(spec): Body<SwarmSpec>,
) -> Result<StatusCode, ApiError> {
    let version = params.version("swarm")?;
    if params.flag("rotateManagerUnlockKey") {
        return Err(ApiError::unimplemented(NO_AUTOLOCK));
    }
    let cluster = cluster(&app)?;
    check_spec(&spec, Some(&cluster.spec))?;
    let (worker, manager) = (params.flag("rotateWorkerToken"), params.flag("rotateManagerToken"));
    let fresh = || JoinToken::generate(&cluster.root_ca.certificate).to_string();
    let tokens = (worker || manager).then(|| JoinTokens {
        worker: if worker { fresh() } else { cluster.tokens.worker.clone() },
        manager: if manager { fresh() } else { cluster.tokens.manager.clone() },
    });
    app.propose(Action::UpdateCluster { version, spec: Box::new(spec), tokens }).await?;
    Ok(StatusCode::OK)
}

/// `docker swarm unlock-key`: there is none.
pub(crate) async fn unlock_key(State(app): State<App>) -> Result<Json<UnlockKey>, ApiError> {
    cluster(&app)?;
    Ok(Json(UnlockKey { unlock_key: String::new() }))
}

/// `docker swarm unlock`: nothing is ever locked.
pub(crate) async fn unlock(State(app): State<App>) -> ApiError {
    if app.node.local().state == LocalState::Inactive {
        return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "This node is not part of a swarm");
    }
    ApiError::new(StatusCode::CONFLICT, "swarm is not locked")
}

fn cluster(app: &App) -> Result<Cluster, ApiError> {
    let missing = || ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the swarm is not ready yet, try again");
    app.read(|state| state.cluster().cloned())?.ok_or_else(missing)
}

/// Refuses what would silently not be done.
fn check_spec(spec: &SwarmSpec, before: Option<&SwarmSpec>) -> Result<(), ApiError> {
    if spec.encryption_config.auto_lock_managers {
        return Err(ApiError::unimplemented(NO_AUTOLOCK));
    }
    let rotation =
        |spec: &SwarmSpec| spec.ca_config.extra.get("ForceRotate").and_then(serde_json::Value::as_u64);
    if rotation(spec).unwrap_or(0) > before.and_then(rotation).unwrap_or(0) {
        return Err(ApiError::unimplemented("replacing the swarm's certificate authority is not provided"));
    }
    let external = spec.ca_config.extra.get("ExternalCAs").and_then(serde_json::Value::as_array);
    if external.is_some_and(|list| !list.is_empty()) {
        return Err(ApiError::unimplemented("external certificate authorities are not provided"));
    }
    Ok(())
}

fn check_availability(word: &str) -> Result<(), ApiError> {
    match word.parse::<Availability>() {
        Ok(_) => Ok(()),
        Err(_) => {
            let word: String = word.chars().take(64).collect();
            Err(ApiError::bad_request(format!("invalid Availability: \"{word}\"")))
        }
    }
}

/// The body of `POST /swarm/init`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct InitBody {
    #[serde(deserialize_with = "nullable")]
    listen_addr: String,
    #[serde(deserialize_with = "nullable")]
    advertise_addr: String,
    #[serde(deserialize_with = "nullable")]
    data_path_addr: String,
    #[serde(deserialize_with = "nullable")]
    data_path_port: u32,
    #[serde(deserialize_with = "nullable")]
    default_addr_pool: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    subnet_size: u32,
    #[serde(deserialize_with = "nullable")]
    force_new_cluster: bool,
    #[serde(deserialize_with = "nullable")]
    auto_lock_managers: bool,
    #[serde(deserialize_with = "nullable")]
    availability: String,
    #[serde(deserialize_with = "nullable")]
    spec: SwarmSpec,
}

impl InitBody {
    fn request(self) -> Result<InitRequest, ApiError> {
        if self.force_new_cluster {
            return Err(ApiError::unimplemented(
                "a new cluster from the state of an old one is not provided",
            ));
        }
        if self.auto_lock_managers {
            return Err(ApiError::unimplemented(NO_AUTOLOCK));
        }
        check_spec(&self.spec, None)?;
        check_availability(&self.availability)?;
        let pool = |text: &String| {
            let wrong = |_| {
                ApiError::bad_request(format!("invalid default address pool: invalid CIDR address: {text}"))
            };
            text.parse::<IpNet>().map_err(wrong)
        };
        Ok(InitRequest {
            default_pools: self.default_addr_pool.iter().map(pool).collect::<Result<_, _>>()?,
            data_path_port: match u16::try_from(self.data_path_port) {
                Ok(port @ (0 | 1024..=49151)) => port,
                _ => return Err(ApiError::bad_request("Datapath port must be between 1024 and 49151")),
            },
            subnet_size: match u8::try_from(self.subnet_size) {
                Ok(size @ 0..=29) => size,
                _ => return Err(ApiError::bad_request("subnet size must be between 1 and 29")),
            },
            listen_addr: self.listen_addr,
            advertise_addr: self.advertise_addr,
            data_path_addr: self.data_path_addr,
            availability: self.availability,
            spec: self.spec,
        })
    }
}

/// The body of `POST /swarm/join`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct JoinBody {
    #[serde(deserialize_with = "nullable")]
    listen_addr: String,
    #[serde(deserialize_with = "nullable")]
    advertise_addr: String,
    #[serde(deserialize_with = "nullable")]
    data_path_addr: String,
    #[serde(deserialize_with = "nullable")]
    remote_addrs: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    join_token: String,
    #[serde(deserialize_with = "nullable")]
    availability: String,
}

/// The key that unlocks restarted managers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UnlockKey {
    unlock_key: String,
}

/// Reads `null` as the default.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    d: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

const NO_AUTOLOCK: &str = "locking managers with a key (autolock) is not provided";

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str) -> Result<InitRequest, ApiError> {
        serde_json::from_str::<InitBody>(json).unwrap().request()
    }

    #[test]
    fn the_commands_own_request_is_read() {
        let json = r#"{"ListenAddr":"0.0.0.0:2377","AdvertiseAddr":"eth1","DataPathPort":0,"DefaultAddrPool":[],
            "SubnetSize":24,"Spec":{"Labels":null,"Orchestration":{},"TaskDefaults":{}}}"#;
        let request = request(json).unwrap();
        assert_eq!((request.advertise_addr.as_str(), request.subnet_size), ("eth1", 24));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        for (json, status) in [
            (r#"{"DataPathPort":80}"#, 400),
            (r#"{"DataPathPort":65536000}"#, 400),
            (r#"{"SubnetSize":30}"#, 400),
            (r#"{"DefaultAddrPool":["10.0.0.0"]}"#, 400),
            (r#"{"Availability":"maybe"}"#, 400),
            (r#"{"AutoLockManagers":true}"#, 501),
            (r#"{"ForceNewCluster":true}"#, 501),
            (r#"{"Spec":{"CAConfig":{"ForceRotate":1}}}"#, 501),
        ] {
            assert_eq!(request(json).unwrap_err().status, status, "{json}");
        }
    }
}
