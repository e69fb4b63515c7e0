//! Networks whose frames this process forwards: the scene → tables, keys and ports of the user-space plane.
//!
//! ```text
//!   task ─ eth0 ═veth═ ve.… ─ AF_PACKET ─▶ UserPlane ─ UDP 4789 ─▶ other nodes
//!                                             ▲
//!   other nodes ─ UDP 4789 ─ ingress hook: VNI of ours? ─▶ UDP 4790
//! ```
//!
//! The kernel's VXLAN devices own port 4789 of this host. Datagrams of these networks are told apart by their VNI when
//! they arrive and handed to the plane's own port; on the wire there is one port only.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use overlay_core::{
    Discard, Location, Network, PortId, Vni,
    seal::{Algorithm, KeyError, KeyId, SealKey, Session},
};
use overlay_linux::{
    link::{LinkName, Netlink},
    user::{Attachment, Integrity, PacketSocket, PlaneConfig, PlaneError, PlaneStats, UserPlane},
};
use swarm_state::object::{NetworkSeal, SealAlgorithm};

use super::{
    links::task_link,
    scene::{Overlay, OverlayPlane, Scene, TaskScene, Underlay},
};

/// The running plane, for whoever wants its counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Running(Arc<Mutex<Option<Arc<UserPlane>>>>);

/// What the plane was told.
#[derive(Debug, Default)]
pub(super) struct UserNetworks {
    running: Running,
    told: Wanted,
}

/// What the plane should know.
#[derive(Debug, Default, Eq, PartialEq)]
struct Wanted {
    networks: BTreeMap<Vni, Network>,
    seals: BTreeMap<Vni, NetworkSeal>,
    ports: BTreeSet<PortId>,
}

impl Running {
    /// What the plane did since it was started; `None` if no network needs it.
    pub(crate) fn stats(&self) -> Option<PlaneStats> {
        Some(self.get()?.stats())
    }

    /// Ends the plane: the worker ends.
    pub(crate) fn stop(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn get(&self) -> Option<Arc<UserPlane>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, plane: Arc<UserPlane>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(plane);
    }
}

impl UserNetworks {
    pub(super) fn new(running: Running) -> Self {
        Self { running, told: Wanted::default() }
    }

    /// Tells the plane what changed; starts it for the first such network. It stays until the worker ends: another one
    /// would count the datagrams of sealed networks from 1 again, in the same session.
    pub(super) fn converge(&mut self, scene: &Scene, netlink: &Netlink) -> (usize, Vec<String>) {
        let (Some(underlay), Some(session)) = (&scene.underlay, scene.session) else {
            return (0, Vec::new());
        };
        let plane = match self.running.get() {
            Some(plane) => plane,
            None if !scene.overlays.values().any(is_user) => return (0, Vec::new()),
            None => match start(underlay, session) {
                Ok(plane) => {
                    let plane = Arc::new(plane);
                    self.running.set(Arc::clone(&plane));
                    plane
                }
                Err(error) => return (0, vec![format!("user-space plane: {error}")]),
            },
        };
        let mut failures = Vec::new();
        let wanted =
            wanted(scene, underlay, |name| Some(PortId::new(netlink.interface(name.as_str()).ok()??.index)));
        let steps = tell(&plane, &mut self.told, wanted, &mut failures);
        (steps, failures)
    }
}

