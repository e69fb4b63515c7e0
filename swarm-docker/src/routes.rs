//! Which handler answers which route.

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::{any, get, post};

use crate::app::App;
use crate::{
    configs, elsewhere, events, ipam, logs, networks, nodes, secrets, services, swarm, system, tasks,
};

/// All routes, without the version in front.
pub(crate) fn routes(app: App) -> Router {
    Router::new()
        .merge(of_system())
        .merge(of_swarm())
        .merge(of_networks())
        .merge(of_services())
        .merge(of_secrets())
        .merge(of_others())
        .fallback(elsewhere::unknown)
        .method_not_allowed_fallback(elsewhere::unknown)
        .with_state(app)
}

fn of_system() -> Router<App> {
    Router::new()
        .route("/_ping", get(system::ping).head(system::ping_head))
        .route("/version", get(system::version))
        .route("/info", get(system::info))
        .route("/counters", get(system::counters))
        .route("/events", get(events::events))
}

fn of_swarm() -> Router<App> {
    Router::new()
        .route("/swarm", get(swarm::inspect))
        .route("/swarm/init", post(swarm::init))
        .route("/swarm/join", post(swarm::join))
        .route("/swarm/leave", post(swarm::leave))
        .route("/swarm/update", post(swarm::update))
        .route("/swarm/unlockkey", get(swarm::unlock_key))
        .route("/swarm/unlock", post(swarm::unlock))
        .route("/nodes", get(nodes::list))
        .route("/nodes/{id}", get(nodes::inspect).delete(nodes::remove))
        .route("/nodes/{id}/update", post(nodes::update))
}

fn of_networks() -> Router<App> {
    Router::new()
        .route("/networks", get(networks::list))
        .route("/networks/create", post(networks::create))
        .route("/networks/prune", post(networks::prune))
        .route("/networks/{id}", get(networks::inspect).delete(networks::remove))
        .route("/networks/{id}/connect", post(networks::connect))
        .route("/networks/{id}/disconnect", post(networks::disconnect))
        .route("/networks/{id}/grow", post(networks::grow)) // not Docker's
        .route("/networks/{id}/rotate-keys", post(networks::rotate_keys)) // not Docker's
        .route("/ipam/audit", get(ipam::audit)) // not Docker's
        .route("/ipam/explain", get(ipam::explain)) // not Docker's
}

fn of_services() -> Router<App> {
    Router::new()
        .route("/services", get(services::list))
        .route("/services/create", post(services::create))
        .route("/services/{id}", get(services::inspect).delete(services::remove))
        .route("/services/{id}/update", post(services::update))
        .route("/services/{id}/logs", get(logs::of_service))
        .route("/tasks", get(tasks::list))
        .route("/tasks/{id}", get(tasks::inspect))
        .route("/tasks/{id}/logs", get(logs::of_task))
}

fn of_secrets() -> Router<App> {
    Router::new()
        .route("/secrets", get(secrets::list))
        .route("/secrets/create", post(secrets::create))
        .route("/secrets/{id}", get(secrets::inspect).delete(secrets::remove))
        .route("/secrets/{id}/update", post(secrets::update))
        .route("/configs", get(configs::list))
        .route("/configs/create", post(configs::create))
        .route("/configs/{id}", get(configs::inspect).delete(configs::remove))
        .route("/configs/{id}/update", post(configs::update))
}

fn of_others() -> Router<App> {
    Router::new()
        .route("/containers/json", get(elsewhere::nothing))
        .route("/containers/{*rest}", any(elsewhere::container))
        .route("/images/json", get(elsewhere::nothing))
        .route("/images/search", get(elsewhere::not_here))
        .route("/images/{*rest}", any(elsewhere::image))
        .route("/volumes", get(elsewhere::volumes))
        .route("/volumes/{*rest}", any(elsewhere::volume))
        .route("/plugins", get(elsewhere::nothing))
        .route("/plugins/{*rest}", any(elsewhere::plugin))
        .route("/distribution/{*rest}", any(elsewhere::distribution))
        .route("/system/df", get(elsewhere::disk_usage))
        .route("/auth", post(elsewhere::not_here))
        .route("/build", post(elsewhere::not_here))
        .route("/commit", post(elsewhere::not_here))
        .route("/session", post(elsewhere::not_here))
        .route("/exec/{*rest}", any(elsewhere::not_here))
        .layer(from_fn(elsewhere::heard_out))
}
