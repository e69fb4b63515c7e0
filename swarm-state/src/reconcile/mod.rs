//! What should be done next: pure functions from the state to steps of a plan.
//!
//! ```text
//!   restart ▶ replicated ▶ global ▶ update ▶ release (delays) ▶ reap ▶ allocate, schedule ▶ rotate keys
//! ```
//!
//! The leader proposes what [`plan`] returns and asks again once it is applied, until nothing is returned; then it
//! waits for a change or for [`next_deadline`].

mod constraint;
mod dirty;
mod global;
mod group;
mod reap;
mod replicated;
mod restart;
mod rotate;
mod schedule;
mod start;
mod update;

pub use constraint::{Constraint, ConstraintError, parse_constraint};
pub(crate) use dirty::is_dirty;

use crate::{State, TaskId, TaskOp, Timestamp};
use group::Groups;

/// The steps that bring the state closer to what users ask for; empty if nothing can be done now.
///
/// `ids` draws ids for new tasks. Steps that have become stale when the plan is applied are skipped there.
pub fn plan(state: &State, now: Timestamp, ids: &mut impl FnMut() -> TaskId) -> Vec<TaskOp> {
    let now = now.max(state.now());
    let groups = Groups::of(state);
    let mut ops = Vec::new();
    for group in groups.iter() {
        restart::plan(state, group, now, ids, &mut ops);
        replicated::plan(group, now, ids, &mut ops);
        global::plan(state, group, now, ids, &mut ops);
        update::plan(state, group, now, ids, &mut ops);
        start::plan(state, group, now, &mut ops);
        reap::plan(state, group, &mut ops);
    }
    reap::plan_without_service(&groups, &mut ops);
    reap::plan_orphans(state, now, &mut ops);
    schedule::plan(state, now, &mut ops);
    rotate::plan(state, now, &mut ops);
    for op in &mut ops {
        if let TaskOp::Create(create) = op {
            create.basis = state.index();
        }
    }
    ops
}

/// When [`plan`] may return something although nothing has changed. `None`: only after a change.
pub fn next_deadline(state: &State, now: Timestamp) -> Option<Timestamp> {
    let groups = Groups::of(state);
    let mut deadlines = Vec::new();
    for group in groups.iter() {
        restart::deadlines(group, &mut deadlines);
        start::deadlines(group, &mut deadlines);
        update::deadlines(state, group, &mut deadlines);
    }
    reap::deadlines(state, &mut deadlines);
    schedule::deadlines(state, now, &mut deadlines);
    rotate::deadlines(state, &mut deadlines);
    deadlines.into_iter().filter(|deadline| *deadline > now).min()
}
