//! Everything that a node's kernel state follows from, as plain data.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use overlay_core::{
    MacAddr, Vni,
    seal::{Seal, Session},
};
use overlay_lb::{MeshPlan, Protocol, VipPlan};
use overlay_linux::{link::Family, netns::NetNs};
use swarm_state::object::NetworkSeal;

use super::nodes::is_reachable;

/// What one node should carry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scene {
    /// The node's id.
    pub(crate) node: String,
    /// Where tunnels start; `None` before the node has an address.
    pub(crate) underlay: Option<Underlay>,
    /// The layer-3 network between the nodes, which carries published ports.
    pub(crate) fabric: Option<Fabric>,
    /// Overlay networks with local tasks, by id.
    pub(crate) overlays: BTreeMap<String, Overlay>,
    /// Local tasks, by id.
    pub(crate) tasks: BTreeMap<String, TaskScene>,
    /// Published ports.
    pub(crate) mesh: MeshPlan,
    /// The link to the outside of every task.
    pub(crate) gateway: GatewayBridge,
    /// This run of the daemon, for sealed networks: greater than every earlier one.
    pub(crate) session: Option<Session>,
}

impl Scene {
    /// The interfaces of a task on overlay networks: the number in its name, its network, itself.
    pub(crate) fn interfaces<'s>(
        &'s self,
        task: &'s TaskScene,
    ) -> impl Iterator<Item = (usize, &'s Overlay, &'s TaskInterface)> {
        let known = task.interfaces.iter().filter_map(|it| Some((self.overlays.get(&it.network)?, it)));
        known.enumerate().map(|(index, (network, interface))| (index, network, interface))
    }

    /// Leaves out all addresses of IPv6: this kernel has never heard of it.
    pub(crate) fn without_ipv6(mut self) -> Self {
        for network in self.overlays.values_mut() {
            network.remote.retain(|remote| remote.ip.is_ipv4());
        }
        for task in self.tasks.values_mut() {
            task.vips.vips.retain(|vip, _| vip.is_ipv4());
            for interface in &mut task.interfaces {
                interface.addresses.retain(|address| address.addr().is_ipv4());
            }
        }
        self
    }
}

/// How tasks are attached to the kernel's tunnel of their network.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Layout {
    /// Each by a macvlan on the tunnel: two devices less on the way of each packet.
    #[default]
    Macvlan,
    /// Each by a pair of interfaces, one end in a bridge with the tunnel: as Docker does it.
    Bridge,
}

impl Layout {
    /// The wish in a network's driver options: `layout=macvlan` or `layout=bridge`.
    pub(crate) fn of(options: &BTreeMap<String, String>) -> Self {
        match options.get("layout").map(String::as_str) {
            Some("bridge") => Self::Bridge,
            _ => Self::Macvlan,
        }
    }
}

/// The network between the hosts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Underlay {
    /// This host's address in it.
    pub(crate) addr: IpAddr,
    /// Its largest packet.
    pub(crate) mtu: u16,
    /// Interfaces on which clients of published ports arrive.
    pub(crate) devices: BTreeSet<String>,
    /// This host's addresses on those interfaces: where clients connect to.
    pub(crate) addresses: BTreeSet<IpAddr>,
    /// UDP port of VXLAN.
    pub(crate) port: u16,
    /// Whether the kernel can make VXLAN devices; where one is, it owns the port.
    pub(crate) kernel_vxlan: bool,
    /// What this host makes of IPv6.
    pub(crate) ipv6: HostIpv6,
}

/// What a host makes of IPv6.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum HostIpv6 {
    /// Its kernel has none: nothing of it is in tasks either.
    #[default]
    Missing,
    /// Its administrator does not want it in this namespace: tasks have it between each other.
    Off,
    /// It speaks it.
    On {
        /// The interfaces of [`Underlay::devices`] that get routes and addresses from routers' advertisements.
        advised: BTreeSet<String>,
    },
}

impl HostIpv6 {
    pub(crate) const fn is_on(&self) -> bool {
        matches!(self, Self::On { .. })
    }
}

impl Underlay {
    /// This host's addresses that others can use without naming an interface.
    pub(crate) fn reachable(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().copied().filter(is_reachable)
    }

    /// The largest packet inside of a tunnel.
    pub(crate) fn inner_mtu(&self) -> u16 {
        overlay_core::mtu::inner(self.mtu, self.addr.is_ipv6())
    }

    /// The largest packet inside of a network's tunnel.
    pub(crate) fn mtu_of(&self, network: &Overlay) -> u16 {
        match network.plane {
            OverlayPlane::User(Some(_)) => self.inner_mtu().saturating_sub(Seal::OVERHEAD),
            OverlayPlane::User(None) | OverlayPlane::Kernel(_) => self.inner_mtu(),
        }
    }
}

/// The ingress network of this node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Fabric {
    /// Its identifier: 4096, as Docker's.
    pub(crate) vni: Vni,
    /// This node's address in it.
    pub(crate) address: IpNet,
    /// The other nodes, by id.
    pub(crate) peers: BTreeMap<String, FabricPeer>,
}

/// Another node in the fabric.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct FabricPeer {
    /// Its address in the ingress network.
    pub(crate) address: IpAddr,
    /// Where its tunnel ends.
    pub(crate) vtep: IpAddr,
    /// Whether it takes IPv6.
    pub(crate) ipv6: bool,
    /// Where clients reach it over IPv6.
    pub(crate) addresses: BTreeSet<Ipv6Addr>,
}

