//! Secrets.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use swarm_state::spec::SecretSpec;
use swarm_state::{Action, SecretId};

use crate::app::App;
use crate::clock;
use crate::error::ApiError;
use crate::extract::{Body, Params};
use crate::services::Created;
use crate::view::SecretView;

/// `docker secret ls`.
pub(crate) async fn list(State(app): State<App>, params: Params) -> Result<Json<Vec<SecretView>>, ApiError> {
    let filters = params.filters(&["id", "label", "name", "names"])?;
    let secrets = app.read(|state| {
        let wanted = state.secrets().values().filter(|secret| {
            filters.prefix("id", secret.id.as_str())
                && filters.prefix("name", &secret.spec.name)
                && filters.exact("names", &secret.spec.name)
                && filters.labels("label", &secret.spec.labels)
        });
        wanted.map(SecretView::new).collect()
    })?;
    Ok(Json(secrets))
}

/// `docker secret inspect`; never shows the data.
pub(crate) async fn inspect(
    State(app): State<App>,
    Path(term): Path<String>,
) -> Result<Json<SecretView>, ApiError> {
    Ok(Json(app.find(|state| state.find_secret(&term).map(SecretView::new))?))
}

/// `docker secret create`.
pub(crate) async fn create(
    State(app): State<App>,
    Body(spec): Body<SecretSpec>,
) -> Result<(StatusCode, Json<Created>), ApiError> {
    let id = SecretId::from_random(clock::random());
    app.propose(Action::CreateSecret { id, spec }).await?;
    Ok((StatusCode::CREATED, Json(Created::new(&id))))
}

/// Changes labels; the data stays.
pub(crate) async fn update(
    State(app): State<App>,
    Path(term): Path<String>,
    params: Params,
    Body(spec): Body<SecretSpec>,
) -> Result<StatusCode, ApiError> {
    let version = params.version("secret")?;
    let known = app.find(|state| state.find_secret(&term).cloned())?;
    if spec.name != known.spec.name || !(spec.data.is_empty() || spec.data == known.spec.data) {
        let text = "rpc error: code = InvalidArgument desc = only updates to Labels are allowed";
        return Err(ApiError::bad_request(text));
    }
    app.propose(Action::UpdateSecret { id: known.id, version, labels: spec.labels }).await?;
    Ok(StatusCode::OK)
}

/// `docker secret rm`.
pub(crate) async fn remove(State(app): State<App>, Path(term): Path<String>) -> Result<StatusCode, ApiError> {
    let id = app.find(|state| Ok(state.find_secret(&term)?.id))?;
    app.propose(Action::RemoveSecret { id }).await?;
    Ok(StatusCode::NO_CONTENT)
}
