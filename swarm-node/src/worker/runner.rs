//! Brings the tasks of the assignment to their desired state, one async task each.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc, time::Duration};

use bytes::Bytes;
use overlay_gossip::Phase;
use overlay_linux::netns::NetNs;
use swarm_state::{
    AssignedTask, Assignment, TaskId,
    object::{ContainerStatus, TaskState, TaskStatus},
};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use super::{Attached, Worker, endpoints, unmet};
use crate::{
    clock, dns,
    runtime::{Adopted, Exit, Launch, Running},
};

/// Key of the note that keeps the gateway address over a restart.
const GATEWAY_NOTE: &str = "gateway";
/// Stop signal and grace period if the service names none. As Docker.
const STOP_SIGNAL: &str = "SIGTERM";
const STOP_GRACE: Duration = Duration::from_secs(10);
/// New flows go elsewhere before the program is asked to stop: the time in which every node has heard of it.
const DRAIN: Duration = Duration::from_millis(400);
/// Ended tasks whose logs are kept on the node.
const KEPT_LOGS: usize = 32;

/// Takes over what an earlier daemon left running, before the kernel is compared for the first time.
pub(super) fn adopt(worker: &Worker) -> BTreeMap<TaskId, Adopted> {
    let mut adopted = BTreeMap::new();
    for found in worker.runtime.adopt() {
        let address = found.launch.notes.get(GATEWAY_NOTE).and_then(|addr| addr.parse::<Ipv4Addr>().ok());
        let (Ok(task), Some(gateway_addr)) = (found.launch.task.parse::<TaskId>(), address) else { continue };
        worker.adopt(task, Attached { netns: Arc::clone(&found.netns), gateway_addr });
        adopted.insert(task, found);
    }
    adopted
}

/// Follows the assignment until the node leaves.
pub(super) async fn run(worker: Arc<Worker>, mut adopted: BTreeMap<TaskId, Adopted>) {
    let mut assignments = worker.assignment.subscribe();
    let mut tasks: BTreeMap<TaskId, watch::Sender<Option<AssignedTask>>> = BTreeMap::new();
    let mut lives = JoinSet::new();
    let mut ended: Vec<TaskId> = Vec::new();
    loop {
        let assignment = assignments.borrow_and_update().clone();
        if let Some(assignment) = assignment {
            for assigned in &assignment.tasks {
                let id = assigned.task.id;
                if let Some(known) = tasks.get(&id) {
                    known.send_if_modified(|old| replace(old, Some(assigned.clone())));
                } else if !worker.statuses.borrow().contains_key(&id) {
                    let (sender, receiver) = watch::channel(Some(assigned.clone()));
                    tasks.insert(id, sender);
                    let life = Life { worker: Arc::clone(&worker), id, assigned: receiver, names: None };
                    lives.spawn(life.run(adopted.remove(&id)));
                }
            }
            // What was adopted and is not assigned must not run.
            for (id, found) in std::mem::take(&mut adopted) {
                let (sender, receiver) = watch::channel(None);
                tasks.insert(id, sender);
                lives.spawn(
                    Life { worker: Arc::clone(&worker), id, assigned: receiver, names: None }
                        .run(Some(found)),
                );
            }
            let is_assigned = |id: &TaskId| assignment.tasks.iter().any(|assigned| assigned.task.id == *id);
            for known in tasks.iter().filter(|(id, _)| !is_assigned(id)).map(|(_, sender)| sender) {
                known.send_if_modified(|old| replace(old, None));
            }
            // The managers have taken notice of what ended.
            worker.statuses.send_if_modified(|statuses| {
                let before = statuses.len();
                statuses.retain(|id, status| is_assigned(id) || status.state <= TaskState::Running);
                statuses.len() != before
            });
        }
        tokio::select! {
            changed = assignments.changed() => if changed.is_err() { return },
            Some(life) = lives.join_next() => if let Ok(id) = life {
                tasks.remove(&id);
                ended.push(id);
                while ended.len() > KEPT_LOGS {
                    worker.runtime.remove(ended.remove(0).as_str());
                }
            },
        }
    }
}

fn replace<T: PartialEq>(old: &mut T, new: T) -> bool {
    let differs = *old != new;
    *old = new;
    differs
}

/// One task from its assignment to its end.
struct Life {
    worker: Arc<Worker>,
    id: TaskId,
    assigned: watch::Receiver<Option<AssignedTask>>,
    /// The name server inside of the task; ends with this.
    names: Option<JoinSet<()>>,
}

