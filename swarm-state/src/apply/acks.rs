//! Who still has to forget what was freed.
//!
//! ```text
//!   release ─▶ mark m ─▶ Assignment::{resting, leaving, mark} ─▶ worker: none of it is in my tables
//!                │                                                  │
//!                └─▶ nodes that never had it: acknowledged here     └─▶ AckAddresses ─▶ all ready nodes: free again
//! ```
//!
//! Whatever is not acknowledged is free after its [hold](overlay_ipam::Hold).

use std::collections::BTreeMap;

use overlay_core::Vni;
use overlay_ipam::{Command as IpamCommand, Moment, OwnerKey};
use serde::{Deserialize, Serialize};

use super::address::{network_key, node_key};
use crate::spec::NodeState;
use crate::{Action, NetworkId, NodeId, State, Value};

/// A network that a node has no more. As long as it may have something of it, what is freed there is its concern too.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Left {
    /// What to acknowledge.
    pub(crate) mark: u64,
    /// When it is taken as done.
    pub(crate) ready_ms: u64,
    /// Those that the network had, if it was removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) vnis: Vec<Vni>,
}

impl State {
    /// Which of the acknowledgements that nodes have sent are worth an [`Action::AckAddresses`]: those of all nodes if
    /// together they free something, otherwise none.
    ///
    /// The leader asks once per second, so that the log grows by at most one entry per second, and only while something
    /// rests.
    pub fn useful_acks(&self, sent: &BTreeMap<NodeId, u64>) -> Vec<(NodeId, u64)> {
        let Some(first) = self.ipam.first_rest_of_all() else { return Vec::new() };
        let mut useful = Vec::new();
        for node in self.ready() {
            let acked = self.ipam.acked(&node_key(node)).unwrap_or(0);
            let sent = sent.get(&node).copied().unwrap_or(0).min(self.ipam.mark());
            if self.forgotten_by(node, acked.max(sent)) < first {
                return Vec::new(); // everybody waits for this one
            }
            if sent > acked {
                useful.push((node, sent));
            }
        }
        useful
    }

    pub(super) fn ack_addresses(&mut self, acks: &[(NodeId, u64)]) -> Value {
        for (node, through) in acks {
            self.ack(node_key(*node), *through);
        }
        Value::Done
    }

    /// After a command: the allocator waits for the nodes that are ready, and for those only that have something to
    /// forget.
    #[expect(clippy::wildcard_enum_match_arm, reason = "few actions change who is ready")]
    pub(super) fn follow(&mut self, action: &Action, mark_before: u64) {
        let again = match action {
            Action::InitCluster { .. }
            | Action::RegisterNode { .. }
            | Action::SetNodeStatus { .. }
            | Action::RemoveNode { .. } => self.follow_nodes(),
            Action::Tick {} => {
                self.forget_left();
                true
            }
            Action::AckAddresses { .. } => {
                self.follow_nodes();
                self.forget_left();
                true
            }
            _ => false,
        };
        if again || self.ipam.mark() != mark_before {
            self.ack_for_others();
        }
    }

    pub(super) fn tick(&mut self) {
        let _ = self.ipam.apply(self.now.as_millis(), &IpamCommand::Tick); // never refused
    }

    /// The node has the network again.
    pub(super) fn returned(&mut self, node: NodeId, network: NetworkId) {
        if let Some(left) = self.leaving.get_mut(&node) {
            left.remove(&network);
            if left.is_empty() {
                self.leaving.remove(&node);
            }
        }
    }

    /// The node has the network no more, as of the last release.
    pub(super) fn left(&mut self, node: NodeId, network: NetworkId, vnis: &[Vni]) {
        let ready_ms = self.moment().now_ms.saturating_add(self.ipam.config().hold.subnet_ms);
        let left = Left { mark: self.ipam.mark(), ready_ms, vnis: vnis.to_vec() };
        self.leaving.entry(node).or_default().insert(network, left);
    }

