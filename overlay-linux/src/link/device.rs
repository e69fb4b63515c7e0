use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use overlay_core::{MacAddr, VXLAN_PORT, Vni};

use super::{LinkName, Route};
use crate::netns::NetNs;

/// One interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    /// What sort of device it is.
    pub kind: LinkKind,
    /// Its hardware address; `None`: as the kernel likes.
    pub mac: Option<MacAddr>,
    /// The largest packet in bytes; `None`: as the kernel likes.
    pub mtu: Option<u32>,
    /// The largest packet in bytes that the host may hand to it to be cut; `None`: as the kernel likes, which is 65536.
    pub gso_max_size: Option<u32>,
    /// The bridge that it is a port of; `None`: no port.
    pub master: Option<LinkName>,
    /// As a port, exchanges frames with the bridge itself and with ports that are not isolated only.
    pub isolated: bool,
    /// Its addresses with the length of their networks. IPv6 ones skip duplicate address detection.
    ///
    /// Others are removed, but for link-local IPv6 ones and those of an [`LinkKind::Existing`] link.
    pub addresses: BTreeSet<IpNet>,
    /// Whether it carries traffic.
    pub up: bool,
}

/// The sort of an interface and what belongs to that sort.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LinkKind {
    /// A bridge without spanning tree, multicast snooping and calls into netfilter of its own.
    ///
    /// Where the module `br_netfilter` is loaded, frames go through netfilter all the same while the namespace's
    /// `net.bridge.bridge-nf-call-iptables`, `-ip6tables` and `-arptables` are 1, which is how a namespace begins. Put
    /// them into [`Desired::sysctls`](super::Desired::sysctls) where the namespace is yours alone; a user namespace is
    /// enough to write them.
    Bridge,
    /// A VXLAN tunnel.
    Vxlan(Vxlan),
    /// A pair of interfaces, of which the other end is in another namespace.
    Veth(Peer),
    /// An interface in another namespace, on top of a device of this one.
    Macvlan(Macvlan),
    /// Somebody else's interface, such as `lo`: it is neither made nor removed, and only gains what it lacks.
    Existing,
}

/// What makes a VXLAN device; it is made anew if any of this differs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Vxlan {
    /// The network that it belongs to.
    pub vni: Vni,
    /// The source of the tunnel's packets: an address of this host.
    pub local: IpAddr,
    /// The UDP port. 4789, as in RFC 7348.
    pub port: u16,
    /// Answers ARP and ND from the neighbour table, instead of asking the other hosts.
    pub proxy: bool,
    /// Learns where senders are from their packets.
    pub learning: bool,
    /// Tells who listens on netlink about destinations that it has no forwarding entry for.
    pub l2miss: bool,
    /// Tells who listens on netlink about addresses that it has no neighbour for.
    pub l3miss: bool,
}

/// An interface in another namespace that shares a device of this one, in bridge mode: what is sent to another one on
/// the same device goes there at once, all else goes out through the device.
///
/// Beside a veth pair and a bridge it saves two devices on the way of each packet. The device must not be a port of a
/// bridge. This namespace cannot talk to its own macvlans through it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Macvlan {
    /// The device of this namespace.
    pub lower: LinkName,
    /// The interface.
    pub peer: Peer,
}

/// The far end of a veth pair, or a macvlan.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peer {
    /// Where it is.
    pub netns: Arc<NetNs>,
    /// Its name there, such as `eth0`.
    pub name: LinkName,
    /// Its hardware address; `None`: as the kernel likes.
    pub mac: Option<MacAddr>,
    /// The largest packet in bytes; `None`: as the kernel likes.
    pub mtu: Option<u32>,
    /// The largest packet in bytes that its namespace may hand to it to be cut; `None`: as the kernel likes.
    pub gso_max_size: Option<u32>,
    /// Its addresses; others are removed.
    pub addresses: BTreeSet<IpNet>,
    /// The routes through it; [`Route::dev`] is ignored, the device is this end.
    pub routes: BTreeSet<Route>,
}

impl Link {
    fn of_kind(kind: LinkKind) -> Self {
        Self {
            kind,
            mac: None,
            mtu: None,
            gso_max_size: None,
            master: None,
            isolated: false,
            addresses: BTreeSet::new(),
            up: true,
        }
    }

    /// A bridge that is up.
    #[must_use]
    pub fn bridge() -> Self {
        Self::of_kind(LinkKind::Bridge)
    }

