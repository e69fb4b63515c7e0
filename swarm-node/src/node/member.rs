//! A node that is in a swarm: its worker, and its manager if it has one.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use overlay_raft::{MemberId, tokio::Start};
use swarm_state::{Change, ClusterId, NodeId, Rejection, RejectionKind};
use tokio::{
    sync::broadcast,
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::record::{NodeRecord, identity_dir, raft_dir};
use crate::{
    clock,
    config::NodeConfig,
    credentials::{Credentials, parse_addr},
    manager::{
        Answered, Manager, Seat,
        wire::{ControlReply, ControlRequest},
    },
    rpc::Listener,
    security::{NodeIdentity, NodeKey, join, store},
    worker::{Post, Worker},
};

/// A node in a swarm.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) node_id: NodeId,
    pub(super) cluster_id: ClusterId,
    pub(super) addr: IpAddr,
    pub(super) manager: Option<Arc<Manager>>,
    pub(super) worker: Arc<Worker>,
    renewal: AbortHandle,
}

/// Time for a new node to be ready.
const READY: Duration = Duration::from_secs(15);

/// Opens the managers' port.
pub(super) async fn listen(credentials: &Credentials, record: &NodeRecord) -> Result<Listener, Rejection> {
    let listener = Listener::bind(record.listen, Arc::clone(&credentials.server)).await;
    listener.map_err(|error| internal(format!("listen on {}: {error}", record.listen)))
}

/// Starts the manager's half.
pub(super) fn seat(
    config: &NodeConfig,
    (credentials, listener): (&Credentials, Listener),
    record: &NodeRecord,
    (start, changes, members): (Start, broadcast::Sender<Change>, Vec<(u64, String)>),
) -> Result<Arc<Manager>, Rejection> {
    let raft_id = record.raft_id.and_then(|id| MemberId::new(id).ok());
    let raft_id = raft_id.ok_or_else(|| internal("a manager without a number in the log"))?;
    let dir = raft_dir(&config.data_dir);
    std::fs::create_dir_all(&dir).map_err(|error| internal(error.to_string()))?;
    Manager::start(Seat {
        node: credentials.identity.subject().node_id,
        raft_id,
        dir: &dir,
        tick: config.raft_tick,
        start,
        credentials: credentials.clone(),
        listener,
        changes,
        members,
    })
    .map_err(|error| internal(error.to_string()))
}

impl Member {
    /// Starts the worker's half and puts both together.
    pub(super) fn start(
        config: &NodeConfig,
        credentials: Credentials,
        record: &NodeRecord,
        manager: Option<Arc<Manager>>,
    ) -> Self {
        let mut managers = record.managers.clone();
        if manager.is_some() {
            managers.insert(0, SocketAddr::new(record.addr, record.port).to_string());
        }
        let subject = credentials.identity.subject().clone();
        let leader = manager.clone();
        let worker = Worker::start(Post {
            config: config.clone(),
            credentials: credentials.clone(),
            addr: record.addr,
            data_path_addr: record.data_path_addr,
            managers,
            on_gossip: Box::new(move |agent| {
                if let Some(manager) = &leader {
                    manager.use_gossip(agent);
                }
            }),
        });
        let renewing = renew(config.clone(), Arc::clone(&worker), manager.clone());
        Self {
            node_id: subject.node_id,
            cluster_id: subject.cluster_id,
            addr: record.addr,
            manager,
            worker,
            renewal: tokio::spawn(renewing).abort_handle(),
        }
    }

    /// Waits until the managers have sent work and the gossip runs.
    pub(super) async fn ready(&self) -> Result<(), Rejection> {
        let mut assignment = self.worker.assignment.subscribe();
        let there = timeout(READY, async {
            let _ = assignment.wait_for(Option::is_some).await;
            while self.worker.gossip.get().is_none() {
                sleep(Duration::from_millis(2)).await;
            }
        });
        there.await.map_err(|_| internal(NOT_READY))
    }

    pub(super) async fn stop(&self) {
        self.renewal.abort();
        self.worker.stop().await;
        if let Some(manager) = &self.manager {
            manager.stop().await;
        }
    }

    /// Says goodbye and takes everything along.
    pub(super) async fn remove(&self) {
        self.renewal.abort();
        if let Some(manager) = &self.manager {
            let _ = timeout(Duration::from_secs(5), resign(manager)).await; // alone or without majority: just go
        }
        self.worker.remove().await;
        if let Some(manager) = &self.manager {
            manager.stop().await;
        }
    }
}

/// Leaves the log, after somebody else leads it.
async fn resign(manager: &Manager) {
    let mut status = manager.raft.status();
    let other = {
        let status = status.borrow();
        let there = |voter: &MemberId| status.reachable.get(voter).copied().unwrap_or(true);
        let mut others = status.voters.iter().copied().filter(|voter| *voter != status.id);
        others.clone().find(there).or_else(|| others.next())
    };
    let Some(other) = other else { return };
    if manager.is_leader() {
        manager.raft.transfer_leadership(other).await;
        let me = status.borrow().id;
        let _ = status.wait_for(|status| status.leader.is_some_and(|leader| leader != me)).await;
    }
    loop {
        let request = ControlRequest::LeaveRaft { node: manager.node };
        if let Answered::Reply(ControlReply::Done) = manager.ask_leader(&request).await {
            return;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Renews the certificate in time, for as long as the node lives.
async fn renew(config: NodeConfig, worker: Arc<Worker>, manager: Option<Arc<Manager>>) {
    loop {
        let identity = worker.credentials().identity;
        let at = identity.subject().renew_at(u32::from_be_bytes(clock::random()));
        let wait = at.duration_since(clock::system_now()).unwrap_or(Duration::from_secs(60));
        sleep(wait).await;
        match renewed(&worker, &identity).await {
            Some((identity, credentials)) => {
                if let Err(error) = store::save(&identity_dir(&config.data_dir), &identity) {
                    crate::notice(&format!("the renewed certificate cannot be kept: {error}"));
                }
                worker.set_credentials(credentials.clone());
                if let Some(manager) = &manager {
                    manager.set_credentials(credentials);
                }
            }
            None => sleep(Duration::from_secs(60)).await,
        }
    }
}

async fn renewed(worker: &Worker, identity: &NodeIdentity) -> Option<(NodeIdentity, Credentials)> {
    let managers = worker.known_managers();
    let key = NodeKey::generate().ok()?;
    for addr in managers.iter().filter_map(|addr| parse_addr(addr)) {
        if let Ok(identity) = join::renew_certificate(addr, identity, &key).await {
            let credentials = Credentials::new(identity.clone()).ok()?;
            return Some((identity, credentials));
        }
    }
    None
}

const NOT_READY: &str = "the managers sent no work or the gossip could not start in time; see the daemon's log for the reason (is the gossip's port in use?)";

pub(super) fn internal(text: impl Into<String>) -> Rejection {
    Rejection::plain(RejectionKind::Internal, text)
}
