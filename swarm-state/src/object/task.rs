//! A task: one run of a service's template on one node.

use std::fmt;

use ipnet::IpNet;
use overlay_core::MacAddr;
use serde::{Deserialize, Serialize};

use super::Meta;
use crate::spec::{EndpointSpec, PortConfig, TaskSpec};
use crate::{NetworkId, NodeId, ServiceId, TaskId, Timestamp};

/// One run of a service's template. It runs once; another run is another task in the same place.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Version and times.
    pub meta: Meta,
    /// The service that it belongs to; that one may be gone already.
    pub service_id: ServiceId,
    /// `web.1`, or `web.<node>` for global services.
    pub name: String,
    /// Number within a replicated service, from 1; 0 for global services.
    pub slot: u64,
    /// Where it runs; set from the start for global services.
    pub node_id: Option<NodeId>,
    /// The template when it was created.
    pub spec: TaskSpec,
    /// The endpoint when it was created.
    pub endpoint_spec: EndpointSpec,
    /// The service's `spec_version` when it was created.
    pub spec_version: u64,
    /// How far it is, as reported.
    pub status: TaskStatus,
    /// How far it should be.
    pub desired_state: TaskState,
    /// It may not run before (the delay of a restart).
    pub not_before: Timestamp,
    /// When it began to run.
    pub running_since: Option<Timestamp>,
    /// When it ended, by the managers' clock.
    pub ended_at: Option<Timestamp>,
    /// Its addresses; empty again once it has ended.
    pub networks: Vec<Attachment>,
}

impl Task {
    /// Where it stands within its service.
    pub fn place(&self) -> Place {
        match (self.slot, self.node_id) {
            (0, Some(node)) => Place::Node(node),
            (slot, _) => Place::Slot(slot),
        }
    }

    /// Whether it is meant to run (now or later).
    pub fn is_wanted(&self) -> bool {
        self.desired_state <= TaskState::Running
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.status.state > TaskState::Running
    }

    /// Name of its container: `web.1.<task>`.
    pub fn container_name(&self) -> String {
        format!("{}.{}", self.name, self.id)
    }

    /// Its attachment to a network.
    pub fn attachment(&self, network: NetworkId) -> Option<&Attachment> {
        self.networks.iter().find(|attachment| attachment.network_id == network)
    }
}

/// A place within a service. At most one task in it is meant to run, but for updates that start the new one first.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Place {
    /// Of a replicated service, from 1.
    Slot(u64),
    /// Of a global service.
    Node(NodeId),
}

/// How a task is, as its node reports it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct TaskStatus {
    /// When the state was entered.
    pub timestamp: Timestamp,
    /// The state.
    pub state: TaskState,
    /// For people.
    pub message: String,
    /// Why it failed or waits; empty: it does not.
    #[serde(default)]
    pub err: String,
    /// What runs it.
    #[serde(default)]
    pub container: Option<ContainerStatus>,
    /// Ports of the node that it holds.
    #[serde(default)]
    pub port_status: Vec<PortConfig>,
}

/// What runs a task.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its first process; 0: none.
    pub pid: u32,
    /// How it ended.
    pub exit_code: i32,
}

/// A task's place in a network.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    /// The network.
    pub network_id: NetworkId,
    /// One address per family.
    pub addresses: Vec<IpNet>,
    /// 02:42 and the IPv4 address.
    pub mac: MacAddr,
    /// Further names of the service in this network.
    pub aliases: Vec<String>,
}

/// The states of a task, in the only order in which it goes through them.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u16)]
pub enum TaskState {
    /// Created, without addresses.
    #[default]
    New = 0,
    /// Has addresses, waits for a node.
    Pending = 64,
    /// Has a node.
    Assigned = 192,
    /// The node knows of it.
    Accepted = 256,
    /// The node prepares it.
    Preparing = 320,
    /// Prepared; waits until it is desired to run.
    Ready = 384,
    /// Being started.
    Starting = 448,
    /// Runs.
    Running = 512,
    /// Ended by itself, with code 0.
    Complete = 576,
    /// Ended because it should.
    Shutdown = 640,
    /// Ended by itself, otherwise.
    Failed = 704,
    /// Could not be prepared.
    Rejected = 768,
    /// Desired only: to be deleted once it has ended.
    Remove = 800,
    /// Its node has been away for too long.
    Orphaned = 832,
}

impl TaskState {
    /// The word that the API uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Pending => "pending",
            Self::Assigned => "assigned",
            Self::Accepted => "accepted",
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Shutdown => "shutdown",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Remove => "remove",
            Self::Orphaned => "orphaned",
        }
    }

    /// Docker's number.
    pub const fn number(self) -> u16 {
        self as u16
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
