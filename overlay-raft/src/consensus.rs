use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use raft::eraftpb::{Message, MessageType};
use raft::{RawNode, SnapshotStatus, StateRole};

use crate::election::ElectionTimer;
use crate::log::{
    HardState, MAX_COMMAND, MAX_CONTEXT, MAX_SNAPSHOT, MemberChange, Membership, Payload, Saved, Snapshot,
};
use crate::output::{Action, Event, Input, Output, PersistId, ProposalId, Role, Stats, Status, Transmit};
use crate::reads::Reads;
use crate::ready::Outstanding;
use crate::tail::Tail;
use crate::wire::{Frame, decode, encode_removed};
use crate::{Config, InputError, MemberId, Refusal, ResumeError};

/// One member's part of the consensus: no socket, disk, clock or state machine of its own.
///
/// ```
/// use std::time::Instant;
/// use bytes::Bytes;
/// use overlay_raft::{Action, Config, Consensus, Input, MemberId, Output, ProposalId, Saved};
///
/// let (now, id) = (Instant::now(), MemberId::new(1)?);
/// let founding = Saved::founding(id, b"10.0.0.1:2377".to_vec(), Bytes::new());
/// let mut member = Consensus::new(Config::new(id), founding, now, 42)?;
/// let mut applied = Vec::new();
/// let mut proposed = false;
/// while let Some(output) = member.poll_output() {
///     match output {
///         Output::Action(Action::Persist(p)) => member.handle_input(now, Input::Persisted { id: p.id })?,
///         Output::Action(Action::Apply { command, .. }) => applied.push(command),
///         _ => {}
///     }
///     if member.is_leader() && !std::mem::replace(&mut proposed, true) {
///         let command = Bytes::from_static(b"x = 1");
///         member.handle_input(now, Input::Proposal { id: ProposalId(1), command })?;
///     }
/// }
/// assert_eq!(applied, ["x = 1"]); // a single member needs nobody
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Consensus {
    pub(crate) config: Config,
    pub(crate) node: RawNode<Tail>,
    pub(crate) membership: Membership,
    pub(crate) applied: u64,
    /// Bytes of the commands that were applied since the last snapshot.
    pub(crate) applied_bytes: usize,
    pub(crate) hard: HardState,
    /// The commit index of the last `Persist`.
    pub(crate) saved_commit: u64,
    pub(crate) out: VecDeque<Output>,
    pub(crate) outstanding: VecDeque<Outstanding>,
    pub(crate) next_persist: u64,
    staged: Vec<(ProposalId, Bytes)>,
    changes: VecDeque<(ProposalId, MemberChange)>,
    /// Proposals in our log by index, with the term they were appended in.
    pub(crate) pending: BTreeMap<u64, (u64, ProposalId)>,
    pub(crate) reads: Reads,
    pub(crate) snapshotting: Option<Snapshot>,
    /// No snapshot before this index: the last one was too large.
    pub(crate) snapshot_floor: u64,
    /// Leader and term as of the last event.
    pub(crate) announced: (u64, u64),
    pub(crate) was_leader: bool,
    timer: ElectionTimer,
    next_tick: Instant,
    pub(crate) ticks: u64,
    heard: BTreeMap<MemberId, u64>,
    snapshots_sent: BTreeMap<MemberId, u64>,
    pub(crate) retired: bool,
    pub(crate) stats: Stats,
}