/// The plane's counters by name, for whoever watches the node.
pub(crate) fn counters(stats: &PlaneStats) -> [(&'static str, u64); 12] {
    let vtep = &stats.vtep;
    let ports = || stats.ports.values();
    [
        ("user_plane_sent", vtep.sent + vtep.flooded),
        ("user_plane_delivered", vtep.delivered),
        ("user_plane_answered", vtep.answered),
        ("user_plane_dropped", vtep.drops().map(|(_, count)| count).sum()),
        ("user_plane_unsealed", vtep.dropped(Discard::Unsealed)),
        ("user_plane_foreign_source", vtep.dropped(Discard::ForeignSource)),
        ("user_plane_spoofed", vtep.dropped(Discard::Spoofed) + vtep.dropped(Discard::SpoofedAddress)),
        ("user_plane_sealed", stats.seal.sealed),
        ("user_plane_opened", stats.seal.opened),
        ("user_plane_refused_seals", stats.seal.refusals().map(|(_, count)| count).sum()),
        (
            "user_plane_kernel_drops",
            stats.underlay.kernel_drops + ports().map(|port| port.kernel_drops).sum::<u64>(),
        ),
        ("user_plane_full", stats.underlay.full + ports().map(|port| port.full).sum::<u64>()),
    ]
}

/// Whether the frames of a network are forwarded here.
pub(super) fn is_user(network: &Overlay) -> bool {
    matches!(network.plane, OverlayPlane::User(_))
}

/// UDP port at which the plane receives: its own one where the kernel's devices own VXLAN's.
pub(super) const fn local_port(underlay: &Underlay) -> u16 {
    if underlay.kernel_vxlan { underlay.port.wrapping_add(1) } else { underlay.port }
}

fn start(underlay: &Underlay, session: Session) -> Result<UserPlane, PlaneError> {
    // Datagrams that were steered here carry a checksum: the hook passes over those without.
    let integrity = if underlay.kernel_vxlan { Integrity::Outer } else { Integrity::Inner };
    UserPlane::start(PlaneConfig {
        local: SocketAddr::new(underlay.addr, local_port(underlay)),
        remote_port: underlay.port,
        integrity,
        session,
        ..PlaneConfig::default()
    })
}

fn wanted(scene: &Scene, underlay: &Underlay, port_of: impl Fn(&LinkName) -> Option<PortId>) -> Wanted {
    let mut wanted = Wanted::default();
    for (id, network) in scene.overlays.iter().filter(|(_, network)| is_user(network)) {
        let mut table = Network { mtu: Some(underlay.mtu_of(network)), ..Network::default() };
        for remote in &network.remote {
            table.stations.insert(remote.mac, Location::Endpoint(remote.vtep));
            table.neighbours.insert(remote.ip, remote.mac);
        }
        for (task, place) in &scene.tasks {
            local(&mut table, scene, id, (task, place), &port_of);
        }
        if let OverlayPlane::User(Some(seal)) = &network.plane {
            table.sealed = true;
            wanted.seals.insert(network.vni, seal.clone());
        }
        let ports = table.stations.values().filter_map(|location| match location {
            Location::Port(port) => Some(*port),
            Location::Endpoint(_) => None,
        });
        wanted.ports.extend(ports);
        wanted.networks.insert(network.vni, table);
    }
    wanted
}

/// The task's interface on this network, as a port that speaks for its own addresses only.
fn local(
    table: &mut Network,
    scene: &Scene,
    network: &str,
    (id, task): (&str, &TaskScene),
    port_of: &impl Fn(&LinkName) -> Option<PortId>,
) {
    for (index, _, interface) in scene.interfaces(task).filter(|(.., interface)| interface.network == network)
    {
        let Some(port) = port_of(&task_link("ve", index, id)) else { continue };
        table.stations.insert(interface.mac, Location::Port(port));
        let own = interface.addresses.iter().map(ipnet::IpNet::addr);
        table.neighbours.extend(own.clone().map(|address| (address, interface.mac)));
        table.spoof_guard.insert(port, own.collect());
    }
}

fn tell(plane: &UserPlane, told: &mut Wanted, wanted: Wanted, failures: &mut Vec<String>) -> usize {
    let mut steps = 0;
    let mut note = |what: String, done: Result<(), String>| match done {
        Ok(()) => {
            steps += 1;
            true
        }
        Err(error) => {
            failures.push(format!("{what}: {error}"));
            false
        }
    };
    for gone in told.ports.difference(&wanted.ports) {
        plane.detach(*gone);
    }
    for gone in told.networks.keys().filter(|vni| !wanted.networks.contains_key(vni)) {
        plane.remove_network(*gone);
    }
    let mut now = Wanted::default();
    for port in wanted.ports {
        let attached = || {
            let socket = PacketSocket::open(port.get()).map_err(|error| error.to_string())?;
            plane.attach(port, Attachment::Packet(socket)).map_err(|error| error.to_string())
        };
        if told.ports.contains(&port) || note(format!("port {port}"), attached()) {
            now.ports.insert(port);
        }
    }
    for (vni, seal) in wanted.seals {
        let install = || {
            let keys = keys(&seal).map_err(|error| error.to_string())?;
            plane.set_keys(vni, KeyId::new(seal.active), keys).map_err(|error| error.to_string())
        };
        if told.seals.get(&vni) == Some(&seal) || note(format!("keys of network {vni}"), install()) {
            now.seals.insert(vni, seal);
        }
    }
    for (vni, network) in wanted.networks {
        let set = || plane.set_network(vni, network.clone()).map_err(|error| error.to_string());
        if told.networks.get(&vni) == Some(&network) || note(format!("network {vni}"), set()) {
            now.networks.insert(vni, network);
        }
    }
    *told = now;
    steps
}

fn keys(seal: &NetworkSeal) -> Result<BTreeMap<KeyId, SealKey>, KeyError> {
    let algorithm = match seal.algorithm {
        SealAlgorithm::Aes128Gcm => Algorithm::Aes128Gcm,
        SealAlgorithm::Aes256Gcm => Algorithm::Aes256Gcm,
        SealAlgorithm::ChaCha20Poly1305 => Algorithm::ChaCha20Poly1305,
    };
    let key = |(id, bytes): (&u16, &swarm_state::object::SealSecret)| {
        Ok((KeyId::new(*id), SealKey::new(algorithm, &bytes.0)?))
    };
    seal.keys.iter().map(key).collect()
}
