//! The driver: one task owns the machine, one thread owns the disk, `propose().await` for you.
//!
//! It knows no network: bytes for other members come out of a channel, theirs go into
//! [`Raft::receive`]. Order and delivery are not required, but speed up everything.

mod disk;
mod pump;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ::tokio::sync::{mpsc, oneshot, watch};
use bytes::Bytes;

use crate::output::{Persist, PersistId, Stats, Status};
use crate::{
    Consensus, LogStore, MAX_COMMAND, MAX_CONTEXT, MAX_SNAPSHOT, MemberChange, MemberId, RedbLog, Refusal,
    RestoreError, ResumeError, Saved, StateMachine, StoreError,
};
use pump::{Ask, Pump};

/// How one member runs. See [`crate::Config`] for what the times mean.
#[derive(Clone, Debug)]
pub struct Config {
    /// This member's number.
    pub id: MemberId,
    /// Where its log lives; one directory per member.
    pub dir: PathBuf,
    /// The unit of the times in ticks. 100 ms.
    pub tick: Duration,
    /// Silence after which an election begins, times 1 to 2. 10.
    pub election_ticks: u32,
    /// Ticks between heartbeats. 1.
    pub heartbeat_ticks: u32,
    /// Entries between snapshots. 10,000.
    pub snapshot_every: u64,
    /// Entries kept for slow followers. 500.
    pub keep_entries: u64,
    /// Decides the election timeouts; should differ between members and between runs.
    pub seed: u64,
    /// How long a proposal or read may take. 25 s, as SwarmKit.
    pub proposal_timeout: Duration,
}

impl Config {
    /// The defaults that the fields name.
    #[must_use]
    pub fn new(id: MemberId, dir: impl Into<PathBuf>) -> Self {
        let machine = crate::Config::new(id);
        Self {
            id,
            dir: dir.into(),
            tick: machine.tick,
            election_ticks: machine.election_ticks,
            heartbeat_ticks: machine.heartbeat_ticks,
            snapshot_every: machine.snapshot_every,
            keep_entries: machine.keep_entries,
            seed: id.get(),
            proposal_timeout: Duration::from_secs(25),
        }
    }

    fn machine(&self) -> crate::Config {
        crate::Config {
            tick: self.tick,
            election_ticks: self.election_ticks,
            heartbeat_ticks: self.heartbeat_ticks,
            snapshot_every: self.snapshot_every,
            keep_entries: self.keep_entries,
            ..crate::Config::new(self.id)
        }
    }
}

/// How a member begins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Start {
    /// As the first one of a new cluster, which it leads at once. The directory must hold no log.
    Bootstrap {
        /// What the others will want to know about this member.
        context: Vec<u8>,
    },
    /// With nothing, until a leader adds it. The directory must hold no log.
    Join,
    /// With what the directory holds; with nothing there, the same as `Join`.
    Resume,
}

/// Why a member could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The log cannot be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log or the configuration makes no sense.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// The state machine refused the stored snapshot.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// A new member was to start where another one has been.
    #[error("{dir} already holds the log of a member; resume it, or remove it first")]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// The context or the first snapshot is over the limit.
    #[error("{what} of {len} bytes is longer than allowed ({max})")]
    TooLarge {
        /// Which of them.
        what: &'static str,
        /// Its size in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// `start` was called outside of a tokio runtime.
    #[error("no tokio runtime")]
    NoRuntime,
}

/// Bytes for another member; the transport is yours.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outgoing {
    /// To whom; its address is in the context that it was added with.
    pub to: MemberId,
    /// One message for its [`Raft::receive`].
    pub message: Bytes,
}

/// A command that is committed and applied here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Applied {
    /// Its position in the log.
    pub index: u64,
    /// What the state machine answered.
    pub reply: Vec<u8>,
}

/// Why a proposal was not confirmed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// Ask the leader instead.
    #[error("this member is not the leader")]
    NotLeader {
        /// Who leads as far as is known.
        leader: Option<MemberId>,
    },
    /// It may or may not be committed later.
    #[error("leadership was lost before the proposal was committed; it may still happen")]
    LostLeadership,
    /// This member has stopped; what was waiting may still be committed.
    #[error("this member has stopped")]
    Stopped,
    /// Nothing was proposed.
    #[error("{len} bytes are more than a proposal may have ({max})")]
    TooLarge {
        /// Its size in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// No answer in time; it may or may not be committed later.
    #[error("no answer in time; the proposal may still happen")]
    Timeout,
    /// Nothing was proposed, for the reason given.
    #[error(transparent)]
    Refused(Refusal),
}

/// Why a member stopped by itself.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The disk failed; nothing that is not on it was acknowledged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state machine refused the leader's snapshot.
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

/// A running member. Clones are the same member; it stops when the last one is dropped.
pub struct Raft<S> {
    asks: mpsc::UnboundedSender<Ask>,
    shared: Arc<Shared<S>>,
    status: watch::Receiver<Status>,
    applied: watch::Receiver<u64>,
    timeout: Duration,
}

