//! Tasks of the past are deleted.

use std::time::Duration;

use super::group::{Group, Groups};
use crate::object::{Node, Place, Task, TaskState};
use crate::spec::NodeState;
use crate::{State, TaskOp, Timestamp};

pub(super) fn plan(state: &State, group: &Group<'_>, ops: &mut Vec<TaskOp>) {
    let attempts = group.service.spec.task_template.restart_policy().max_attempts();
    let attempts = attempts.map_or(0, |limit| usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1));
    let limit = state.history_limit().map(|limit| limit.max(attempts));
    for (place, tasks) in &group.places {
        let node_is_gone = matches!(place, Place::Node(node) if state.node(*node).is_none());
        let mut surplus = limit.map_or(0, |limit| tasks.len().saturating_sub(limit));
        for task in tasks.iter().filter(|task| !task.is_wanted()) {
            if never_began(task) && task.desired_state == TaskState::Shutdown {
                ops.push(never_will(task));
            } else if task.desired_state == TaskState::Remove || node_is_gone {
                ops.extend(remove(task));
            } else if surplus > 0 && task.has_ended() {
                surplus -= 1;
                ops.extend(remove(task));
            }
        }
    }
}

/// Tasks whose service was removed.
pub(super) fn plan_without_service(groups: &Groups<'_>, ops: &mut Vec<TaskOp>) {
    for task in &groups.without_service {
        if task.desired_state < TaskState::Remove {
            ops.push(TaskOp::SetDesired { task: task.id, state: TaskState::Remove });
        }
        ops.extend(remove(task));
    }
}

/// Tasks on nodes that have been away for a day are given up: their addresses are free again.
pub(super) fn plan_orphans(state: &State, now: Timestamp, ops: &mut Vec<TaskOp>) {
    for node in state.nodes().values().filter(|node| is_down(node) && given_up_at(node) <= now) {
        for task in state.tasks_on(node.id).filter(|task| !task.has_ended() && !task.is_wanted()) {
            ops.push(TaskOp::SetStatus {
                task: task.id,
                state: Some(TaskState::Orphaned),
                message: "node has been down for too long".to_owned(),
                err: String::new(),
            });
        }
    }
}

pub(super) fn deadlines(state: &State, deadlines: &mut Vec<Timestamp>) {
    deadlines.extend(state.nodes().values().filter(|node| is_down(node)).map(given_up_at));
}

fn is_down(node: &Node) -> bool {
    node.status.state == NodeState::Down
}

fn given_up_at(node: &Node) -> Timestamp {
    node.status.since.plus(GIVE_UP)
}

fn never_began(task: &Task) -> bool {
    task.status.state < TaskState::Assigned
}

fn never_will(task: &Task) -> TaskOp {
    TaskOp::SetStatus {
        task: task.id,
        state: Some(TaskState::Shutdown),
        message: "shut down before it was assigned to a node".to_owned(),
        err: String::new(),
    }
}

fn remove(task: &Task) -> Option<TaskOp> {
    (task.has_ended() || never_began(task)).then_some(TaskOp::Remove { task: task.id })
}

/// A node that was down for so long is given up. 24 h, as Docker.
const GIVE_UP: Duration = Duration::from_secs(24 * 3600);
