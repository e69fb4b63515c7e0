//! What a swarm consists of: the objects of the replicated state.

mod cluster;
mod network;
mod node;
mod seal;
mod secret;
mod service;
mod task;

pub use cluster::{Cluster, GossipKey, JoinTokens, RootCa};
pub use network::{AttachedContainer, Network, VXLAN_ID_LIST};
pub use node::{ManagerStatus, Node, NodeStatus};
pub use seal::{
    NetworkKeys, NetworkSeal, PlaneChoice, PlaneChoiceError, Rotation, RotationStep, SealAlgorithm,
    SealAlgorithmError, SealSecret,
};
pub use secret::{Config, Secret};
pub use service::{Endpoint, Service, UpdateState, UpdateStatus, VirtualIp};
pub use task::{Attachment, ContainerStatus, Place, Task, TaskState, TaskStatus};

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Version and times of an object.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// Index of the log entry that changed the object last. An update must name it.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

impl Meta {
    pub(crate) const fn new(index: u64, at: Timestamp) -> Self {
        Self { version: index, created_at: at, updated_at: at }
    }

    pub(crate) const fn touch(&mut self, index: u64, at: Timestamp) {
        self.version = index;
        self.updated_at = at;
    }
}
