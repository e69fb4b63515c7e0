//! Rows by network, owner, table and key, with a hash per owner that tells whether two nodes hold the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::wire::RowRef;
use super::{Phase, RowKey};
use crate::{NetworkId, NodeName};

/// One stored row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) epoch: u64,
    pub(crate) version: u64,
    pub(crate) phase: Phase,
    pub(crate) value: Bytes,
    pub(crate) changed_at: Instant,
}

/// All rows of one owner in one network.
#[derive(Debug, Default)]
pub(crate) struct OwnerRows {
    pub(crate) rows: BTreeMap<RowKey, Row>,
    hash: u64,
}

/// All rows.
#[derive(Debug, Default)]
pub(crate) struct Store {
    networks: BTreeMap<NetworkId, Owners>,
    len: usize,
}

/// All rows of one network.
#[derive(Debug, Default)]
struct Owners {
    rows: BTreeMap<NodeName, OwnerRows>,
    hash: u64,
}

impl Store {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn networks(&self) -> impl Iterator<Item = &NetworkId> {
        self.networks.keys()
    }

    pub(crate) fn owners(&self, network: &NetworkId) -> impl Iterator<Item = (&NodeName, &OwnerRows)> {
        self.networks.get(network).into_iter().flat_map(|owners| &owners.rows)
    }

    pub(crate) fn owner(&self, network: &NetworkId, owner: &NodeName) -> Option<&OwnerRows> {
        self.networks.get(network)?.rows.get(owner)
    }

    pub(crate) fn get(&self, network: &NetworkId, owner: &NodeName, key: &RowKey) -> Option<&Row> {
        self.owner(network, owner)?.rows.get(key)
    }

    pub(crate) fn put(&mut self, network: &NetworkId, owner: &NodeName, key: RowKey, row: Row) {
        let owners = self.networks.entry(network.clone()).or_default();
        let rows = owners.rows.entry(owner.clone()).or_default();
        let before = rows.share(owner);
        rows.hash = rows.hash.wrapping_add(weight(&key, &row));
        match rows.rows.insert(key.clone(), row) {
            Some(old) => rows.hash = rows.hash.wrapping_sub(weight(&key, &old)),
            None => self.len += 1,
        }
        owners.hash = owners.hash.wrapping_sub(before).wrapping_add(rows.share(owner));
    }

    /// Removes the rows for which `gone` holds and returns their keys.
    pub(crate) fn remove_where(
        &mut self,
        network: &NetworkId,
        owner: &NodeName,
        mut gone: impl FnMut(&RowKey, &Row) -> bool,
    ) -> Vec<RowKey> {
        let Some(owners) = self.networks.get_mut(network) else { return Vec::new() };
        let Some(rows) = owners.rows.get_mut(owner) else { return Vec::new() };
        let before = rows.share(owner);
        let mut removed = Vec::new();
        let hash = &mut rows.hash;
        rows.rows.retain(|key, row| {
            if !gone(key, row) {
                return true;
            }
            *hash = hash.wrapping_sub(weight(key, row));
            removed.push(key.clone());
            false
        });
        self.len -= removed.len();
        owners.hash = owners.hash.wrapping_sub(before).wrapping_add(rows.share(owner));
        if rows.rows.is_empty() {
            owners.rows.remove(owner);
        }
        if owners.rows.is_empty() {
            self.networks.remove(network);
        }
        removed
    }

    /// Where an owner has rows.
    pub(crate) fn networks_of(&self, owner: &NodeName) -> Vec<NetworkId> {
        self.networks
            .iter()
            .filter(|(_, owners)| owners.rows.contains_key(owner))
            .map(|(n, _)| n.clone())
            .collect()
    }

    /// One number for all live rows of a network.
    pub(crate) fn hash(&self, network: &NetworkId) -> u64 {
        self.networks.get(network).map_or(0, |owners| owners.hash)
    }
}

impl OwnerRows {
    /// The same wherever the same live rows are held.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// What these rows add to the hash of their network.
    fn share(&self, owner: &NodeName) -> u64 {
        if self.hash == 0 { 0 } else { hash(&[owner.as_str().as_bytes(), &self.hash.to_be_bytes()]) }
    }

    /// The rows of one table.
    pub(crate) fn table(&self, table: &str) -> impl Iterator<Item = (&RowKey, &Row)> {
        let start = RowKey::new(table, "");
        let table: Arc<str> = start.table.clone();
        self.rows.range(start..).take_while(move |(key, _)| key.table == table)
    }
}

impl Row {
    pub(crate) fn as_ref<'a>(&'a self, key: &'a RowKey) -> RowRef<'a> {
        RowRef {
            table: &key.table,
            key: &key.key,
            version: self.version,
            phase: self.phase,
            value: &self.value,
        }
    }
}

fn weight(key: &RowKey, row: &Row) -> u64 {
    if row.phase == Phase::Gone {
        return 0;
    }
    hash(&[key.table.as_bytes(), key.key.as_bytes(), &row.epoch.to_be_bytes(), &row.version.to_be_bytes()])
}

/// FNV-1a over the parts, well mixed: the same everywhere. Not against adversaries, who would need the key.
pub(crate) fn hash(parts: &[&[u8]]) -> u64 {
    let mut h = 0xcbf2_9ce4_8422_2325u64;
    for part in parts {
        for byte in part.iter().chain([0xffu8].iter()) {
            h = (h ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}
