//! What travels between machines.

use std::net::SocketAddr;

use bytes::Bytes;
use overlay_gossip::{DialFailure, DialId};
use swarm_state::{Assignment, TaskStatusUpdate};

use crate::Machine;

/// One message of a stream. Whoever misses one in the sequence ends the session.
#[derive(Clone, Debug)]
pub(crate) struct Frame<T> {
    pub(crate) session: u64,
    pub(crate) sequence: u64,
    pub(crate) body: T,
}

/// From a worker to the leader.
#[derive(Clone, Debug)]
pub(crate) enum Up {
    Register,
    Heartbeat,
    Statuses(Vec<TaskStatusUpdate>),
}

/// From the leader to a worker.
#[derive(Clone, Debug)]
pub(crate) enum Down {
    Assignment(Box<Assignment>),
    Heartbeat,
    /// Not here. Outside of the sequence.
    Redirect(Option<Machine>),
    /// The session is over. Outside of the sequence.
    Closed,
}

/// A machine and which of its lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Life {
    pub(crate) machine: Machine,
    pub(crate) life: u64,
}

/// What is on its way.
#[derive(Clone, Debug)]
pub(crate) enum Parcel {
    Datagram { from: SocketAddr, payload: Bytes },
    Raft { message: Bytes },
    Dial { stream: u64, from: SocketAddr, payload: Bytes, reply: bool },
    Answered { asker: Life, id: DialId, payload: Bytes },
    Failed { asker: Life, id: DialId, failure: DialFailure },
    Up(Frame<Up>),
    Down(Frame<Down>),
}

impl Parcel {
    /// A word for the trace, and the bytes as far as there are any.
    pub(crate) fn describe(&self) -> (&'static str, String, &[u8]) {
        match self {
            Self::Datagram { payload, .. } => ("datagram", String::new(), payload),
            Self::Raft { message } => ("raft", String::new(), message),
            Self::Dial { payload, .. } => ("dial", String::new(), payload),
            Self::Answered { payload, .. } => ("answer", String::new(), payload),
            Self::Failed { failure, .. } => ("failed", format!("{failure:?}"), &[]),
            Self::Up(frame) => ("up", format!("{frame:?}"), &[]),
            Self::Down(frame) => ("down", format!("{frame:?}"), &[]),
        }
    }
}
