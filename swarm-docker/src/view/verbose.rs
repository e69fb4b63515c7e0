//! The services of a network: `docker network inspect --verbose`.

use std::collections::BTreeMap;

use serde::Serialize;
use swarm_state::object::{Network, Service, Task, TaskState};
use swarm_state::{NodeId, State};

use super::network::own_attachment;
use crate::app::hex64;

/// A service as a network shows it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkServiceView {
    #[serde(rename = "VIP")]
    pub vip: String,
    pub ports: Vec<String>,
    #[serde(rename = "LocalLBIndex")]
    pub local_lb_index: u32,
    pub tasks: Vec<BackendView>,
}

/// Who answers for a service.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BackendView {
    pub name: String,
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    #[serde(rename = "EndpointIP")]
    pub endpoint_ip: String,
    pub info: InfoView,
}

/// Where that is.
#[derive(Clone, Debug, Serialize)]
pub struct InfoView {
    #[serde(rename = "Host IP")]
    pub host_ip: String,
}

/// The services with tasks in a network by name; the nodes themselves have the empty name.
pub(crate) fn services(state: &State, network: &Network) -> BTreeMap<String, NetworkServiceView> {
    let mut all: BTreeMap<String, NetworkServiceView> = BTreeMap::new();
    for service in state.services().values() {
        let tasks: Vec<BackendView> =
            state.tasks_of(service.id).filter_map(|task| backend(state, network, task)).collect();
        let vip = service.virtual_ip(network.id);
        if vip.is_some() || !tasks.is_empty() {
            let view = NetworkServiceView {
                vip: vip.map_or_else(none, |vip| vip.addr().to_string()),
                ports: ports(service, network),
                local_lb_index: 0,
                tasks,
            };
            all.insert(service.spec.name.clone(), view);
        }
    }
    let own = state.nodes().keys().filter_map(|node| own(state, network, *node));
    let nodes =
        NetworkServiceView { vip: none(), ports: Vec::new(), local_lb_index: 0, tasks: own.collect() };
    if !nodes.tasks.is_empty() {
        all.insert(String::new(), nodes);
    }
    all
}

fn backend(state: &State, network: &Network, task: &Task) -> Option<BackendView> {
    let attachment = task.attachment(network.id)?;
    let running = task.status.state == TaskState::Running;
    let addr = attachment.addresses.first().filter(|_| running)?;
    let name = task.container_name();
    Some(BackendView {
        endpoint_id: hex64(&[name.as_bytes(), network.id.as_str().as_bytes()]),
        name,
        endpoint_ip: addr.addr().to_string(),
        info: InfoView { host_ip: host(state, task.node_id?) },
    })
}

fn own(state: &State, network: &Network, node: NodeId) -> Option<BackendView> {
    let addr = own_attachment(state, network, node)?.addresses.first()?.addr();
    let name = format!("{}-endpoint", network.spec.name);
    Some(BackendView {
        endpoint_id: hex64(&[name.as_bytes(), node.as_str().as_bytes(), network.id.as_str().as_bytes()]),
        name,
        endpoint_ip: addr.to_string(),
        info: InfoView { host_ip: host(state, node) },
    })
}

fn host(state: &State, node: NodeId) -> String {
    let addr = state.node(node).and_then(|node| node.data_path_addr.or(node.status.addr));
    addr.map(|addr| addr.to_string()).unwrap_or_default()
}

fn ports(service: &Service, network: &Network) -> Vec<String> {
    let shown = service.endpoint.ports.iter().filter(|_| network.is_ingress());
    shown.map(|port| format!("Target: {}, Publish: {}", port.target_port, port.published_port)).collect()
}

fn none() -> String {
    "<nil>".to_owned() // as Go prints an absent address
}
