//! Networks: those of the swarm, and the few of this host that clients expect to see.

mod known;

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use swarm_node::LocalState;
use swarm_state::spec::{IpamConfig, NetworkSpec};
use swarm_state::{Action, NetworkId, RejectionKind};

use crate::app::{App, warning};
use crate::clock;
use crate::error::ApiError;
use crate::extract::{Body, Params};
use crate::filters::{Filters, has_label};
use crate::swarm::nullable;
use crate::view::{NetworkStatusView, NetworkView, PeerView, network_services};

pub(crate) use known::swarm_network;

/// `docker network ls`.
pub(crate) async fn list(State(app): State<App>, params: Params) -> Result<Json<Vec<NetworkView>>, ApiError> {
    let filters = params.filters(&["dangling", "driver", "id", "label", "name", "scope", "type"])?;
    filters.only("scope", &["swarm", "local", "global"])?;
    filters.only("type", &["custom", "builtin"])?;
    let dangling = filters.switch("dangling")?;
    let mut networks = known::all(&app);
    networks.retain(|network| {
        let kind = if known::is_builtin(&network.name) { "builtin" } else { "custom" };
        filters.exact("driver", &network.driver)
            && filters.part("id", &network.id)
            && filters.part("name", &network.name)
            && filters.exact("scope", network.scope)
            && filters.exact("type", kind)
            && filters.labels("label", &network.labels)
            && dangling.is_none_or(|wanted| is_dangling(&app, network) == wanted)
    });
    Ok(Json(networks))
}

/// `docker network inspect`.
pub(crate) async fn inspect(
    State(app): State<App>,
    Path(term): Path<String>,
    params: Params,
) -> Result<Json<NetworkView>, ApiError> {
    let view = known::find(known::all(&app), &term, params.text("scope"))?;
    let Ok(id) = view.id.parse::<NetworkId>() else { return Ok(Json(view)) };
    Ok(Json(complete(&app, view, id, params.flag("verbose"))))
}

/// `docker network create`.
pub(crate) async fn create(
    State(app): State<App>,
    Body(spec): Body<NetworkSpec>,
) -> Result<(StatusCode, Json<Created>), ApiError> {
    let spec = Box::new(checked(&app, spec)?);
    let id = NetworkId::from_random(clock::random());
    let reply = app.propose(Action::CreateNetwork { id, spec }).await?;
    let created = Created { id: id.to_string(), warning: warning(reply).unwrap_or_default() };
    Ok((StatusCode::CREATED, Json(created)))
}

