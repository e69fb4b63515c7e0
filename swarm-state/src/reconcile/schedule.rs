//! Tasks get addresses, then nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use overlay_ipam::{Command as IpamCommand, Denied, Want};

use super::constraint::{admitted, label};
use crate::apply::{first_task_wants, network_key, node_owner};
use crate::object::{Node, Task, TaskState};
use crate::spec::{PortConfig, Protocol, PublishMode};
use crate::{NodeId, ServiceId, State, TaskOp, Timestamp};

pub(super) fn plan(state: &State, now: Timestamp, ops: &mut Vec<TaskOp>) {
    let mut loads = Loads::of(state, now);
    let waiting = |task: &&Task| task.is_wanted() && task.status.state <= TaskState::Pending;
    let mut tasks: Vec<&Task> = state.tasks().values().filter(waiting).collect();
    tasks.sort_by_key(|task| (task.meta.created_at, task.service_id, task.slot, task.id));
    for task in tasks {
        if task.status.state == TaskState::New {
            ops.extend(can_have_addresses(state, task, now).then_some(TaskOp::Allocate { task: task.id }));
            continue;
        }
        match choose(state, &loads, task) {
            Ok(node) => {
                loads.add(node, task);
                ops.push(TaskOp::Assign { task: task.id, node });
            }
            Err(err) if err != task.status.err => ops.push(TaskOp::SetStatus {
                task: task.id,
                state: None,
                message: "pending task scheduling".to_owned(),
                err,
            }),
            Err(_) => {} // it is known already
        }
    }
}

/// When addresses that rest become free for tasks that wait for them, or for the nodes that they would run on.
pub(super) fn deadlines(state: &State, now: Timestamp, deadlines: &mut Vec<Timestamp>) {
    let time = |ms: u64| i64::try_from(ms).ok().map(Timestamp::from_millis);
    let waiting = |task: &&Task| task.is_wanted() && task.status.state <= TaskState::Pending;
    for task in state.tasks().values().filter(waiting) {
        if task.status.state == TaskState::Pending {
            let networks = task.networks.iter().map(|attachment| network_key(attachment.network_id));
            deadlines.extend(networks.filter_map(|network| time(state.ipam().next_ready(&network)?)));
            continue;
        }
        let Some(service) = state.service(task.service_id) else { continue };
        let wants = first_task_wants(state, service, task.id);
        let check = state.ipam().check(now.as_millis(), &IpamCommand::Acquire { wants });
        if let Err(Denied::AddressesExhausted { ready_ms: Some(ready), .. }) = check {
            deadlines.extend(time(ready));
        }
    }
}

/// The node with the fewest tasks of the service, then the fewest tasks, among those that fit.
fn choose(state: &State, loads: &Loads, task: &Task) -> Result<NodeId, String> {
    let mut refusals: BTreeMap<Refusal, usize> = BTreeMap::new();
    let mut fitting: Vec<&Node> = Vec::new();
    for node in state.nodes().values().filter(|node| task.node_id.is_none_or(|preset| preset == node.id)) {
        match refusal(state, loads, task, node) {
            Some(refusal) => *refusals.entry(refusal).or_default() += 1,
            None => fitting.push(node),
        }
    }
    let best = fitting.iter().min_by_key(|node| {
        let load = loads.on(node.id);
        let spread = spread(state, loads, task, node);
        (loads.fails(node.id, task.service_id), spread, load.of(task.service_id), load.tasks, node.id)
    });
    best.map(|node| node.id).ok_or_else(|| explanation(&refusals))
}

/// Why a node cannot take a task, in the order of the checks.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Refusal {
    NotReady,
    Resources,
    Constraints,
    HostPort,
    MaxReplicas,
    Addresses,
}

fn refusal(state: &State, loads: &Loads, task: &Task, node: &Node) -> Option<Refusal> {
    let load = loads.on(node.id);
    let need = task.spec.reservations();
    let has = &node.description.resources;
    let short = |need: i64, used: i64, has: i64| need > 0 && used.saturating_add(need) > has;
    let max = task.spec.placement.as_ref().map_or(0, |placement| placement.max_replicas);
    if !node.takes_tasks() {
        Some(Refusal::NotReady)
    } else if short(need.nano_cpus, load.nano_cpus, has.nano_cpus)
        || short(need.memory_bytes, load.memory_bytes, has.memory_bytes)
    {
        Some(Refusal::Resources)
    } else if !admitted(node, task.spec.constraints()) {
        Some(Refusal::Constraints)
    } else if host_ports(task).any(|port| load.host_ports.contains(&port)) {
        Some(Refusal::HostPort)
    } else if max > 0 && load.of(task.service_id) >= max {
        Some(Refusal::MaxReplicas)
    } else if !can_attach(state, loads.now, task, node) {
        Some(Refusal::Addresses)
    } else {
        None
    }
}

