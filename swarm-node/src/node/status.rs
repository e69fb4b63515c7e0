//! What a node tells about itself, its peers and its tasks.

use std::net::IpAddr;

use swarm_state::{ClusterId, NodeId, TaskId};

use crate::runtime::Stream;

/// Whether the node is in a swarm; the words of `docker info`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LocalState {
    /// In none.
    Inactive,
    /// Joining.
    Pending,
    /// A member.
    Active,
    /// Could not continue; see [`LocalStatus::error`].
    Error,
}

/// What a node knows about itself.
#[derive(Clone, Debug)]
pub struct LocalStatus {
    /// Whether it is in a swarm.
    pub state: LocalState,
    /// Why it could not continue; empty if it could.
    pub error: String,
    /// Its id in the swarm.
    pub node_id: Option<NodeId>,
    /// The swarm's id.
    pub cluster_id: Option<ClusterId>,
    /// The address that it advertises.
    pub addr: Option<IpAddr>,
    /// Whether it is a manager, so that [`Node::read`](crate::Node::read) and [`Node::propose`](crate::Node::propose) work.
    pub is_manager: bool,
    /// The managers that it knows, `(id, address:port)`.
    pub managers: Vec<(NodeId, String)>,
}

/// How a manager is, as this manager sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ManagerHealth {
    /// Whether it leads.
    pub leader: bool,
    /// Whether it answers.
    pub reachable: bool,
}

/// A node that takes part in a network.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peer {
    /// The first 12 characters of its id.
    pub name: String,
    /// Where its VXLAN packets go.
    pub addr: IpAddr,
}

/// Which part of the logs is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogOptions {
    /// Stay and send what comes.
    pub follow: bool,
    /// The last so many lines of each task; `None`: all.
    pub tail: Option<usize>,
    /// Nothing older than this, in nanoseconds since the epoch.
    pub since_ns: u64,
    /// Whether stdout is wanted.
    pub stdout: bool,
    /// Whether stderr is wanted.
    pub stderr: bool,
}

/// A line that a task wrote.
#[derive(Clone, Debug)]
pub struct TaskLine {
    /// The task.
    pub task: TaskId,
    /// Where the task runs.
    pub node: NodeId,
    /// stdout or stderr.
    pub stream: Stream,
    /// Nanoseconds since the epoch.
    pub at_ns: u64,
    /// The line with its line feed.
    pub line: Vec<u8>,
}
