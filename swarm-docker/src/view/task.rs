//! Tasks.

use serde::Serialize;
use swarm_state::object::{Attachment, Network, Task};
use swarm_state::spec::{Labels, PortConfig, TaskSpec};
use swarm_state::{State, Timestamp};

use super::MetaView;

/// A task.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TaskView {
    #[serde(flatten)]
    pub meta: MetaView,
    pub labels: Labels,
    pub spec: TaskSpec,
    #[serde(rename = "ServiceID")]
    pub service_id: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub slot: u64,
    #[serde(rename = "NodeID", skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    pub status: TaskStatusView,
    pub desired_state: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks_attachments: Vec<AttachmentView>,
}

/// How a task is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TaskStatusView {
    pub timestamp: Timestamp,
    pub state: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub err: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_status: Option<ContainerStatusView>,
    pub port_status: PortStatusView,
}

/// What runs a task.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerStatusView {
    #[serde(rename = "ContainerID")]
    pub container_id: String,
    #[serde(rename = "PID")]
    pub pid: u32,
    pub exit_code: i32,
}

/// Ports of the node that a task holds.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PortStatusView {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortConfig>,
}

/// A task's place in a network.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AttachmentView {
    pub network: AttachedNetworkView,
    /// With prefix lengths.
    pub addresses: Vec<String>,
}

/// A network as tasks show it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AttachedNetworkView {
    #[serde(flatten)]
    pub meta: MetaView,
    pub spec: serde_json::Value,
    pub driver_state: serde_json::Value,
    #[serde(rename = "IPAMOptions")]
    pub ipam_options: serde_json::Value,
}

impl TaskView {
    pub fn new(state: &State, task: &Task) -> Self {
        let mut spec = task.spec.clone();
        if let Some(container) = &mut spec.container_spec {
            container.extra.entry("Isolation").or_insert_with(|| "default".into());
        }
        let attachment = |attachment: &Attachment| {
            let network = state.network(attachment.network_id)?;
            let addresses = attachment.addresses.iter().map(ToString::to_string).collect();
            Some(AttachmentView { network: AttachedNetworkView::new(network), addresses })
        };
        Self {
            meta: MetaView::new(&task.id, task.meta),
            labels: Labels::new(),
            spec,
            service_id: task.service_id.to_string(),
            slot: task.slot,
            node_id: task.node_id.map(|node| node.to_string()),
            status: TaskStatusView {
                timestamp: task.status.timestamp,
                state: task.status.state.as_str(),
                message: task.status.message.clone(),
                err: task.status.err.clone(),
                container_status: task.status.container.as_ref().map(|container| ContainerStatusView {
                    container_id: container.id.clone(),
                    pid: container.pid,
                    exit_code: container.exit_code,
                }),
                port_status: PortStatusView { ports: task.status.port_status.clone() },
            },
            desired_state: task.desired_state.as_str(),
            networks_attachments: task.networks.iter().filter_map(attachment).collect(),
        }
    }
}

impl AttachedNetworkView {
    fn new(network: &Network) -> Self {
        let asked = &network.spec;
        let mut spec = serde_json::json!({
            "Name": asked.name,
            "Labels": asked.labels,
            "DriverConfiguration": {"Name": asked.driver},
            "IPAMOptions": {"Driver": {"Name": "default"}},
            "Scope": "swarm",
        });
        let switches = [
            ("IPv6Enabled", network.subnets.iter().any(|subnet| subnet.net.addr().is_ipv6())),
            ("Internal", asked.internal),
            ("Attachable", asked.attachable),
            ("Ingress", asked.ingress),
        ];
        if let Some(spec) = spec.as_object_mut() {
            let on = switches.into_iter().filter(|(_, on)| *on);
            spec.extend(on.map(|(name, on)| (name.to_owned(), on.into())));
        }
        let configs = super::network::subnets(network);
        Self {
            meta: MetaView::new(&network.id, network.meta),
            spec,
            driver_state: serde_json::json!({"Name": "overlay", "Options": network.driver_options()}),
            ipam_options: serde_json::json!({"Driver": {"Name": "default"}, "Configs": configs}),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