impl fmt::Debug for Consensus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consensus").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Consensus {
    /// Continues from what was saved: [`Saved::founding`] for the first member of a cluster,
    /// [`Saved::default`] for one that waits to be added, or what a
    /// [`LogStore`](crate::LogStore) holds.
    ///
    /// The first outputs bring the state machine up to date. A member without others becomes the
    /// leader at once.
    ///
    /// # Errors
    ///
    /// What was saved does not fit together, or the configuration makes no sense.
    pub fn new(config: Config, saved: Saved, now: Instant, seed: u64) -> Result<Self, ResumeError> {
        let (hard, snapshot) = (saved.hard, saved.snapshot.clone());
        let applied = snapshot.as_ref().map_or(0, |s| s.index);
        let engine = config.to_raft(applied)?;
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&engine, Tail::new(saved)?, &logger)
            .map_err(|error| ResumeError::Config { reason: error.to_string() })?;
        let mut this = Self {
            timer: ElectionTimer::new(seed, config.election_ticks),
            next_tick: now + config.tick,
            config,
            node,
            membership: snapshot.as_ref().map(|s| s.membership.clone()).unwrap_or_default(),
            applied,
            applied_bytes: 0,
            hard,
            saved_commit: hard.commit,
            out: snapshot.map(|s| Output::Action(Action::Restore(s))).into_iter().collect(),
            outstanding: VecDeque::new(),
            next_persist: 1,
            staged: Vec::new(),
            changes: VecDeque::new(),
            pending: BTreeMap::new(),
            reads: Reads::new(seed),
            snapshotting: None,
            snapshot_floor: 0,
            announced: (0, 0),
            was_leader: false,
            ticks: 0,
            heard: BTreeMap::new(),
            snapshots_sent: BTreeMap::new(),
            retired: false,
            stats: Stats::default(),
        };
        this.retire_if_removed();
        this.pump(); // replay first: a member with a change to apply must not stand for election
        if this.is_alone() {
            this.campaign();
        }
        Ok(this)
    }

    /// Takes one input in.
    ///
    /// # Errors
    ///
    /// A message that is garbage, not for us, or cannot be true; it is counted and changes nothing.
    pub fn handle_input(&mut self, _now: Instant, input: Input) -> Result<(), InputError> {
        if self.retired {
            return self.handle_retired(input);
        }
        match input {
            Input::Message(bytes) => return self.handle_message(bytes),
            Input::Proposal { id, command } if command.len() <= MAX_COMMAND => {
                self.staged.push((id, command))
            }
            Input::Proposal { id, .. } => self.refuse(id, Refusal::Busy),
            Input::Change { id, change } => match &change {
                MemberChange::Add { context, .. } if context.len() > MAX_CONTEXT => {
                    self.refuse(id, Refusal::Busy);
                }
                MemberChange::Add { .. } | MemberChange::Remove { .. } => {
                    self.changes.push_back((id, change))
                }
            },
            Input::Read { id } => self.reads.ask(id, self.ticks),
            Input::Transfer { to } => {
                if self.is_leader() && to != self.config.id {
                    self.node.transfer_leader(to.get());
                }
            }
            Input::Unreachable { member } => {
                self.node.report_unreachable(member.get());
                if self.snapshots_sent.remove(&member).is_some() {
                    self.node.report_snapshot(member.get(), SnapshotStatus::Failure);
                }
            }
            Input::Persisted { id } => self.persisted(id),
            Input::SnapshotTaken { index, data } => self.keep_snapshot(index, data),
        }
        Ok(())
    }

    /// Lets time pass: elections and heartbeats. One tick at most, so that a process that was
    /// stopped for long first listens before it stands for election.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now < self.next_tick || self.retired {
            return;
        }
        self.next_tick += self.config.tick;
        if self.next_tick <= now {
            self.next_tick = now + self.config.tick;
        }
        self.ticks += 1;
        // Whoever waits for its own disk must not stand for election: it would lead with entries
        // that it may still lose.
        if self.is_leader() || self.outstanding.is_empty() {
            self.stats.campaigns += u64::from(self.timer.tick(&mut self.node));
        }
        self.resend_snapshots();
        let refused = self.reads.tick(self.ticks, &self.config);
        for id in refused {
            self.refuse(id, Refusal::Unconfirmed);
        }
        if self.ticks.is_multiple_of(COMMIT_TICKS) && self.outstanding.is_empty() {
            self.save_commit();
        }
    }

    /// Saves what is known to be committed, so that a restart can apply it without a leader.
    /// Happens by itself now and then; worth calling before an orderly stop.
    pub fn save_commit(&mut self) {
        if self.saved_commit < self.hard.commit {
            self.persist_hard_state();
        }
    }

    /// What is to be done; drain until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.out.is_empty() {
            self.pump();
        }
        self.out.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` once this member is removed.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        (!self.retired).then_some(self.next_tick)
    }

    /// Whether this member leads.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader && !self.retired
    }

    /// Whether something that was asked for is not durable yet.
    #[must_use]
    pub fn is_persisting(&self) -> bool {
        !self.outstanding.is_empty()
    }

    /// This member's view of the cluster.
    #[must_use]
    pub fn status(&self) -> Status {
        let leader = if self.retired { None } else { MemberId::from_raft(self.node.raft.leader_id) };
        let voters: BTreeSet<_> = self.membership.members.keys().copied().collect();
        let reachable = voters.iter().map(|id| (*id, self.is_reachable(*id))).collect();
        Status {
            id: self.config.id,
            term: self.node.raft.term,
            role: self.role(),
            leader,
            applied: self.applied,
            commit: self.node.raft.raft_log.committed,
            members: self.membership.members.clone(),
            voters,
            reachable,
        }
    }

    /// The index of the latest snapshot, 0 without one.
    #[must_use]
    pub fn snapshot_index(&self) -> u64 {
        self.node.store().snapshot().map_or(0, |s| s.index)
    }

    /// The term of the entry at this index, if it is still (or yet) in the log.
    #[must_use]
    pub fn term_of(&self, index: u64) -> Option<u64> {
        self.node.raft.raft_log.term(index).ok().filter(|term| *term > 0)
    }

    /// The shortest silence after which an election begins.
    #[must_use]
    pub fn election_timeout(&self) -> Duration {
        self.config.tick * self.config.election_ticks
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn role(&self) -> Role {
        match self.node.raft.state {
            _ if self.retired => Role::Removed,
            StateRole::Leader => Role::Leader,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
            StateRole::Follower if self.node.raft.promotable() => Role::Follower,
            StateRole::Follower => Role::Learner,
        }
    }

    fn is_reachable(&self, id: MemberId) -> bool {
        let recently = |heard: &u64| self.ticks - heard <= u64::from(self.config.election_ticks);
        id == self.config.id
            || (self.is_leader() && self.heard.get(&id).is_some_and(recently))
            || (!self.retired && self.node.raft.leader_id == id.get())
    }

    fn is_alone(&self) -> bool {
        !self.retired
            && self.membership.members.len() == 1
            && self.membership.members.contains_key(&self.config.id)
    }

    fn campaign(&mut self) {
        self.stats.campaigns += 1;
        let _ = self.node.campaign();
    }

    fn handle_retired(&mut self, input: Input) -> Result<(), InputError> {
        match input {
            Input::Persisted { id } => self.persisted(id),
            Input::Proposal { id, .. } | Input::Change { id, .. } | Input::Read { id } => {
                self.refuse(id, Refusal::NotLeader { leader: None });
            }
            Input::Message(_) => return Err(InputError::Retired),
            Input::Transfer { .. } | Input::Unreachable { .. } | Input::SnapshotTaken { .. } => {}
        }
        Ok(())
    }

    fn handle_message(&mut self, bytes: Bytes) -> Result<(), InputError> {
        let result = decode(bytes).map_err(InputError::Malformed).and_then(|frame| self.handle_frame(frame));
        match result {
            Ok(()) => self.stats.received += 1,
            Err(InputError::Malformed(_)) => self.stats.malformed += 1,
            Err(_) => self.stats.refused += 1,
        }
        result
    }

    fn handle_frame(&mut self, frame: Frame) -> Result<(), InputError> {
        let message = match frame {
            Frame::Raft(message) => *message,
            Frame::Removed { to, .. } if to != self.config.id => return Err(InputError::NotForUs { to }),
            Frame::Removed { from, .. } => {
                if !self.membership.members.contains_key(&from) {
                    return Err(InputError::FromStranger { from });
                }
                self.retire();
                return Ok(());
            }
        };
        let (Some(to), Some(from)) = (MemberId::from_raft(message.to), MemberId::from_raft(message.from))
        else {
            return Err(InputError::Malformed(crate::DecodeError::Invalid { what: "member id" }));
        };
        if to != self.config.id {
            return Err(InputError::NotForUs { to });
        }
        if self.membership.removed.contains(&from) {
            let message = encode_removed(from, self.config.id);
            self.out.push_back(Output::Transmit(Transmit { to: from, message }));
            return Err(InputError::FromRemoved { from });
        }
        if from == self.config.id || !self.is_plausible(&message) {
            return Err(InputError::Absurd { from });
        }
        self.heard.insert(from, self.ticks);
        self.heard.retain(|id, _| *id == from || self.membership.members.contains_key(id));
        self.node.step(message).map_err(|_| InputError::FromStranger { from })
    }

    /// Refuses what the engine would panic on or be misled by.
    fn is_plausible(&self, message: &Message) -> bool {
        let engine = &self.node.raft;
        let last = engine.raft_log.last_index();
        let current = message.term == engine.term;
        match message.get_msg_type() {
            MessageType::MsgHeartbeat => message.term < engine.term || message.commit <= last,
            MessageType::MsgAppend => {
                message.term < engine.term || !current || engine.state != StateRole::Leader
            }
            MessageType::MsgAppendResponse => {
                !current || !self.is_leader() || (message.index <= last && message.reject_hint <= last)
            }
            MessageType::MsgTimeoutNow => {
                current && engine.leader_id == message.from && self.outstanding.is_empty()
            }
            MessageType::MsgReadIndex => self.is_leader(),
            MessageType::MsgReadIndexResp => current && engine.leader_id == message.from,
            MessageType::MsgSnapshot => {
                let voters = message.get_snapshot().get_metadata().get_conf_state().get_voters();
                message.term < engine.term || voters.contains(&self.config.id.get())
            }
            MessageType::MsgRequestVote
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgRequestPreVote
            | MessageType::MsgRequestPreVoteResponse
            | MessageType::MsgHeartbeatResponse => true,
            MessageType::MsgHup
            | MessageType::MsgBeat
            | MessageType::MsgPropose
            | MessageType::MsgUnreachable
            | MessageType::MsgSnapStatus
            | MessageType::MsgCheckQuorum
            | MessageType::MsgTransferLeader => false,
        }
    }

    /// The engine waits for a report on each snapshot that it sent; nobody else would give one.
    fn resend_snapshots(&mut self) {
        let progress = self.node.raft.prs();
        let sending: BTreeSet<MemberId> = progress
            .iter()
            .filter(|(_, progress)| progress.state == raft::ProgressState::Snapshot)
            .filter_map(|(id, _)| MemberId::from_raft(*id))
            .collect();
        self.snapshots_sent.retain(|id, _| sending.contains(id));
        let (now, patience) = (self.ticks, u64::from(self.config.snapshot_resend_ticks));
        for id in sending {
            let since = *self.snapshots_sent.entry(id).or_insert(now);
            if now - since >= patience {
                self.snapshots_sent.remove(&id);
                self.node.report_snapshot(id.get(), SnapshotStatus::Failure);
            }
        }
    }

    /// Hands what was proposed since the last time to the engine, all in one go.
    pub(crate) fn flush_proposals(&mut self) {
        let staged = std::mem::take(&mut self.staged);
        if !self.is_leader() {
            for (id, _) in staged {
                self.refuse_as_follower(id);
            }
            return;
        }
        let mut batch = Vec::new();
        let mut size = 0;
        for (id, command) in staged {
            size += command.len();
            batch.push((id, Payload::Command(command)));
            if size >= BATCH_BYTES {
                self.append(std::mem::take(&mut batch));
                size = 0;
            }
        }
        if !batch.is_empty() {
            self.append(batch);
        }
    }

    /// Changes of the members go one after another, and only once an entry of this term is
    /// committed: before, an older change might still be undone.
    pub(crate) fn flush_changes(&mut self) {
        while let Some((id, change)) = self.changes.front().cloned() {
            if self.is_leader()
                && (self.node.raft.has_pending_conf() || !self.node.raft.commit_to_current_term())
            {
                return;
            }
            self.changes.pop_front();
            if !self.is_leader() {
                self.refuse_as_follower(id);
            } else if let Err(why) = self.check_change(&change) {
                self.refuse(id, why);
            } else {
                self.append(vec![(id, Payload::Change(change))]);
            }
        }
    }

    fn check_change(&self, change: &MemberChange) -> Result<(), Refusal> {
        match *change {
            MemberChange::Add { id, .. } if self.membership.removed.contains(&id) => {
                Err(Refusal::Removed { id })
            }
            MemberChange::Add { .. } => Ok(()),
            MemberChange::Remove { id } => {
                if !self.membership.members.contains_key(&id) {
                    return Err(Refusal::NoSuchMember { id });
                }
                let rest: Vec<_> = self.membership.members.keys().filter(|other| **other != id).collect();
                let (remaining, reachable) =
                    (rest.len(), rest.iter().filter(|other| self.is_reachable(***other)).count());
                if reachable < remaining / 2 + 1 {
                    return Err(Refusal::WouldLoseQuorum { id, reachable, remaining });
                }
                Ok(())
            }
        }
    }

    fn append(&mut self, batch: Vec<(ProposalId, Payload)>) {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.config.id.get();
        let entries: Vec<_> =
            batch.iter().map(|(_, payload)| crate::convert::payload_to_raft(payload)).collect();
        message.set_entries(entries.into());
        let mut index = self.node.raft.raft_log.last_index();
        let accepted = self.node.raft.step(message).is_ok();
        for (id, _) in batch {
            index += 1;
            if accepted {
                self.pending.insert(index, (self.node.raft.term, id));
            } else {
                self.refuse(id, Refusal::Busy);
            }
        }
    }

    /// Nobody here will hear of these any more, though they may still be committed.
    pub(crate) fn lose_leadership(&mut self) {
        for (_, (_, id)) in std::mem::take(&mut self.pending) {
            self.refuse(id, Refusal::LostLeadership);
        }
    }

    pub(crate) fn gain_leadership(&mut self) {
        let now = self.ticks;
        self.heard = self.membership.members.keys().map(|id| (*id, now)).collect();
    }

    pub(crate) fn retire_if_removed(&mut self) {
        if self.membership.removed.contains(&self.config.id) {
            self.retire();
        }
    }

    fn retire(&mut self) {
        if !std::mem::replace(&mut self.retired, true) {
            self.out.push_back(Output::Event(Event::Removed));
        }
    }

    pub(crate) fn refuse(&mut self, id: ProposalId, why: Refusal) {
        self.out.push_back(Output::Event(Event::Refused { id, why }));
    }

    fn refuse_as_follower(&mut self, id: ProposalId) {
        let leader = MemberId::from_raft(self.node.raft.leader_id).filter(|leader| *leader != self.config.id);
        self.refuse(id, Refusal::NotLeader { leader });
    }

    fn keep_snapshot(&mut self, index: u64, data: Bytes) {
        let Some(mut snapshot) = self.snapshotting.take().filter(|s| s.index == index) else { return };
        if data.len() > MAX_SNAPSHOT {
            self.snapshot_floor = index + self.config.snapshot_every.max(1);
            self.out.push_back(Output::Event(Event::SnapshotTooLarge { len: data.len() }));
            return;
        }
        if index <= self.snapshot_index() {
            return; // a leader's snapshot overtook ours
        }
        snapshot.data = data;
        self.stats.snapshots_taken += 1;
        self.compact_to(snapshot);
    }

    fn persisted(&mut self, id: PersistId) {
        while self.outstanding.front().is_some_and(|first| first.id <= id) {
            let Some(done) = self.outstanding.pop_front() else { return };
            self.finish(done);
        }
    }
}

const BATCH_BYTES: usize = 1 << 20;
const COMMIT_TICKS: u64 = 10;
