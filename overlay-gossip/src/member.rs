//! What is known about a member.

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::NodeName;

/// A member as this node sees it at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    /// Its name.
    pub name: NodeName,
    /// Where it listens, UDP and TCP.
    pub addr: SocketAddr,
    /// What this node believes about it.
    pub state: MemberState,
    /// The version of its own claim to be alive; only the member itself raises it.
    pub incarnation: u32,
    /// What the member says about itself, at most 512 bytes.
    pub meta: Bytes,
    /// The protocol versions it speaks.
    pub vsn: Vsn,
}

/// What a node believes about a member.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum MemberState {
    /// It answers.
    Alive,
    /// It did not answer somebody and has some time left to object.
    Suspect,
    /// It did not object in time.
    Dead,
    /// It said goodbye.
    Left,
}

impl MemberState {
    /// Whether the member counts as part of the cluster: alive or suspect.
    #[must_use]
    pub fn is_up(self) -> bool {
        matches!(self, Self::Alive | Self::Suspect)
    }

    pub(crate) fn to_wire(self) -> u8 {
        match self {
            Self::Alive => 0,
            Self::Suspect => 1,
            Self::Dead => 2,
            Self::Left => 3,
        }
    }

    pub(crate) fn from_wire(state: u64) -> Option<Self> {
        match state {
            0 => Some(Self::Alive),
            1 => Some(Self::Suspect),
            2 => Some(Self::Dead),
            3 => Some(Self::Left),
            _ => None,
        }
    }
}

impl fmt::Display for MemberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Dead => "dead",
            Self::Left => "left",
        })
    }
}

/// Protocol versions of a member: of memberlist itself, and of what runs on top of it (the delegate).
///
/// Members refuse each other when a current version lies outside of what the other side understands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Vsn {
    /// Oldest memberlist protocol understood.
    pub protocol_min: u8,
    /// Newest memberlist protocol understood.
    pub protocol_max: u8,
    /// Memberlist protocol spoken.
    pub protocol: u8,
    /// Oldest delegate protocol understood.
    pub delegate_min: u8,
    /// Newest delegate protocol understood. [`Vsn::TABLES`] marks a node that understands this crate's tables.
    pub delegate_max: u8,
    /// Delegate protocol spoken.
    pub delegate: u8,
}

impl Vsn {
    /// The value of `delegate_max` by which nodes with tables know each other. Other implementations only compare
    /// it with their own version, and no version of theirs comes near.
    pub const TABLES: u8 = 0x4f;

    /// What bare memberlist and Docker announce, with the mark of tables.
    pub const MEMBERLIST: Self = Self {
        protocol_min: 1,
        protocol_max: 5,
        protocol: 2,
        delegate_min: 0,
        delegate_max: Self::TABLES,
        delegate: 0,
    };

    /// What Docker announces. Nodes of this crate announce it in [`TableFormat::NetworkDb`](crate::TableFormat).
    pub const DOCKER: Self = Self { delegate_max: 0, ..Self::MEMBERLIST };

    /// What serf announces (delegate 2 to 5, speaking 5), with the mark of tables.
    pub const SERF: Self = Self { delegate_min: 2, delegate: 5, ..Self::MEMBERLIST };

    /// Whether the member understands this crate's tables.
    #[must_use]
    pub fn has_tables(self) -> bool {
        self.delegate_max == Self::TABLES
    }

    pub(crate) fn to_bytes(self) -> [u8; 6] {
        [
            self.protocol_min,
            self.protocol_max,
            self.protocol,
            self.delegate_min,
            self.delegate_max,
            self.delegate,
        ]
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let &[protocol_min, protocol_max, protocol, delegate_min, delegate_max, delegate] = bytes else {
            return None;
        };
        Some(Self { protocol_min, protocol_max, protocol, delegate_min, delegate_max, delegate })
    }

    /// Versions that no implementation can mean.
    pub(crate) fn is_sane(self) -> bool {
        self.protocol_min != 0 && self.protocol_max != 0 && self.protocol_min <= self.protocol_max
    }
}
