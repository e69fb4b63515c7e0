//! What only the leader does: run the reconcilers until nothing is left to do, and notice which nodes are gone.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use overlay_gossip::MemberState;
use overlay_raft::Role;
use swarm_state::{
    Action, NodeId, NodeStatusUpdate, State, TaskId, reconcile,
    spec::{NodeRole, NodeState},
};
use tokio::time::sleep;

use super::{Manager, control};
use crate::clock;

/// How often nodes are looked at, and the longest pause of the reconcilers.
const LOOK: Duration = Duration::from_millis(100);
/// A node that the gossip calls dead is believed to be so unless its session spoke within this time, which is enough for a
/// supervisor to start a crashed daemon again.
const FRESH: Duration = Duration::from_millis(1500);
/// How long a daemon that announced its restart may take. Its tasks are not moved meanwhile.
const RESTART: Duration = Duration::from_secs(15);
/// A node that the gossip does not know is down after this silence. 15 s, as SwarmKit: three heartbeats of 5 s.
const FORGOTTEN: Duration = Duration::from_secs(15);
/// Shortest pause between two entries that say which nodes have forgotten earlier holders of addresses.
const ACKNOWLEDGE: Duration = Duration::from_secs(1);

/// Runs for the life of the manager; acts while it leads.
pub(super) async fn run(manager: Arc<Manager>) {
    let mut status = manager.raft.status();
    loop {
        if status.wait_for(|status| status.role == Role::Leader).await.is_err() {
            return;
        }
        // Everything that earlier leaders have committed is applied before the first decision.
        if manager.raft.read_barrier().await.is_ok() {
            lead(&manager).await;
        }
        if let Some(failure) = manager.raft.failure() {
            crate::notice(&format!("the log of this manager has failed: {failure}"));
            return;
        }
        sleep(LOOK).await;
    }
}

async fn lead(manager: &Arc<Manager>) {
    let mut status = manager.raft.status();
    let since = clock::instant();
    let mut looked = since;
    let mut acknowledge = since;
    while status.borrow_and_update().role == Role::Leader {
        if clock::instant().duration_since(looked) >= LOOK {
            looked = clock::instant();
            let gone = gone_nodes(manager, since);
            if !gone.is_empty() && manager.propose(Action::SetNodeStatus { nodes: gone }).await.is_err() {
                return;
            }
        }
        if let Some(demoted) = demoted(manager)
            && control::dismiss(manager, demoted).await.is_err()
        {
            sleep(LOOK).await; // a majority has to agree; it is tried again
        }
        if clock::instant() >= acknowledge {
            let acks = manager.read(|state| manager.sessions.forgotten(|said| state.useful_acks(said)));
            let pause = if acks.is_empty() { LOOK } else { ACKNOWLEDGE };
            acknowledge = clock::instant() + pause;
            if !acks.is_empty() && manager.propose(Action::AckAddresses { acks }).await.is_err() {
                return;
            }
        }
        let now = clock::now();
        let mut ids = || TaskId::from_random(clock::random());
        let ops = manager.read(|state| reconcile::plan(state, now, &mut ids));
        if !ops.is_empty() {
            if manager.propose(Action::Plan { ops }).await.is_err() {
                return;
            }
            continue;
        }
        let pause = manager.read(|state| pause(state, now));
        tokio::select! {
            changed = status.changed() => if changed.is_err() { return },
            () = sleep(pause) => {}
        }
    }
}

/// A manager that should be none any more. The leader itself hands over first, when it leaves.
fn demoted(manager: &Manager) -> Option<NodeId> {
    manager.read(|state| {
        let unwanted = |node: &&swarm_state::object::Node| {
            node.spec.role == NodeRole::Worker && node.manager.is_some() && node.id != manager.node
        };
        state.nodes().values().find(unwanted).map(|node| node.id)
    })
}

fn pause(state: &State, now: swarm_state::Timestamp) -> Duration {
    let deadline = reconcile::next_deadline(state, now);
    deadline.map_or(LOOK, |deadline| deadline.since(now).clamp(Duration::from_millis(1), LOOK))
}

/// Ready nodes that are not there any more.
fn gone_nodes(manager: &Manager, since: Instant) -> Vec<NodeStatusUpdate> {
    let now = clock::instant();
    let members: BTreeMap<String, MemberState> = manager.gossip.get().map_or_else(BTreeMap::new, |agent| {
        agent.members().iter().map(|member| (member.name.to_string(), member.state)).collect()
    });
    let ready: Vec<NodeId> = manager.read(|state| {
        let there = |node: &&swarm_state::object::Node| node.status.state == NodeState::Ready;
        state.nodes().values().filter(there).map(|node| node.id).collect()
    });
    let mut gone = Vec::new();
    for node in ready.into_iter().filter(|node| *node != manager.node) {
        let presence = manager.sessions.presence(node);
        let silent = now.duration_since(presence.map_or(since, |presence| presence.heard.max(since)));
        let connected = presence.is_some_and(|presence| presence.connected);
        if presence.is_some_and(|presence| presence.pausing) && silent < RESTART {
            continue; // its tasks run, and it said that it will be back
        }
        let state = members.get(node.as_str());
        let dead = matches!(state, Some(MemberState::Dead));
        let left = matches!(state, Some(MemberState::Left));
        if presence.is_some() && !connected && !dead && !left {
            // The connection broke: evidence that the process is gone, which the others may confirm.
            if let (Some(agent), Ok(name)) = (manager.gossip.get(), node.as_str().parse()) {
                agent.report_refused(&name);
            }
        }
        let message = match () {
            () if left && !connected => "the node has left",
            () if dead && silent > FRESH => "heartbeat failure",
            () if silent > FORGOTTEN => "heartbeat failure",
            () => continue,
        };
        gone.push(NodeStatusUpdate { id: node, state: NodeState::Down, message: message.to_owned() });
    }
    gone
}
