//! The worker's side of its session with the leader.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use swarm_state::object::TaskStatus;
use swarm_state::{TaskId, TaskStatusUpdate, Timestamp};

use super::{Worker, WorkerOutput};
use crate::Machine;
use crate::message::{Down, Frame, Up};

#[derive(Debug)]
pub(super) enum Session {
    Closed { retry: Instant },
    Open(Open),
}

#[derive(Debug)]
pub(super) struct Open {
    manager: Machine,
    number: u64,
    sent: u64,
    expected: u64,
    heard: Instant,
    beat: Instant,
    told: BTreeMap<TaskId, TaskStatus>,
}

impl Session {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Closed { retry } => Some(*retry),
            Self::Open(open) => Some(open.beat.min(open.heard + SILENCE)),
        }
    }
}

impl Worker {
    pub(super) fn keep_session(&mut self, now: Instant) {
        match &mut self.session {
            Session::Closed { retry } if *retry <= now => self.register(now),
            Session::Open(open) if open.heard + SILENCE <= now => self.lose(now, None),
            Session::Open(open) if open.beat <= now => {
                open.beat = now + HEARTBEAT;
                self.send(Up::Heartbeat);
            }
            Session::Closed { .. } | Session::Open(_) => {}
        }
    }

    /// What the gossip says about managers: a dead one is not waited for.
    pub(crate) fn follow_gossip(&mut self, now: Instant, dead: BTreeSet<Machine>) {
        self.dead_managers = dead;
        if let Session::Open(open) = &self.session
            && self.dead_managers.contains(&open.manager)
        {
            self.lose(now, None);
        }
    }

    pub(crate) fn handle_down(&mut self, now: Instant, at: Timestamp, frame: Frame<Down>) {
        let Session::Open(open) = &mut self.session else { return };
        if open.number != frame.session {
            return;
        }
        match frame.body {
            Down::Redirect(leader) => return self.lose(now, leader),
            Down::Closed => return self.lose(now, None),
            Down::Assignment(_) | Down::Heartbeat if frame.sequence != open.expected => {
                return self.lose(now, None);
            }
            Down::Assignment(_) | Down::Heartbeat => {}
        }
        open.expected += 1;
        open.heard = now;
        if let Down::Assignment(assignment) = frame.body {
            self.assign(now, at, *assignment);
        }
    }

    /// Tells what the leader does not know yet.
    pub(super) fn tell(&mut self) {
        let Session::Open(open) = &mut self.session else { return };
        let changed = self.statuses.iter().filter(|(task, status)| open.told.get(task) != Some(status));
        let updates: Vec<TaskStatusUpdate> =
            changed.map(|(task, status)| TaskStatusUpdate { task: *task, status: status.clone() }).collect();
        open.told = self.statuses.clone();
        if !updates.is_empty() {
            self.send(Up::Statuses(updates));
        }
    }

    fn register(&mut self, now: Instant) {
        let managers = self.candidates();
        let next = self.hint.take().or_else(|| managers.get(self.turn % managers.len().max(1)).copied());
        self.turn += 1;
        let Some(manager) = next else {
            self.session = Session::Closed { retry: now + RETRY };
            return;
        };
        self.sessions += 1;
        self.session = Session::Open(Open {
            manager,
            number: self.sessions,
            sent: 0,
            expected: 0,
            heard: now,
            beat: now + HEARTBEAT,
            told: BTreeMap::new(),
        });
        self.send(Up::Register);
        self.tell();
    }

    fn candidates(&self) -> Vec<Machine> {
        let mut all: BTreeSet<Machine> = self.disk.managers.iter().copied().collect();
        let assigned = self.disk.assignment.iter().flat_map(|assignment| &assignment.managers);
        all.extend(assigned.filter_map(|(_, addr)| Machine::of_manager(addr)));
        let alive: Vec<Machine> = all.difference(&self.dead_managers).copied().collect();
        if alive.is_empty() { all.into_iter().collect() } else { alive }
    }

    fn lose(&mut self, now: Instant, leader: Option<Machine>) {
        let retry = if leader.is_some() { now } else { now + RETRY };
        self.hint = leader;
        self.session = Session::Closed { retry };
    }

    fn send(&mut self, body: Up) {
        if let Session::Open(open) = &mut self.session {
            let frame = Frame { session: open.number, sequence: open.sent, body };
            open.sent += 1;
            self.out.push_back(WorkerOutput::Send(open.manager, frame));
        }
    }
}

/// Period of heartbeats in both directions.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(500);
/// A session without a word for this long is over.
pub(crate) const SILENCE: Duration = Duration::from_secs(3);
/// Pause between attempts to find the leader.
const RETRY: Duration = Duration::from_millis(200);
