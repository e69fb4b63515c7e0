//! Tasks that wait are let run: after the delay of a restart, and after the old task has stopped.

use std::time::Duration;

use super::group::Group;
use crate::object::{Task, TaskState};
use crate::spec::NodeState;
use crate::{State, TaskOp, Timestamp};

pub(super) fn plan(state: &State, group: &Group<'_>, now: Timestamp, ops: &mut Vec<TaskOp>) {
    for tasks in group.places.values() {
        for task in tasks.iter().filter(|task| waits(task)) {
            let patience_is_over = now >= patience(task);
            let stopping = |old: &&&Task| !old.is_wanted() && is_there(state, old);
            if now >= task.not_before && (patience_is_over || !tasks.iter().any(|old| stopping(&old))) {
                ops.push(TaskOp::SetDesired { task: task.id, state: TaskState::Running });
            }
        }
    }
}

pub(super) fn deadlines(group: &Group<'_>, deadlines: &mut Vec<Timestamp>) {
    for task in group.tasks().filter(|task| waits(task)) {
        deadlines.extend([task.not_before, patience(task)]);
    }
}

fn waits(task: &Task) -> bool {
    task.desired_state == TaskState::Ready && !task.has_ended()
}

/// Whether the task still runs somewhere that can be reached.
fn is_there(state: &State, task: &Task) -> bool {
    let node = task.node_id.and_then(|node| state.node(node));
    !task.has_ended() && node.is_some_and(|node| node.status.state != NodeState::Down)
}

/// No longer than this is an old task waited for. One minute, as Docker.
fn patience(task: &Task) -> Timestamp {
    task.meta.created_at.max(task.not_before).plus(Duration::from_secs(60))
}
