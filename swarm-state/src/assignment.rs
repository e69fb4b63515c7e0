//! What one node should do: everything that a worker needs, complete each time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use overlay_core::Vni;
use overlay_ipam::Subnet;
use serde::{Deserialize, Serialize};

use crate::object::{
    AttachedContainer, Config, GossipKey, Network, NetworkSeal, PlaneChoice, Secret, Service, Task, VirtualIp,
};
use crate::spec::{Availability, EndpointMode, Labels, NodeRole, NodeState, PortConfig};
use crate::{LeftNetwork, NetworkId, NodeId, RestingAddress, ServiceId, State, resting};

/// Everything that one worker needs. It replaces what the worker knew before; equal ones need not be sent again.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// The node that this is for.
    pub node: NodeId,
    /// The role that it should have.
    pub desired_role: NodeRole,
    /// The role that it has.
    pub role: NodeRole,
    /// Whether it takes tasks.
    pub availability: Availability,
    /// Its own addresses, ingress included.
    pub attachments: BTreeMap<NetworkId, Vec<IpNet>>,
    /// The tasks that it should bring to their desired state. What is not here must not run.
    pub tasks: Vec<AssignedTask>,
    /// Containers outside of services that have an address here.
    #[serde(default)]
    pub containers: Vec<AttachedContainer>,
    /// The networks of those tasks and containers, and ingress.
    pub networks: Vec<AssignedNetwork>,
    /// The services that are found in those networks, and all that publish ports through the mesh.
    pub services: Vec<AssignedService>,
    /// The secrets that those tasks may read.
    pub secrets: Vec<Secret>,
    /// The configs that those tasks may read.
    pub configs: Vec<Config>,
    /// Where the managers are: `address:port`.
    pub managers: Vec<(NodeId, String)>,
    /// All nodes, this one included.
    pub peers: Vec<Peer>,
    /// Keys of the gossip, the current one first.
    pub gossip_keys: Vec<GossipKey>,
    /// UDP port of VXLAN.
    pub data_path_port: u16,
    /// Time between two heartbeats, in nanoseconds.
    pub heartbeat_period: i64,
    /// Addresses that were freed in networks that this node has, or had, and that it has not acknowledged yet; the
    /// oldest ones, at most 1,024.
    #[serde(default)]
    pub resting: Vec<RestingAddress>,
    /// Networks that this node has no more: nothing of them may be left on it.
    #[serde(default)]
    pub leaving: Vec<LeftNetwork>,
    /// What to acknowledge as soon as none of `resting` and `leaving` is in the node's tables; 0: nothing.
    #[serde(default)]
    pub mark: u64,
}

impl Assignment {
    /// Whether the other one differs in nothing but what rests: that one is not urgent and may wait for a second.
    pub fn is_same_work(&self, other: &Self) -> bool {
        let without = |assignment: &Self| Self {
            resting: Vec::new(),
            leaving: Vec::new(),
            mark: 0,
            ..assignment.clone()
        };
        without(self) == without(other)
    }
}

/// A task with what its service adds.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct AssignedTask {
    /// The task: spec, addresses, desired state.
    pub task: Task,
    /// Its service's name.
    pub service_name: String,
    /// Its service's labels.
    pub service_labels: Labels,
}

/// A network as a worker needs it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct AssignedNetwork {
    /// Its id.
    pub id: NetworkId,
    /// Its name.
    pub name: String,
    /// Its identifier on the wire.
    pub vni: Vni,
    /// Its subnets.
    pub subnets: Vec<Subnet>,
    /// Options of the driver, VNIs included.
    pub options: Labels,
    /// Whether this is the network of the routing mesh.
    pub ingress: bool,
    /// Whether tasks have no way out of it.
    pub internal: bool,
    /// Whether containers outside of services may join.
    pub attachable: bool,
    /// Who forwards its frames.
    #[serde(default)]
    pub plane: PlaneChoice,
    /// Its keys, if it is sealed.
    #[serde(default)]
    pub seal: Option<NetworkSeal>,
}

/// A service as a worker needs it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct AssignedService {
    /// Its id.
    pub id: ServiceId,
    /// Its name.
    pub name: String,
    /// How it is found.
    pub mode: EndpointMode,
    /// Its addresses; none with `dnsrr`.
    pub virtual_ips: Vec<VirtualIp>,
    /// Its published ports, with numbers.
    pub ports: Vec<PortConfig>,
    /// Further names in each network.
    pub aliases: BTreeMap<NetworkId, Vec<String>>,
}

/// Another node.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Its id, which is its name in the gossip.
    pub id: NodeId,
    /// Its host name.
    pub hostname: String,
    /// Its address.
    pub addr: Option<IpAddr>,
    /// Where its VXLAN packets go.
    pub data_path_addr: Option<IpAddr>,
    /// Its address in the ingress network.
    pub ingress: Option<IpNet>,
    /// Whether it is down.
    pub down: bool,
}

