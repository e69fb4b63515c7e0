//! A manager: a member of the replicated log, the server of port 2377, and the reconciler while it leads.

mod control;
mod leader;
mod logs;
mod machine;
mod server;
pub(crate) mod session;
mod transport;
pub(crate) mod wire;

use std::{
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use overlay_gossip::tokio::Agent;
use overlay_raft::{
    MemberId, Role,
    tokio::{ProposeError, Raft, Start, StartError},
};
use swarm_state::{Action, Change, Command, NodeId, Rejection, RejectionKind, Reply, State};
use tokio::{
    sync::broadcast,
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    clock,
    credentials::Credentials,
    rpc::{Listener, ListenerHandle, ListenerStats, messages::Hello},
};
pub(crate) use machine::MemberContext;
use machine::{Machine, decode_reply};
use session::Sessions;
use transport::AddressBook;
use wire::{ControlReply, ControlRequest};

/// A member of the replicated log.
pub(crate) struct Manager {
    pub(crate) raft: Raft<Machine>,
    pub(crate) node: NodeId,
    credentials: Mutex<Credentials>,
    book: AddressBook,
    sessions: Sessions,
    listener: ListenerHandle,
    gossip: OnceLock<Agent>,
    tasks: Mutex<JoinSet<()>>,
}

/// What a manager starts with.
pub(crate) struct Seat<'a> {
    pub(crate) node: NodeId,
    pub(crate) raft_id: MemberId,
    pub(crate) dir: &'a Path,
    pub(crate) tick: Duration,
    pub(crate) start: Start,
    pub(crate) credentials: Credentials,
    pub(crate) listener: Listener,
    pub(crate) changes: broadcast::Sender<Change>,
    /// Members known before the log tells, for a manager that joins.
    pub(crate) members: Vec<(u64, String)>,
}

/// What became of a question to the leader.
#[derive(Debug)]
pub(crate) enum Answered {
    /// It was not asked.
    Unreached,
    /// It was asked; what it did is not known.
    Silence,
    /// It answered.
    Reply(ControlReply),
}

/// Time for a proposal, an election in between included.
const PROPOSE: Duration = Duration::from_secs(20);

impl std::fmt::Debug for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manager").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Manager {
    pub(crate) fn start(seat: Seat<'_>) -> Result<Arc<Self>, StartError> {
        let config = overlay_raft::tokio::Config {
            tick: seat.tick,
            seed: u64::from_be_bytes(clock::random()),
            ..overlay_raft::tokio::Config::new(seat.raft_id, seat.dir)
        };
        let (raft, outgoing) = overlay_raft::tokio::start(config, seat.start, Machine::new(seat.changes))?;
        let book = AddressBook::default();
        book.learn(seat.members.into_iter().filter_map(|(id, addr)| Some((MemberId::new(id).ok()?, addr))));
        let manager = Arc::new(Self {
            raft,
            node: seat.node,
            credentials: Mutex::new(seat.credentials),
            book,
            sessions: Sessions::default(),
            listener: seat.listener.handle(),
            gossip: OnceLock::new(),
            tasks: Mutex::new(JoinSet::new()),
        });
        manager.spawn(transport::run(Arc::clone(&manager), outgoing));
        manager.spawn(server::run(Arc::clone(&manager), seat.listener));
        manager.spawn(leader::run(Arc::clone(&manager)));
        Ok(manager)
    }

    /// The gossip tells the leader who died.
    pub(crate) fn use_gossip(&self, agent: Agent) {
        let _ = self.gossip.set(agent); // once per manager
    }

    pub(crate) fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        self.raft.with(|machine| look(machine.state()))
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.raft.status().borrow().role == Role::Leader && self.raft.failure().is_none()
    }

    /// The leader as far as it is known: id and address.
    pub(crate) fn leader(&self) -> Option<MemberContext> {
        let status = self.raft.status();
        let status = status.borrow();
        status.members.get(&status.leader?).and_then(|context| MemberContext::from_bytes(context))
    }

    /// Puts a command into the log, wherever the leader is, and returns when it is applied here.
    pub(crate) async fn propose(&self, action: Action) -> Result<Reply, Rejection> {
        let command = action.at(clock::now()).with_random(clock::random);
        let deadline = Instant::from_std(clock::instant() + PROPOSE);
        loop {
            match self.propose_here(&command).await {
                Err(ProposeError::NotLeader { leader: Some(_) }) => {
                    let request = ControlRequest::Propose(Box::new(command.clone()));
                    match timeout_at(deadline, self.ask_leader(&request)).await {
                        Ok(Answered::Reply(ControlReply::Applied { index, reply })) => {
                            let _ = timeout_at(deadline, self.raft.applied(index)).await;
                            return Ok(reply);
                        }
                        Ok(Answered::Reply(ControlReply::Rejected(rejection))) => return Err(rejection),
                        Ok(Answered::Silence) => return Err(perhaps()), // asking again might do it twice
                        Ok(Answered::Reply(_) | Answered::Unreached) => {}
                        Err(_) => return Err(no_leader()),
                    }
                }
                Err(ProposeError::NotLeader { leader: None }) => {}
                Err(error) => return Err(Rejection::rpc(RejectionKind::Unavailable, error)),
                Ok(result) => return result.1,
            }
            if clock::instant() >= deadline.into_std() {
                return Err(no_leader());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn propose_here(&self, command: &Command) -> Result<(u64, Result<Reply, Rejection>), ProposeError> {
        let applied = self.raft.propose(command.to_json()).await?;
        Ok((applied.index, decode_reply(&applied.reply)))
    }

    /// One question to the leader.
    pub(crate) async fn ask_leader(&self, request: &ControlRequest) -> Answered {
        let Some(addr) = self.leader().and_then(|leader| crate::credentials::parse_addr(&leader.addr)) else {
            return Answered::Unreached;
        };
        let credentials = self.credentials();
        let Ok(mut connection) = credentials.dial(addr, &Hello::Control).await else {
            return Answered::Unreached;
        };
        if connection.send(request).await.is_err() {
            return Answered::Silence;
        }
        connection.recv(PROPOSE).await.map_or(Answered::Silence, Answered::Reply)
    }

    /// What came to the managers' port.
    pub(crate) fn listener_stats(&self) -> ListenerStats {
        self.listener.stats()
    }

    pub(crate) fn credentials(&self) -> Credentials {
        self.credentials.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Serves and dials with a renewed certificate from now on.
    pub(crate) fn set_credentials(&self, credentials: Credentials) {
        self.listener.set_config(Arc::clone(&credentials.server));
        *self.credentials.lock().unwrap_or_else(PoisonError::into_inner) = credentials;
    }

    pub(crate) async fn stop(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await; // the port is free when this returns
        self.raft.stop().await;
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(task);
    }
}

fn perhaps() -> Rejection {
    let text =
        "the leader was lost before it answered; look whether the change was made before you try again";
    Rejection::rpc(RejectionKind::Unavailable, text)
}

fn no_leader() -> Rejection {
    Rejection::rpc(
        RejectionKind::Unavailable,
        "The swarm does not have a leader. It's possible that too few managers are online. Make sure more than half of the managers are online.",
    )
}
