//! What a node sees in its tables.

use super::{Changes, Phase, Record, Tables};
use crate::membership::Members;
use crate::{NetworkId, NodeName};

impl Tables {
    pub(crate) fn len(&self) -> usize {
        self.store.len()
    }

    /// How many records came from others.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// How many records of others were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// The records of a table that are not withdrawn.
    pub(crate) fn records(&self, network: &NetworkId, table: &str, members: &Members) -> Vec<Record> {
        let mut records = Vec::new();
        for (owner, rows) in self.store.owners(network) {
            let absent = !self.is_present(owner, members);
            let epoch = self.epoch_of(owner);
            for (key, row) in rows.table(table).filter(|(_, row)| row.phase != Phase::Gone) {
                records.push(Record {
                    network: network.clone(),
                    table: table.to_owned(),
                    key: key.key.as_ref().to_owned(),
                    owner: owner.clone(),
                    version: row.version,
                    phase: row.phase,
                    value: row.value.clone(),
                    suspended: absent || row.epoch < epoch,
                });
            }
        }
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

    fn is_present(&self, owner: &NodeName, members: &Members) -> bool {
        *owner == self.me || members.is_up(owner.as_str())
    }
}