/// What the handles and the task share.
pub(crate) struct Shared<S> {
    machine: Mutex<S>,
    failure: OnceLock<Failure>,
    stats: Mutex<Stats>,
    /// Bytes of peers that wait to be read.
    inbox: AtomicUsize,
    overrun: AtomicUsize,
}

/// Starts a member; must be called within a tokio runtime.
///
/// Reads the log before it returns. Keep the receiver drained: it holds the messages to the other
/// members, and they pile up otherwise.
///
/// # Errors
///
/// See [`StartError`]; nothing runs then.
pub fn start<S: StateMachine>(
    config: Config,
    start: Start,
    machine: S,
) -> Result<(Raft<S>, mpsc::UnboundedReceiver<Outgoing>), StartError> {
    let store = RedbLog::open(&config.dir)?;
    start_with(config, start, machine, store)
}

/// As [`start`], with a log of your own.
///
/// # Errors
///
/// See [`StartError`].
#[expect(clippy::disallowed_methods, reason = "the driver is where time comes from")]
pub fn start_with<S: StateMachine>(
    config: Config,
    start: Start,
    mut machine: S,
    mut store: impl LogStore,
) -> Result<(Raft<S>, mpsc::UnboundedReceiver<Outgoing>), StartError> {
    let runtime = ::tokio::runtime::Handle::try_current().map_err(|_| StartError::NoRuntime)?;
    let saved = begin(&config, start, &machine, &mut store)?;
    if let Some(snapshot) = &saved.snapshot {
        machine.restore(&snapshot.data)?;
    }
    let consensus = Consensus::new(config.machine(), saved, Instant::now(), config.seed)?;
    let shared = Arc::new(Shared {
        machine: Mutex::new(machine),
        failure: OnceLock::new(),
        stats: Mutex::new(Stats::default()),
        inbox: AtomicUsize::new(0),
        overrun: AtomicUsize::new(0),
    });
    let (asks, inbox) = mpsc::unbounded_channel();
    let (outgoing, messages) = mpsc::unbounded_channel();
    let (status_tx, status) = watch::channel(consensus.status());
    let (applied_tx, applied) = watch::channel(0);
    let pump = Pump {
        consensus,
        shared: Arc::clone(&shared),
        inbox,
        outgoing,
        status: status_tx,
        applied: applied_tx,
        disk: disk::spawn(store),
        waiting: BTreeMap::new(),
        reads: BTreeMap::new(),
        next: 0,
    };
    runtime.spawn(pump.run());
    Ok((Raft { asks, shared, status, applied, timeout: config.proposal_timeout }, messages))
}

/// What to continue from, which is on disk when this returns.
fn begin<S: StateMachine>(
    config: &Config,
    start: Start,
    machine: &S,
    store: &mut impl LogStore,
) -> Result<Saved, StartError> {
    let saved = store.load()?;
    let context = match (start, saved) {
        (Start::Resume, saved) => return Ok(saved.unwrap_or_default()),
        (Start::Bootstrap { .. } | Start::Join, Some(_)) => {
            return Err(StartError::NotEmpty { dir: config.dir.clone() });
        }
        (Start::Join, None) => return Ok(Saved::default()),
        (Start::Bootstrap { context }, None) => context,
    };
    let data = Bytes::from(machine.snapshot());
    for (what, len, max) in
        [("the context", context.len(), MAX_CONTEXT), ("the snapshot", data.len(), MAX_SNAPSHOT)]
    {
        if len > max {
            return Err(StartError::TooLarge { what, len, max });
        }
    }
    let founding = Saved::founding(config.id, context, data);
    let snapshot = founding.snapshot.clone();
    store.save(&[Persist {
        id: PersistId(0),
        hard: founding.hard,
        snapshot,
        first: 0,
        entries: Vec::new(),
    }])?;
    Ok(founding)
}

impl<S: StateMachine> Raft<S> {
    /// Commits a command on a majority and applies it; only the leader can.
    ///
    /// Concurrent proposals share their messages and their fsync.
    ///
    /// # Errors
    ///
    /// See [`ProposeError`]: after `LostLeadership`, `Stopped` and `Timeout` it may still happen.
    pub async fn propose(&self, command: Vec<u8>) -> Result<Applied, ProposeError> {
        if command.len() > MAX_COMMAND {
            return Err(ProposeError::TooLarge { len: command.len(), max: MAX_COMMAND });
        }
        self.ask(|answer| Ask::Propose { command: command.into(), answer }).await
    }