    /// A tunnel that is up.
    #[must_use]
    pub fn vxlan(vxlan: Vxlan) -> Self {
        Self::of_kind(LinkKind::Vxlan(vxlan))
    }

    /// The near end of a pair, up.
    #[must_use]
    pub fn veth(peer: Peer) -> Self {
        Self::of_kind(LinkKind::Veth(peer))
    }

    /// An interface named `peer.name` in the namespace of `peer`, on top of `lower`.
    ///
    /// It is not in this namespace, so its key in [`Desired::links`](super::Desired::links) only has to differ from the
    /// names of the links here: it is recognised by where it is, its name there and what it is on top of. The settings of
    /// the [`Link`] itself mean nothing; those of `peer` count.
    #[must_use]
    pub fn macvlan(lower: LinkName, peer: Peer) -> Self {
        Self::of_kind(LinkKind::Macvlan(Macvlan { lower, peer }))
    }

    /// Somebody else's interface, to be up.
    #[must_use]
    pub fn existing() -> Self {
        Self::of_kind(LinkKind::Existing)
    }

    /// Sets the hardware address.
    #[must_use]
    pub fn with_mac(self, mac: MacAddr) -> Self {
        Self { mac: Some(mac), ..self }
    }

    /// Sets the largest packet in bytes.
    #[must_use]
    pub fn with_mtu(self, mtu: impl Into<u32>) -> Self {
        Self { mtu: Some(mtu.into()), ..self }
    }

    /// Sets the largest packet in bytes that the host may hand to it to be cut: at most 65536.
    #[must_use]
    pub fn with_gso_max_size(self, size: u32) -> Self {
        Self { gso_max_size: Some(size), ..self }
    }

    /// Makes it a port of a bridge.
    #[must_use]
    pub fn with_master(self, master: LinkName) -> Self {
        Self { master: Some(master), ..self }
    }

    /// Keeps it, as a port, from talking to other isolated ports.
    #[must_use]
    pub fn isolated(self) -> Self {
        Self { isolated: true, ..self }
    }

    /// Adds an address.
    #[must_use]
    pub fn with_address(mut self, address: impl Into<IpNet>) -> Self {
        self.addresses.insert(address.into());
        self
    }
}

impl Vxlan {
    /// A tunnel of the network `vni` on the usual port, without proxy, learning and notices.
    #[must_use]
    pub const fn new(vni: Vni, local: IpAddr) -> Self {
        Self { vni, local, port: VXLAN_PORT, proxy: false, learning: false, l2miss: false, l3miss: false }
    }

    /// Answers ARP and ND from the neighbour table.
    #[must_use]
    pub const fn proxied(self) -> Self {
        Self { proxy: true, ..self }
    }

    /// Learns where senders are from their packets.
    #[must_use]
    pub const fn learning(self) -> Self {
        Self { learning: true, ..self }
    }

    /// Tells who listens on netlink about destinations and addresses that it does not know, as Docker's.
    #[must_use]
    pub const fn telling_misses(self) -> Self {
        Self { l2miss: true, l3miss: true, ..self }
    }
}

impl Peer {
    /// The far end, named `name` there.
    #[must_use]
    pub fn new(netns: Arc<NetNs>, name: LinkName) -> Self {
        Self {
            netns,
            name,
            mac: None,
            mtu: None,
            gso_max_size: None,
            addresses: BTreeSet::new(),
            routes: BTreeSet::new(),
        }
    }

    /// Sets the hardware address.
    #[must_use]
    pub fn with_mac(self, mac: MacAddr) -> Self {
        Self { mac: Some(mac), ..self }
    }

    /// Sets the largest packet in bytes.
    #[must_use]
    pub fn with_mtu(self, mtu: impl Into<u32>) -> Self {
        Self { mtu: Some(mtu.into()), ..self }
    }

    /// Sets the largest packet in bytes that its namespace may hand to it to be cut: at most 65536.
    #[must_use]
    pub fn with_gso_max_size(self, size: u32) -> Self {
        Self { gso_max_size: Some(size), ..self }
    }

    /// Adds an address.
    #[must_use]
    pub fn with_address(mut self, address: impl Into<IpNet>) -> Self {
        self.addresses.insert(address.into());
        self
    }

    /// Adds a route.
    #[must_use]
    pub fn with_route(mut self, route: Route) -> Self {
        self.routes.insert(route);
        self
    }
}
