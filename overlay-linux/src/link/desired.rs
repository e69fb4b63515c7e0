use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use overlay_core::{MacAddr, Vni};

use super::{Link, LinkName};

/// What one network namespace should look like, as far as it is ours.
///
/// What is not in here and is ours (see [`Scope`](super::Scope)) will be removed.
///
/// ```
/// use overlay_core::Vni;
/// use overlay_linux::link::{Desired, Link, LinkName, Vxlan};
///
/// let bridge = LinkName::new("ob001001")?;
/// let vxlan = Vxlan::new(Vni::new(4097)?, "192.0.2.1".parse()?).proxied();
/// let mut desired = Desired::default();
/// desired.links.insert(LinkName::new("ov001001")?, Link::vxlan(vxlan).with_mtu(1450_u16).with_master(bridge.clone()));
/// desired.links.insert(bridge, Link::bridge().with_mtu(1450_u16));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Desired {
    /// Interfaces by name.
    pub links: BTreeMap<LinkName, Link>,
    /// Permanent entries of the ARP and ND tables.
    pub neighbours: BTreeMap<NeighbourKey, MacAddr>,
    /// Permanent forwarding entries of VXLAN devices.
    pub fdb: BTreeSet<FdbEntry>,
    /// Routes. Two that differ in the next hop only are a mistake: the kernel keeps one of them.
    pub routes: BTreeSet<Route>,
    /// Policy rules.
    pub rules: BTreeSet<Rule>,
    /// Values below `/proc/sys`, by dotted or slashed name: `net.ipv4.ip_forward`, `net/ipv4/conf/ofabric/rp_filter`.
    ///
    /// Write names that contain an interface with slashes if the interface has a dot in its name. Those of `all`
    /// interfaces are written last.
    pub sysctls: BTreeMap<String, String>,
}

/// Whose hardware address it is.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct NeighbourKey {
    /// The interface behind which the neighbour is.
    pub dev: LinkName,
    /// The neighbour.
    pub ip: IpAddr,
}

/// Frames to `mac` leave through the tunnel `dev` to the host `dst`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct FdbEntry {
    /// The VXLAN device.
    pub dev: LinkName,
    /// Where the frame goes; [`MacAddr::ZERO`]: unknown and broadcast destinations (may have several `dst`).
    pub mac: MacAddr,
    /// The tunnel's other end.
    pub dst: IpAddr,
    /// The network to write into the packet; `None`: that of the device.
    pub vni: Option<Vni>,
}

/// A unicast route.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Route {
    /// The table that it is in; [`Route::MAIN`] is the usual one.
    pub table: u32,
    /// Where it leads; a prefix of length 0 is the default route.
    pub dest: IpNet,
    /// The next hop; `None`: the destination is on the link.
    pub via: Option<IpAddr>,
    /// The interface; `None`: the one through which `via` is reached.
    pub dev: Option<LinkName>,
    /// Believe that `via` is on the link, whatever the addresses say.
    pub onlink: bool,
    /// The source address of packets that this host sends.
    pub src: Option<IpAddr>,
}

/// A policy rule: which packets are routed by which table.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Rule {
    /// IPv4 or IPv6.
    pub family: Family,
    /// Its place: lower is asked first.
    pub pref: u32,
    /// Packets that came in here; `None`: any.
    pub iif: Option<LinkName>,
    /// Packets whose mark has this value under this mask; `None`: any.
    pub mark: Option<Mark>,
    /// Packets from here; `None`: anywhere.
    pub from: Option<IpNet>,
    /// Packets to here; `None`: anywhere.
    pub to: Option<IpNet>,
    /// The table to ask.
    pub table: u32,
}

/// A mark on packets and the bits of it that count.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Mark {
    /// The value of those bits.
    pub value: u32,
    /// The bits that count.
    pub mask: u32,
}

/// The version of the Internet Protocol.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Route {
    /// The number of the main table.
    pub const MAIN: u32 = 254;
    /// The number of the table of the host's own addresses.
    pub const LOCAL: u32 = 255;

    /// A route in the main table to a network behind a next hop.
    #[must_use]
    pub fn via(dest: IpNet, via: IpAddr) -> Self {
        Self { table: Self::MAIN, dest: dest.trunc(), via: Some(via), dev: None, onlink: false, src: None }
    }

    /// A route in the main table to a network on the link `dev`.
    #[must_use]
    pub fn on_link(dest: IpNet, dev: LinkName) -> Self {
        Self { table: Self::MAIN, dest: dest.trunc(), via: None, dev: Some(dev), onlink: false, src: None }
    }

    /// The default route of the next hop's family.
    #[must_use]
    pub fn default_via(via: IpAddr) -> Self {
        Self::via(Family::of(via).any(), via)
    }

    /// Moves it to another table.
    #[must_use]
    pub fn in_table(self, table: u32) -> Self {
        Self { table, ..self }
    }

    /// Binds it to an interface and believes that the next hop is behind it.
    #[must_use]
    pub fn onlink(self, dev: LinkName) -> Self {
        Self { dev: Some(dev), onlink: true, ..self }
    }
}

impl Rule {
    /// All packets of a family, at `pref`, are routed by `table`.
    #[must_use]
    pub const fn new(family: Family, pref: u32, table: u32) -> Self {
        Self { family, pref, iif: None, mark: None, from: None, to: None, table }
    }

    /// Restricts it to packets that came in through `iif`.
    #[must_use]
    pub fn with_iif(self, iif: LinkName) -> Self {
        Self { iif: Some(iif), ..self }
    }

    /// Restricts it to packets whose mark is `value` under `mask`.
    #[must_use]
    pub fn with_mark(self, value: u32, mask: u32) -> Self {
        Self { mark: Some(Mark { value, mask }), ..self }
    }
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The network of all addresses: `0.0.0.0/0` or `::/0`.
    #[must_use]
    pub fn any(self) -> IpNet {
        match self {
            Self::V4 => IpNet::V4(ipnet::Ipv4Net::default()),
            Self::V6 => IpNet::V6(ipnet::Ipv6Net::default()),
        }
    }
}
