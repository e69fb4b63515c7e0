//! Nodes.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use swarm_state::spec::NodeSpec;
use swarm_state::{Action, NodeId};

use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Body, Params};
use crate::view::NodeView;

/// `docker node ls`.
pub(crate) async fn list(State(app): State<App>, params: Params) -> Result<Json<Vec<NodeView>>, ApiError> {
    let filters = params.filters(&["id", "label", "membership", "name", "node.label", "role"])?;
    filters.only("role", &["manager", "worker"])?;
    filters.only("membership", &["accepted", "pending"])?;
    let health = app.node.managers();
    let nodes = app.read(|state| {
        let wanted = state.nodes().values().filter(|node| {
            filters.prefix("id", node.id.as_str())
                && filters.prefix("name", &node.description.hostname)
                && filters.exact("role", node.spec.role.as_str())
                && filters.exact("membership", "accepted") // whoever is known has been let in
                && filters.labels("node.label", &node.spec.labels)
                && filters.labels("label", &node.description.engine.labels)
        });
        wanted.map(|node| NodeView::new(state, node, &health)).collect()
    })?;
    Ok(Json(nodes))
}

/// `docker node inspect`.
pub(crate) async fn inspect(
    State(app): State<App>,
    Path(term): Path<String>,
) -> Result<Json<NodeView>, ApiError> {
    let health = app.node.managers();
    let id = find(&app, &term)?;
    let view = app.read(|state| state.node(id).map(|node| NodeView::new(state, node, &health)))?;
    view.map(Json).ok_or_else(|| ApiError::not_found(format!("node {term} not found")))
}

/// `docker node update`, `promote`, `demote`.
pub(crate) async fn update(
    State(app): State<App>,
    Path(term): Path<String>,
    params: Params,
    Body(spec): Body<NodeSpec>,
) -> Result<StatusCode, ApiError> {
    let version = params.version("node")?;
    let id = find(&app, &term)?;
    app.propose(Action::UpdateNode { id, version, spec }).await?;
    Ok(StatusCode::OK)
}

/// `docker node rm`.
pub(crate) async fn remove(
    State(app): State<App>,
    Path(term): Path<String>,
    params: Params,
) -> Result<StatusCode, ApiError> {
    let id = find(&app, &term)?;
    app.propose(Action::RemoveNode { id, force: params.flag("force") }).await?;
    Ok(StatusCode::OK)
}

/// A node by id, host name, beginning of an id, or `self`.
pub(crate) fn find(app: &App, term: &str) -> Result<NodeId, ApiError> {
    match app.me() {
        Some(me) if term == "self" => app.read(|_| me),
        _ => app.find(|state| Ok(state.find_node(term)?.id)),
    }
}