impl Life {
    async fn run(mut self, adopted: Option<Adopted>) -> TaskId {
        let end = match adopted {
            Some(found) => {
                let place = Attached { netns: found.netns, gateway_addr: Ipv4Addr::UNSPECIFIED };
                let place = self.worker.attached().get(&self.id).cloned().unwrap_or(place);
                self.live(&place, found.running).await
            }
            None => match self.begin().await {
                Ok((place, running)) => self.live(&place, running).await,
                Err(status) => status,
            },
        };
        self.worker.detach(self.id);
        self.worker.report(self.id, end);
        self.id
    }

    /// Prepares and starts; `Err` is the status with which the task ended.
    async fn begin(&mut self) -> Result<(Attached, Running), TaskStatus> {
        let Some(assigned) = self.assigned.borrow().clone() else { return Err(stopped("shutdown")) };
        if let Some(exit) = self.worker.runtime.ended(self.id.as_str()) {
            return Err(outcome(exit, false)); // while there was no daemon
        }
        if assigned.task.status.state >= TaskState::Starting {
            return Err(status(TaskState::Failed, "started", "the node restarted".to_owned()));
        }
        let rejected = |err: String| status(TaskState::Rejected, "preparing", err);
        if let Some(reason) = unmet::unmet(&assigned.task.spec) {
            return Err(rejected(reason));
        }
        self.report(TaskState::Preparing, "preparing");
        let mut launch = self.launch(&assigned);
        self.worker.runtime.prepare(&launch).map_err(|error| rejected(error.to_string()))?;
        let netns = namespace().map_err(|error| rejected(format!("network namespace: {error}")))?;
        let place = self.worker.attach(self.id, Arc::new(netns));
        let place = place.ok_or_else(|| rejected("docker_gwbridge has no free address".to_owned()))?;
        launch.notes.insert(GATEWAY_NOTE.to_owned(), place.gateway_addr.to_string());
        let outcome = self.worker.plane().sync().await;
        if let Some(failure) = outcome.failure_of(self.id.as_str()) {
            return Err(rejected(format!("network sandbox join failed: {failure}")));
        }
        self.report(TaskState::Ready, "prepared");
        let wanted =
            self.assigned.wait_for(|assigned| desired(assigned.as_ref()) >= TaskState::Running).await;
        if !wanted.is_ok_and(|assigned| desired(assigned.as_ref()) == TaskState::Running) {
            return Err(stopped("shutdown before the start"));
        }
        self.report(TaskState::Starting, "starting");
        let _ = self.publish(&assigned, Phase::Starting);
        self.names = Some(dns::serve(&self.worker, self.id, &place.netns));
        let running = self.worker.runtime.start(&launch, &place.netns).await;
        running.map(|running| (place, running)).map_err(|error| {
            self.withdraw(&assigned);
            status(TaskState::Failed, "starting", error.to_string())
        })
    }

    /// A running task, until it ends by itself or should.
    async fn live(&mut self, place: &Attached, running: Running) -> TaskStatus {
        if self.names.is_none() {
            self.names = Some(dns::serve(&self.worker, self.id, &place.netns));
        }
        let container = |exit_code| {
            Some(ContainerStatus { id: running.container_id.clone(), pid: running.pid, exit_code })
        };
        let started =
            TaskStatus { container: container(0), ..status(TaskState::Running, "started", String::new()) };
        self.worker.report(self.id, started);
        let id = self.id.to_string();
        let mut last = self.assigned.borrow().clone();
        let runtime = Arc::clone(&self.worker.runtime);
        let exited = runtime.wait(&id);
        tokio::pin!(exited);
        let mut tables = self.worker.tables.subscribe();
        let (exit, asked) = loop {
            let assigned = self.assigned.borrow_and_update().clone();
            if desired(assigned.as_ref()) > TaskState::Running {
                break (self.stop(last.as_ref()).await, true);
            }
            tables.mark_unchanged();
            let told =
                assigned.as_ref().is_some_and(|assigned| self.publish(assigned, Phase::Ready).is_some());
            last = assigned;
            tokio::select! {
                gone = tables.changed(), if !told => if gone.is_err() { std::future::pending::<()>().await },
                exit = &mut exited => break (exit, false),
                changed = self.assigned.changed() => if changed.is_err() {
                    std::future::pending::<()>().await; // the daemon stops, the task does not
                },
            }
        };
        if let Some(last) = &last {
            self.withdraw(last);
        }
        TaskStatus { container: container(exit.code), ..outcome(exit, asked) }
    }

