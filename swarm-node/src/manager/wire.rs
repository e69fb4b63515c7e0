//! What managers and workers say to each other after the first frame.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use swarm_state::{
    Assignment, Command, NodeId, Rejection, Reply, TaskId, TaskStatusUpdate, spec::NodeDescription,
};

/// A worker to its manager.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SessionUp {
    /// The first message: here I am.
    Register {
        description: Box<NodeDescription>,
        addr: IpAddr,
        data_path_addr: Option<IpAddr>,
        /// What the host reaches without the swarm, if that is known.
        #[serde(default)]
        routes: Option<Vec<IpNet>>,
    },
    /// What the host reaches without the swarm has changed; complete each time.
    Routes(Vec<IpNet>),
    /// Nothing here shows an address any more that was given back up to this mark.
    Forgotten { mark: u64 },
    /// How tasks are; complete after a reconnect, then what changed.
    Statuses(Vec<TaskStatusUpdate>),
    /// Still here.
    Heartbeat,
    /// The daemon is being restarted: its tasks run on, it will be back.
    Pausing,
    /// Lines that the manager asked for; `done` with the last.
    Logs { request: u64, lines: Vec<WireLine>, done: bool },
}

/// A manager to a worker.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SessionDown {
    /// Not the leader: ask there, if it is known.
    Redirect { leader: Option<String> },
    /// Everything that the worker should do.
    Assignment(Box<Assignment>),
    /// Still here.
    Heartbeat,
    /// Send the output of these tasks.
    Logs { request: u64, tasks: Vec<TaskId>, options: WireLogOptions },
    /// No more of that, please.
    StopLogs { request: u64 },
    /// The node was removed from the swarm.
    Removed,
}

/// Which lines are wanted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct WireLogOptions {
    pub(crate) follow: bool,
    pub(crate) tail: Option<usize>,
    pub(crate) since_ns: u64,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

/// A line on the wire.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct WireLine {
    pub(crate) task: TaskId,
    pub(crate) node: NodeId,
    pub(crate) stderr: bool,
    pub(crate) at_ns: u64,
    pub(crate) line: Vec<u8>,
}

/// A manager to the leader.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ControlRequest {
    /// Put this into the log.
    Propose(Box<Command>),
    /// Make me a member of the log.
    JoinRaft { node: NodeId, addr: String },
    /// Take this node out of the log.
    LeaveRaft { node: NodeId },
    /// Send the output of these tasks; answered by many [`ControlReply::Lines`].
    Logs { tasks: Vec<TaskId>, options: WireLogOptions },
}

/// The leader's answer.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ControlReply {
    /// Applied at this index.
    Applied { index: u64, reply: Reply },
    /// Refused.
    Rejected(Rejection),
    /// Not the leader.
    NotLeader,
    /// A member now, under this number; these are the members' addresses.
    Joined { raft_id: u64, members: Vec<(u64, String)> },
    /// It is done.
    Done,
    /// Some lines; no more follow after `done`.
    Lines { lines: Vec<WireLine>, done: bool },
}
