//! What this daemon is: `_ping`, `version`, `info`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use swarm_node::{LocalState, LocalStatus};
use swarm_state::Timestamp;

use crate::app::{App, hex64};
use crate::clock;
use crate::version::{MAX_API_VERSION, MIN_API_VERSION};
use crate::view::ClusterView;

/// `GET /_ping`: `OK`, and the headers from which clients learn what this is.
pub(crate) async fn ping(State(app): State<App>) -> Response {
    (ping_headers(&app.node.local()), "OK").into_response()
}

/// `HEAD /_ping`: the headers alone.
pub(crate) async fn ping_head(State(app): State<App>) -> Response {
    (ping_headers(&app.node.local()), [(header::CONTENT_LENGTH, "0")]).into_response()
}

fn ping_headers(local: &LocalStatus) -> [(&'static str, &'static str); 4] {
    let swarm = match (local.state, local.is_manager) {
        (LocalState::Active, true) => "active/manager",
        (LocalState::Active, false) => "active/worker",
        (state, _) => word(state),
    };
    [
        ("Swarm", swarm),
        ("Cache-Control", "no-cache, no-store, must-revalidate"),
        ("Pragma", "no-cache"),
        ("Content-Type", "text/plain; charset=utf-8"),
    ]
}

/// `docker version`.
pub(crate) async fn version(State(app): State<App>) -> Json<VersionView> {
    let version = app.node.config().version.clone();
    let details = [
        ("ApiVersion", MAX_API_VERSION.to_owned()),
        ("Arch", arch().to_owned()),
        ("Experimental", "false".to_owned()),
        ("KernelVersion", kernel()),
        ("MinAPIVersion", MIN_API_VERSION.to_owned()),
        ("Os", "linux".to_owned()),
    ];
    let details = details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Json(VersionView {
        platform: PlatformView { name: PLATFORM },
        components: vec![ComponentView { name: "Engine", version: version.clone(), details }],
        version,
        api_version: MAX_API_VERSION,
        min_api_version: MIN_API_VERSION,
        git_commit: "",
        go_version: "none (Rust)",
        os: "linux",
        arch: arch(),
        kernel_version: kernel(),
        build_time: "",
    })
}

/// Not Docker's: what came to this node's ports since it joined, and what was refused.
pub(crate) async fn counters(State(app): State<App>) -> Json<BTreeMap<String, u64>> {
    Json(app.node.counters())
}

/// `docker info`.
pub(crate) async fn info(State(app): State<App>) -> Json<InfoView> {
    let config = app.node.config();
    let description = app.node.description();
    let (operating_system, os_version) = operating_system();
    Json(InfoView {
        id: host_id(&app.local_id("daemon")),
        containers: 0,
        containers_running: 0,
        containers_paused: 0,
        containers_stopped: 0,
        images: 0,
        driver: "none",
        driver_status: Vec::new(),
        plugins: PluginsView { volume: [], network: ["overlay"], authorization: None, log: ["local"] },
        debug: false,
        system_time: clock::now(),
        logging_driver: "local",
        cgroup_driver: "none",
        n_events_listener: app.journal.listeners(),
        kernel_version: kernel(),
        operating_system,
        os_version,
        os_type: "linux",
        architecture: description.platform.architecture,
        index_server_address: "",
        ncpu: description.resources.nano_cpus / 1_000_000_000,
        mem_total: description.resources.memory_bytes,
        docker_root_dir: config.data_dir.display().to_string(),
        name: config.hostname.clone(),
        labels: Vec::new(),
        experimental_build: false,
        server_version: config.version.clone(),
        runtimes: BTreeMap::from([("process", RuntimeView { path: "process" })]),
        default_runtime: "process",
        swarm: swarm(&app),
        live_restore_enabled: true,
        isolation: "",
        init_binary: "",
        security_options: Vec::new(),
        warnings: app.node.data_plane_failures(),
    })
}

