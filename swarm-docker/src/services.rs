//! Services.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use swarm_state::object::Service;
use swarm_state::spec::ServiceSpec;
use swarm_state::{Action, ServiceId};

use crate::app::{App, warning};
use crate::clock;
use crate::error::ApiError;
use crate::extract::{Body, Params};
use crate::networks;
use crate::view::{ServiceView, normalised};

/// `docker service ls`.
pub(crate) async fn list(State(app): State<App>, params: Params) -> Result<Json<Vec<ServiceView>>, ApiError> {
    let filters = params.filters(&["id", "label", "mode", "name", "runtime"])?;
    filters.only("mode", &["replicated", "global", "replicated-job", "global-job"])?;
    let status = params.flag("status");
    let services = app.read(|state| {
        let wanted = state.services().values().filter(|service| {
            filters.prefix("id", service.id.as_str())
                && filters.prefix("name", &service.spec.name)
                && filters.exact("mode", &service.spec.mode.as_str().replace(' ', "-"))
                && filters.exact("runtime", "container")
                && filters.labels("label", &service.spec.labels)
        });
        let view = |service: &Service| {
            let view = ServiceView::new(service);
            if status { view.with_status(state, service) } else { view }
        };
        wanted.map(view).collect()
    })?;
    Ok(Json(services))
}

/// `docker service inspect`.
pub(crate) async fn inspect(
    State(app): State<App>,
    Path(term): Path<String>,
    params: Params,
) -> Result<Json<ServiceView>, ApiError> {
    let view = app.find(|state| state.find_service(&term).map(ServiceView::new))?;
    Ok(Json(if params.flag("insertDefaults") { view.with_defaults() } else { view }))
}

/// `docker service create`.
pub(crate) async fn create(
    State(app): State<App>,
    Body(spec): Body<ServiceSpec>,
) -> Result<(StatusCode, Json<Created>), ApiError> {
    let spec = Box::new(prepared(&app, spec)?);
    let id = ServiceId::from_random(clock::random());
    let reply = app.propose(Action::CreateService { id, spec }).await?;
    Ok((
        StatusCode::CREATED,
        Json(Created { warnings: warning(reply).map(|text| vec![text]), ..Created::new(&id) }),
    ))
}

/// `docker service update`, `scale`, `rollback`.
pub(crate) async fn update(
    State(app): State<App>,
    Path(term): Path<String>,
    params: Params,
    Body(spec): Body<ServiceSpec>,
) -> Result<Json<Updated>, ApiError> {
    let version = params.version("service")?;
    let rollback = match params.text("rollback") {
        "" => false,
        "previous" => true,
        other => {
            let other: String = other.chars().take(64).collect();
            return Err(ApiError::bad_request(format!("unrecognized rollback option {other}")));
        }
    };
    let id = app.find(|state| Ok(state.find_service(&term)?.id))?;
    let spec = Box::new(prepared(&app, spec)?);
    let reply = app.propose(Action::UpdateService { id, version, spec, rollback }).await?;
    Ok(Json(Updated { warnings: warning(reply).map(|text| vec![text]) }))
}

/// `docker service rm`.
pub(crate) async fn remove(State(app): State<App>, Path(term): Path<String>) -> Result<StatusCode, ApiError> {
    let id = app.find(|state| Ok(state.find_service(&term)?.id))?;
    app.propose(Action::RemoveService { id }).await?;
    Ok(StatusCode::OK)
}

/// A spec with ids instead of names of networks, and without what every service has.
fn prepared(app: &App, spec: ServiceSpec) -> Result<ServiceSpec, ApiError> {
    let mut spec = normalised(spec);
    for target in spec.task_template.networks.iter_mut().chain(&mut spec.networks) {
        target.target = networks::swarm_network(app, &target.target)?.to_string();
    }
    Ok(spec)
}

/// An object was created.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Created {
    #[serde(rename = "ID")]
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    warnings: Option<Vec<String>>,
}

impl Created {
    pub(crate) fn new(id: &impl ToString) -> Self {
        Self { id: id.to_string(), warnings: None }
    }
}

/// A service was changed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Updated {
    warnings: Option<Vec<String>>,
}