    async fn stop(&self, last: Option<&AssignedTask>) -> Exit {
        if let Some(last) = last
            && self.publish(last, Phase::Draining).is_some()
        {
            let id = self.id.to_string();
            let _ = timeout(DRAIN, self.worker.runtime.wait(&id)).await;
        }
        let spec = last.and_then(|last| last.task.spec.container_spec.as_ref());
        let signal = spec.map(|spec| spec.stop_signal.as_str()).filter(|signal| !signal.is_empty());
        let grace =
            spec.and_then(|spec| spec.stop_grace_period).and_then(|grace| u64::try_from(grace.0).ok());
        let grace = grace.map_or(STOP_GRACE, Duration::from_nanos);
        self.worker.runtime.stop(self.id.as_str(), signal.unwrap_or(STOP_SIGNAL), grace).await
    }

    /// Writes the task's records; `None` if it is in no network that others see.
    fn publish(&self, assigned: &AssignedTask, phase: Phase) -> Option<()> {
        let agent = self.worker.gossip.get()?;
        let records = endpoints::records(assigned);
        if records.is_empty() {
            return None;
        }
        for (network, record) in records {
            let network = overlay_gossip::NetworkId::new(network.as_str()).ok()?;
            let value = Bytes::from(record.to_bytes());
            agent.publish(network, endpoints::TABLE, self.id.as_str(), phase, value);
        }
        Some(())
    }

    fn withdraw(&self, assigned: &AssignedTask) {
        let _ = self.publish(assigned, Phase::Gone);
    }

    fn report(&self, state: TaskState, message: &str) {
        self.worker.report(self.id, status(state, message, String::new()));
    }

    fn launch(&self, assigned: &AssignedTask) -> Launch {
        let spec = assigned.task.spec.container_spec.clone().unwrap_or_default();
        let assignment = self.worker.assignment.borrow().clone();
        let name = assigned.task.container_name();
        let short: String = self.id.as_str().chars().take(12).collect();
        let hostname = if spec.hostname.is_empty() { short } else { spec.hostname.clone() };
        let own = own_addresses(assigned, assignment.as_deref());
        Launch {
            task: self.id.to_string(),
            name: assigned.task.name.clone(),
            node: self.worker.post.config.hostname.clone(),
            image: spec.image,
            command: spec.command,
            args: spec.args,
            env: spec.env,
            user: spec.user,
            hosts: own.into_iter().map(|ip| format!("{ip}\t{hostname}")).chain(spec.hosts).collect(),
            hostname,
            dir: Some(spec.dir).filter(|dir| !dir.is_empty()),
            resolv_conf: dns::resolv_conf(&name),
            notes: BTreeMap::new(),
        }
    }
}

/// The task's addresses on user networks.
fn own_addresses(assigned: &AssignedTask, assignment: Option<&Assignment>) -> Vec<std::net::IpAddr> {
    let user = |id| assignment.is_some_and(|a| a.networks.iter().any(|n| n.id == id && !n.ingress));
    let attachments = assigned.task.networks.iter().filter(|attachment| user(attachment.network_id));
    attachments.flat_map(|attachment| attachment.addresses.iter().map(ipnet::IpNet::addr)).collect()
}

fn desired(assigned: Option<&AssignedTask>) -> TaskState {
    assigned.map_or(TaskState::Remove, |assigned| assigned.task.desired_state)
}

/// What a program's end means for its task.
fn outcome(exit: Exit, asked: bool) -> TaskStatus {
    match exit.code {
        _ if asked => stopped("shutdown"),
        0 => status(TaskState::Complete, "finished", String::new()),
        code => status(TaskState::Failed, "started", format!("task: non-zero exit ({code})")),
    }
}

fn stopped(message: &str) -> TaskStatus {
    status(TaskState::Shutdown, message, String::new())
}

fn status(state: TaskState, message: &str, err: String) -> TaskStatus {
    TaskStatus { timestamp: clock::now(), state, message: message.to_owned(), err, ..TaskStatus::default() }
}

/// A namespace for a task. Its interfaces believe no router: a task must not lead its neighbours' packets elsewhere.
fn namespace() -> std::io::Result<NetNs> {
    let netns = NetNs::create()?;
    // Interfaces to come inherit it. There is no such file where IPv6 is missing, and /proc may be read-only.
    let _ = netns.run(|| std::fs::write("/proc/sys/net/ipv6/conf/default/accept_ra", "0"))?;
    Ok(netns)
}
