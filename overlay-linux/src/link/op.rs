use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;
use overlay_core::MacAddr;

use super::{FdbEntry, Link, LinkKind, LinkName, NeighbourKey, Route, Rule, Stray};
use crate::netns::NetNs;

/// One step from what is to what should be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Op {
    /// The namespace in which it happens.
    pub place: Place,
    /// What happens.
    pub change: Change,
}

/// A namespace, as seen from the one that is being programmed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// The one that is being programmed.
    Here,
    /// That of a veth's far end or of a macvlan.
    There(Arc<NetNs>),
}

/// What one step does. Each but the creation of a link may be repeated without harm.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the variants name their fields")]
#[non_exhaustive]
pub enum Change {
    /// Makes the device and the far end of a veth, or a macvlan, without port, addresses and traffic.
    CreateLink { name: LinkName, link: Link },
    /// Removes the device and everything on it.
    DeleteLink { name: LinkName },
    /// Removes a macvlan from a namespace of which only the number is known.
    DeleteStray { stray: Stray },
    /// Sets the hardware address.
    SetMac { name: LinkName, mac: MacAddr },
    /// Sets the largest packet.
    SetMtu { name: LinkName, mtu: u32 },
    /// Sets the largest packet that it may be handed to be cut.
    SetGsoMaxSize { name: LinkName, size: u32 },
    /// Makes it a port, or no port.
    SetMaster { name: LinkName, master: Option<LinkName> },
    /// Lets a port talk to other isolated ports, or not.
    SetIsolated { name: LinkName, isolated: bool },
    /// Turns off spanning tree, multicast snooping and calls into netfilter.
    SimplifyBridge { name: LinkName },
    /// Lets it carry traffic, or not.
    SetUp { name: LinkName, up: bool },
    /// Adds an address; one that is there stays.
    AddAddress { dev: LinkName, address: IpNet },
    /// Removes an address; the kernel may remove others of the same network with it.
    DeleteAddress { dev: LinkName, address: IpNet },
    /// Adds or replaces a permanent neighbour.
    SetNeighbour { key: NeighbourKey, mac: MacAddr },
    /// Removes a neighbour.
    DeleteNeighbour { key: NeighbourKey },
    /// Adds a forwarding entry; it replaces the one of the same unicast address.
    SetFdb { entry: FdbEntry },
    /// Removes a forwarding entry.
    DeleteFdb { entry: FdbEntry },
    /// Adds a route or replaces the one to the same destination.
    SetRoute { route: Route },
    /// Removes a route.
    DeleteRoute { route: Route },
    /// Adds a rule.
    AddRule { rule: Rule },
    /// Removes a rule.
    DeleteRule { rule: Rule },
    /// Writes a value below `/proc/sys`.
    SetSysctl { name: String, value: String },
}

impl Op {
    /// A step in the namespace that is being programmed.
    #[must_use]
    pub const fn here(change: Change) -> Self {
        Self { place: Place::Here, change }
    }

    /// The link on whose existence the step depends; `None` if it needs none, or removes it.
    #[must_use]
    pub fn needs(&self) -> Option<&LinkName> {
        match &self.change {
            Change::CreateLink { link: Link { kind: LinkKind::Macvlan(macvlan), .. }, .. } => {
                Some(&macvlan.lower)
            }
            Change::CreateLink { .. } | Change::DeleteLink { .. } | Change::SetSysctl { .. } => None,
            Change::DeleteStray { .. } => None,
            Change::AddRule { .. } | Change::DeleteRule { .. } => None,
            Change::SetMac { name, .. }
            | Change::SetMtu { name, .. }
            | Change::SetGsoMaxSize { name, .. }
            | Change::SetMaster { name, .. }
            | Change::SetIsolated { name, .. }
            | Change::SimplifyBridge { name }
            | Change::SetUp { name, .. } => Some(name),
            Change::AddAddress { dev, .. } | Change::DeleteAddress { dev, .. } => Some(dev),
            Change::SetNeighbour { key, .. } | Change::DeleteNeighbour { key } => Some(&key.dev),
            Change::SetFdb { entry } | Change::DeleteFdb { entry } => Some(&entry.dev),
            Change::SetRoute { route } | Change::DeleteRoute { route } => route.dev.as_ref(),
        }
    }
}

