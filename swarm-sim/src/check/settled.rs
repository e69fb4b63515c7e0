//! What must hold some time after the last trouble.

use std::collections::{BTreeMap, BTreeSet};

use overlay_gossip::{MemberState, NetworkId, Phase};
use swarm_state::object::TaskState;
use swarm_state::spec::NodeState;
use swarm_state::{State, TaskId};

use crate::Machine;
use crate::node::Node;

/// What is not yet as it should be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum Unsettled {
    #[error("nobody leads")]
    NoLeader,
    #[error("{machine} has applied the log up to {applied}, not {newest}")]
    Behind { machine: Machine, applied: u64, newest: u64 },
    #[error("the states of {first} and {second} differ")]
    StatesDiffer { first: Machine, second: Machine },
    #[error("{machine} is {state} for the managers")]
    NodeState { machine: Machine, state: NodeState },
    #[error("{machine} believes that {other} is {state:?}")]
    Membership { machine: Machine, other: Machine, state: Option<MemberState> },
    #[error("service {service} has {running} of {wanted} tasks on live nodes")]
    Replicas { service: String, running: u64, wanted: u64 },
    #[error("task {task} is said to run on {machine} and does not")]
    NotRunning { task: TaskId, machine: Machine },
    #[error("task {task} runs on {machine} and should not")]
    StillRunning { task: TaskId, machine: Machine },
    #[error("the table of network {network} on {machine} has {rows:?}, not {wanted:?}")]
    Table { network: String, machine: Machine, rows: BTreeSet<String>, wanted: BTreeSet<String> },
}

/// The first thing that is not as it should be.
pub(crate) fn find_unsettled(nodes: &[Node], newest: u64) -> Option<Unsettled> {
    managers(nodes, newest)
        .and_then(|state| {
            presence(nodes, state)?;
            services(nodes, state)?;
            tables(nodes, state)
        })
        .err()
}

fn managers(nodes: &[Node], newest: u64) -> Result<&State, Unsettled> {
    let live = || nodes.iter().filter_map(|node| Some((node.machine, node.manager()?)));
    let leader = live().find(|(_, manager)| manager.leads()).ok_or(Unsettled::NoLeader)?;
    for (machine, manager) in live() {
        let applied = manager.state().index();
        if applied < newest {
            return Err(Unsettled::Behind { machine, applied, newest });
        }
        if manager.state() != leader.1.state() {
            return Err(Unsettled::StatesDiffer { first: leader.0, second: machine });
        }
    }
    Ok(leader.1.state())
}

fn presence(nodes: &[Node], state: &State) -> Result<(), Unsettled> {
    for node in nodes {
        let machine = node.machine;
        let Some(known) = state.node(machine.node_id()) else { continue };
        let wanted = if node.is_up() { NodeState::Ready } else { NodeState::Down };
        if known.status.state != wanted {
            return Err(Unsettled::NodeState { machine, state: known.status.state });
        }
        let Some(gossip) = node.gossip() else { continue };
        for other in nodes.iter().filter(|other| other.has_joined()) {
            let state = gossip.member(&other.machine.name()).map(|member| member.state);
            let right = match state {
                Some(state) => (state == MemberState::Alive) == other.is_up(),
                None => !other.is_up(),
            };
            if !right {
                return Err(Unsettled::Membership { machine, other: other.machine, state });
            }
        }
    }
    Ok(())
}

fn services(nodes: &[Node], state: &State) -> Result<(), Unsettled> {
    let runs = |id: &TaskId| {
        let task = state.task(*id)?;
        let node = nodes.iter().find(|node| Some(node.machine.node_id()) == task.node_id)?;
        Some((node.machine, node.worker()?.running().any(|running| running == *id)))
    };
    for service in state.services().values() {
        let there = state.nodes().values().filter(|node| node.takes_tasks()).count();
        let everywhere = u64::try_from(there).unwrap_or(u64::MAX);
        let wanted = service.spec.replicas().unwrap_or(everywhere);
        let mut running = 0;
        for task in state.tasks_of(service.id).filter(|task| task.is_wanted()) {
            if task.status.state != TaskState::Running {
                continue;
            }
            match runs(&task.id) {
                Some((_, true)) => running += 1,
                Some((machine, false)) => return Err(Unsettled::NotRunning { task: task.id, machine }),
                None => {}
            }
        }
        if running != wanted {
            let service = service.spec.name.clone();
            return Err(Unsettled::Replicas { service, running, wanted });
        }
    }
    for node in nodes {
        for id in node.worker().into_iter().flat_map(crate::worker::Worker::processes) {
            let wanted = state.task(id).is_some_and(|task| task.is_wanted() && !task.has_ended());
            if !wanted {
                return Err(Unsettled::StillRunning { task: id, machine: node.machine });
            }
        }
    }
    Ok(())
}

/// Every node that is attached to a network shows exactly the endpoints of the tasks that run there.
fn tables(nodes: &[Node], state: &State) -> Result<(), Unsettled> {
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for task in state.tasks().values().filter(|task| task.status.state == TaskState::Running) {
        let Some(owner) = task.node_id else { continue };
        let there = nodes.iter().any(|node| node.is_up() && node.machine.node_id() == owner);
        for attachment in task.networks.iter().filter(|_| there) {
            let addresses: Vec<String> = attachment.addresses.iter().map(ToString::to_string).collect();
            let row = row(owner.as_str(), task.id.as_str(), Phase::Ready, addresses.join(" ").as_bytes());
            wanted.entry(attachment.network_id.to_string()).or_default().insert(row);
        }
    }
    for node in nodes {
        let (Some(gossip), Some(worker)) = (node.gossip(), node.worker()) else { continue };
        for network in worker.assignment().into_iter().flat_map(|assignment| &assignment.networks) {
            let Ok(id) = NetworkId::new(network.id.as_str()) else { continue };
            let records = gossip.records(&id, crate::node::ENDPOINTS);
            let present = records.into_iter().filter(|record| !record.suspended);
            let rows: BTreeSet<String> =
                present.map(|r| row(r.owner.as_str(), &r.key, r.phase, &r.value)).collect();
            let wanted = wanted.get(network.id.as_str()).cloned().unwrap_or_default();
            if rows != wanted {
                return Err(Unsettled::Table {
                    network: network.name.clone(),
                    machine: node.machine,
                    rows,
                    wanted,
                });
            }
        }
    }
    Ok(())
}

fn row(owner: &str, task: &str, phase: Phase, value: &[u8]) -> String {
    format!("{task} {phase} at {} on {owner}", String::from_utf8_lossy(value))
}
