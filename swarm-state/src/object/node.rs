//! A member of the cluster.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Meta;
use crate::spec::{Availability, NodeDescription, NodeRole, NodeSpec, NodeState};
use crate::{NetworkId, NodeId, Timestamp};

/// A member of the cluster. Its name in the gossip is its id.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its id, the common name of its certificate.
    pub id: NodeId,
    /// Version and times.
    pub meta: Meta,
    /// What it is asked to be.
    pub spec: NodeSpec,
    /// The role that it has; follows `spec.role` as soon as the managers have changed it.
    pub role: NodeRole,
    /// What it says it is.
    pub description: NodeDescription,
    /// How it is.
    pub status: NodeStatus,
    /// Its part in the replicated log, if it is a manager.
    pub manager: Option<ManagerStatus>,
    /// Its own address in each network: in ingress always, in others once a task of it has been there.
    pub attachments: BTreeMap<NetworkId, Vec<IpNet>>,
    /// Where its VXLAN packets go.
    pub data_path_addr: Option<IpAddr>,
}

impl Node {
    /// Whether the scheduler may give it tasks.
    pub fn takes_tasks(&self) -> bool {
        self.status.state == NodeState::Ready && self.spec.availability == Availability::Active
    }

    /// Whether tasks on it have to go elsewhere.
    pub fn loses_tasks(&self) -> bool {
        self.status.state == NodeState::Down || self.spec.availability == Availability::Drain
    }

    /// Its host name, or its id as long as that is not known.
    pub fn display_name(&self) -> &str {
        if self.description.hostname.is_empty() { self.id.as_str() } else { &self.description.hostname }
    }

    /// Its own address in a network.
    pub fn address(&self, network: NetworkId) -> Option<IpNet> {
        self.attachments.get(&network)?.first().copied()
    }
}

/// How a node is.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The state.
    pub state: NodeState,
    /// Why.
    pub message: String,
    /// Its address; without port.
    pub addr: Option<IpAddr>,
    /// When the state was entered.
    pub since: Timestamp,
}

/// A manager's part in the replicated log. Who leads is not stored: the log knows.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct ManagerStatus {
    /// Its member id; never used again.
    pub raft_id: u64,
    /// `address:port` for the others.
    pub addr: String,
}
