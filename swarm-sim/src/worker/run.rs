//! Tasks as processes that take time and fail.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ipnet::IpNet;
use overlay_gossip::Phase;
use rand::Rng;
use swarm_state::object::{Attachment, TaskState, TaskStatus};
use swarm_state::{AssignedTask, Assignment, NetworkId, TaskId, Timestamp};

use super::{Worker, WorkerOutput};
use crate::Mutation;

/// One run of a task.
#[derive(Debug)]
pub(super) struct Run {
    name: String,
    networks: Vec<Attachment>,
    desired: TaskState,
    stage: Stage,
    pub(super) due: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Stage {
    Preparing,
    Ready,
    Starting,
    Running,
    Stopping,
}

impl Run {
    pub(super) fn is_running(&self) -> bool {
        self.stage == Stage::Running
    }

    pub(super) fn has_process(&self) -> bool {
        self.stage >= Stage::Starting
    }

    fn addresses(&self) -> Vec<(NetworkId, IpAddr)> {
        let of =
            |a: &Attachment| -> Vec<_> { a.addresses.iter().map(|net| (a.network_id, net.addr())).collect() };
        self.networks.iter().flat_map(of).collect()
    }
}

impl Worker {
    /// Replaces what is to be done.
    pub(super) fn assign(&mut self, now: Instant, at: Timestamp, assignment: Assignment) {
        for assigned in &assignment.tasks {
            self.take(now, at, assigned);
        }
        let is_assigned = |id: &TaskId| assignment.tasks.iter().any(|assigned| assigned.task.id == *id);
        let dropped: Vec<TaskId> = self.runs.keys().filter(|id| !is_assigned(id)).copied().collect();
        self.statuses.retain(|id, status| is_assigned(id) || status.state <= TaskState::Running);
        for id in dropped {
            self.want(now, at, id, TaskState::Remove);
        }
        self.disk.assignment = Some(assignment);
        self.out.push_back(WorkerOutput::Assigned);
        self.tell();
    }

    pub(super) fn run_due(&mut self, now: Instant, at: Timestamp) {
        let due = |run: &Run| run.due.is_some_and(|due| due <= now);
        let ids: Vec<TaskId> = self.runs.iter().filter(|(_, run)| due(run)).map(|(id, _)| *id).collect();
        for id in ids {
            self.advance(now, at, id);
        }
        self.tell();
    }

    fn take(&mut self, now: Instant, at: Timestamp, assigned: &AssignedTask) {
        let task = &assigned.task;
        if self.runs.contains_key(&task.id) {
            self.want(now, at, task.id, task.desired_state);
        } else if self.statuses.contains_key(&task.id) {
            // It has ended, and the managers will notice.
        } else if self.disk.begun.contains(&task.id) {
            self.note(format!("{}: {} was cut short", self.me, task.name));
            self.report(at, task.id, TaskState::Failed, "the power was cut");
        } else if task.desired_state > TaskState::Running {
            self.report(at, task.id, TaskState::Shutdown, "shutdown");
        } else {
            let due = now + self.within(self.processes.prepare);
            let (name, networks) = (task.name.clone(), task.networks.clone());
            let run =
                Run { name, networks, desired: task.desired_state, stage: Stage::Preparing, due: Some(due) };
            self.runs.insert(task.id, run);
            self.report(at, task.id, TaskState::Preparing, "preparing");
        }
    }

    fn want(&mut self, now: Instant, at: Timestamp, id: TaskId, desired: TaskState) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.desired = run.desired.max(desired);
        match run.stage {
            Stage::Preparing | Stage::Ready if run.desired > TaskState::Running => {
                self.end(at, id, TaskState::Shutdown);
            }
            Stage::Ready if run.desired == TaskState::Running => self.start(now, at, id),
            Stage::Starting | Stage::Running if run.desired > TaskState::Running => {
                run.stage = Stage::Stopping;
                let stop = DRAIN + self.within(self.processes.stop);
                self.set_due(id, Some(now + stop));
                self.publish(id, Phase::Draining);
            }
            Stage::Preparing | Stage::Ready | Stage::Starting | Stage::Running | Stage::Stopping => {}
        }
    }

    fn advance(&mut self, now: Instant, at: Timestamp, id: TaskId) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.due = None;
        match run.stage {
            Stage::Preparing if self.rng.random_bool(self.processes.rejects) => {
                self.end(at, id, TaskState::Rejected);
            }
            Stage::Preparing => {
                run.stage = Stage::Ready;
                let desired = run.desired;
                self.report(at, id, TaskState::Ready, "prepared");
                self.want(now, at, id, desired);
            }
            Stage::Starting => {
                run.stage = Stage::Running;
                let doomed = self.rng.random_bool(self.processes.fails);
                let life = self.within(Duration::from_secs(10));
                self.set_due(id, doomed.then(|| now + life));
                self.report(at, id, TaskState::Running, "started");
                self.publish(id, Phase::Ready);
            }
            Stage::Running => self.end(at, id, TaskState::Failed),
            Stage::Stopping => self.end(at, id, TaskState::Shutdown),
            Stage::Ready => {}
        }
    }

    fn start(&mut self, now: Instant, at: Timestamp, id: TaskId) {
        let begins = now + self.within(self.processes.start);
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.stage = Stage::Starting;
        run.due = Some(begins);
        let addresses = run.addresses();
        self.disk.begun.insert(id);
        self.out.push_back(WorkerOutput::Began { task: id, addresses });
        self.report(at, id, TaskState::Starting, "starting");
        self.publish(id, Phase::Starting);
    }

    fn end(&mut self, at: Timestamp, id: TaskId, state: TaskState) {
        let had_process = self.runs.get(&id).is_some_and(Run::has_process);
        if had_process {
            if self.mutation != Some(Mutation::EndpointsStay) {
                self.publish(id, Phase::Gone);
            }
            if self.mutation == Some(Mutation::EndpointsReturn) {
                self.publish(id, Phase::Ready);
            }
            self.out.push_back(WorkerOutput::Ended { task: id });
        }
        self.report(at, id, state, state.as_str());
        self.runs.remove(&id);
    }

    fn report(&mut self, at: Timestamp, id: TaskId, state: TaskState, message: &str) {
        if let Some(run) = self.runs.get(&id).filter(|_| state >= TaskState::Running) {
            let addresses: Vec<String> = run.addresses().iter().map(|(_, addr)| addr.to_string()).collect();
            self.note(format!("{}: {} is {state} {}", self.me, run.name, addresses.join(" ")));
        }
        let status =
            TaskStatus { timestamp: at, state, message: message.to_owned(), ..TaskStatus::default() };
        self.statuses.insert(id, status);
    }

    fn publish(&mut self, id: TaskId, phase: Phase) {
        let Some(run) = self.runs.get(&id) else { return };
        let text = |nets: &[IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let records = run.networks.iter().map(|attachment| WorkerOutput::Publish {
            network: attachment.network_id,
            task: id,
            phase,
            value: Bytes::from(text(&attachment.addresses)),
        });
        self.out.extend(records);
    }

    fn set_due(&mut self, id: TaskId, due: Option<Instant>) {
        if let Some(run) = self.runs.get_mut(&id) {
            run.due = due;
        }
    }

    fn within(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.rng.random_range(0.1..=1.0))
    }
}

/// New connections go elsewhere before a process is asked to stop.
const DRAIN: Duration = Duration::from_millis(400);
