//! A worker: finds the leader, does what it is assigned, reports, and says in the tables where its tasks are.

mod run;
mod session;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use bytes::Bytes;
use overlay_gossip::Phase;
use rand::SeedableRng;
use rand::rngs::StdRng;
use swarm_state::object::TaskStatus;
use swarm_state::{Assignment, NetworkId, TaskId, Timestamp};

use crate::message::{Frame, Up};
use crate::{Machine, Mutation, Processes};
use run::Run;
use session::Session;
pub(crate) use session::{HEARTBEAT, SILENCE};

/// What a worker's disk keeps through a power cut.
#[derive(Clone, Debug, Default)]
pub(crate) struct WorkerDisk {
    assignment: Option<Assignment>,
    /// Tasks whose process was started: a task runs once.
    begun: BTreeSet<TaskId>,
    /// Managers known before the first assignment.
    pub(crate) managers: Vec<Machine>,
}

#[derive(Debug)]
pub(crate) struct Worker {
    me: Machine,
    disk: WorkerDisk,
    processes: Processes,
    mutation: Option<Mutation>,
    rng: StdRng,
    session: Session,
    hint: Option<Machine>,
    turn: usize,
    sessions: u64,
    runs: BTreeMap<TaskId, Run>,
    /// How tasks are, until the managers have forgotten them.
    statuses: BTreeMap<TaskId, TaskStatus>,
    dead_managers: BTreeSet<Machine>,
    out: VecDeque<WorkerOutput>,
}

#[derive(Debug)]
pub(crate) enum WorkerOutput {
    Send(Machine, Frame<Up>),
    /// A new assignment: the gossip follows it.
    Assigned,
    Publish {
        network: NetworkId,
        task: TaskId,
        phase: Phase,
        value: Bytes,
    },
    Began {
        task: TaskId,
        addresses: Vec<(NetworkId, IpAddr)>,
    },
    Ended {
        task: TaskId,
    },
    Note(String),
}

impl Worker {
    /// Starts after a power cut, or for the first time.
    pub(crate) fn new(
        me: Machine,
        disk: WorkerDisk,
        (processes, mutation): (Processes, Option<Mutation>),
        now: Instant,
        seed: u64,
    ) -> Self {
        let mut worker = Self {
            me,
            disk,
            processes,
            mutation,
            rng: StdRng::seed_from_u64(seed),
            session: Session::Closed { retry: now },
            hint: None,
            turn: 0,
            sessions: seed << 16, // differs from those of earlier lives
            runs: BTreeMap::new(),
            statuses: BTreeMap::new(),
            dead_managers: BTreeSet::new(),
            out: VecDeque::new(),
        };
        if worker.disk.assignment.is_some() {
            worker.out.push_back(WorkerOutput::Assigned);
        }
        worker
    }

    /// What is left of it when the power is cut.
    pub(crate) fn into_disk(self) -> WorkerDisk {
        self.disk
    }

    pub(crate) fn poll_output(&mut self) -> Option<WorkerOutput> {
        self.out.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let runs = self.runs.values().filter_map(|run| run.due);
        runs.chain(self.session.poll_timeout()).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, at: Timestamp) {
        self.run_due(now, at);
        self.keep_session(now);
    }

    pub(crate) const fn assignment(&self) -> Option<&Assignment> {
        self.disk.assignment.as_ref()
    }

    /// The tasks whose process exists and has started.
    pub(crate) fn running(&self) -> impl Iterator<Item = TaskId> {
        self.runs.iter().filter(|(_, run)| run.is_running()).map(|(id, _)| *id)
    }

    /// All tasks with a process.
    pub(crate) fn processes(&self) -> impl Iterator<Item = TaskId> {
        self.runs.iter().filter(|(_, run)| run.has_process()).map(|(id, _)| *id)
    }

    fn note(&mut self, text: String) {
        self.out.push_back(WorkerOutput::Note(text));
    }
}
