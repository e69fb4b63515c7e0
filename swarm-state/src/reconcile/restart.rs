//! Tasks that have ended, or whose node is lost, are replaced.

use super::constraint::admitted;
use super::group::Group;
use crate::object::{Place, Service, Task, TaskState};
use crate::spec::RestartCondition;
use crate::{CreateTask, State, TaskId, TaskOp, Timestamp};

pub(super) fn plan(
    state: &State,
    group: &Group<'_>,
    now: Timestamp,
    ids: &mut impl FnMut() -> TaskId,
    ops: &mut Vec<TaskOp>,
) {
    for (place, tasks) in &group.places {
        for task in tasks.iter().filter(|task| task.is_wanted()) {
            let lost = is_lost(state, group.service, task);
            if !lost && !is_over(task, now) {
                continue;
            }
            ops.push(TaskOp::SetDesired { task: task.id, state: TaskState::Shutdown });
            let gone_with_its_node = lost && matches!(place, Place::Node(_));
            if gone_with_its_node || !should_restart(group.service, tasks, task, now) {
                continue;
            }
            let delay =
                if lost { std::time::Duration::ZERO } else { task.spec.restart_policy().delay().duration() };
            ops.push(replacement(group.service, *place, ids(), now.plus(delay), now));
        }
    }
}

/// Whether the task has ended and the delay before it is over. One that fails while it is being prepared, because its image is
/// unknown, say, would otherwise be replaced at once, again and again.
fn is_over(task: &Task, now: Timestamp) -> bool {
    task.has_ended() && now >= task.not_before
}

/// The moments at which tasks that have failed early are replaced.
pub(super) fn deadlines(group: &Group<'_>, deadlines: &mut Vec<Timestamp>) {
    deadlines.extend(
        group.tasks().filter(|task| task.is_wanted() && task.has_ended()).map(|task| task.not_before),
    );
}

/// Whether the restart policy wants another run after `dead`, the last one of a place.
pub(super) fn should_restart(service: &Service, tasks: &[&Task], dead: &Task, now: Timestamp) -> bool {
    if service.spec.mode.is_job() && dead.status.state == TaskState::Complete {
        return false;
    }
    let policy = service.spec.task_template.restart_policy();
    let wanted = match policy.condition() {
        RestartCondition::Any => true,
        RestartCondition::OnFailure => dead.status.state != TaskState::Complete,
        RestartCondition::None => false,
    };
    let Some(limit) = policy.max_attempts().filter(|_| wanted) else { return wanted };
    let restarts = tasks.iter().filter(|task| task.spec_version == dead.spec_version).skip(1);
    let counted = |task: &&&Task| {
        policy.window().is_none_or(|window| now.since(task.meta.created_at) <= window.duration())
    };
    u64::try_from(restarts.filter(counted).count()).unwrap_or(u64::MAX) < limit
}

/// A new run in a place. It waits if it must not run yet.
pub(super) fn replacement(
    service: &Service,
    place: Place,
    task: TaskId,
    not_before: Timestamp,
    now: Timestamp,
) -> TaskOp {
    let desired = if not_before > now { TaskState::Ready } else { TaskState::Running };
    let (slot, node) = match place {
        Place::Slot(slot) => (slot, None),
        Place::Node(node) => (0, Some(node)),
    };
    let (service, spec_version) = (service.id, service.spec_version);
    TaskOp::Create(CreateTask {
        task,
        service,
        basis: 0, // set by `plan`
        spec_version,
        slot,
        node,
        desired,
        not_before,
        replaces: None,
    })
}

/// Whether the task's node cannot be counted on or is not the right one any more.
fn is_lost(state: &State, service: &Service, task: &Task) -> bool {
    let Some(id) = task.node_id else { return false };
    let Some(node) = state.node(id) else { return true };
    let constraints = if task.spec_version == service.spec_version {
        service.spec.task_template.constraints()
    } else {
        task.spec.constraints()
    };
    node.loses_tasks() || !admitted(node, constraints)
}
