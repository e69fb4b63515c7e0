//! Entries of one network that are still to be gossiped. Their content is read from the store when they leave.

use std::collections::{BTreeMap, BTreeSet};

use super::super::RowKey;

/// The least sent first; of those, this node's own before what it passes on.
#[derive(Debug, Default)]
pub(super) struct Queue {
    order: BTreeSet<(Rank, RowKey)>,
    ranks: BTreeMap<RowKey, Rank>,
}

/// How often it was sent, and whether it is another node's.
pub(super) type Rank = (u32, bool);

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Queues an entry anew.
    pub(super) fn add(&mut self, key: RowKey, relay: bool) {
        self.remove(&key);
        self.set(key, (0, relay));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Rank, &RowKey)> {
        self.order.iter().map(|(rank, key)| (*rank, key))
    }

    /// Counts it as sent; what was sent `limit` times is done.
    pub(super) fn sent(&mut self, key: &RowKey, limit: u32) {
        if let Some((sent, relay)) = self.take(key)
            && sent + 1 < limit
        {
            self.set(key.clone(), (sent + 1, relay));
        }
    }

    /// Leaves one more time to send it.
    pub(super) fn delivered(&mut self, key: &RowKey, limit: u32) {
        if let Some((_, relay)) = self.take(key) {
            self.set(key.clone(), (limit.saturating_sub(1), relay));
        }
    }

    pub(super) fn remove(&mut self, key: &RowKey) {
        self.take(key);
    }

    fn take(&mut self, key: &RowKey) -> Option<Rank> {
        let rank = self.ranks.remove(key)?;
        self.order.remove(&(rank, key.clone()));
        Some(rank)
    }

    fn set(&mut self, key: RowKey, rank: Rank) {
        self.order.insert((rank, key.clone()));
        self.ranks.insert(key, rank);
    }
}
