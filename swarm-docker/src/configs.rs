//! Configs.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use swarm_state::spec::ConfigSpec;
use swarm_state::{Action, ConfigId};

use crate::app::App;
use crate::clock;
use crate::error::ApiError;
use crate::extract::{Body, Params};
use crate::services::Created;
use crate::view::ConfigView;

/// `docker config ls`.
pub(crate) async fn list(State(app): State<App>, params: Params) -> Result<Json<Vec<ConfigView>>, ApiError> {
    let filters = params.filters(&["id", "label", "name", "names"])?;
    let configs = app.read(|state| {
        let wanted = state.configs().values().filter(|config| {
            filters.prefix("id", config.id.as_str())
                && filters.prefix("name", &config.spec.name)
                && filters.exact("names", &config.spec.name)
                && filters.labels("label", &config.spec.labels)
        });
        wanted.map(ConfigView::new).collect()
    })?;
    Ok(Json(configs))
}

/// `docker config inspect`, data included.
pub(crate) async fn inspect(
    State(app): State<App>,
    Path(term): Path<String>,
) -> Result<Json<ConfigView>, ApiError> {
    Ok(Json(app.find(|state| state.find_config(&term).map(ConfigView::new))?))
}

/// `docker config create`.
pub(crate) async fn create(
    State(app): State<App>,
    Body(spec): Body<ConfigSpec>,
) -> Result<(StatusCode, Json<Created>), ApiError> {
    let id = ConfigId::from_random(clock::random());
    app.propose(Action::CreateConfig { id, spec }).await?;
    Ok((StatusCode::CREATED, Json(Created::new(&id))))
}

/// Changes labels; the data stays.
pub(crate) async fn update(
    State(app): State<App>,
    Path(term): Path<String>,
    params: Params,
    Body(spec): Body<ConfigSpec>,
) -> Result<StatusCode, ApiError> {
    let version = params.version("config")?;
    let known = app.find(|state| state.find_config(&term).cloned())?;
    if spec.name != known.spec.name || !(spec.data.is_empty() || spec.data == known.spec.data) {
        let text = "rpc error: code = InvalidArgument desc = only updates to Labels are allowed";
        return Err(ApiError::bad_request(text));
    }
    app.propose(Action::UpdateConfig { id: known.id, version, labels: spec.labels }).await?;
    Ok(StatusCode::OK)
}

/// `docker config rm`.
pub(crate) async fn remove(State(app): State<App>, Path(term): Path<String>) -> Result<StatusCode, ApiError> {
    let id = app.find(|state| Ok(state.find_config(&term)?.id))?;
    app.propose(Action::RemoveConfig { id }).await?;
    Ok(StatusCode::NO_CONTENT)
}
