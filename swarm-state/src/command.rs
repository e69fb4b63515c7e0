//! What can be done to a swarm: the entries of the replicated log.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::object::{
    Cluster, GossipKey, JoinTokens, RootCa, SealSecret, TaskState, TaskStatus, UpdateStatus,
};
use crate::spec::{
    Availability, ConfigSpec, IpamConfig, Labels, NetworkSpec, NodeDescription, NodeRole, NodeSpec,
    NodeState, SecretSpec, ServiceSpec, SwarmSpec,
};
use crate::{ConfigId, NetworkId, NodeId, SecretId, ServiceId, TaskId, Timestamp};

/// One entry of the log, in JSON.
///
/// Whatever a replica cannot compute by itself (time, ids, randomness) is in it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// When it was proposed, by the proposer's clock. Earlier than the last one counts as equal to it.
    pub at: Timestamp,
    /// What to do.
    pub action: Action,
    /// Random bytes for the keys that the action makes, in blocks of 32; as many as [`Action::draws`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub random: Vec<SealSecret>,
}

impl Command {
    /// With fresh random bytes, if the action makes keys.
    #[must_use]
    pub fn with_random(mut self, mut draw: impl FnMut() -> [u8; 32]) -> Self {
        self.random = (0..self.action.draws()).map(|_| SealSecret(draw().to_vec())).collect();
        self
    }

    /// The bytes of the log.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default() // all keys are strings and all numbers finite
    }

    /// Reads the bytes of the log.
    ///
    /// # Errors
    ///
    /// If they are no command.
    pub fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

/// What to do.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields are named as those of the objects")]
pub enum Action {
    /// Founds the cluster with its first manager and the ingress network.
    InitCluster {
        cluster: Box<Cluster>,
        node: NewNode,
        ingress: NetworkId,
    },
    /// Changes settings or replaces join tokens (`None`: keep).
    UpdateCluster {
        version: u64,
        spec: Box<SwarmSpec>,
        tokens: Option<JoinTokens>,
    },
    /// Replaces the keys of the gossip, the current one first.
    SetGossipKeys {
        keys: Vec<GossipKey>,
    },
    /// Replaces the cluster's authority and, as the tokens contain its digest, the tokens.
    SetRootCa {
        root_ca: RootCa,
        tokens: JoinTokens,
    },
    /// Admits a node whose certificate has been issued. Known ones stay as they are.
    JoinNode {
        node: NewNode,
    },
    /// A node reports in: it is ready from now on.
    RegisterNode {
        id: NodeId,
        description: Box<NodeDescription>,
        addr: IpAddr,
        data_path_addr: Option<IpAddr>,
    },
    /// What is known about whether nodes are there.
    SetNodeStatus {
        nodes: Vec<NodeStatusUpdate>,
    },
    /// Changes labels, availability or the desired role.
    UpdateNode {
        id: NodeId,
        version: u64,
        spec: NodeSpec,
    },
    /// What a node's host reaches without the swarm: the prefixes on its links, and its resolvers, but for the links that
    /// the swarm made. They replace what it reported before, and new subnets keep clear of them; at most 1,024. What no
    /// network could use anyway (default routes, loopback, link-local, multicast) is left out.
    ReportRoutes {
        node: NodeId,
        nets: Vec<IpNet>,
    },
    /// Nodes have forgotten all earlier holders of addresses up to a mark, see
    /// [`Assignment::mark`](crate::Assignment::mark). [`State::useful_acks`](crate::State::useful_acks) says which are
    /// worth an entry of the log.
    AckAddresses {
        acks: Vec<(NodeId, u64)>,
    },
    /// Forgets a node.
    RemoveNode {
        id: NodeId,
        force: bool,
    },
    /// The node is a member of the log.
    SetManager {
        node: NodeId,
        raft_id: u64,
        addr: String,
    },
    /// The node is no member of the log any more.
    UnsetManager {
        node: NodeId,
    },
    CreateNetwork {
        id: NetworkId,
        spec: Box<NetworkSpec>,
    },
    /// Gives a network more addresses: a subnet around one of its own takes its place and no address changes, any other
    /// one is added.
    GrowNetwork {
        id: NetworkId,
        subnet: Box<IpamConfig>,
    },
    RemoveNetwork {
        id: NetworkId,
    },
    /// Begins to replace the keys of a sealed network now, each step this long after the one before
    /// (`None`: [`Rotation::GRACE`](crate::object::Rotation::GRACE)).
    RotateNetworkKeys {
        id: NetworkId,
        grace: Option<Duration>,
    },
    CreateService {
        id: ServiceId,
        spec: Box<ServiceSpec>,
    },
    /// With `rollback` the previous spec is taken and `spec` ignored.
    UpdateService {
        id: ServiceId,
        version: u64,
        spec: Box<ServiceSpec>,
        rollback: bool,
    },
    RemoveService {
        id: ServiceId,
    },
    /// What a node reports about its tasks. States never go back; unknown tasks are skipped.
    UpdateTaskStatuses {
        node: NodeId,
        updates: Vec<TaskStatusUpdate>,
    },
    /// What the reconcilers found. Steps that do not fit the state any more are skipped.
    Plan {
        ops: Vec<TaskOp>,
    },
    /// Gives a container outside of services an address in an attachable network.
    AttachContainer(AttachContainer),
    /// Takes it back; unknown ones are no error.
    DetachContainer {
        id: TaskId,
    },
    CreateSecret {
        id: SecretId,
        spec: SecretSpec,
    },
    /// Changes labels only.
    UpdateSecret {
        id: SecretId,
        version: u64,
        labels: Labels,
    },
    RemoveSecret {
        id: SecretId,
    },
    CreateConfig {
        id: ConfigId,
        spec: ConfigSpec,
    },
    /// Changes labels only.
    UpdateConfig {
        id: ConfigId,
        version: u64,
        labels: Labels,
    },
    RemoveConfig {
        id: ConfigId,
    },
    /// Moves the clock.
    Tick {},
}

