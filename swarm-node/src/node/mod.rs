//! The handle of a node: what a daemon, an API server or an embedding program holds.

mod advertise;
mod found;
mod ingress;
mod member;
mod record;
mod role;
mod status;
mod texts;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use overlay_raft::tokio::Start;
use swarm_state::{
    Action, AssignedNetwork, Change, NetworkId, NodeId, Rejection, RejectionKind, Reply, State, TaskId,
    spec::NodeDescription,
};
use tokio::{
    sync::{broadcast, mpsc},
    task::AbortHandle,
    time::sleep,
};

use crate::{
    config::{InitRequest, JoinRequest, NodeConfig},
    credentials::Credentials,
    describe,
    manager::{Manager, MemberContext, wire::WireLogOptions},
    runtime::{ProcessRuntime, Stream},
    security::store,
};
use member::Member;
use record::NodeRecord;
pub use status::{LocalState, LocalStatus, LogOptions, ManagerHealth, Peer, TaskLine};
use texts::{ALREADY, NO_SWARM, NOT_A_MEMBER, TIMEOUT_TEXT, WORKER, manager_must_force};

/// A node of a swarm, or one that is in none yet. Clones are handles of the same node.
#[derive(Clone, Debug)]
pub struct Node {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: NodeConfig,
    changes: broadcast::Sender<Change>,
    phase: Mutex<Phase>,
    /// Init, join and leave happen one after the other.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
enum Phase {
    Inactive,
    Pending(AbortHandle),
    Active(Arc<Member>),
    Failed(String),
}

/// How often a membership that could not be continued is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often a join is tried again in the background.
const REJOIN: Duration = Duration::from_secs(5);

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
    /// A membership that cannot be continued (its log or certificate is damaged, its port taken) does not prevent the start:
    /// [`Node::local`] tells the reason, and `leave` with force clears it.
    ///
    /// # Errors
    /// The data directory cannot be used.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        let refuse = |source| StartError::DataDir { path: config.data_dir.display().to_string(), source };
        create_private(&config.data_dir).map_err(refuse)?;
        let inner = Inner {
            config,
            changes: broadcast::channel(1024).0,
            phase: Mutex::new(Phase::Inactive),
            turn: tokio::sync::Mutex::new(()),
        };
        let node = Self { inner: Arc::new(inner) };
        let phase = match node.resume().await {
            Ok(Some(member)) => Phase::Active(node.guard(member)),
            Ok(None) => Phase::Inactive,
            Err(rejection) => Phase::Failed(rejection.message),
        };
        if matches!(phase, Phase::Failed(_)) {
            tokio::spawn(node.clone().resume_later());
        }
        node.set(phase);
        Ok(node)
    }

    /// The reason may pass: a port that is still in use, an earlier daemon that has not quite ended.
    async fn resume_later(self) {
        loop {
            sleep(AGAIN).await;
            let _turn = self.inner.turn.lock().await;
            if !matches!(self.phase(), Phase::Failed(_)) {
                return;
            }
            match self.resume().await {
                Ok(Some(member)) => return self.set(Phase::Active(self.guard(member))),
                Ok(None) => return self.set(Phase::Inactive),
                Err(rejection) => self.set(Phase::Failed(rejection.message)),
            }
        }
    }

    async fn resume(&self) -> Result<Option<Member>, Rejection> {
        let config = &self.inner.config;
        let failed = |error: String| Rejection::plain(RejectionKind::Internal, error);
        let Some(record) = NodeRecord::load(&config.data_dir).map_err(|error| failed(error.to_string()))?
        else {
            return Ok(None);
        };
        let identity = store::load(&record::identity_dir(&config.data_dir));
        let identity = identity.map_err(|error| failed(error.to_string()))?;
        let identity = identity.ok_or_else(|| failed("the node's certificate is missing".to_owned()))?;
        let credentials = Credentials::new(identity).map_err(|error| failed(error.to_string()))?;
        let manager = match record.raft_id {
            Some(_) => {
                let start = (Start::Resume, self.inner.changes.clone(), Vec::new());
                let listener = member::listen(&credentials, &record).await?;
                Some(member::seat(config, (&credentials, listener), &record, start)?)
            }
            None => None,
        };
        Ok(Some(Member::start(config, credentials, &record, manager)))
    }

    /// Watches for the removal of this node by the managers.
    fn guard(&self, member: Member) -> Arc<Member> {
        let member = Arc::new(member);
        tokio::spawn(role::follow(self.clone(), Arc::downgrade(&member)));
        let mut removed = member.worker.removed.subscribe();
        let (node, guarded) = (self.clone(), Arc::downgrade(&member));
        tokio::spawn(async move {
            if removed.wait_for(|removed| *removed).await.is_err() {
                return;
            }
            let _turn = node.inner.turn.lock().await;
            if let Some(member) = guarded.upgrade() {
                node.set(Phase::Inactive);
                member.remove().await;
                record::forget(&node.inner.config.data_dir);
            }
        });
        member
    }

    /// Stops the daemon's part: tasks and the kernel's tables stay as they are for the next start.
    pub async fn shutdown(&self) {
        let _turn = self.inner.turn.lock().await;
        match self.phase() {
            Phase::Active(member) => member.stop().await,
            Phase::Pending(joining) => joining.abort(),
            Phase::Inactive | Phase::Failed(_) => {}
        }
    }

    /// What the node was started with.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        &self.inner.config
    }

    /// What the node knows about itself.
    #[must_use]
    pub fn local(&self) -> LocalStatus {
        let none = LocalStatus {
            state: LocalState::Inactive,
            error: String::new(),
            node_id: None,
            cluster_id: None,
            addr: None,
            is_manager: false,
            managers: Vec::new(),
        };
        match self.phase() {
            Phase::Inactive => none,
            Phase::Pending(_) => LocalStatus { state: LocalState::Pending, ..none },
            Phase::Failed(error) => LocalStatus { state: LocalState::Error, error, ..none },
            Phase::Active(member) => LocalStatus {
                state: LocalState::Active,
                error: String::new(),
                node_id: Some(member.node_id),
                cluster_id: Some(member.cluster_id),
                addr: Some(member.addr),
                is_manager: member.manager.is_some(),
                managers: match member.worker.assignment.borrow().as_ref() {
                    Some(assignment) => assignment.managers.clone(),
                    None => Vec::new(),
                },
            },
        }
    }

    /// Host name, platform and resources, as the managers are told.
    #[must_use]
    pub fn description(&self) -> NodeDescription {
        describe::node(&self.inner.config)
    }

    /// Founds a swarm with this node as its first manager.
    ///
    /// # Errors
    /// With Docker's texts: already in a swarm, no such address.
    pub async fn init(&self, request: InitRequest) -> Result<NodeId, Rejection> {
        let node = self.clone();
        to_the_end(async move { node.found(&request).await }).await
    }

    async fn found(&self, request: &InitRequest) -> Result<NodeId, Rejection> {
        let _turn = self.inner.turn.lock().await;
        self.must_be_free()?;
        let member = found::found(&self.inner.config, request, self.inner.changes.clone()).await?;
        let id = member.node_id;
        self.set(Phase::Active(self.guard(member)));
        Ok(id)
    }

    /// Joins a swarm. If no manager answers in time, the attempt goes on in the background and this returns an error.
    ///
    /// # Errors
    /// With Docker's texts: wrong token, nobody answers, already in a swarm.
    pub async fn join(&self, request: JoinRequest) -> Result<(), Rejection> {
        let node = self.clone();
        to_the_end(async move { node.enter(request).await }).await
    }

    async fn enter(&self, request: JoinRequest) -> Result<(), Rejection> {
        let _turn = self.inner.turn.lock().await;
        self.must_be_free()?;
        match found::join_swarm(&self.inner.config, &request, self.inner.changes.clone()).await {
            Ok(member) => {
                self.set(Phase::Active(self.guard(member)));
                Ok(())
            }
            Err(rejection) => {
                if rejection.message == TIMEOUT_TEXT {
                    let again = self.clone().join_later(request);
                    self.set(Phase::Pending(tokio::spawn(again).abort_handle()));
                }
                Err(rejection)
            }
        }
    }

    async fn join_later(self, request: JoinRequest) {
        loop {
            sleep(REJOIN).await;
            let turn = self.inner.turn.lock().await;
            match found::join_swarm(&self.inner.config, &request, self.inner.changes.clone()).await {
                Ok(member) => return self.set(Phase::Active(self.guard(member))),
                Err(rejection) if rejection.kind == RejectionKind::Unavailable => drop(turn),
                Err(rejection) => return self.set(Phase::Failed(rejection.message)),
            }
        }
    }

    /// Leaves the swarm; a manager only with `force`. Its tasks end and the kernel is as before.
    ///
    /// # Errors
    /// With Docker's texts.
    pub async fn leave(&self, force: bool) -> Result<(), Rejection> {
        let node = self.clone();
        to_the_end(async move { node.depart(force).await }).await
    }

    async fn depart(&self, force: bool) -> Result<(), Rejection> {
        if let Phase::Pending(joining) = self.phase() {
            joining.abort(); // it may hold the turn
        }
        let _turn = self.inner.turn.lock().await;
        match self.phase() {
            Phase::Inactive => return Err(Rejection::plain(RejectionKind::Unavailable, NOT_A_MEMBER)),
            Phase::Pending(_) => {}
            Phase::Failed(_) => self.sweep().await,
            Phase::Active(member) if member.manager.is_some() && !force => {
                return Err(Rejection::plain(
                    RejectionKind::Unavailable,
                    manager_must_force(voters(&member)),
                ));
            }
            Phase::Active(member) => member.remove().await,
        }
        record::forget(&self.inner.config.data_dir);
        self.set(Phase::Inactive);
        Ok(())
    }

    /// Ends the tasks and removes the kernel state of a membership that could not be continued.
    async fn sweep(&self) {
        let config = &self.inner.config;
        let tasks = config.data_dir.join("tasks");
        let runtime = config.runtime.clone().unwrap_or_else(|| Arc::new(ProcessRuntime::new(tasks.clone())));
        for found in runtime.adopt() {
            runtime.stop(&found.launch.task, "SIGTERM", Duration::from_secs(2)).await;
            runtime.remove(&found.launch.task);
        }
        let _ = tokio::task::spawn_blocking(crate::dataplane::remove_everything).await;
        let _ = std::fs::remove_dir_all(tasks);
    }

    /// Looks at the cluster's state as of what this manager has applied.
    ///
    /// # Errors
    /// 503 with Docker's text if this node is no manager.
    pub fn read<R>(&self, look: impl FnOnce(&State) -> R) -> Result<R, Rejection> {
        Ok(self.manager()?.read(look))
    }

    /// Changes the cluster's state; on a follower through the leader. What it changed can be read when it returns.
    ///
    /// # Errors
    /// The state refused, or there is no leader.
    pub async fn propose(&self, action: Action) -> Result<Reply, Rejection> {
        self.manager()?.propose(action).await
    }

    /// How the managers are.
    #[must_use]
    pub fn managers(&self) -> BTreeMap<NodeId, ManagerHealth> {
        let Phase::Active(member) = self.phase() else { return BTreeMap::new() };
        let Some(manager) = &member.manager else { return BTreeMap::new() };
        let members =
            member.worker.gossip.get().map(overlay_gossip::tokio::Agent::members).unwrap_or_default();
        let up = |node: &NodeId| {
            members.iter().any(|member| member.state.is_up() && member.name.as_str() == node.as_str())
        };
        let status = manager.raft.status().borrow().clone();
        // Only the leader hears from all; the others know from the gossip.
        let leads = status.leader == Some(status.id);
        let health = status.members.iter().filter_map(|(id, context)| {
            let node = MemberContext::from_bytes(context)?.node;
            let leader = status.leader == Some(*id);
            let reachable = *id == status.id
                || leader
                || if leads { status.reachable.get(id) == Some(&true) } else { up(&node) };
            Some((node, ManagerHealth { leader, reachable }))
        });
        health.collect()
    }

    /// The nodes that take part in a network; empty if this one does not.
    #[must_use]
    pub fn peers(&self, network: NetworkId) -> Vec<Peer> {
        let Phase::Active(member) = self.phase() else { return Vec::new() };
        let (Some(agent), Some(assignment)) =
            (member.worker.gossip.get(), member.worker.assignment.borrow().clone())
        else {
            return Vec::new();
        };
        if !assignment.networks.iter().any(|assigned| assigned.id == network) {
            return Vec::new();
        }
        let Ok(id) = overlay_gossip::NetworkId::new(network.as_str()) else { return Vec::new() };
        let peer = |name: overlay_gossip::NodeName| {
            let known = assignment.peers.iter().find(|peer| peer.id.as_str() == name.as_str())?;
            let addr = known.data_path_addr.or(known.addr)?;
            Some(Peer { name: name.as_str().chars().take(12).collect(), addr })
        };
        agent.peers(&id).into_iter().filter_map(peer).collect()
    }

    /// The networks that this node takes part in; known to workers too.
    #[must_use]
    pub fn networks(&self) -> Vec<AssignedNetwork> {
        let Phase::Active(member) = self.phase() else { return Vec::new() };
        let assignment = member.worker.assignment.borrow().clone();
        assignment.map(|assignment| assignment.networks.clone()).unwrap_or_default()
    }

    /// Counters since the start of the membership, by port and name: what came, and what was refused for which reason.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let mut counters = BTreeMap::new();
        let named = |(name, count): (&str, u64)| (name.to_owned(), count);
        let Phase::Active(member) = self.phase() else { return counters };
        if let Some(manager) = &member.manager {
            let port = manager.listener_stats();
            counters.extend(
                [
                    ("manager_accepted", port.accepted),
                    ("manager_bad_handshake", port.bad_handshake),
                    ("manager_silent", port.silent),
                    ("manager_bad_hello", port.bad_hello),
                    ("manager_unauthorised", port.unauthorised),
                    ("manager_crowded", port.crowded),
                ]
                .map(named),
            );
        }
        if let Some(agent) = member.worker.gossip.get() {
            let gossip = agent.stats();
            counters.extend(
                [
                    ("gossip_datagrams_in", gossip.datagrams_in),
                    ("gossip_undecryptable", gossip.undecryptable),
                    ("gossip_malformed", gossip.malformed),
                    ("gossip_streams_in", gossip.streams_in),
                    ("gossip_streams_refused", gossip.streams_refused),
                    ("gossip_records_refused", gossip.records_refused),
                ]
                .map(named),
            );
        }
        if let Some(plane) = member.worker.user_plane.stats() {
            counters.extend(crate::dataplane::counters(&plane));
        }
        counters
    }

    /// What the last comparison of the kernel with the desired state could not repair; empty is good.
    #[must_use]
    pub fn data_plane_failures(&self) -> Vec<String> {
        let Phase::Active(member) = self.phase() else { return Vec::new() };
        member.worker.plane().last().failures.clone()
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
        let LogOptions { follow, tail, since_ns, stdout, stderr } = options;
        let mut wire = self.manager()?.logs(tasks, WireLogOptions { follow, tail, since_ns, stdout, stderr });
        let (sender, receiver) = mpsc::channel(64);
        tokio::spawn(async move {
            while let Some(line) = wire.recv().await {
                let stream = if line.stderr { Stream::Stderr } else { Stream::Stdout };
                let line =
                    TaskLine { task: line.task, node: line.node, stream, at_ns: line.at_ns, line: line.line };
                if sender.send(line).await.is_err() {
                    return;
                }
            }
        });
        Ok(receiver)
    }

    /// What changes in the cluster from now on, on a manager.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.changes.subscribe()
    }

    fn manager(&self) -> Result<Arc<Manager>, Rejection> {
        let text = match self.phase() {
            Phase::Active(member) => match &member.manager {
                Some(manager) => return Ok(Arc::clone(manager)),
                None => WORKER,
            },
            Phase::Inactive | Phase::Pending(_) | Phase::Failed(_) => NO_SWARM,
        };
        Err(Rejection::plain(RejectionKind::Unavailable, text))
    }

    fn must_be_free(&self) -> Result<(), Rejection> {
        match self.phase() {
            Phase::Inactive | Phase::Failed(_) => Ok(()),
            Phase::Pending(_) | Phase::Active(_) => {
                Err(Rejection::plain(RejectionKind::Unavailable, ALREADY))
            }
        }
    }

    fn phase(&self) -> Phase {
        self.inner.phase.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, phase: Phase) {
        *self.inner.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }
}

/// The directory holds keys.
fn create_private(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
}

/// Runs to its end even if the one who asked goes away: half a membership is none.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Rejection>> + Send + 'static,
) -> Result<T, Rejection> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|error| Err(Rejection::plain(RejectionKind::Internal, error.to_string())))
}

fn voters(member: &Member) -> usize {
    member.manager.as_ref().map_or(1, |manager| manager.raft.status().borrow().voters.len())
}
