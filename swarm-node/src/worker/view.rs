//! What the worker's two sources say, in the words of the readers: the scene for the kernel, keys and peers for the gossip.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use overlay_gossip::{Key, NetworkId, tokio::Agent};
use overlay_lb::{Protocol, VipPlan};
use overlay_linux::link::Netlink;
use swarm_state::{
    AssignedTask, Assignment, TaskId,
    object::PlaneChoice,
    spec::{PortConfig, PublishMode},
};

use super::{Attached, Worker};
use crate::dataplane::{
    host_ipv6,
    nodes::{self, NodeRecord},
    outside_devices,
    scene::{
        Fabric, FabricPeer, GatewayBridge, HostIpv6, Layout, Overlay, OverlayPlane, Scene, TaskInterface,
        TaskScene, Underlay,
    },
};

/// Keys of the gossip, the current one first.
pub(super) fn keys(assignment: &Assignment) -> Vec<Key> {
    assignment.gossip_keys.iter().filter_map(|key| Key::new(key.0).ok()).collect()
}

/// Joins the peers and networks of the assignment, and leaves networks that are not in it any more.
pub(super) fn follow(agent: &Agent, assignment: &Assignment, joined: &mut BTreeSet<NetworkId>) {
    agent.set_keys(keys(assignment));
    let port = agent.local_addr().port();
    let members = agent.members();
    let known = |id: &str| members.iter().any(|member| member.state.is_up() && member.name.as_str() == id);
    let missing: Vec<SocketAddr> = assignment
        .peers
        .iter()
        .filter(|peer| !peer.down && peer.id != assignment.node && !known(peer.id.as_str()))
        .filter_map(|peer| Some(SocketAddr::new(peer.addr?, port)))
        .collect();
    if !missing.is_empty() {
        agent.join(missing);
    }
    let wanted: BTreeSet<NetworkId> =
        assignment.networks.iter().filter_map(|network| NetworkId::new(network.id.as_str()).ok()).collect();
    for network in wanted.difference(joined) {
        agent.join_network(network.clone());
    }
    for network in joined.difference(&wanted) {
        agent.leave_network(network.clone());
    }
    *joined = wanted;
}

/// What the kernel should carry now.
///
/// # Errors
/// The host could not be looked at; nothing may follow from that.
pub(super) fn scene(worker: &Worker) -> Result<Scene, String> {
    let Some(assignment) = worker.assignment.borrow().clone() else { return Ok(Scene::default()) };
    let tables = worker.tables.borrow().clone();
    let attached = worker.attached();
    let me = assignment.node.to_string();
    let ingress = assignment.networks.iter().find(|network| network.ingress);
    let mesh = ingress.and_then(|network| tables.views.get(&network.id)).map(|view| view.mesh_plan(&me));
    let overlays = assignment.networks.iter().filter(|network| !network.ingress).map(|network| {
        let remote = tables.remote.get(&network.id).cloned().unwrap_or_default();
        let plane = plane_of(network, worker.kernel_vxlan);
        (network.id.to_string(), Overlay { vni: network.vni, remote, plane })
    });
    let tasks = attached.iter().map(|(id, place)| {
        let scene = task_scene(worker, &assignment, (*id, place));
        (id.to_string(), scene)
    });
    let underlay = underlay(worker, &assignment)?;
    if let Some(agent) = worker.gossip.get() {
        nodes::tell(agent, &assignment, &underlay);
    }
    let nodes = nodes(worker, &assignment);
    let gateway = GatewayBridge { ipv6: serves_ipv6(&underlay, &nodes), ..GatewayBridge::default() };
    let missing = underlay.ipv6 == HostIpv6::Missing;
    let scene = Scene {
        node: me,
        underlay: Some(underlay),
        // Published ports need the kernel's device.
        fabric: ingress
            .filter(|_| worker.kernel_vxlan)
            .and_then(|network| fabric(&assignment, network, &nodes)),
        overlays: overlays.collect(),
        tasks: tasks.collect(),
        mesh: mesh.unwrap_or_default(),
        session: Some(worker.session),
        gateway,
    };
    Ok(if missing { scene.without_ipv6() } else { scene })
}

fn nodes(worker: &Worker, assignment: &Assignment) -> BTreeMap<String, NodeRecord> {
    worker.gossip.get().map(|agent| nodes::read(agent, assignment)).unwrap_or_default()
}

/// Published ports are served over IPv6 where the host speaks it, once clients may come to a node over it.
fn serves_ipv6(underlay: &Underlay, nodes: &BTreeMap<String, NodeRecord>) -> bool {
    let asked =
        || underlay.reachable().any(|ip| ip.is_ipv6()) || nodes.values().any(NodeRecord::is_asked_over_ipv6);
    underlay.ipv6.is_on() && asked()
}