impl Change {
    pub(super) const fn is_removal(&self) -> bool {
        matches!(
            self,
            Self::DeleteLink { .. }
                | Self::DeleteStray { .. }
                | Self::DeleteAddress { .. }
                | Self::DeleteNeighbour { .. }
                | Self::DeleteFdb { .. }
                | Self::DeleteRoute { .. }
                | Self::DeleteRule { .. }
        )
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Here => self.change.fmt(f),
            Place::There(netns) => write!(f, "in {netns:?}: {}", self.change),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateLink { name, .. } => write!(f, "link {name:?}: create"),
            Self::DeleteLink { name } => write!(f, "link {name:?}: delete"),
            Self::DeleteStray { stray } => {
                write!(
                    f,
                    "link {:?} on {:?}, in namespace {}: delete",
                    stray.name, stray.lower, stray.namespace
                )
            }
            Self::SetMac { name, mac } => write!(f, "link {name:?}: set address {mac}"),
            Self::SetMtu { name, mtu } => write!(f, "link {name:?}: set mtu {mtu}"),
            Self::SetGsoMaxSize { name, size } => write!(f, "link {name:?}: set gso_max_size {size}"),
            Self::SetMaster { name, master: Some(master) } => write!(f, "link {name:?}: join {master:?}"),
            Self::SetMaster { name, master: None } => write!(f, "link {name:?}: leave its bridge"),
            Self::SetIsolated { name, isolated: true } => write!(f, "link {name:?}: isolate"),
            Self::SetIsolated { name, isolated: false } => write!(f, "link {name:?}: end isolation"),
            Self::SimplifyBridge { name } => write!(f, "link {name:?}: simplify bridge"),
            Self::SetUp { name, up } => write!(f, "link {name:?}: set {}", if *up { "up" } else { "down" }),
            Self::AddAddress { dev, address } => write!(f, "address {address} on {dev:?}: add"),
            Self::DeleteAddress { dev, address } => write!(f, "address {address} on {dev:?}: delete"),
            Self::SetNeighbour { key, mac } => {
                write!(f, "neighbour {} at {mac} on {:?}: set", key.ip, key.dev)
            }
            Self::DeleteNeighbour { key } => write!(f, "neighbour {} on {:?}: delete", key.ip, key.dev),
            Self::SetFdb { entry } => write!(f, "{entry}: set"),
            Self::DeleteFdb { entry } => write!(f, "{entry}: delete"),
            Self::SetRoute { route } => write!(f, "{route}: set"),
            Self::DeleteRoute { route } => write!(f, "{route}: delete"),
            Self::AddRule { rule } => write!(f, "{rule}: add"),
            Self::DeleteRule { rule } => write!(f, "{rule}: delete"),
            Self::SetSysctl { name, value } => write!(f, "sysctl {name}: set {value:?}"),
        }
    }
}

impl fmt::Display for FdbEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fdb {} to {} on {:?}", self.mac, self.dst, self.dev)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route {}", self.dest)?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        if let Some(dev) = &self.dev {
            write!(f, " on {dev:?}")?;
        }
        if self.table == Self::MAIN { Ok(()) } else { write!(f, " in table {}", self.table) }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}", self.pref)?;
        if let Some(iif) = &self.iif {
            write!(f, " in {iif:?}")?;
        }
        if let Some(mark) = self.mark {
            write!(f, " mark {:#x}/{:#x}", mark.value, mark.mask)?;
        }
        if let Some(from) = self.from {
            write!(f, " from {from}")?;
        }
        if let Some(to) = self.to {
            write!(f, " to {to}")?;
        }
        write!(f, " table {}", self.table)
    }
}
