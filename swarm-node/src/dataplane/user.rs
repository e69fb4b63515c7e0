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
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use overlay_core::{
    Location, Network, PortId, Vni,
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
pub(crate) struct Running(Arc<Mutex<Stage>>);

/// What a plane goes through once: another one would count the datagrams of sealed networks from 1 again, in the same
/// session.
#[derive(Debug, Default)]
enum Stage {
    /// No network needed it yet.
    #[default]
    Idle,
    Runs(Arc<UserPlane>),
    /// The worker has ended, and whatever still follows from an earlier scene comes too late.
    Ended,
}

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
        let plane = self.stage().plane()?;
        Some(plane.stats())
    }

    /// Ends the plane: the worker ends. None is started any more.
    pub(crate) fn stop(&self) {
        *self.stage() = Stage::Ended;
    }

    /// The plane, started by the first one who needs it; `None` if it is not needed, or ended.
    fn plane(
        &self,
        needed: bool,
        start: impl FnOnce() -> Result<UserPlane, PlaneError>,
    ) -> Result<Option<Arc<UserPlane>>, PlaneError> {
        let mut stage = self.stage();
        if needed && matches!(*stage, Stage::Idle) {
            *stage = Stage::Runs(Arc::new(start()?));
        }
        Ok(stage.plane())
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stage {
    fn plane(&self) -> Option<Arc<UserPlane>> {
        match self {
            Self::Runs(plane) => Some(Arc::clone(plane)),
            Self::Idle | Self::Ended => None,
        }
    }
}

impl UserNetworks {
    pub(super) fn new(running: Running) -> Self {
        Self { running, told: Wanted::default() }
    }

    /// Tells the plane what changed; starts it for the first such network. It stays until the worker ends.
    pub(super) fn converge(&mut self, scene: &Scene, netlink: &Netlink) -> (usize, Vec<String>) {
        let (Some(underlay), Some(session)) = (&scene.underlay, scene.session) else {
            return (0, Vec::new());
        };
        let needed = scene.overlays.values().any(is_user);
        let plane = match self.running.plane(needed, || start(underlay, session)) {
            Ok(Some(plane)) => plane,
            Ok(None) => return (0, Vec::new()),
            Err(error) => return (0, vec![format!("user-space plane: {error}")]),
        };
        let mut failures = Vec::new();
        let wanted =
            wanted(scene, underlay, |name| Some(PortId::new(netlink.interface(name.as_str()).ok()??.index)));
        let steps = tell(&plane, &mut self.told, wanted, &mut failures);
        (steps, failures)
    }
}

/// The plane's counters by name, for whoever watches the node: what was carried, and one for each reason for a drop.
pub(crate) fn counters(stats: &PlaneStats) -> impl Iterator<Item = (String, u64)> {
    let ports = || stats.ports.values();
    let carried = [
        ("sent", stats.vtep.sent + stats.vtep.flooded),
        ("delivered", stats.vtep.delivered),
        ("answered", stats.vtep.answered),
        ("sealed", stats.seal.sealed),
        ("opened", stats.seal.opened),
        ("kernel_drops", stats.underlay.kernel_drops + ports().map(|port| port.kernel_drops).sum::<u64>()),
        ("full", stats.underlay.full + ports().map(|port| port.full).sum::<u64>()),
    ];
    let carried = carried.map(|(what, count)| (format!("user_plane_{what}"), count));
    let dropped = stats.vtep.drops().map(|(reason, count)| (named("dropped", &reason.to_string()), count));
    let refused =
        stats.seal.refusals().map(|(reason, count)| (named("refused_seal", &format!("{reason:?}")), count));
    carried.into_iter().chain(dropped).chain(refused)
}

fn named(kind: &str, reason: &str) -> String {
    format!("user_plane_{kind}_{}", reason.to_lowercase().replace(' ', "_"))
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
    let known: BTreeSet<&Vni> = told.networks.keys().chain(told.seals.keys()).collect();
    for gone in known.into_iter().filter(|vni| !wanted.networks.contains_key(vni)) {
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
        let before = told.seals.remove(&vni);
        if before.as_ref() == Some(&seal) || note(format!("keys of network {vni}"), install()) {
            now.seals.insert(vni, seal);
        } else if let Some(before) = before {
            now.seals.insert(vni, before);
        }
    }
    now.networks = std::mem::take(&mut told.networks);
    let (set, refused) = tell_networks(plane, &mut now.networks, wanted.networks);
    failures.extend(refused);
    *told = now;
    steps + set
}

/// What was refused changed nothing: the plane still knows what it was told before.
fn tell_networks(
    plane: &UserPlane,
    told: &mut BTreeMap<Vni, Network>,
    mut wanted: BTreeMap<Vni, Network>,
) -> (usize, Vec<String>) {
    told.retain(|vni, _| wanted.contains_key(vni));
    wanted.retain(|vni, network| told.get(vni) != Some(network));
    let changed = wanted.len();
    loop {
        let (before, mut refused) = (wanted.len(), Vec::new());
        wanted.retain(|vni, network| {
            let done = plane.set_network(*vni, network.clone());
            match &done {
                Ok(()) => drop(told.insert(*vni, network.clone())),
                Err(error) => refused.push(format!("network {vni}: {error}")),
            }
            done.is_err()
        });
        // A port that moves is free once the network that had it was told: those that were refused are tried again.
        if wanted.is_empty() || wanted.len() == before {
            return (changed - wanted.len(), refused);
        }
    }
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_plane_runs_once() {
        let running = Running::default();
        let never = || -> Result<UserPlane, PlaneError> { panic!("it was started") };
        assert!(running.plane(false, never).unwrap().is_none());
        assert!(running.plane(true, plane).unwrap().is_some());
        assert!(running.plane(true, never).unwrap().is_some());
        running.stop();
        assert!(running.plane(true, never).unwrap().is_none(), "nonces would be used twice");
    }

    #[test]
    fn a_network_whose_update_was_refused_is_removed_all_the_same() {
        let (plane, mut told, mut failures) = (plane().unwrap(), has_ports(), Vec::new());
        assert_eq!(tell(&plane, &mut told, wants([(1, 0, 1450)]), &mut failures), 1);
        assert_eq!(tell(&plane, &mut told, wants([(1, 0, 60)]), &mut failures), 0);
        assert_eq!(std::mem::take(&mut failures), ["network 1: an MTU of 60 is below 68"]);
        assert_eq!(tell(&plane, &mut told, wants([(2, 0, 1450)]), &mut failures), 1);
        assert!(failures.is_empty(), "{failures:?}");
    }

    #[test]
    fn ports_move_between_networks_in_one_step() {
        let (plane, mut told, mut failures) = (plane().unwrap(), has_ports(), Vec::new());
        tell(&plane, &mut told, wants([(2, 0, 1450), (3, 1, 1450)]), &mut failures);
        tell(&plane, &mut told, wants([(1, 0, 1450), (2, 1, 1450), (3, 2, 1450)]), &mut failures);
        assert!(failures.is_empty(), "{failures:?}");
        assert_eq!(told, wants([(1, 0, 1450), (2, 1, 1450), (3, 2, 1450)]));
    }

    fn plane() -> Result<UserPlane, PlaneError> {
        UserPlane::start(PlaneConfig {
            local: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            ..PlaneConfig::default()
        })
    }

    /// No device is opened for ports that are there.
    fn has_ports() -> Wanted {
        Wanted { ports: PORTS.into(), ..Wanted::default() }
    }

    /// Networks of one station: number, port and MTU.
    fn wants<const N: usize>(networks: [(u32, u32, u16); N]) -> Wanted {
        let networks = networks.map(|(vni, port, mtu)| {
            let here = Location::Port(PortId::new(port));
            let stations = [([2, 0, 0, 0, 0, 1].into(), here)].into();
            (Vni::new(vni).unwrap(), Network { stations, mtu: Some(mtu), ..Network::default() })
        });
        Wanted { networks: networks.into(), ..has_ports() }
    }

    const PORTS: [PortId; 3] = [PortId::new(0), PortId::new(1), PortId::new(2)];
}
