//! A record and the stages of its life.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use crate::{NetworkId, NodeName};

/// One row of a replicated table, written by its owner alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// The network it belongs to.
    pub network: NetworkId,
    /// The table in that network.
    pub table: String,
    /// The key; each owner has keys of its own.
    pub key: String,
    /// Who wrote it.
    pub owner: NodeName,
    /// Grows with each write of the owner, also from one life of the owner to the next.
    pub version: u64,
    /// The stage of its life.
    pub phase: Phase,
    /// What the owner says.
    pub value: Bytes,
    /// The owner is unreachable or unknown; the record counts again when the owner is back.
    pub suspended: bool,
}

/// The stages in the life of what a record describes. They only go forward within one life of the owner; a
/// [`Gone`](Self::Gone) key may be published anew.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Phase {
    /// Exists, takes no traffic yet.
    Starting,
    /// Takes traffic.
    Ready,
    /// Finishes what it has, takes nothing new.
    Draining,
    /// Withdrawn.
    Gone,
}

impl Phase {
    pub(crate) fn to_wire(self) -> u8 {
        match self {
            Self::Starting => 0,
            Self::Ready => 1,
            Self::Draining => 2,
            Self::Gone => 3,
        }
    }

    pub(crate) fn from_wire(phase: u8) -> Option<Self> {
        match phase {
            0 => Some(Self::Starting),
            1 => Some(Self::Ready),
            2 => Some(Self::Draining),
            3 => Some(Self::Gone),
            _ => None,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Gone => "gone",
        })
    }
}

/// The text names no [`Phase`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a phase is one of starting, ready, draining, gone")]
pub struct PhaseError;

impl FromStr for Phase {
    type Err = PhaseError;

    fn from_str(s: &str) -> Result<Self, PhaseError> {
        match s {
            "starting" => Ok(Self::Starting),
            "ready" => Ok(Self::Ready),
            "draining" => Ok(Self::Draining),
            "gone" => Ok(Self::Gone),
            _ => Err(PhaseError),
        }
    }
}
