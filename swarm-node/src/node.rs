//! The handle of a node: what a daemon, an API server or an embedding program holds.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
};

use swarm_state::{
    Action, AssignedNetwork, Change, ClusterId, NetworkId, NodeId, Rejection, RejectionKind, Reply, State, TaskId,
    spec::NodeDescription,
};
use tokio::sync::{broadcast, mpsc};

use crate::{
    config::{InitRequest, JoinRequest, NodeConfig},
    runtime::Stream,
};

/// A node of a swarm, or one that is in none yet. Clones are handles of the same node.
#[derive(Clone, Debug)]
pub struct Node {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: NodeConfig,
    changes: broadcast::Sender<Change>,
}

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
    /// Whether it is a manager, so that [`Node::read`] and [`Node::propose`] work.
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

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum StartError {
    #[error("data directory {path}: {source}")]
    DataDir { path: String, source: std::io::Error },
}

impl Node {
    /// Starts a node, or continues the one whose state is in the data directory.
    ///
    /// # Errors
    /// The data directory cannot be used.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        let refuse = |source| StartError::DataDir { path: config.data_dir.display().to_string(), source };
        tokio::fs::create_dir_all(&config.data_dir).await.map_err(refuse)?;
        Ok(Self { inner: Arc::new(Inner { config, changes: broadcast::channel(1024).0 }) })
    }

    /// Stops the daemon's part: tasks and the kernel's tables stay as they are for the next start.
    pub async fn shutdown(&self) {}

    /// What the node was started with.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        &self.inner.config
    }

    /// What the node knows about itself.
    #[must_use]
    pub fn local(&self) -> LocalStatus {
        LocalStatus {
            state: LocalState::Inactive,
            error: String::new(),
            node_id: None,
            cluster_id: None,
            addr: None,
            is_manager: false,
            managers: Vec::new(),
        }
    }

    /// Host name, platform and resources, as the managers are told.
    #[must_use]
    pub fn description(&self) -> NodeDescription {
        NodeDescription::default()
    }

    /// Founds a swarm with this node as its first manager.
    ///
    /// # Errors
    /// With Docker's texts: already in a swarm, no such address.
    pub async fn init(&self, request: InitRequest) -> Result<NodeId, Rejection> {
        let _ = request;
        Err(not_a_manager())
    }

    /// Joins a swarm.
    ///
    /// # Errors
    /// With Docker's texts: wrong token, nobody answers, already in a swarm.
    pub async fn join(&self, request: JoinRequest) -> Result<(), Rejection> {
        let _ = request;
        Err(not_a_manager())
    }

    /// Leaves the swarm; a manager only with `force`.
    ///
    /// # Errors
    /// With Docker's texts.
    pub async fn leave(&self, force: bool) -> Result<(), Rejection> {
        let _ = force;
        Err(not_a_manager())
    }

    /// Looks at the cluster's state as of what this manager has applied.
    ///
    /// # Errors
    /// 503 with Docker's text if this node is no manager.
    pub fn read<R>(&self, look: impl FnOnce(&State) -> R) -> Result<R, Rejection> {
        let _ = look;
        Err(not_a_manager())
    }

    /// Changes the cluster's state; on a follower through the leader. What it changed can be read when it returns.
    ///
    /// # Errors
    /// The state refused, or there is no leader.
    pub async fn propose(&self, action: Action) -> Result<Reply, Rejection> {
        let _ = action;
        Err(not_a_manager())
    }

    /// How the managers are.
    #[must_use]
    pub fn managers(&self) -> BTreeMap<NodeId, ManagerHealth> {
        BTreeMap::new()
    }

    /// The nodes that take part in a network; empty if this one does not.
    #[must_use]
    pub fn peers(&self, network: NetworkId) -> Vec<Peer> {
        let _ = network;
        Vec::new()
    }

    /// The networks that this node takes part in; known to workers too.
    #[must_use]
    pub fn networks(&self) -> Vec<AssignedNetwork> {
        Vec::new()
    }

    /// The output of tasks, wherever they run.
    ///
    /// # Errors
    /// This node is no manager.
    pub async fn logs(
        &self,
        tasks: Vec<TaskId>,
        options: LogOptions,
    ) -> Result<mpsc::Receiver<TaskLine>, Rejection> {
        let _ = (tasks, options);
        Err(not_a_manager())
    }

    /// What changes in the cluster from now on, on a manager.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.changes.subscribe()
    }
}

fn not_a_manager() -> Rejection {
    Rejection::plain(
        RejectionKind::Unavailable,
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
    )
}
