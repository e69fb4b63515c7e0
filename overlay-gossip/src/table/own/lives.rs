//! Owners come, go, and come again: what their records are worth meanwhile.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{MAX_EPOCH, Phase, SWEEP, Tables};
use crate::membership::Members;
use crate::{MemberState, NetworkId, NodeName};

/// What is known about the lives of an owner.
#[derive(Debug, Default)]
pub(super) struct Life {
    pub(super) epoch: u64,
    /// Lives up to this one have ended with a goodbye.
    pub(super) ended: u64,
    /// When rows of earlier lives vanish.
    pub(super) retire_at: Option<Instant>,
}

impl Tables {
    /// A member came, was lost or left.
    pub(crate) fn owner_changed(
        &mut self,
        now: Instant,
        owner: &NodeName,
        state: MemberState,
        members: &Members,
    ) {
        self.changes.members = true;
        self.touch(owner);
        if *owner == self.me {
            return;
        }
        match state {
            MemberState::Left => {
                if let Some(life) = self.owners.get_mut(owner) {
                    life.ended = life.epoch;
                    life.retire_at = None;
                }
                self.drop_rows(owner);
            }
            MemberState::Alive => {
                // Back after a goodbye: the new life counts whatever its clock says, and nothing of the old is held.
                if let Some(life) = self.owners.get_mut(owner).filter(|life| life.ended != 0) {
                    *life = Life::default();
                }
                self.meet_soon(now, owner, members);
            }
            MemberState::Suspect | MemberState::Dead => {}
        }
    }

    /// A member is not remembered any more.
    pub(crate) fn forget_owner(&mut self, owner: &NodeName) {
        self.drop_rows(owner);
        self.owners.remove(owner);
    }

    /// Starts a new life of this node: all its records get new versions.
    pub(crate) fn renew(&mut self, now: Instant) {
        self.begin_life(now, self.epoch.saturating_add(1).min(MAX_EPOCH), self.version);
    }

    pub(super) fn drop_rows(&mut self, owner: &NodeName) {
        for network in self.store.networks_of(owner) {
            self.remove_where(&network, owner, |_, _| true);
        }
    }

    /// All tables with rows of this owner look different now.
    pub(super) fn touch(&mut self, owner: &NodeName) {
        for network in self.store.networks_of(owner) {
            if network.as_str().is_empty() {
                self.changes.members = true;
                continue;
            }
            let rows = self.store.owner(&network, owner);
            let tables: BTreeSet<String> =
                rows.into_iter().flat_map(|r| r.rows.keys()).map(|k| k.table.as_ref().to_owned()).collect();
            self.changes.tables.extend(tables.into_iter().map(|table| (network.clone(), table)));
        }
    }

    /// Forgets withdrawn records after their time, and rows of ended lives.
    pub(super) fn sweep(&mut self, now: Instant, members: &Members) {
        self.next_sweep = now + SWEEP;
        let networks: Vec<NetworkId> = self.store.networks().cloned().collect();
        let keep = self.limits.tombstone;
        for network in networks {
            let owners: Vec<NodeName> = self.store.owners(&network).map(|(owner, _)| owner.clone()).collect();
            for owner in owners {
                let epoch = self.epoch_of(&owner);
                let retire = self.owners.get(&owner).and_then(|l| l.retire_at).is_some_and(|at| at <= now);
                let unknown = members.get(owner.as_str()).is_none();
                self.remove_where(&network, &owner, |_, row| {
                    let age = now.saturating_duration_since(row.changed_at);
                    (row.phase == Phase::Gone && age > keep)
                        || (retire && row.epoch < epoch)
                        || (unknown && age > keep)
                });
            }
        }
        for life in self.owners.values_mut() {
            match life.retire_at {
                Some(at) if at <= now => life.retire_at = None,
                Some(at) => self.next_sweep = self.next_sweep.min(at),
                None => {}
            }
        }
    }
}