/// What the node should do; `None` if there is no such node.
pub fn assignment(state: &State, node: NodeId) -> Option<Assignment> {
    let cluster = state.cluster()?;
    let target = state.node(node)?;
    let mine = state.tasks_on(node).filter(|task| task.status.state >= crate::object::TaskState::Assigned);
    let tasks: Vec<&Task> = mine.filter(|task| !task.has_ended()).collect();
    let mut networks: BTreeSet<NetworkId> = state.ingress().map(|ingress| ingress.id).into_iter().collect();
    networks
        .extend(tasks.iter().flat_map(|task| task.networks.iter().map(|attachment| attachment.network_id)));
    let here = |container: &&AttachedContainer| container.node_id == node;
    let containers: Vec<AttachedContainer> = state.containers().values().filter(here).cloned().collect();
    networks.extend(containers.iter().map(|container| container.attachment.network_id));
    let manager = |node: &crate::object::Node| Some((node.id, node.manager.as_ref()?.addr.clone()));
    let rests = resting::of_node(state, node);
    Some(Assignment {
        node,
        desired_role: target.spec.role,
        role: target.role,
        availability: target.spec.availability,
        attachments: target.attachments.clone(),
        services: services(state, &networks),
        networks: networks.iter().filter_map(|id| state.network(*id)).map(network).collect(),
        containers,
        secrets: secrets(state, &tasks),
        configs: configs(state, &tasks),
        tasks: tasks.into_iter().map(|task| assigned(state, task)).collect(),
        managers: state.nodes().values().filter_map(manager).collect(),
        peers: peers(state),
        gossip_keys: cluster.gossip_keys.clone(),
        data_path_port: cluster.data_path_port,
        heartbeat_period: cluster.spec.dispatcher.heartbeat_period.0,
        resting: rests.addresses,
        leaving: rests.networks,
        mark: rests.mark,
    })
}

fn assigned(state: &State, task: &Task) -> AssignedTask {
    let service = state.service(task.service_id);
    let name_of_task = || task.name.rsplit_once('.').map_or("", |(service, _)| service).to_owned();
    AssignedTask {
        task: task.clone(),
        service_name: service.map_or_else(name_of_task, |service| service.spec.name.clone()),
        service_labels: service.map(|service| service.spec.labels.clone()).unwrap_or_default(),
    }
}

fn network(network: &Network) -> AssignedNetwork {
    AssignedNetwork {
        id: network.id,
        name: network.spec.name.clone(),
        vni: network.vni,
        subnets: network.subnets.clone(),
        options: network.driver_options(),
        ingress: network.spec.ingress,
        internal: network.spec.internal,
        attachable: network.spec.attachable,
        plane: network.plane,
        seal: network.keys.as_ref().map(|keys| keys.seal.clone()),
    }
}

fn services(state: &State, networks: &BTreeSet<NetworkId>) -> Vec<AssignedService> {
    let target = |text: &str| text.parse::<NetworkId>().ok().filter(|id| networks.contains(id));
    let needed = |service: &&Service| {
        service.endpoint.spec.ingress_ports().next().is_some()
            || service.spec.task_networks().iter().any(|network| target(&network.target).is_some())
    };
    let convert = |service: &Service| AssignedService {
        id: service.id,
        name: service.spec.name.clone(),
        mode: service.endpoint.spec.mode(),
        virtual_ips: service.endpoint.virtual_ips.clone(),
        ports: service.endpoint.ports.clone(),
        aliases: {
            let networks = service.spec.task_networks().iter();
            networks.filter_map(|n| target(&n.target).map(|id| (id, n.aliases.clone()))).collect()
        },
    };
    state.services().values().filter(needed).map(convert).collect()
}

fn secrets(state: &State, tasks: &[&Task]) -> Vec<Secret> {
    let containers = tasks.iter().filter_map(|task| task.spec.container_spec.as_ref());
    let ids: BTreeSet<_> =
        containers.flat_map(|c| c.secrets.iter().filter_map(|s| s.secret_id.parse().ok())).collect();
    ids.into_iter().filter_map(|id| state.secret(id).cloned()).collect()
}

fn configs(state: &State, tasks: &[&Task]) -> Vec<Config> {
    let containers = tasks.iter().filter_map(|task| task.spec.container_spec.as_ref());
    let ids: BTreeSet<_> =
        containers.flat_map(|c| c.configs.iter().filter_map(|s| s.config_id.parse().ok())).collect();
    ids.into_iter().filter_map(|id| state.config(id).cloned()).collect()
}

fn peers(state: &State) -> Vec<Peer> {
    let ingress = state.ingress().map(|ingress| ingress.id);
    let peer = |node: &crate::object::Node| Peer {
        id: node.id,
        hostname: node.description.hostname.clone(),
        addr: node.status.addr,
        data_path_addr: node.data_path_addr,
        ingress: ingress.and_then(|network| node.address(network)),
        down: node.status.state == NodeState::Down,
    };
    state.nodes().values().map(peer).collect()
}
