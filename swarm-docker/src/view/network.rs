//! Networks.

use std::collections::BTreeMap;

use ipnet::IpNet;
use overlay_ipam::Subnet;
use serde::Serialize;
use swarm_state::object::{Attachment, Network};
use swarm_state::spec::Labels;
use swarm_state::{AssignedNetwork, NodeId, State, Timestamp};

use super::ipam::NetworkStatusView;
use super::verbose::NetworkServiceView;
use crate::app::hex64;

/// A network.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkView {
    pub name: String,
    pub id: String,
    pub created: Timestamp,
    pub scope: &'static str,
    pub driver: String,
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: bool,
    #[serde(rename = "IPAM")]
    pub ipam: IpamView,
    pub internal: bool,
    pub attachable: bool,
    pub ingress: bool,
    pub config_from: ConfigFromView,
    pub config_only: bool,
    /// What this node has in it; `None` in lists.
    pub containers: Option<BTreeMap<String, ContainerView>>,
    pub options: Labels,
    pub labels: Labels,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<PeerView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<BTreeMap<String, NetworkServiceView>>,
    /// How full it is; `None` in lists and where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<NetworkStatusView>,
}

/// Subnets and who hands them out.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct IpamView {
    pub driver: String,
    pub options: Option<Labels>,
    pub config: Vec<SubnetView>,
}

/// One subnet.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SubnetView {
    pub subnet: String,
    #[serde(rename = "IPRange", skip_serializing_if = "String::is_empty")]
    pub ip_range: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub auxiliary_addresses: Labels,
}

/// The network that another one is configured by; never set.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ConfigFromView {
    pub network: &'static str,
}

/// An endpoint of this node.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerView {
    pub name: String,
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    pub mac_address: String,
    #[serde(rename = "IPv4Address")]
    pub ipv4_address: String,
    #[serde(rename = "IPv6Address")]
    pub ipv6_address: String,
}

/// A node that takes part.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PeerView {
    pub name: String,
    #[serde(rename = "IP")]
    pub ip: String,
}

impl NetworkView {
    /// A network of the swarm, as a manager knows it.
    pub fn new(network: &Network) -> Self {
        let spec = &network.spec;
        Self {
            name: spec.name.clone(),
            id: network.id.to_string(),
            created: network.meta.created_at,
            scope: "swarm",
            driver: spec.driver.clone(),
            enable_ipv6: has_v6(&network.subnets),
            ipam: IpamView { config: subnets(network), ..IpamView::default_driver() },
            internal: spec.internal,
            attachable: spec.attachable,
            ingress: spec.ingress,
            config_from: ConfigFromView::default(),
            config_only: false,
            containers: None,
            options: network.driver_options(),
            labels: spec.labels.clone(),
            peers: Vec::new(),
            services: None,
            status: None,
        }
    }

    /// A network of the swarm, as a worker with tasks in it knows it.
    pub fn assigned(network: &AssignedNetwork) -> Self {
        Self {
            name: network.name.clone(),
            id: network.id.to_string(),
            created: Timestamp::default(),
            scope: "swarm",
            driver: "overlay".to_owned(),
            enable_ipv6: has_v6(&network.subnets),
            ipam: IpamView {
                config: network.subnets.iter().map(granted).collect(),
                ..IpamView::default_driver()
            },
            internal: network.internal,
            attachable: network.attachable,
            ingress: network.ingress,
            config_from: ConfigFromView::default(),
            config_only: false,
            containers: None,
            options: network.options.clone(),
            labels: Labels::new(),
            peers: Vec::new(),
            services: None,
            status: None,
        }
    }

    /// A network of this host alone.
    pub fn local(name: &str, driver: &str, id: String, created: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            id,
            created,
            scope: "local",
            driver: driver.to_owned(),
            enable_ipv6: false,
            ipam: IpamView::default_driver(),
            internal: false,
            attachable: false,
            ingress: false,
            config_from: ConfigFromView::default(),
            config_only: false,
            containers: Some(BTreeMap::new()),
            options: Labels::new(),
            labels: Labels::new(),
            peers: Vec::new(),
            services: None,
            status: None,
        }
    }

    /// With what one node has in it.
    #[must_use]
    pub fn with_containers(mut self, state: &State, network: &Network, node: Option<NodeId>) -> Self {
        self.containers = node.map(|node| containers(state, network, node));
        self
    }
}

