//! One task on each node that may have one.

use super::constraint::admitted;
use super::group::Group;
use super::restart::{replacement, should_restart};
use crate::object::{Place, Task};
use crate::{State, TaskId, TaskOp, Timestamp};

pub(super) fn plan(
    state: &State,
    group: &Group<'_>,
    now: Timestamp,
    ids: &mut impl FnMut() -> TaskId,
    ops: &mut Vec<TaskOp>,
) {
    let service = group.service;
    if !service.spec.mode.is_global() {
        return;
    }
    for node in state.nodes().values() {
        if !node.takes_tasks() || !admitted(node, service.spec.task_template.constraints()) {
            continue;
        }
        let tasks = group.places.get(&Place::Node(node.id)).map_or(&[][..], Vec::as_slice);
        let finished = |last: &Task| {
            let completed =
                service.spec.mode.is_job() && last.status.state == crate::object::TaskState::Complete;
            last.has_ended() && (completed || !should_restart(service, tasks, last, now))
        };
        if tasks.iter().any(|task| task.is_wanted()) || tasks.last().is_some_and(|last| finished(last)) {
            continue;
        }
        ops.push(replacement(service, Place::Node(node.id), ids(), now, now));
    }
}