/// Sealed networks are forwarded by this process; so are others where the user wishes or the kernel cannot.
fn plane_of(network: &swarm_state::AssignedNetwork, kernel_vxlan: bool) -> OverlayPlane {
    let kernel = OverlayPlane::Kernel(Layout::of(&network.options));
    match (network.plane, &network.seal) {
        (_, Some(seal)) => OverlayPlane::User(Some(seal.clone())),
        (PlaneChoice::User, None) => OverlayPlane::User(None),
        (PlaneChoice::Kernel, None) => kernel,
        (PlaneChoice::Auto, None) if kernel_vxlan => kernel,
        (PlaneChoice::Auto, None) => OverlayPlane::User(None),
    }
}

fn underlay(worker: &Worker, assignment: &Assignment) -> Result<Underlay, String> {
    let addr = worker.post.data_path_addr;
    let netlink = Netlink::open().map_err(|error| format!("netlink: {error}"))?;
    let interfaces = netlink.interfaces().map_err(|error| error.to_string())?;
    let own = interfaces.iter().find(|interface| interface.addresses.iter().any(|net| net.addr() == addr));
    let mtu = own.map_or(1500, |interface| u16::try_from(interface.mtu).unwrap_or(u16::MAX));
    let devices = outside_devices(&interfaces);
    let outside = interfaces.iter().filter(|interface| devices.contains(interface.name.as_str()));
    let addresses =
        outside.flat_map(|interface| interface.addresses.iter().map(ipnet::IpNet::addr)).collect();
    let (kernel_vxlan, ipv6) = (worker.kernel_vxlan, host_ipv6(&devices));
    Ok(Underlay { addr, mtu, devices, addresses, port: assignment.data_path_port, kernel_vxlan, ipv6 })
}

fn fabric(
    assignment: &Assignment,
    network: &swarm_state::AssignedNetwork,
    nodes: &BTreeMap<String, NodeRecord>,
) -> Option<Fabric> {
    let address = *assignment.attachments.get(&network.id)?.first()?;
    let others = assignment.peers.iter().filter(|peer| peer.id != assignment.node);
    let peers = others.filter_map(|peer| {
        let vtep = peer.data_path_addr.or(peer.addr)?;
        let NodeRecord { ipv6, addresses } = nodes.get(peer.id.as_str()).cloned().unwrap_or_default();
        let address = peer.ingress?.addr();
        Some((peer.id.to_string(), FabricPeer { address, vtep, ipv6, addresses }))
    });
    Some(Fabric { vni: network.vni, address, peers: peers.collect() })
}

fn task_scene(worker: &Worker, assignment: &Assignment, (id, place): (TaskId, &Attached)) -> TaskScene {
    let tables = worker.tables.borrow().clone();
    let task = assignment.tasks.iter().find(|assigned| assigned.task.id == id);
    let is_ingress = |network| assignment.networks.iter().any(|n| n.id == network && n.ingress);
    let attachments = task.iter().flat_map(|assigned| &assigned.task.networks);
    let mut vips = VipPlan::default();
    let mut interfaces = Vec::new();
    // The fabric serves published ports at the node; a task needs no interface on ingress.
    for attachment in attachments.filter(|attachment| !is_ingress(attachment.network_id)) {
        if let Some(view) = tables.views.get(&attachment.network_id) {
            vips.vips.extend(view.vip_plan().vips);
        }
        interfaces.push(TaskInterface {
            network: attachment.network_id.to_string(),
            addresses: attachment.addresses.clone(),
            mac: attachment.mac,
        });
    }
    let attached_to = |network: &&swarm_state::AssignedNetwork| {
        task.is_some_and(|assigned| assigned.task.attachment(network.id).is_some())
    };
    let mut networks =
        assignment.networks.iter().filter(attached_to).filter(|network| !network.ingress).peekable();
    TaskScene {
        netns: place.netns.clone(),
        gateway_addr: place.gateway_addr,
        interfaces,
        vips,
        host_ports: task.map(host_ports).unwrap_or_default(),
        outside: networks.peek().is_none() || networks.any(|network| !network.internal),
    }
}

/// Ports that are published on the task's own node only.
pub(crate) fn host_ports(assigned: &AssignedTask) -> Vec<(Protocol, u16, u16)> {
    let ports = assigned.task.endpoint_spec.ports.iter().filter(|port| port.mode() == PublishMode::Host);
    let number = |port: &PortConfig| {
        let published = if port.published_port == 0 { port.target_port } else { port.published_port };
        Some((port.protocol().to_string().parse().ok()?, published, port.target_port))
    };
    ports.filter_map(number).collect()
}
