//! What this daemon does not do: containers, images, volumes, plugins. Lists are empty, the rest says so.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::extract::BODY_LIMIT;

/// Lets a client finish its question: one that still writes when the connection ends does not see the answer.
pub(crate) async fn heard_out(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    // Endless ones, such as `docker build -`, are answered in the middle.
    let _ = tokio::time::timeout(PATIENCE, to_bytes(body, BODY_LIMIT)).await;
    next.run(Request::from_parts(parts, Body::empty())).await
}

/// An empty list.
pub(crate) async fn nothing() -> Json<[Value; 0]> {
    Json([])
}

/// `docker volume ls`.
pub(crate) async fn volumes() -> Json<Value> {
    Json(json!({"Volumes": [], "Warnings": null}))
}

/// `docker system df`.
pub(crate) async fn disk_usage() -> Json<Value> {
    Json(json!({"LayersSize": 0, "Images": [], "Containers": [], "Volumes": [], "BuildCache": []}))
}

/// Below `/containers`.
pub(crate) async fn container(method: Method, Path(rest): Path<String>) -> ApiError {
    let create = matches!(rest.as_str(), "create" | "prune");
    match rest.split_once('/') {
        Some((name, _)) => ApiError::not_found(format!("No such container: {}", cut(name))),
        None if method == Method::DELETE && !create => {
            ApiError::not_found(format!("No such container: {}", cut(&rest)))
        }
        None => ApiError::unimplemented(format!("containers are not provided here: {SERVICES}")),
    }
}

/// Below `/images`.
pub(crate) async fn image(method: Method, Path(rest): Path<String>) -> ApiError {
    match rest.strip_suffix("/json") {
        Some(name) if method == Method::GET => ApiError::not_found(format!("No such image: {}", cut(name))),
        _ => ApiError::unimplemented(format!("images are not provided here: {SERVICES}")),
    }
}

/// Below `/volumes`.
pub(crate) async fn volume(method: Method, Path(rest): Path<String>) -> ApiError {
    if method == Method::GET || method == Method::DELETE {
        return ApiError::not_found(format!("get {name}: no such volume", name = cut(&rest)));
    }
    ApiError::unimplemented("volumes are not provided here")
}

/// Below `/plugins`.
pub(crate) async fn plugin(method: Method, Path(rest): Path<String>) -> ApiError {
    match rest.strip_suffix("/json") {
        Some(name) if method == Method::GET => {
            ApiError::not_found(format!("plugin \"{}\" not found", cut(name)))
        }
        _ => ApiError::unimplemented("plugins are not provided here"),
    }
}

/// Below `/distribution`: answered at once, as nobody asks a registry.
pub(crate) async fn distribution(Path(rest): Path<String>) -> ApiError {
    let name = rest.strip_suffix("/json").unwrap_or(&rest);
    ApiError::not_found(format!("{}: no registry is asked for digests here", cut(name)))
}

/// Single routes that belong to containers or images.
pub(crate) async fn not_here() -> ApiError {
    ApiError::unimplemented(format!("containers and images are not provided here: {SERVICES}"))
}

/// Any other route.
pub(crate) async fn unknown() -> ApiError {
    ApiError::not_found("page not found")
}

fn cut(text: &str) -> String {
    text.chars().take(128).collect()
}

const SERVICES: &str = "this daemon runs the tasks of services, see docker service create";
/// Time for the rest of a question that is refused.
const PATIENCE: Duration = Duration::from_secs(1);