impl Action {
    /// Stamps it. What makes keys needs [`Command::with_random`] too.
    pub const fn at(self, at: Timestamp) -> Command {
        Command { at, action: self, random: Vec::new() }
    }

    /// How many blocks of random bytes it takes.
    #[expect(clippy::wildcard_enum_match_arm, reason = "few actions make keys")]
    pub fn draws(&self) -> usize {
        let makes_key =
            |op: &&TaskOp| matches!(op, TaskOp::StepNetworkKeys { .. } | TaskOp::StepGossipKeys { .. });
        match self {
            Self::CreateNetwork { .. } | Self::RotateNetworkKeys { .. } => 1,
            Self::Plan { ops } => ops.iter().filter(makes_key).count(),
            _ => 0,
        }
    }
}

/// The fields of [`Action::AttachContainer`].
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct AttachContainer {
    /// A new id.
    pub id: TaskId,
    /// The network.
    pub network: NetworkId,
    /// Where the container runs.
    pub node: NodeId,
    /// The container's id.
    pub container: String,
    /// The container's name.
    pub name: String,
    /// This address or none (`docker run --ip`).
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// Further names in this network.
    #[serde(default)]
    pub aliases: Vec<String>,
}

/// A node that is admitted.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct NewNode {
    /// Its id.
    pub id: NodeId,
    /// Its role.
    pub role: NodeRole,
    /// Whether it takes tasks.
    #[serde(default)]
    pub availability: Availability,
    /// Its host name, as far as known.
    #[serde(default)]
    pub hostname: String,
    /// Where it was seen.
    #[serde(default)]
    pub addr: Option<IpAddr>,
}

/// What is known about a node.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct NodeStatusUpdate {
    /// The node.
    pub id: NodeId,
    /// Its state.
    pub state: NodeState,
    /// Why.
    #[serde(default)]
    pub message: String,
}

/// What a node reports about a task.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct TaskStatusUpdate {
    /// The task.
    pub task: TaskId,
    /// How it is.
    pub status: TaskStatus,
}

/// One step of a plan.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields are named as those of the task")]
pub enum TaskOp {
    /// Creates a task with the service's present template, unless its place is taken.
    Create(CreateTask),
    /// Gives addresses to a task that got none when it was created.
    Allocate { task: TaskId },
    /// Gives a pending task to a node.
    Assign { task: TaskId, node: NodeId },
    /// Asks for a later state.
    SetDesired { task: TaskId, state: TaskState },
    /// Sets what no node reports: why a task waits, or that it is over. `state: None` keeps the state.
    SetStatus { task: TaskId, state: Option<TaskState>, message: String, err: String },
    /// Deletes a task that has ended or never began.
    Remove { task: TaskId },
    /// Tells how an update goes, unless the service has been changed since `spec_version`.
    SetUpdateStatus { service: ServiceId, spec_version: u64, status: Option<UpdateStatus> },
    /// Goes back to the previous spec, unless the service has been changed since `spec_version`.
    Rollback { service: ServiceId, spec_version: u64, message: String },
    /// Takes the next step of the rotation of a network's keys, unless one was taken after `since`.
    StepNetworkKeys { network: NetworkId, since: Timestamp },
    /// Takes the next step of the rotation of the gossip's keys, unless one was taken after `since`.
    StepGossipKeys { since: Timestamp },
}

/// The fields of [`TaskOp::Create`].
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct CreateTask {
    /// The new id.
    pub task: TaskId,
    /// The service.
    pub service: ServiceId,
    /// Index of the state that this was planned on; if another plan was applied since, the step is skipped.
    pub basis: u64,
    /// Its `spec_version` when this was planned; if it has another one the step is skipped.
    pub spec_version: u64,
    /// Number within a replicated service; 0 with `node` for a global one.
    pub slot: u64,
    /// The node, for global services.
    pub node: Option<NodeId>,
    /// [`TaskState::Running`], or [`TaskState::Ready`] if it has to wait.
    pub desired: TaskState,
    /// It may not run before.
    pub not_before: Timestamp,
    /// The task that may still run beside it in its place.
    #[serde(default)]
    pub replaces: Option<TaskId>,
}