/// `docker network rm`.
pub(crate) async fn remove(State(app): State<App>, Path(term): Path<String>) -> Result<StatusCode, ApiError> {
    let network = known::find(known::all(&app), &term, "")?;
    let name = &network.name;
    if known::is_builtin(name) {
        return Err(ApiError::forbidden(format!("{name} is a pre-defined network and cannot be removed")));
    }
    let Ok(id) = network.id.parse::<NetworkId>() else {
        let text = format!("error while removing network: network {name} has active endpoints");
        return Err(ApiError::forbidden(text));
    };
    app.propose(Action::RemoveNetwork { id }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Begins to replace the keys of an encrypted network now; `grace` is the time between two steps, in seconds. An extension:
/// Docker replaces them every 12 hours only, and so do we besides.
pub(crate) async fn rotate_keys(
    State(app): State<App>,
    Path(term): Path<String>,
    params: Params,
) -> Result<StatusCode, ApiError> {
    let grace = match params.text("grace") {
        "" => None,
        text => {
            let wrong = |_| ApiError::bad_request(format!("invalid grace '{text}': give whole seconds"));
            Some(Duration::from_secs(text.parse().map_err(wrong)?))
        }
    };
    let network = known::find(known::all(&app), &term, "")?;
    let Ok(id) = network.id.parse::<NetworkId>() else {
        let text = format!("network {} is not encrypted: it is of this host only", network.name);
        return Err(ApiError::bad_request(text));
    };
    app.propose(Action::RotateNetworkKeys { id, grace }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a network more addresses: a subnet around one of its own takes its place, any other one is added. The body is one
/// entry of `IPAM.Config`. An extension: Docker's networks keep the size that they were made with.
pub(crate) async fn grow(
    State(app): State<App>,
    Path(term): Path<String>,
    Body(subnet): Body<IpamConfig>,
) -> Result<Json<Grown>, ApiError> {
    let network = known::find(known::all(&app), &term, "")?;
    let Ok(id) = network.id.parse::<NetworkId>() else {
        let text = format!("network {} cannot grow: it is of this host only", network.name);
        return Err(ApiError::bad_request(text));
    };
    let reply = app.propose(Action::GrowNetwork { id, subnet: Box::new(subnet) }).await?;
    Ok(Json(Grown { warning: warning(reply).unwrap_or_default() }))
}

/// `docker network prune`: removes what nobody uses. Those of the swarm on a manager; there are no others.
pub(crate) async fn prune(State(app): State<App>, params: Params) -> Result<Json<Pruned>, ApiError> {
    let filters = params.filters(&["label", "label!", "until"])?;
    let networks_deleted =
        if app.node.local().is_manager { prune_swarm(&app, &filters).await? } else { None };
    Ok(Json(Pruned { networks_deleted }))
}

/// `docker network connect`: there are no containers to connect.
pub(crate) async fn connect(
    State(app): State<App>,
    Path(term): Path<String>,
    Body(body): Body<ConnectBody>,
) -> Result<StatusCode, ApiError> {
    let network = known::find(known::all(&app), &term, "")?;
    if network.scope == "swarm" && !network.attachable {
        let name = &network.name;
        let text = format!(
            "Could not attach to network {name}: rpc error: code = PermissionDenied desc = network {name} not manually attachable"
        );
        return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, text));
    }
    Err(no_container(&body))
}

/// `docker network disconnect`: there are no containers to disconnect.
pub(crate) async fn disconnect(
    State(app): State<App>,
    Path(term): Path<String>,
    Body(body): Body<ConnectBody>,
) -> Result<StatusCode, ApiError> {
    known::find(known::all(&app), &term, "")?;
    Err(no_container(&body))
}

/// A network with who is in it.
fn complete(app: &App, view: NetworkView, id: NetworkId, verbose: bool) -> NetworkView {
    let me = app.me();
    let seen = app.node.read(|state| {
        let network = state.network(id)?;
        let services = verbose.then(|| network_services(state, network));
        let status = Some(NetworkStatusView::new(state, id, clock::now()));
        Some(NetworkView {
            services,
            status,
            ..NetworkView::new(network).with_containers(state, network, me)
        })
    });
    let mut view = seen.ok().flatten().unwrap_or(view);
    let mut peers = app.node.peers(id);
    peers.sort_by_key(|peer| peer.addr);
    let peer = |peer: swarm_node::Peer| PeerView { name: peer.name, ip: peer.addr.to_string() };
    view.peers = peers.into_iter().map(peer).collect();
    view
}

/// Refuses what is no network of the swarm.
fn checked(app: &App, mut spec: NetworkSpec) -> Result<NetworkSpec, ApiError> {
    let name = &spec.name;
    if known::is_builtin(name) || name == "default" {
        return Err(ApiError::forbidden(format!("operation is not permitted on predefined {name} network")));
    }
    if spec.driver != "overlay" {
        let driver = if spec.driver.is_empty() { "bridge" } else { &spec.driver };
        return Err(ApiError::unimplemented(format!(
            "networks of the driver {driver} are not provided here, only those of the swarm: use --driver overlay"
        )));
    }
    let local = app.node.local();
    if local.state == LocalState::Active && !local.is_manager {
        return Err(ApiError::forbidden(WORKER));
    }
    if let Err(rejection) = app.node.read(|_| ()) {
        return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, rejection.message));
    }
    if name == known::GWBRIDGE {
        return Err(ApiError::new(StatusCode::CONFLICT, format!("network with name {name} already exists")));
    }
    if matches!(spec.scope.as_str(), "local" | "global") {
        return Err(ApiError::bad_request("overlay networks have the scope swarm"));
    }
    if let Some(ipam) = &spec.ipam
        && !matches!(ipam.driver.as_str(), "" | "default")
    {
        return Err(ApiError::bad_request(format!(
            "IPAM driver {} is not provided: use default",
            ipam.driver
        )));
    }
    spec.extra.remove("CheckDuplicate");
    let config_only = spec.extra.remove("ConfigOnly").is_some_and(|value| value == true);
    let config_from = spec.extra.remove("ConfigFrom");
    let source = config_from.as_ref().and_then(|from| from.get("Network")?.as_str());
    if config_only || source.is_some_and(|source| !source.is_empty()) {
        return Err(ApiError::unimplemented("configuration-only networks are not provided"));
    }
    Ok(spec)
}

async fn prune_swarm(app: &App, filters: &Filters) -> Result<Option<Vec<String>>, ApiError> {
    let mut until = None;
    for text in filters.values("until") {
        let wrong = || ApiError::bad_request(format!("invalid filter 'until={text}'"));
        until = Some(clock::parse(text).ok_or_else(wrong)?);
    }
    let unused = known::all(app).into_iter().filter(|network| {
        is_dangling(app, network)
            && until.is_none_or(|until| network.created < until)
            && filters.labels("label", &network.labels)
            && !filters.values("label!").any(|label| has_label(&network.labels, label))
    });
    let mut deleted = Vec::new();
    for network in unused.collect::<Vec<_>>() {
        let Ok(id) = network.id.parse() else { continue };
        match app.node.propose(Action::RemoveNetwork { id }).await {
            Ok(_) => deleted.push(network.name),
            Err(rejection) if rejection.kind == RejectionKind::Unavailable => return Err(rejection.into()),
            Err(_) => {} // in use by now
        }
    }
    Ok((!deleted.is_empty()).then_some(deleted))
}

/// Whether nobody uses a network of the swarm. Of others it is not known.
fn is_dangling(app: &App, network: &NetworkView) -> bool {
    let Ok(id) = network.id.parse::<NetworkId>() else { return false };
    let unused = app.node.read(|state| {
        let attached = state.containers().values().any(|container| container.attachment.network_id == id);
        state.network_users(id).is_empty() && !attached
    });
    !network.ingress && unused.unwrap_or(false)
}

fn no_container(body: &ConnectBody) -> ApiError {
    let name: String = body.container.chars().take(128).collect();
    ApiError::not_found(format!("No such container: {name}"))
}

/// The body of `connect` and `disconnect`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ConnectBody {
    #[serde(deserialize_with = "nullable")]
    container: String,
}

/// The answer to [`grow`].
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Grown {
    /// What was corrected.
    warning: String,
}

/// A network was created.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Created {
    id: String,
    warning: String,
}

/// Networks were removed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Pruned {
    networks_deleted: Option<Vec<String>>,
}

const WORKER: &str =
    "Cannot create a multi-host network from a worker node. Please create the network from a manager node.";
