//! Entries by network, table and key: one each, whoever wrote it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::super::{Phase, RowKey};
use crate::wire::networkdb::Change;
use crate::{NetworkId, NodeName};

/// What is known under a key.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) owner: NodeName,
    pub(super) ltime: u64,
    /// As its owner has it; others see [`Phase::Ready`] or [`Phase::Gone`].
    pub(super) phase: Phase,
    /// What it says; of a withdrawn one, what it said last.
    pub(super) value: Bytes,
    /// How it got there, to pass on.
    pub(super) change: Change,
    /// When a withdrawn one is forgotten.
    pub(super) forget_at: Option<Instant>,
}

/// All entries.
#[derive(Debug, Default)]
pub(super) struct Store {
    networks: BTreeMap<NetworkId, BTreeMap<RowKey, Entry>>,
    len: usize,
}

impl Entry {
    pub(super) fn is_live(&self) -> bool {
        self.phase != Phase::Gone
    }

    /// Whether others have heard of it.
    pub(super) fn is_told(&self) -> bool {
        self.phase != Phase::Starting
    }

    /// What decides which of two entries under one key stays. Of one time, a live entry is the genuine one: owners
    /// count each change, while nodes of Docker used to make up deletions with the time of what they deleted.
    pub(super) fn rank(&self) -> (u64, bool, &NodeName) {
        (self.ltime, self.is_live(), &self.owner)
    }
}

impl Store {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn networks(&self) -> impl Iterator<Item = &NetworkId> {
        self.networks.keys()
    }

    pub(super) fn get(&self, network: &NetworkId, key: &RowKey) -> Option<&Entry> {
        self.networks.get(network)?.get(key)
    }

    pub(super) fn put(&mut self, network: &NetworkId, key: RowKey, entry: Entry) {
        let entries = self.networks.entry(network.clone()).or_default();
        if entries.insert(key, entry).is_none() {
            self.len += 1;
        }
    }

    pub(super) fn entries(&self, network: &NetworkId) -> impl Iterator<Item = (&RowKey, &Entry)> {
        self.networks.get(network).into_iter().flatten()
    }

    pub(super) fn table(&self, network: &NetworkId, table: &str) -> impl Iterator<Item = (&RowKey, &Entry)> {
        let start = RowKey::new(table, "");
        let table: Arc<str> = start.table.clone();
        let entries = self.networks.get(network).into_iter();
        entries
            .flat_map(move |rows| rows.range(start.clone()..))
            .take_while(move |(key, _)| key.table == table)
    }

    /// Removes the entries for which `gone` holds and returns their keys.
    pub(super) fn remove_where(
        &mut self,
        network: &NetworkId,
        mut gone: impl FnMut(&RowKey, &Entry) -> bool,
    ) -> Vec<RowKey> {
        let Some(entries) = self.networks.get_mut(network) else { return Vec::new() };
        let mut removed = Vec::new();
        entries.retain(|key, entry| {
            let gone = gone(key, entry);
            if gone {
                removed.push(key.clone());
            }
            !gone
        });
        if entries.is_empty() {
            self.networks.remove(network);
        }
        self.len -= removed.len();
        removed
    }
}
