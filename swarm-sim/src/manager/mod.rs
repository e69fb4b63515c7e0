//! A manager: a member of the log, the state that it folds, and while it leads the sessions and the reconcilers.

mod lead;
mod sessions;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use overlay_raft::{
    Action as RaftAction, Consensus, Event, Input, LogStore, MemberChange, MemoryLog, Output, Persist,
    ProposalId, Refusal, Saved, Transmit,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use swarm_state::{Action, Command, NodeId, Rejection, RejectionKind, Reply, State, Timestamp};

use crate::message::{Down, Frame};
use crate::world::Ticket;
use crate::{Machine, Mutation};
use lead::Lead;
use sessions::Session;

/// What a manager's disk keeps through a power cut.
#[derive(Clone, Debug)]
pub(crate) struct ManagerDisk {
    log: MemoryLog,
    /// As it was when the manager was set up.
    first: MemoryLog,
}

impl ManagerDisk {
    pub(crate) fn founding(me: Machine) -> Self {
        let data = Bytes::from(State::new().to_json());
        let log = MemoryLog::from(Saved::founding(me.member_id(), me.manager_addr().into_bytes(), data));
        Self { first: log.clone(), log }
    }

    pub(crate) fn joining() -> Self {
        let log = MemoryLog::from(Saved::default());
        Self { first: log.clone(), log }
    }
}

#[derive(Debug)]
pub(crate) struct Manager {
    me: Machine,
    raft: Consensus,
    disk: ManagerDisk,
    /// On the way to the disk, with the time when it will be there.
    writes: VecDeque<(Instant, Persist)>,
    state: State,
    lead: Option<Lead>,
    sessions: BTreeMap<NodeId, Session>,
    proposals: BTreeMap<ProposalId, Purpose>,
    next_proposal: u64,
    rng: StdRng,
    mutation: Option<Mutation>,
    out: VecDeque<ManagerOutput>,
}

#[derive(Debug)]
pub(crate) enum ManagerOutput {
    Raft(Transmit),
    Send(Machine, Frame<Down>),
    Answer(Ticket, Result<Reply, Refused>),
    /// Must be looked at before the next output is taken: the state is as of this entry.
    Applied {
        index: u64,
        command: Bytes,
        reply: Bytes,
        tasks_changed: bool,
    },
    Leads {
        term: u64,
    },
    Restored {
        index: u64,
    },
    Note(String),
}

/// Why a request of a user was not carried out here.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It may be tried again.
    NotNow,
    ByState(Rejection),
}

/// What a user asks a manager for.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Do(Action),
    AddManager(Machine),
    Scale { service: String, replicas: u64 },
    RemoveService { service: String },
}

/// Who waits for a proposal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Purpose {
    Barrier,
    Plan,
    Presence,
    Register(NodeId, u64),
    Statuses(NodeId, u64),
    User(Ticket),
}

/// The moment in the words of both worlds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    pub(crate) at: Timestamp,
}

impl Manager {
    pub(crate) fn new(
        me: Machine,
        mut disk: ManagerDisk,
        (snapshot_every, mutation): (u64, Option<Mutation>),
        now: Instant,
        seed: u64,
    ) -> Self {
        let saved = disk.log.load().ok().flatten().unwrap_or_default();
        let config = overlay_raft::Config {
            snapshot_every,
            keep_entries: 10,
            ..overlay_raft::Config::new(me.member_id())
        };
        let raft = Consensus::new(config, saved, now, seed).expect("a log in memory is as it was written");
        Self {
            me,
            raft,
            disk,
            writes: VecDeque::new(),
            state: State::new(),
            lead: None,
            sessions: BTreeMap::new(),
            proposals: BTreeMap::new(),
            next_proposal: 1,
            rng: StdRng::seed_from_u64(seed),
            mutation,
            out: VecDeque::new(),
        }
    }

    /// What is left when the power is cut: what was on its way to the disk is lost.
    pub(crate) fn into_disk(mut self) -> ManagerDisk {
        if self.mutation == Some(Mutation::DiskForgets) {
            self.disk.log = self.disk.first.clone();
        }
        self.disk
    }

    pub(crate) const fn state(&self) -> &State {
        &self.state
    }

    pub(crate) const fn raft(&self) -> &Consensus {
        &self.raft
    }

    pub(crate) fn leads(&self) -> bool {
        self.raft.is_leader()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let lead = self.lead.as_ref().map(|lead| lead.due);
        let write = self.writes.front().map(|(at, _)| *at);
        [self.raft.poll_timeout(), write, lead].into_iter().flatten().min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.write(now);
        if self.raft.poll_timeout().is_some_and(|at| at <= now) {
            self.raft.handle_timeout(now);
        }
    }

    pub(crate) fn receive(&mut self, now: Instant, message: Bytes) {
        let _ = self.raft.handle_input(now, Input::Message(message)); // counted inside
    }

    /// A user's request; answered by [`ManagerOutput::Answer`].
    pub(crate) fn ask(&mut self, moment: Moment, ticket: Ticket, request: Request) {
        match request {
            Request::Do(_) | Request::Scale { .. } | Request::RemoveService { .. } => {
                match crate::world::resolve(&self.state, request) {
                    Some(action) => self.propose(moment, action, Purpose::User(ticket)),
                    None => self.out.push_back(ManagerOutput::Answer(ticket, Ok(Reply::default()))),
                }
            }
            Request::AddManager(machine) => {
                let id = self.proposal(Purpose::User(ticket));
                let context = machine.manager_addr().into_bytes();
                let change = MemberChange::Add { id: machine.member_id(), context };
                let _ = self.raft.handle_input(moment.now, Input::Change { id, change });
            }
        }
    }

