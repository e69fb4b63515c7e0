//! Rolling updates: tasks are replaced a few places at a time, and watched.

use std::time::Duration;

use super::dirty::is_dirty;
use super::group::Group;
use crate::object::{Place, Service, Task, TaskState, UpdateState, UpdateStatus};
use crate::spec::{FailureAction, UpdateConfig, UpdateOrder};
use crate::{CreateTask, State, TaskId, TaskOp, Timestamp};

pub(super) fn plan(
    state: &State,
    group: &Group<'_>,
    now: Timestamp,
    ids: &mut impl FnMut() -> TaskId,
    ops: &mut Vec<TaskOp>,
) {
    let service = group.service;
    if service.spec.mode.is_job() || service.is_paused() {
        return;
    }
    let config = config(service);
    let places: Vec<Situation<'_>> =
        group.places.iter().map(|(place, tasks)| situation(state, service, *place, tasks)).collect();
    let dirty = places.iter().any(|place| !place.old.is_empty());
    if !dirty && !is_under_way(service) {
        return;
    }
    if let Some(op) = failure(group, &config) {
        ops.push(op);
        return;
    }
    if !dirty {
        ops.extend(completion(group, &config, now));
        return;
    }
    if !is_under_way(service) {
        ops.push(set_status(service, UpdateState::Updating, Some(now), None, "update in progress"));
    }
    let busy = places.iter().filter(|place| place.is_busy(service, &config, now)).count();
    let parallelism = usize::try_from(config.parallelism).unwrap_or(usize::MAX);
    let room = if parallelism == 0 { usize::MAX } else { parallelism.saturating_sub(busy) };
    for place in places.iter().filter(|place| place.new.iter().any(|task| runs(task))) {
        ops.extend(place.old.iter().map(|task| shut_down(task))); // the end of start-first
    }
    let waiting = places.iter().filter(|place| place.new.is_empty() && !place.old.is_empty());
    for place in waiting.filter(|place| can_replace(state, place)).take(room) {
        replace(service, place, &config, now, (ids, ops));
    }
}

pub(super) fn deadlines(state: &State, group: &Group<'_>, deadlines: &mut Vec<Timestamp>) {
    let service = group.service;
    if !is_under_way(service) {
        return;
    }
    let config = config(service);
    for (place, tasks) in &group.places {
        let situation = situation(state, service, *place, tasks);
        for since in situation.new.iter().filter_map(|task| task.running_since) {
            deadlines.extend([since.plus(config.delay.duration()), since.plus(watch(&config))]);
        }
    }
}

/// A place with the tasks that are meant to run there.
struct Situation<'a> {
    place: Place,
    /// Those that must go.
    old: Vec<&'a Task>,
    /// Those that stay.
    new: Vec<&'a Task>,
}

impl Situation<'_> {
    /// Whether the place counts against the parallelism: its new task does not run yet, or not for long enough.
    fn is_busy(&self, service: &Service, config: &UpdateConfig, now: Timestamp) -> bool {
        let settled = |task: &&&Task| {
            let rested = |since: Timestamp| since.plus(config.delay.duration()) <= now;
            task.spec_version != service.spec_version
                || (runs(task) && task.running_since.is_some_and(rested))
        };
        !self.new.iter().all(|task| settled(&task)) || (!self.new.is_empty() && !self.old.is_empty())
    }
}

fn situation<'a>(state: &State, service: &Service, place: Place, tasks: &[&'a Task]) -> Situation<'a> {
    let wanted = tasks.iter().copied().filter(|task| task.is_wanted());
    let (old, new) = wanted.partition(|task| is_dirty(state, service, task));
    Situation { place, old, new }
}

/// Whether a new task in the place would find a node.
fn can_replace(state: &State, situation: &Situation<'_>) -> bool {
    match situation.place {
        Place::Slot(_) => true,
        Place::Node(node) => state.node(node).is_some_and(crate::object::Node::takes_tasks),
    }
}