/// An overlay network on this node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Overlay {
    /// Its identifier.
    pub(crate) vni: Vni,
    /// Endpoints on other nodes.
    pub(crate) remote: BTreeSet<RemoteEndpoint>,
    /// Who forwards its frames.
    pub(crate) plane: OverlayPlane,
}

/// Who forwards the frames of a network.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum OverlayPlane {
    /// The kernel's own VXLAN device.
    Kernel(Layout),
    /// This process; with keys if the network is sealed.
    User(Option<NetworkSeal>),
}

/// A task's interface on another node.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct RemoteEndpoint {
    /// Its address.
    pub(crate) ip: IpAddr,
    /// Its MAC address.
    pub(crate) mac: MacAddr,
    /// Where the tunnel to it ends.
    pub(crate) vtep: IpAddr,
}

/// A local task.
#[derive(Clone, Debug)]
pub(crate) struct TaskScene {
    /// Its network namespace.
    pub(crate) netns: Arc<NetNs>,
    /// Its address on the gateway bridge.
    pub(crate) gateway_addr: Ipv4Addr,
    /// Its interfaces on overlay networks, in the order of `eth0`, `eth1`, …
    pub(crate) interfaces: Vec<TaskInterface>,
    /// What virtual IPs lead to, as seen from this task.
    pub(crate) vips: VipPlan,
    /// Ports of this node that lead to this task: protocol, port of the node, port of the task.
    pub(crate) host_ports: Vec<(Protocol, u16, u16)>,
    /// Whether the task reaches the outside: not if all its networks are internal.
    pub(crate) outside: bool,
}

/// A task's interface on an overlay network.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TaskInterface {
    /// The network's id.
    pub(crate) network: String,
    /// One address per family.
    pub(crate) addresses: Vec<IpNet>,
    /// 02:42 and the IPv4 address.
    pub(crate) mac: MacAddr,
}

/// `docker_gwbridge`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct GatewayBridge {
    /// The bridge's own address and network. 172.18.0.1/16, as Docker.
    pub(crate) address: Ipv4Net,
    /// Whether it has an IPv6 network too: published ports are served over it.
    pub(crate) ipv6: bool,
}

impl Default for GatewayBridge {
    fn default() -> Self {
        Self { address: Ipv4Net::new_assert(Ipv4Addr::new(172, 18, 0, 1), 16), ipv6: false }
    }
}

impl GatewayBridge {
    /// Its IPv6 network: a unique local one, drawn by lot ([RFC 4193]) and the same on all nodes, as the IPv4 one is.
    ///
    /// [RFC 4193]: https://www.rfc-editor.org/rfc/rfc4193
    const NETWORK6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfd73, 0xaeaa, 0xb819, 0, 0, 0, 0, 0), 64);

    /// The bridge's own address and network of a family.
    pub(crate) fn own(&self, family: Family) -> Option<IpNet> {
        self.interface(self.address.addr(), family)
    }

    /// The address of a family on the interface that has `ip` as its IPv4 address; the IPv6 one ends with it.
    pub(crate) fn interface(&self, ip: Ipv4Addr, family: Family) -> Option<IpNet> {
        match family {
            Family::V4 => Some(IpNet::V4(Ipv4Net::new_assert(ip, self.address.prefix_len()))),
            Family::V6 if !self.ipv6 => None,
            Family::V6 => {
                let net = Self::NETWORK6;
                let ip = Ipv6Addr::from_bits(net.addr().to_bits() | u128::from(ip.to_bits()));
                Some(IpNet::V6(Ipv6Net::new_assert(ip, net.prefix_len())))
            }
        }
    }

    /// The lowest address after `last` (wrapping) that no task has; `None` if all are in use.
    pub(crate) fn next_free(&self, taken: &BTreeSet<Ipv4Addr>, last: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        let own = self.address.addr();
        let free = |addr: &Ipv4Addr| *addr != own && !taken.contains(addr);
        let after = last.unwrap_or(own);
        let hosts = || self.address.hosts();
        hosts().find(|addr| *addr > after && free(addr)).or_else(|| hosts().find(free))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_addresses_go_on_after_the_last_one_and_wrap() {
        let bridge = GatewayBridge { address: "192.0.2.1/29".parse().unwrap(), ..GatewayBridge::default() };
        let addr = |last: u8| Ipv4Addr::new(192, 0, 2, last);
        assert_eq!(bridge.next_free(&BTreeSet::new(), None), Some(addr(2)));
        assert_eq!(bridge.next_free(&BTreeSet::new(), Some(addr(4))), Some(addr(5)));
        assert_eq!(bridge.next_free(&BTreeSet::from([addr(2)]), Some(addr(6))), Some(addr(3)));
        assert_eq!(bridge.next_free(&(2..=6).map(addr).collect(), None), None);
    }

    #[test]
    fn the_second_family_follows_from_the_first_where_there_is_one() {
        let old = GatewayBridge::default();
        let both = GatewayBridge { ipv6: true, ..old };
        let task = Ipv4Addr::new(172, 18, 3, 2);
        assert_eq!((old.own(Family::V6), old.interface(task, Family::V6)), (None, None));
        assert_eq!(both.own(Family::V6), Some("fd73:aeaa:b819::ac12:1/64".parse().unwrap()));
        assert_eq!(both.interface(task, Family::V6), Some("fd73:aeaa:b819::ac12:302/64".parse().unwrap()));
        assert_eq!(both.interface(task, Family::V4), Some("172.18.3.2/16".parse().unwrap()));
    }
}