impl IpamView {
    fn default_driver() -> Self {
        Self { driver: "default".to_owned(), ..Self::default() }
    }
}

impl ContainerView {
    fn new(name: String, network: &Network, attachment: &Attachment) -> Self {
        let address = |v6: bool| {
            let mut all = attachment.addresses.iter();
            all.find(|addr| addr.addr().is_ipv6() == v6).map(ToString::to_string).unwrap_or_default()
        };
        let endpoint_id = hex64(&[name.as_bytes(), network.id.as_str().as_bytes()]);
        Self {
            endpoint_id,
            mac_address: attachment.mac.to_string(),
            ipv4_address: address(false),
            ipv6_address: address(true),
            name,
        }
    }
}

/// The subnets of a network: as they were asked for, with what was filled in.
pub(super) fn subnets(network: &Network) -> Vec<SubnetView> {
    let mut asked = network.spec.subnets().iter();
    let view = |subnet: &Subnet| {
        let granted = granted(subnet);
        let Some(asked) = asked.next() else { return granted };
        SubnetView {
            subnet: if is_any(&asked.subnet) { granted.subnet } else { asked.subnet.clone() },
            ip_range: asked.ip_range.clone(),
            gateway: if asked.gateway.is_empty() { granted.gateway } else { asked.gateway.clone() },
            auxiliary_addresses: asked.auxiliary_addresses.clone(),
        }
    };
    network.subnets.iter().map(view).collect()
}

/// Whether any subnet would do, or any of a length: `0.0.0.0/20`.
fn is_any(subnet: &str) -> bool {
    subnet.is_empty() || subnet.parse().is_ok_and(|net: IpNet| net.network().is_unspecified())
}

fn granted(subnet: &Subnet) -> SubnetView {
    SubnetView {
        subnet: subnet.net.to_string(),
        ip_range: subnet.range.map(|range| range.to_string()).unwrap_or_default(),
        gateway: subnet.gateway.to_string(),
        auxiliary_addresses: Labels::new(),
    }
}

fn has_v6(subnets: &[Subnet]) -> bool {
    subnets.iter().any(|subnet| subnet.net.addr().is_ipv6())
}

/// What a node has in a network: its tasks, attached containers, and its own address.
fn containers(state: &State, network: &Network, node: NodeId) -> BTreeMap<String, ContainerView> {
    let mut all = BTreeMap::new();
    for task in state.tasks_on(node).filter(|task| !task.has_ended()) {
        let (Some(attachment), Some(container)) = (task.attachment(network.id), &task.status.container)
        else {
            continue;
        };
        all.insert(container.id.clone(), ContainerView::new(task.container_name(), network, attachment));
    }
    for container in state.containers().values().filter(|container| container.node_id == node) {
        if container.attachment.network_id == network.id {
            let view = ContainerView::new(container.name.clone(), network, &container.attachment);
            all.insert(container.container.clone(), view);
        }
    }
    if let Some(own) = own_attachment(state, network, node) {
        let name = &network.spec.name;
        let key = if network.is_ingress() { "ingress-sbox".to_owned() } else { format!("lb-{name}") };
        all.insert(key, ContainerView::new(format!("{name}-endpoint"), network, &own));
    }
    all
}

/// A node's own address in a network.
pub(super) fn own_attachment(state: &State, network: &Network, node: NodeId) -> Option<Attachment> {
    let addresses = state.node(node)?.attachments.get(&network.id)?.clone();
    let v4 = addresses.iter().find_map(|addr| match addr.addr() {
        std::net::IpAddr::V4(v4) => Some(v4),
        std::net::IpAddr::V6(_) => None,
    });
    let mac = overlay_core::MacAddr::from_ipv4(v4?);
    Some(Attachment { network_id: network.id, addresses, mac, aliases: Vec::new() })
}