    /// Takes a message of a peer in. Anything else is counted and dropped, as is what comes when
    /// 128 MiB are waiting already.
    pub fn receive(&self, from_wire: Bytes) {
        let len = from_wire.len();
        if self.shared.inbox.fetch_add(len, Ordering::Relaxed) > INBOX_BYTES {
            self.shared.inbox.fetch_sub(len, Ordering::Relaxed);
            self.shared.overrun.fetch_add(1, Ordering::Relaxed);
        } else {
            let _ = self.asks.send(Ask::Receive(from_wire));
        }
    }

    /// Says that a message could not be delivered, so that the leader probes instead of streaming.
    pub fn report_unreachable(&self, member: MemberId) {
        let _ = self.asks.send(Ask::Unreachable(member));
    }

    /// Adds a voter, or replaces its context; returns the index of the change.
    ///
    /// Returns before the new member has caught up.
    ///
    /// # Errors
    ///
    /// See [`ProposeError`]; a number that was removed is refused for ever.
    pub async fn add_member(&self, id: MemberId, context: Vec<u8>) -> Result<u64, ProposeError> {
        if context.len() > MAX_CONTEXT {
            return Err(ProposeError::TooLarge { len: context.len(), max: MAX_CONTEXT });
        }
        self.change(MemberChange::Add { id, context }).await
    }

    /// Removes a voter for good; returns the index of the change.
    ///
    /// A leader that removes itself is gone at once; [transfer](Self::transfer_leadership) the
    /// leadership before, and let the next leader do it, to save an election.
    ///
    /// # Errors
    ///
    /// See [`ProposeError`]; refused where the rest would be no majority.
    pub async fn remove_member(&self, id: MemberId) -> Result<u64, ProposeError> {
        self.change(MemberChange::Remove { id }).await
    }

    /// Hands the leadership over; returns when it has changed, or after twice the election timeout
    /// without success.
    pub async fn transfer_leadership(&self, to: MemberId) {
        let (answer, started) = oneshot::channel();
        if self.asks.send(Ask::Transfer { to, answer }).is_err() {
            return;
        }
        let patience = started.await.unwrap_or_default();
        let mut status = self.status.clone();
        let _ = ::tokio::time::timeout(patience, status.wait_for(|s| s.leader == Some(to))).await;
    }

    /// Waits until everything that was acknowledged before the call is applied here; on any member.
    ///
    /// # Errors
    ///
    /// No leader or no majority answers.
    pub async fn read_barrier(&self) -> Result<u64, ProposeError> {
        self.ask(|answer| Ask::Read { answer }).await
    }

    /// This member's view of the cluster, and how to hear of changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Looks at the state machine; nothing is applied meanwhile, so be quick.
    pub fn with<R>(&self, f: impl FnOnce(&S) -> R) -> R {
        f(&self.shared.machine())
    }

    /// Waits until this index is applied here, or the member has stopped.
    pub async fn applied(&self, index: u64) {
        let _ = self.applied.clone().wait_for(|applied| *applied >= index).await;
    }

    /// Stops: what is on its way to the disk is finished, and the file closed, when this returns.
    pub async fn stop(&self) {
        let (answer, stopped) = oneshot::channel();
        if self.asks.send(Ask::Stop { answer }).is_ok() {
            let _ = stopped.await;
        }
    }

    /// Why this member stopped by itself, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.shared.failure.get().cloned()
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        *self.shared.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Messages of peers that were dropped because too many were waiting.
    #[must_use]
    pub fn overrun(&self) -> usize {
        self.shared.overrun.load(Ordering::Relaxed)
    }

    async fn change(&self, change: MemberChange) -> Result<u64, ProposeError> {
        self.ask(|answer| Ask::Change { change, answer }).await.map(|applied: Applied| applied.index)
    }

    async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<T, ProposeError>>) -> Ask,
    ) -> Result<T, ProposeError> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(ask(answer)).map_err(|_| ProposeError::Stopped)?;
        match ::tokio::time::timeout(self.timeout, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(ProposeError::Stopped),
            Err(_) => Err(ProposeError::Timeout),
        }
    }
}

impl<S> Shared<S> {
    fn machine(&self) -> MutexGuard<'_, S> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Clone for Raft<S> {
    fn clone(&self) -> Self {
        Self {
            asks: self.asks.clone(),
            shared: Arc::clone(&self.shared),
            status: self.status.clone(),
            applied: self.applied.clone(),
            timeout: self.timeout,
        }
    }
}

impl<S> fmt::Debug for Raft<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raft").field("status", &*self.status.borrow()).finish_non_exhaustive()
    }
}

impl From<Refusal> for ProposeError {
    fn from(why: Refusal) -> Self {
        match why {
            Refusal::NotLeader { leader } => Self::NotLeader { leader },
            Refusal::LostLeadership => Self::LostLeadership,
            Refusal::Unconfirmed => Self::Timeout,
            Refusal::Busy
            | Refusal::Removed { .. }
            | Refusal::NoSuchMember { .. }
            | Refusal::WouldLoseQuorum { .. } => Self::Refused(why),
        }
    }
}

const INBOX_BYTES: usize = 128 << 20;
