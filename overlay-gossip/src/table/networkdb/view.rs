//! What a node sees in its tables.

use super::{Changes, Phase, Record, Tables};
use crate::membership::Members;
use crate::{NetworkId, NodeName};

impl Tables {
    pub(crate) fn len(&self) -> usize {
        self.store.len()
    }

    /// How many entries came from others.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// How many entries of others were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// The entries of a table that are not withdrawn.
    pub(crate) fn records(&self, network: &NetworkId, table: &str, members: &Members) -> Vec<Record> {
        let live = self.store.table(network, table).filter(|(_, entry)| entry.phase != Phase::Gone);
        let mut records: Vec<Record> = live
            .map(|(key, entry)| Record {
                network: network.clone(),
                table: table.to_owned(),
                key: key.key.as_ref().to_owned(),
                owner: entry.owner.clone(),
                version: entry.ltime,
                phase: entry.phase,
                value: entry.value.clone(),
                suspended: !self.is_present(&entry.owner, members),
            })
            .collect();
        records.sort_by(|a, b| (&a.owner, &a.key).cmp(&(&b.owner, &b.key)));
        records
    }

    /// Who is attached to a network and up.
    pub(crate) fn peers(&self, network: &NetworkId, members: &Members) -> Vec<NodeName> {
        let attached = self.attached.get(network).into_iter().flatten();
        attached.filter(|name| self.is_present(name, members)).cloned().collect()
    }

    pub(crate) fn networks(&self) -> impl Iterator<Item = &NetworkId> {
        self.attached.keys()
    }

    pub(crate) fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// The others of a network that are up.
    pub(super) fn others(&self, network: &NetworkId, members: &Members) -> Vec<NodeName> {
        let mut peers = self.peers(network, members);
        peers.retain(|name| *name != self.me);
        peers
    }

    /// Some of them, by chance.
    pub(super) fn some_of(&mut self, mut names: Vec<NodeName>, count: usize) -> Vec<NodeName> {
        use rand::seq::SliceRandom;
        let (some, _) = names.partial_shuffle(&mut self.rng, count);
        some.to_vec()
    }
}
