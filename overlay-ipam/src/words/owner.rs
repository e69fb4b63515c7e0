//! Who can hold an address.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::OwnerKey;

/// Who holds an address of a network. An owner has at most one address of each family in a network.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Owner {
    /// The network itself: one per subnet, from its creation until its deletion.
    Gateway,
    /// The virtual address of a service.
    Vip(OwnerKey),
    /// The load balancer endpoint of a node.
    Lb(OwnerKey),
    /// A task or container.
    Task(OwnerKey),
    /// Something that asked for a fixed address, for instance a slot of a service.
    Static(OwnerKey),
    /// An address that is used by something outside, named when the network is created; stays until its
    /// deletion.
    Aux(OwnerKey),
    /// A node that hands out the addresses of a block by itself.
    Delegation(OwnerKey),
}

impl Owner {
    /// Whether the address belongs to the network's definition: it cannot be acquired or released.
    pub fn is_fixed(&self) -> bool {
        matches!(self, Self::Gateway | Self::Aux(_))
    }

    /// As a number, for what is stored.
    pub(crate) fn kind(&self) -> u8 {
        match self {
            Self::Gateway => 0,
            Self::Vip(_) => 1,
            Self::Lb(_) => 2,
            Self::Task(_) => 3,
            Self::Static(_) => 4,
            Self::Aux(_) => 5,
            Self::Delegation(_) => 6,
        }
    }

    pub(crate) fn key(&self) -> Option<&OwnerKey> {
        match self {
            Self::Gateway => None,
            Self::Vip(key)
            | Self::Lb(key)
            | Self::Task(key)
            | Self::Static(key)
            | Self::Aux(key)
            | Self::Delegation(key) => Some(key),
        }
    }

    /// From [`kind`](Self::kind) and the key; the gateway needs none.
    pub(crate) fn of_kind(kind: u8, key: Option<OwnerKey>) -> Option<Self> {
        match (kind, key) {
            (0, None) => Some(Self::Gateway),
            (1, Some(key)) => Some(Self::Vip(key)),
            (2, Some(key)) => Some(Self::Lb(key)),
            (3, Some(key)) => Some(Self::Task(key)),
            (4, Some(key)) => Some(Self::Static(key)),
            (5, Some(key)) => Some(Self::Aux(key)),
            (6, Some(key)) => Some(Self::Delegation(key)),
            _ => None,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway => f.write_str("the gateway"),
            Self::Vip(key) => write!(f, "service {key}"),
            Self::Lb(key) => write!(f, "node {key}"),
            Self::Task(key) => write!(f, "task {key}"),
            Self::Static(key) => write!(f, "static {key}"),
            Self::Aux(key) => write!(f, "auxiliary address {key}"),
            Self::Delegation(key) => write!(f, "delegation {key}"),
        }
    }
}
