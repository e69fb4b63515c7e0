//! What must hold: after each step, and after calm.

mod settled;
mod state;
mod table;

use std::net::IpAddr;

use overlay_gossip::Phase;
use swarm_state::object::TaskState;
use swarm_state::{NetworkId, TaskId};

use crate::Machine;

pub use settled::Unsettled;
pub(crate) use settled::find_unsettled;
pub(crate) use state::{Applied, StateCheck, tamper};
pub(crate) use table::TableCheck;

/// A rule that must never be broken was.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum Violation {
    /// A committed entry was replaced by another one.
    #[error("entry {index} of the log is not the same on {machine} as it was on others")]
    EntryChanged { index: u64, machine: Machine },
    /// The same entry had another effect.
    #[error("entry {index} of the log has another effect on {machine}")]
    EffectDiffers { index: u64, machine: Machine },
    /// An entry was applied twice, or entries were left out.
    #[error("{machine} applied entry {index} after entry {last}")]
    Order { index: u64, last: u64, machine: Machine },
    /// A leader does not have what was committed before.
    #[error("{machine} leads in term {term} without the committed entry {index}")]
    EntryLost { index: u64, term: u64, machine: Machine },
    #[error("{first} and {second} both lead in term {term}")]
    TwoLeaders { first: Machine, second: Machine, term: u64 },
    #[error("task {task} goes back from {from} to {to}")]
    TaskBackwards { task: TaskId, from: TaskState, to: TaskState },
    /// In the state: two holders that are both alive.
    #[error("{address} in network {network} is leased to {first} and to {second}")]
    LeasedTwice { network: NetworkId, address: IpAddr, first: String, second: String },
    /// The allocator's own books are wrong.
    #[error("the addresses do not add up: {reason}")]
    Books { reason: String },
    /// In the world: two processes with one address.
    #[error("{address} in network {network} is used by {first} and by {second} at once")]
    UsedTwice { network: NetworkId, address: IpAddr, first: TaskId, second: TaskId },
    #[error("{machine} sees the ended endpoint {task} of network {network} as {phase} again")]
    EndpointReturned { machine: Machine, network: String, task: String, phase: Phase },
    #[error("{machine} sees the endpoint {task} of network {network} go back from {from} to {to}")]
    PhaseBackwards { machine: Machine, network: String, task: String, from: Phase, to: Phase },
    #[error("{machine} sees the endpoint {task} of network {network} go back from version {from} to {to}")]
    VersionBackwards { machine: Machine, network: String, task: String, from: u64, to: u64 },
    /// The gossip refused what a worker wanted to publish.
    #[error("{machine} cannot publish the endpoint {task}: {reason}")]
    Unpublishable { machine: Machine, task: TaskId, reason: String },
}
