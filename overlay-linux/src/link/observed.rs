use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;
use overlay_core::{MacAddr, Vni};

use super::{FdbEntry, LinkName, NeighbourKey, Route, Rule};
use crate::netns::NetNs;

/// What is ours in a namespace, and so may be removed if it is not desired.
///
/// Ours are, besides what is named here: addresses, neighbours and forwarding entries on our links, and those routes
/// over our links that carry our mark (the route protocol number [`Scope::PROTOCOL`]), which the kernel keeps for us.
/// A marked route over somebody else's link is changed if the desired state has one to the same destination, but never
/// removed; put such routes into a table of ours. So two desired states may share a namespace if their scopes differ.
///
/// ```
/// use overlay_linux::link::Scope;
///
/// let scope = Scope::links(["ob", "ov", "ve########"]).with_tables(1000..=1999).with_rules(100..=199);
/// assert!(scope.owns_link("ov001001") && !scope.owns_link("eth0"));
/// assert!(scope.owns_link("ve0123abcd") && !scope.owns_link("veth0"));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Scope {
    patterns: Vec<String>,
    tables: Option<RangeInclusive<u32>>,
    rules: Option<RangeInclusive<u32>>,
}

impl Scope {
    /// The mark on our routes and rules: a number that no known routing daemon uses.
    pub const PROTOCOL: u8 = 147;

    /// All links with these names.
    ///
    /// A pattern with `#` is a whole name in which each `#` stands for one digit of `0123456789abcdef`; any other is how
    /// the name begins. Mind that `ve` is how the names of other programs' links begin, too: `veth0`.
    #[must_use]
    pub fn links<P: Into<String>>(patterns: impl IntoIterator<Item = P>) -> Self {
        Self { patterns: patterns.into_iter().map(Into::into).collect(), tables: None, rules: None }
    }

    /// All routes in these tables as well, whoever made them.
    #[must_use]
    pub fn with_tables(self, tables: RangeInclusive<u32>) -> Self {
        Self { tables: Some(tables), ..self }
    }

    /// All policy rules with these preferences as well, whoever made them.
    ///
    /// A range that begins at 0 takes over the rule that asks the local table first. It is removed only if the desired
    /// state has another one that asks the local table.
    #[must_use]
    pub fn with_rules(self, prefs: RangeInclusive<u32>) -> Self {
        Self { rules: Some(prefs), ..self }
    }

    /// Tells whether a link of this name is ours.
    #[must_use]
    pub fn owns_link(&self, name: &str) -> bool {
        self.patterns.iter().any(|pattern| matches(pattern, name))
    }

    /// Tells whether every route of this table is ours.
    #[must_use]
    pub fn owns_table(&self, table: u32) -> bool {
        self.tables.as_ref().is_some_and(|tables| tables.contains(&table))
    }

    /// Tells whether rules with this preference are ours.
    #[must_use]
    pub fn owns_rule(&self, pref: u32) -> bool {
        self.rules.as_ref().is_some_and(|prefs| prefs.contains(&pref))
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    if !pattern.contains('#') {
        return name.starts_with(pattern);
    }
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    pattern.len() == name.len()
        && pattern.bytes().zip(name.bytes()).all(|(p, n)| p == n || p == b'#' && digit(n))
}

/// What of ours is in a namespace, as read by [`Netlink::observe`](super::Netlink::observe).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Observed {
    /// Our links, and those that the desired state calls existing; macvlans by the desired state's name for them.
    pub links: BTreeMap<LinkName, ObservedLink>,
    /// Macvlans on our links that the desired state does not know.
    pub strays: BTreeSet<Stray>,
    /// Permanent neighbours on those links.
    pub neighbours: BTreeMap<NeighbourKey, MacAddr>,
    /// Forwarding entries of our VXLAN devices.
    pub fdb: BTreeSet<FdbEntry>,
    /// Our routes.
    pub routes: BTreeSet<Route>,
    /// Our rules, in order; the kernel may hold the same one more than once.
    pub rules: Vec<Rule>,
    /// The values that the desired state names, by the name used there; those that do not exist are missing.
    pub sysctls: BTreeMap<String, String>,
}

/// One interface as it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ObservedLink {
    /// What sort of device it is.
    pub kind: ObservedKind,
    /// Its hardware address.
    pub mac: Option<MacAddr>,
    /// The largest packet in bytes.
    pub mtu: u32,
    /// The largest packet in bytes that it may be handed to be cut.
    pub gso_max_size: u32,
    /// The name of the device that it is a port of.
    pub master: Option<LinkName>,
    /// Whether it is an isolated port of a bridge.
    pub isolated: bool,
    /// Its addresses.
    pub addresses: BTreeSet<IpNet>,
    /// Whether it is set to carry traffic.
    pub up: bool,
}

/// The sort of an observed interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ObservedKind {
    /// A bridge.
    Bridge {
        /// Neither spanning tree, nor multicast snooping, nor calls into netfilter.
        plain: bool,
    },
    /// A tunnel.
    Vxlan(ObservedVxlan),
    /// One end of a pair.
    Veth {
        /// The other end, if it is where the desired state wants it.
        peer: Option<ObservedPeer>,
    },
    /// On top of a device of this namespace, and where the desired state wants it.
    Macvlan {
        /// The device.
        lower: LinkName,
        /// Whether those on the same device reach each other.
        bridge: bool,
        /// The interface.
        peer: ObservedPeer,
    },
    /// Any other, such as `loopback`, by the kernel's name.
    Other(String),
}

/// A tunnel as it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ObservedVxlan {
    /// The network; `None` for one that carries any.
    pub vni: Option<Vni>,
    /// The source of its packets.
    pub local: Option<IpAddr>,
    /// The UDP port.
    pub port: u16,
    /// Learns where senders are from their packets.
    pub learning: bool,
    /// Answers ARP and ND itself.
    pub proxy: bool,
    /// Tells about unknown destinations.
    pub l2miss: bool,
    /// Tells about unknown addresses.
    pub l3miss: bool,
    /// Writes UDP checksums.
    pub checksums: bool,
}

/// A macvlan on top of a link of ours, in another namespace, of which the desired state does not speak.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Stray {
    /// The number by which this namespace knows the other one.
    pub namespace: i32,
    /// Its name there.
    pub name: LinkName,
    /// What it is on top of.
    pub lower: LinkName,
}

/// The far end of a pair, or a macvlan, as it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ObservedPeer {
    /// Where it is.
    pub netns: Arc<NetNs>,
    /// Its name there.
    pub name: LinkName,
    /// Its hardware address.
    pub mac: Option<MacAddr>,
    /// The largest packet in bytes.
    pub mtu: u32,
    /// The largest packet in bytes that it may be handed to be cut.
    pub gso_max_size: u32,
    /// Its addresses.
    pub addresses: BTreeSet<IpNet>,
    /// Whether it is set to carry traffic.
    pub up: bool,
    /// Our routes through it.
    pub routes: BTreeSet<Route>,
}
