//! As many slots as there should be replicas.

use std::collections::BTreeMap;

use super::group::Group;
use super::restart::{replacement, should_restart};
use crate::object::{Place, Task, TaskState};
use crate::spec::Mode;
use crate::{NodeId, TaskId, TaskOp, Timestamp};

pub(super) fn plan(
    group: &Group<'_>,
    now: Timestamp,
    ids: &mut impl FnMut() -> TaskId,
    ops: &mut Vec<TaskOp>,
) {
    match &group.service.spec.mode {
        Mode::Replicated(mode) => scale(group, mode.replicas.unwrap_or(1), now, ids, ops),
        Mode::ReplicatedJob(mode) => {
            let concurrent = mode.max_concurrent.unwrap_or(1);
            run_job(group, concurrent, mode.total_completions.unwrap_or(concurrent), now, (ids, ops));
        }
        Mode::Global(_) | Mode::GlobalJob(_) => {}
    }
}

fn scale(
    group: &Group<'_>,
    replicas: u64,
    now: Timestamp,
    ids: &mut impl FnMut() -> TaskId,
    ops: &mut Vec<TaskOp>,
) {
    let filled = |(place, tasks): (&Place, &Vec<_>)| match place {
        Place::Slot(slot) => is_filled(group, tasks, now).then_some(*slot),
        Place::Node(_) => None,
    };
    let slots: Vec<u64> = group.places.iter().filter_map(filled).collect();
    let present = u64::try_from(slots.len()).unwrap_or(u64::MAX);
    if present <= replicas {
        let missing = usize::try_from(replicas - present).unwrap_or(usize::MAX);
        let free = (1..=replicas).filter(|slot| slots.binary_search(slot).is_err());
        for slot in free.take(missing.min(BATCH)) {
            ops.push(replacement(group.service, Place::Slot(slot), ids(), now, now));
        }
        return;
    }
    for slot in surplus(group, &slots, replicas) {
        let tasks = group.places.get(&Place::Slot(slot)).into_iter().flatten();
        for task in tasks.filter(|task| task.desired_state < TaskState::Remove) {
            ops.push(TaskOp::SetDesired { task: task.id, state: TaskState::Remove });
        }
    }
}

/// Whether a slot needs no new task: one is meant to run, or the last one ended and is not to be restarted.
fn is_filled(group: &Group<'_>, tasks: &[&Task], now: Timestamp) -> bool {
    if tasks.iter().any(|task| task.is_wanted()) {
        return true;
    }
    let last = tasks.iter().rev().find(|task| task.desired_state < TaskState::Remove);
    last.is_some_and(|last| last.has_ended() && !should_restart(group.service, tasks, last, now))
}

/// The slots to give up: those that keep the nodes balanced, not yet running ones and high numbers first.
fn surplus(group: &Group<'_>, slots: &[u64], replicas: u64) -> Vec<u64> {
    let task_of = |slot: u64| {
        let tasks = group.places.get(&Place::Slot(slot)).map_or(&[][..], Vec::as_slice);
        tasks.iter().rev().find(|task| task.is_wanted()).copied()
    };
    let runs = |slot: u64| task_of(slot).is_some_and(|task| task.status.state == TaskState::Running);
    let mut order = slots.to_vec();
    order.sort_by_key(|slot| (!runs(*slot), *slot));
    let mut on_node: BTreeMap<Option<NodeId>, u64> = BTreeMap::new();
    let mut ranked: Vec<(u64, bool, u64)> = Vec::new();
    for slot in order {
        let count = on_node.entry(task_of(slot).and_then(|task| task.node_id)).or_default();
        *count += 1;
        ranked.push((*count, !runs(slot), slot));
    }
    ranked.sort_unstable();
    ranked
        .into_iter()
        .skip(usize::try_from(replicas).unwrap_or(usize::MAX))
        .map(|(_, _, slot)| slot)
        .collect()
}

/// Slots from 1 until enough of them have completed; so many at a time.
fn run_job(
    group: &Group<'_>,
    concurrent: u64,
    total: u64,
    now: Timestamp,
    (ids, ops): (&mut impl FnMut() -> TaskId, &mut Vec<TaskOp>),
) {
    let done = |tasks: &Vec<&Task>| tasks.iter().any(|task| task.status.state == TaskState::Complete);
    let live = |tasks: &Vec<&Task>| tasks.iter().any(|task| task.is_wanted() && !task.has_ended());
    let tasks_of = |slot: u64| group.places.get(&Place::Slot(slot));
    let running = group.places.values().filter(|tasks| live(tasks)).count();
    let room = usize::try_from(concurrent).unwrap_or(usize::MAX).saturating_sub(running);
    let exhausted = |tasks: &Vec<&Task>| {
        tasks.last().is_some_and(|last| last.has_ended() && !should_restart(group.service, tasks, last, now))
    };
    let open =
        |slot: &u64| tasks_of(*slot).is_none_or(|tasks| !done(tasks) && !live(tasks) && !exhausted(tasks));
    for slot in (1..=total).filter(open).take(room.min(BATCH)) {
        ops.push(replacement(group.service, Place::Slot(slot), ids(), now, now));
    }
}

/// New tasks of one service in one plan: keeps log entries small.
const BATCH: usize = 500;