fn replace(
    service: &Service,
    situation: &Situation<'_>,
    config: &UpdateConfig,
    now: Timestamp,
    (ids, ops): (&mut impl FnMut() -> TaskId, &mut Vec<TaskOp>),
) {
    let start_first = config.order() == UpdateOrder::StartFirst;
    let kept = situation.old.last().filter(|_| start_first).map(|task| task.id);
    ops.extend(situation.old.iter().filter(|task| Some(task.id) != kept).map(|task| shut_down(task)));
    let (slot, node) = match situation.place {
        Place::Slot(slot) => (slot, None),
        Place::Node(node) => (0, Some(node)),
    };
    let desired = if start_first { TaskState::Running } else { TaskState::Ready };
    let (service, spec_version) = (service.id, service.spec_version);
    let create = CreateTask {
        task: ids(),
        service,
        basis: 0, // set by `plan`
        spec_version,
        slot,
        node,
        desired,
        not_before: now,
        replaces: kept,
    };
    ops.push(TaskOp::Create(create));
}

/// What to do about tasks of this update that ended too early, if there are too many of them.
fn failure(group: &Group<'_>, config: &UpdateConfig) -> Option<TaskOp> {
    let service = group.service;
    let monitor = config.monitor().duration();
    let failed = |task: &&Task| {
        let early = match (task.running_since, task.ended_at) {
            (Some(since), Some(end)) => end.since(since) < monitor,
            _ => true,
        };
        let state = task.status.state;
        let by_itself = matches!(state, TaskState::Failed | TaskState::Rejected | TaskState::Complete);
        task.spec_version == service.spec_version && by_itself && early
    };
    let failures: Vec<&Task> = group.tasks().filter(failed).collect();
    let last = failures.iter().max_by_key(|task| task.ended_at)?;
    let share = |count: usize| u32::try_from(count).map_or(f64::MAX, f64::from);
    if share(failures.len()) / share(group.places.len()) <= config.max_failure_ratio() {
        return None;
    }
    let reason = format!("due to failure or early termination of task {}", last.id);
    let started_at = service.update_status.as_ref().and_then(|status| status.started_at);
    let pause = |state, what: &str| {
        Some(set_status(service, state, started_at, None, &format!("{what} paused {reason}")))
    };
    match config.failure_action() {
        FailureAction::Continue => None,
        FailureAction::Pause | FailureAction::Rollback if service.is_rolling_back() => {
            pause(UpdateState::RollbackPaused, "rollback")
        }
        FailureAction::Rollback if service.previous_spec.is_some() => Some(TaskOp::Rollback {
            service: service.id,
            spec_version: service.spec_version,
            message: format!("update rolled back {reason}"),
        }),
        FailureAction::Pause | FailureAction::Rollback => pause(UpdateState::Paused, "update"),
    }
}

/// The end: every task of the update has run for long enough.
fn completion(group: &Group<'_>, config: &UpdateConfig, now: Timestamp) -> Option<TaskOp> {
    let service = group.service;
    let stable = |task: &Task| {
        task.spec_version != service.spec_version
            || (runs(task) && task.running_since.is_some_and(|since| since.plus(watch(config)) <= now))
    };
    if !group.tasks().filter(|task| task.is_wanted()).all(stable) {
        return None;
    }
    let started_at = service.update_status.as_ref().and_then(|status| status.started_at);
    let (state, message) = if service.is_rolling_back() {
        (UpdateState::RollbackCompleted, "rollback completed")
    } else {
        (UpdateState::Completed, "update completed")
    };
    Some(set_status(service, state, started_at, Some(now), message))
}

fn set_status(
    service: &Service,
    state: UpdateState,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    message: &str,
) -> TaskOp {
    let status = UpdateStatus { state, started_at, completed_at, message: message.to_owned() };
    TaskOp::SetUpdateStatus { service: service.id, spec_version: service.spec_version, status: Some(status) }
}

fn config(service: &Service) -> UpdateConfig {
    let spec = &service.spec;
    let config = if service.is_rolling_back() { &spec.rollback_config } else { &spec.update_config };
    config.clone().unwrap_or_else(UpdateConfig::docker_default)
}

/// How long the last tasks are watched: the monitor time, or the delay and a second if that is longer.
fn watch(config: &UpdateConfig) -> Duration {
    let delay = config.delay.duration();
    let delay = if delay.is_zero() { delay } else { delay + Duration::from_secs(1) };
    config.monitor().duration().max(delay)
}

fn is_under_way(service: &Service) -> bool {
    let state = service.update_status.as_ref().map(|status| status.state);
    matches!(state, Some(UpdateState::Updating | UpdateState::RollbackStarted))
}

fn runs(task: &Task) -> bool {
    task.status.state == TaskState::Running
}

fn shut_down(task: &Task) -> TaskOp {
    TaskOp::SetDesired { task: task.id, state: TaskState::Shutdown }
}