    pub(crate) fn transfer(&mut self, now: Instant, to: Machine) {
        let _ = self.raft.handle_input(now, Input::Transfer { to: to.member_id() });
    }

    pub(crate) fn poll_output(&mut self, moment: Moment) -> Option<ManagerOutput> {
        loop {
            if let Some(output) = self.out.pop_front() {
                return Some(output);
            }
            match self.raft.poll_output() {
                Some(Output::Transmit(transmit)) => return Some(ManagerOutput::Raft(transmit)),
                Some(Output::Event(event)) => self.handle_event(moment, &event),
                Some(Output::Action(action)) => self.act(moment, action),
                None if self.follow_leadership(moment) => {}
                None => return None,
            }
        }
    }

    fn handle_event(&mut self, moment: Moment, event: &Event) {
        match event {
            Event::Refused { id, why } => {
                if let Some(purpose) = self.proposals.remove(id) {
                    self.refused(moment, purpose, why);
                }
            }
            Event::ReadConfirmed { id, index } => {
                if self.proposals.remove(id).is_some()
                    && let Some(lead) = &mut self.lead
                {
                    lead.ready_at = Some(*index);
                    lead.due = moment.now;
                }
            }
            Event::LeaderChanged { .. } | Event::Removed | Event::SnapshotTooLarge { .. } => {}
        }
    }

    fn act(&mut self, moment: Moment, action: RaftAction) {
        match action {
            RaftAction::Persist(persist) => {
                let takes = Duration::from_micros(self.rng.random_range(500..5_000));
                let behind = self.writes.back().map_or(moment.now, |(at, _)| *at);
                self.writes.push_back((behind.max(moment.now + takes), persist));
            }
            RaftAction::Apply { index, command, proposal } => self.apply(moment, (index, command), proposal),
            RaftAction::ChangeMembers { proposal, .. } => {
                if let Some(purpose) = proposal.and_then(|id| self.proposals.remove(&id)) {
                    self.done(purpose, Ok(Reply::default()));
                }
            }
            RaftAction::Restore(snapshot) => {
                self.state = State::from_json(&snapshot.data).expect("snapshots are written by `to_json`");
                self.out.push_back(ManagerOutput::Restored { index: snapshot.index });
            }
            RaftAction::TakeSnapshot { index } => {
                let data = Bytes::from(self.state.to_json());
                let _ = self.raft.handle_input(moment.now, Input::SnapshotTaken { index, data });
            }
        }
    }

    fn apply(&mut self, moment: Moment, (index, bytes): (u64, Bytes), proposal: Option<ProposalId>) {
        let result = match Command::from_json(&bytes) {
            Ok(command) => self.state.apply(index, &command),
            Err(error) => Err(Rejection::plain(RejectionKind::Internal, error.to_string())),
        };
        if let Some(mutation) = self.mutation {
            crate::check::tamper(&mut self.state, mutation);
        }
        let is_task = |change: &swarm_state::Change| change.kind == swarm_state::ObjectKind::Task;
        let tasks_changed = result.as_ref().is_ok_and(|reply| reply.changes.iter().any(is_task));
        let reply = Bytes::from(serde_json::to_vec(&result).unwrap_or_default());
        self.out.push_back(ManagerOutput::Applied { index, command: bytes, reply, tasks_changed });
        if let Some(lead) = &mut self.lead {
            lead.due = lead.due.min(moment.now + GATHER);
        }
        if let Some(purpose) = proposal.and_then(|id| self.proposals.remove(&id)) {
            self.done(purpose, result);
        }
    }

    fn write(&mut self, now: Instant) {
        let mut batch = Vec::new();
        while self.writes.front().is_some_and(|(at, _)| *at <= now) {
            batch.extend(self.writes.pop_front().map(|(_, persist)| persist));
        }
        let Some(last) = batch.last().map(|persist| persist.id) else { return };
        self.disk.log.save(&batch).expect("memory takes everything");
        let _ = self.raft.handle_input(now, Input::Persisted { id: last });
    }

    fn propose(&mut self, moment: Moment, action: Action, purpose: Purpose) {
        let id = self.proposal(purpose);
        let command = Bytes::from(action.at(moment.at).to_json());
        let _ = self.raft.handle_input(moment.now, Input::Proposal { id, command });
    }

    fn proposal(&mut self, purpose: Purpose) -> ProposalId {
        let id = ProposalId(self.next_proposal);
        self.next_proposal += 1;
        self.proposals.insert(id, purpose);
        id
    }

    fn done(&mut self, purpose: Purpose, result: Result<Reply, Rejection>) {
        match purpose {
            Purpose::User(ticket) => {
                self.out.push_back(ManagerOutput::Answer(ticket, result.map_err(Refused::ByState)));
            }
            Purpose::Register(node, session) => self.registered(node, session, result.is_ok()),
            Purpose::Barrier | Purpose::Plan | Purpose::Presence | Purpose::Statuses(..) => {}
        }
    }

    fn refused(&mut self, moment: Moment, purpose: Purpose, _why: &Refusal) {
        match purpose {
            Purpose::User(ticket) => self.out.push_back(ManagerOutput::Answer(ticket, Err(Refused::NotNow))),
            Purpose::Register(node, session) | Purpose::Statuses(node, session) => self.close(node, session),
            Purpose::Barrier => self.ask_barrier(moment),
            Purpose::Plan | Purpose::Presence => {}
        }
    }

    /// Whether a proposal of this kind is under way.
    fn is_pending(&self, purpose: Purpose) -> bool {
        self.proposals.values().any(|pending| *pending == purpose)
    }
}

/// Changes that come together are acted on together.
const GATHER: Duration = Duration::from_millis(5);
