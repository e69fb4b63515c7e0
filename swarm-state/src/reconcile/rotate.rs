//! Keys are replaced before they are old: installed, used, retired.

use crate::object::Rotation;
use crate::{NetworkId, State, TaskOp, Timestamp};

pub(super) fn plan(state: &State, now: Timestamp, ops: &mut Vec<TaskOp>) {
    for (network, rotation) in networks(state).filter(|(_, rotation)| rotation.due <= now) {
        ops.push(TaskOp::StepNetworkKeys { network, since: rotation.since });
    }
    if let Some(rotation) = gossip(state).filter(|rotation| rotation.due <= now) {
        ops.push(TaskOp::StepGossipKeys { since: rotation.since });
    }
}

pub(super) fn deadlines(state: &State, deadlines: &mut Vec<Timestamp>) {
    deadlines.extend(networks(state).map(|(_, rotation)| rotation.due));
    deadlines.extend(gossip(state).map(|rotation| rotation.due));
}

fn networks(state: &State) -> impl Iterator<Item = (NetworkId, Rotation)> {
    state.networks().values().filter_map(|network| Some((network.id, network.keys.as_ref()?.rotation)))
}

/// `None` if the gossip is plain.
fn gossip(state: &State) -> Option<Rotation> {
    state.cluster().is_some_and(|cluster| !cluster.gossip_keys.is_empty()).then(|| state.gossip_rotation())
}