/// The swarm part of `docker info`.
fn swarm(app: &App) -> SwarmInfoView {
    let local = app.node.local();
    let seen = app.node.read(|state| {
        let cluster = state.cluster().map(ClusterView::new);
        let managers = state.nodes().values().filter(|node| node.manager.is_some());
        let remote: Vec<_> =
            managers.filter_map(|node| Some((node.id, node.manager.as_ref()?.addr.clone()))).collect();
        (cluster, state.nodes().len(), remote)
    });
    let (cluster, nodes, managers) = match seen {
        Ok((cluster, nodes, managers)) => (cluster, nodes, managers),
        Err(_) => (None, 0, local.managers.clone()),
    };
    let remote = |(id, addr): &(swarm_state::NodeId, String)| RemoteManagerView {
        node_id: id.to_string(),
        addr: addr.clone(),
    };
    SwarmInfoView {
        node_id: local.node_id.map(|id| id.to_string()).unwrap_or_default(),
        node_addr: local.addr.map(|addr| addr.to_string()).unwrap_or_default(),
        local_node_state: word(local.state),
        control_available: local.is_manager,
        error: local.error,
        remote_managers: (!managers.is_empty()).then(|| managers.iter().map(remote).collect()),
        nodes,
        managers: if cluster.is_some() { managers.len() } else { 0 },
        cluster,
    }
}

const fn word(state: LocalState) -> &'static str {
    match state {
        LocalState::Inactive => "inactive",
        LocalState::Pending => "pending",
        LocalState::Active => "active",
        LocalState::Error => "error",
    }
}

/// The kernel's release.
fn kernel() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_owned()
}

/// Name and version of the distribution.
fn operating_system() -> (String, String) {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    (field("PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned()), field("VERSION_ID").unwrap_or_default())
}

/// As Go names the architecture.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// An id as Docker writes them: twelve groups of four.
fn host_id(seed: &str) -> String {
    let digits = hex64(&[seed.as_bytes()]).to_ascii_uppercase();
    let groups = digits.as_bytes().chunks(4).take(12);
    groups.map(String::from_utf8_lossy).collect::<Vec<_>>().join(":")
}

/// The answer of `GET /version`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct VersionView {
    platform: PlatformView,
    components: Vec<ComponentView>,
    version: String,
    api_version: &'static str,
    #[serde(rename = "MinAPIVersion")]
    min_api_version: &'static str,
    git_commit: &'static str,
    go_version: &'static str,
    os: &'static str,
    arch: &'static str,
    kernel_version: String,
    build_time: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PlatformView {
    name: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ComponentView {
    name: &'static str,
    version: String,
    details: BTreeMap<String, String>,
}

/// The answer of `GET /info`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct InfoView {
    #[serde(rename = "ID")]
    id: String,
    containers: u64,
    containers_running: u64,
    containers_paused: u64,
    containers_stopped: u64,
    images: u64,
    driver: &'static str,
    driver_status: Vec<[String; 2]>,
    plugins: PluginsView,
    debug: bool,
    system_time: Timestamp,
    logging_driver: &'static str,
    cgroup_driver: &'static str,
    #[serde(rename = "NEventsListener")]
    n_events_listener: usize,
    kernel_version: String,
    operating_system: String,
    #[serde(rename = "OSVersion")]
    os_version: String,
    #[serde(rename = "OSType")]
    os_type: &'static str,
    architecture: String,
    index_server_address: &'static str,
    #[serde(rename = "NCPU")]
    ncpu: i64,
    mem_total: i64,
    docker_root_dir: String,
    name: String,
    labels: Vec<String>,
    experimental_build: bool,
    server_version: String,
    runtimes: BTreeMap<&'static str, RuntimeView>,
    default_runtime: &'static str,
    swarm: SwarmInfoView,
    live_restore_enabled: bool,
    isolation: &'static str,
    init_binary: &'static str,
    security_options: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PluginsView {
    volume: [&'static str; 0],
    network: [&'static str; 1],
    authorization: Option<Vec<String>>,
    log: [&'static str; 1],
}

#[derive(Debug, Serialize)]
struct RuntimeView {
    path: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SwarmInfoView {
    #[serde(rename = "NodeID")]
    node_id: String,
    node_addr: String,
    local_node_state: &'static str,
    control_available: bool,
    error: String,
    remote_managers: Option<Vec<RemoteManagerView>>,
    #[serde(skip_serializing_if = "none")]
    nodes: usize,
    #[serde(skip_serializing_if = "none")]
    managers: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<ClusterView>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RemoteManagerView {
    #[serde(rename = "NodeID")]
    node_id: String,
    addr: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn none(number: &usize) -> bool {
    *number == 0
}

const PLATFORM: &str = "swarm-docker (a swarm node in Rust behind the Docker Engine API; not Docker)";