/// Docker's words; what keeps most nodes out comes first.
fn explanation(refusals: &BTreeMap<Refusal, usize>) -> String {
    let mut reasons: Vec<(Refusal, usize)> =
        refusals.iter().map(|(refusal, count)| (*refusal, *count)).collect();
    reasons.sort_by_key(|(refusal, count)| (std::cmp::Reverse(*count), *refusal));
    let nodes = |count: usize| if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") };
    let words = |(refusal, count): &(Refusal, usize)| match refusal {
        Refusal::NotReady => format!("{} not available for new tasks", nodes(*count)),
        Refusal::Resources => format!("insufficient resources on {}", nodes(*count)),
        Refusal::Constraints => format!("scheduling constraints not satisfied on {}", nodes(*count)),
        Refusal::HostPort => format!("host-mode port already in use on {}", nodes(*count)),
        Refusal::MaxReplicas => "max replicas per node limit exceed".to_owned(),
        Refusal::Addresses => format!("no address left for {}", nodes(*count)),
    };
    let words: Vec<String> = reasons.iter().map(words).collect();
    if words.is_empty() {
        "no suitable node".to_owned()
    } else {
        format!("no suitable node ({})", words.join("; "))
    }
}

/// Tasks of the service in the node's branch, for each label to spread over.
fn spread(state: &State, loads: &Loads, task: &Task, node: &Node) -> Vec<u64> {
    let preferences = task.spec.placement.iter().flat_map(|placement| &placement.preferences);
    let keys =
        preferences.filter_map(|preference| Some(preference.spread.as_ref()?.spread_descriptor.as_str()));
    let mut keys = keys.peekable();
    if keys.peek().is_none() {
        return Vec::new();
    }
    let mut branch: Vec<&Node> = state.nodes().values().collect();
    let mut counts = Vec::new();
    for key in keys {
        branch.retain(|other| label(other, key) == label(node, key));
        counts.push(branch.iter().map(|other| loads.on(other.id).of(task.service_id)).sum());
    }
    counts
}

fn can_have_addresses(state: &State, task: &Task, now: Timestamp) -> bool {
    let Some(service) = state.service(task.service_id) else { return false };
    let wants = first_task_wants(state, service, task.id);
    state.ipam().check(now.as_millis(), &IpamCommand::Acquire { wants }).is_ok()
}

/// Whether the node has, or can get, its own address in each network of the task.
fn can_attach(state: &State, now: Timestamp, task: &Task, node: &Node) -> bool {
    let missing =
        task.networks.iter().filter(|attachment| !node.attachments.contains_key(&attachment.network_id));
    let owner = node_owner(node.id);
    let want = |network| Want { network, owner: owner.clone(), prefer: None };
    let wants: Vec<Want> = missing.map(|missing| want(network_key(missing.network_id))).collect();
    wants.is_empty() || state.ipam().check(now.as_millis(), &IpamCommand::Acquire { wants }).is_ok()
}

/// What is on each node, with what this plan adds.
struct Loads {
    now: Timestamp,
    nodes: BTreeMap<NodeId, Load>,
    failures: BTreeMap<(NodeId, ServiceId), u64>,
    empty: Load,
}

#[derive(Default)]
struct Load {
    tasks: u64,
    services: BTreeMap<ServiceId, u64>,
    nano_cpus: i64,
    memory_bytes: i64,
    host_ports: BTreeSet<(Protocol, u16)>,
}

impl Load {
    fn of(&self, service: ServiceId) -> u64 {
        self.services.get(&service).copied().unwrap_or(0)
    }
}

impl Loads {
    fn of(state: &State, now: Timestamp) -> Self {
        let mut loads =
            Self { now, nodes: BTreeMap::new(), failures: BTreeMap::new(), empty: Load::default() };
        for task in state.tasks().values() {
            let Some(node) = task.node_id else { continue };
            let assigned = task.status.state >= TaskState::Assigned;
            if assigned && !task.has_ended() {
                loads.add(node, task);
            }
            let recent = task.ended_at.is_some_and(|end| now.since(end) < FAILURES_COUNT_FOR);
            if recent && matches!(task.status.state, TaskState::Failed | TaskState::Rejected) {
                *loads.failures.entry((node, task.service_id)).or_default() += 1;
            }
        }
        loads
    }

    fn add(&mut self, node: NodeId, task: &Task) {
        let load = self.nodes.entry(node).or_default();
        if task.is_wanted() {
            load.tasks += 1;
            *load.services.entry(task.service_id).or_default() += 1;
        }
        let need = task.spec.reservations();
        load.nano_cpus = load.nano_cpus.saturating_add(need.nano_cpus);
        load.memory_bytes = load.memory_bytes.saturating_add(need.memory_bytes);
        load.host_ports.extend(host_ports(task));
    }

    fn on(&self, node: NodeId) -> &Load {
        self.nodes.get(&node).unwrap_or(&self.empty)
    }

    /// Recent failures of the service on the node; few do not count.
    fn fails(&self, node: NodeId, service: ServiceId) -> u64 {
        let failures = self.failures.get(&(node, service)).copied().unwrap_or(0);
        if failures < FAILURES_THAT_COUNT { 0 } else { failures }
    }
}

fn host_ports(task: &Task) -> impl Iterator<Item = (Protocol, u16)> {
    let published = |port: &&PortConfig| port.mode() == PublishMode::Host && port.published_port != 0;
    task.endpoint_spec.ports.iter().filter(published).map(|port| (port.protocol(), port.published_port))
}

/// So many failures within [`FAILURES_COUNT_FOR`] make a node the last choice. 5 in 5 minutes, as Docker.
const FAILURES_THAT_COUNT: u64 = 5;
const FAILURES_COUNT_FOR: Duration = Duration::from_secs(5 * 60);