    /// The network is removed: nobody has it any more.
    pub(super) fn left_by_all(&mut self, network: NetworkId, vnis: &[Vni]) {
        let had = self.nodes.values().filter(|node| node.attachments.contains_key(&network));
        let leaving = self.leaving.iter().filter(|(_, left)| left.contains_key(&network));
        let all: Vec<NodeId> = had.map(|node| node.id).chain(leaving.map(|(node, _)| *node)).collect();
        for node in all {
            self.left(node, network, vnis);
        }
    }

    pub(super) fn moment(&self) -> Moment {
        let moment = self.ipam.moment();
        Moment { now_ms: moment.now_ms.max(self.now.as_millis()), ..moment }
    }

    /// The allocator's nodes are those that are ready; tells whether they are others now.
    fn follow_nodes(&mut self) -> bool {
        let ready: Vec<OwnerKey> = self.ready().map(node_key).collect();
        let known = self.ipam.nodes().map(|(node, _)| node);
        let changed =
            ready.len() != known.count() || ready.iter().any(|node| self.ipam.acked(node).is_none());
        if changed {
            let command = IpamCommand::SetNodes { nodes: ready };
            let _ = self.ipam.apply(self.now.as_millis(), &command); // never refused
        }
        changed
    }

    /// What a node has nothing of needs no word of it. Does nothing as long as one node holds everything back.
    fn ack_for_others(&mut self) {
        let holds_back = |state: &Self, node: NodeId| {
            let acked = state.ipam.acked(&node_key(node));
            acked.is_some_and(|acked| state.forgotten_by(node, acked) <= state.ipam.settled())
        };
        if self.ipam.settled() == self.ipam.mark() || self.awaited.is_some_and(|node| holds_back(self, node))
        {
            return;
        }
        let awaited = self.ready().find(|node| holds_back(self, *node));
        self.awaited = awaited;
        if self.awaited.is_some() {
            return;
        }
        let ready: Vec<NodeId> = self.ready().collect();
        for node in ready {
            let key = node_key(node);
            let acked = self.ipam.acked(&key).unwrap_or(0);
            let through = self.forgotten_by(node, acked);
            if through > acked {
                self.ack(key, through);
            }
        }
        self.forget_left();
    }

    /// Networks that nodes have left and acknowledged, or long enough ago.
    fn forget_left(&mut self) {
        let now_ms = self.moment().now_ms;
        let ipam = &self.ipam;
        self.leaving.retain(|node, left| {
            let acked = ipam.acked(&node_key(*node)).unwrap_or(0);
            left.retain(|_, left| left.mark > acked && left.ready_ms > now_ms);
            !left.is_empty()
        });
    }

    /// Up to which mark the node has nothing to forget if it has acknowledged up to `acked`.
    fn forgotten_by(&self, node: NodeId, acked: u64) -> u64 {
        let now_ms = self.moment().now_ms;
        let left = self.leaving.get(&node).into_iter().flatten();
        let left = left.filter(|(_, left)| left.mark > acked && left.ready_ms > now_ms);
        let had = left.clone().map(|(network, _)| network);
        let has = self.nodes.get(&node).into_iter().flat_map(|node| node.attachments.keys());
        let rests = has.chain(had).filter_map(|network| self.ipam.first_rest(&network_key(*network), acked));
        let first = rests.chain(left.map(|(_, left)| left.mark)).min();
        first.map_or(self.ipam.mark(), |mark| mark.saturating_sub(1))
    }

    fn ready(&self) -> impl Iterator<Item = NodeId> {
        let ready = self.nodes.values().filter(|node| node.status.state == NodeState::Ready);
        ready.map(|node| node.id)
    }

    fn ack(&mut self, node: OwnerKey, through: u64) {
        let _ = self.ipam.apply(self.now.as_millis(), &IpamCommand::Ack { node, through }); // never refused
    }
}
