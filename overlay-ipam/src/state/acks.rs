//! Who has forgotten what.

use std::collections::BTreeMap;

use crate::OwnerKey;

/// Nodes whose acknowledgement counts, and up to which mark they have given it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acks {
    nodes: BTreeMap<OwnerKey, u64>,
    /// How many nodes are at each mark, so that the lowest one is found at once.
    counts: BTreeMap<u64, usize>,
}

impl Acks {
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&OwnerKey, u64)> {
        self.nodes.iter().map(|(node, acked)| (node, *acked))
    }

    pub(crate) fn get(&self, node: &OwnerKey) -> Option<u64> {
        self.nodes.get(node).copied()
    }

    /// What all have acknowledged; `None`: there are no nodes.
    pub(crate) fn lowest(&self) -> Option<u64> {
        self.counts.first_key_value().map(|(acked, _)| *acked)
    }

    /// These nodes and no others; a new one has acknowledged nothing.
    pub(crate) fn replace(&mut self, nodes: &[OwnerKey]) {
        let before = std::mem::take(self);
        for node in nodes {
            self.insert(node.clone(), before.get(node).unwrap_or(0));
        }
    }

    pub(crate) fn insert(&mut self, node: OwnerKey, acked: u64) {
        if let Some(before) = self.nodes.insert(node, acked) {
            self.uncount(before);
        }
        *self.counts.entry(acked).or_default() += 1;
    }

    /// The node has acknowledged this mark too. Nodes that are not in the set do not count.
    pub(crate) fn raise(&mut self, node: &OwnerKey, acked: u64) {
        let Some(before) = self.nodes.get_mut(node) else { return };
        let old = *before;
        if old < acked {
            *before = acked;
            self.uncount(old);
            *self.counts.entry(acked).or_default() += 1;
        }
    }

    pub(crate) fn is_consistent(&self) -> bool {
        let mut counts = BTreeMap::new();
        self.nodes.values().for_each(|acked| *counts.entry(*acked).or_default() += 1);
        counts == self.counts
    }

    fn uncount(&mut self, acked: u64) {
        if let Some(count) = self.counts.get_mut(&acked) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&acked);
            }
        }
    }
}
