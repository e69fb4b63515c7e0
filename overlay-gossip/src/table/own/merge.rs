//! Records of others: which are news, and what a new life of their owner does to those of the old one.

use std::time::Instant;

use bytes::Bytes;

use super::store::Row;
use super::wire::{Group, WireRow};
use super::{
    ATTACHMENT, EPOCH_SHIFT, FAR_EPOCH, MAX_EPOCH, PRESENCE, Phase, RowKey, STEP, Tables, most_version,
};
use crate::config::Rule;
use crate::membership::Members;
use crate::{MemberState, NetworkId, NodeName};

impl Tables {
    pub(super) fn take_group(&mut self, now: Instant, group: Group, members: &Members) {
        let Group { network, owner, epoch, rows } = group;
        if epoch > MAX_EPOCH {
            self.refused += rows.len() as u64;
            return;
        }
        if owner == self.me {
            for row in rows {
                self.take_own(now, &network, epoch, row);
            }
            return;
        }
        let left = members.get(owner.as_str()).is_some_and(|k| k.member.state == MemberState::Left);
        if left || !self.joined.contains(&network) || !self.take_epoch(now, &owner, epoch) {
            return;
        }
        let pace = self.pace(&network, members);
        let floor = self.attachment_of(&network, &owner);
        for row in rows {
            if row.phase != Phase::Gone && floor.is_some_and(|floor| (epoch, row.version) < floor) {
                continue; // from before its owner left the network
            }
            if row.version > most_version(epoch) || row.value.len() > self.limits.value {
                self.refused += 1;
                continue;
            }
            let key = RowKey::new(&row.table, &row.key);
            let old = self.store.get(&network, &owner, &key).map(|old| (old.epoch, old.version));
            if old.is_some_and(|old| old >= (epoch, row.version)) && !self.breaks(Rule::VersionsGrow) {
                continue;
            }
            if old.is_none() && self.store.len() >= self.limits.records {
                self.refused += 1;
                continue;
            }
            self.taken += 1;
            let WireRow { version, phase, mut value, .. } = row;
            if self.breaks(Rule::OwnersWrite) {
                value = Bytes::from_static(b"better");
            }
            let row = Row { epoch, version, phase, value, changed_at: now };
            if self.note(&network, &owner, &key, row.phase) {
                self.meet_soon(now, &owner, members);
            }
            let gone = row.phase == Phase::Gone;
            let version = row.version;
            self.store.put(&network, &owner, key.clone(), row);
            if gone && network.as_str().is_empty() && &*key.table == ATTACHMENT {
                self.drop_detached(&key, &owner, version);
            }
            self.spread.add((network.clone(), owner.clone(), key), now, &pace);
        }
    }

    /// Says whether rows of this life of the owner are wanted. A new life dooms the rows of earlier ones.
    fn take_epoch(&mut self, now: Instant, owner: &NodeName, epoch: u64) -> bool {
        if self.owners.len() >= self.limits.records && !self.owners.contains_key(owner) {
            return false;
        }
        let life = self.owners.entry(owner.clone()).or_default();
        let most = if life.epoch == 0 { MAX_EPOCH } else { life.epoch.max(FAR_EPOCH) + STEP };
        if epoch < life.epoch || epoch <= life.ended || epoch > most {
            return false;
        }
        if epoch > life.epoch {
            let known = life.epoch != 0;
            life.epoch = epoch;
            if known {
                let at = now + self.limits.retire;
                life.retire_at = Some(at);
                self.next_sweep = self.next_sweep.min(at);
                self.touch(owner);
            }
        }
        true
    }

    /// Somebody holds a record of this node: of an earlier life, or one that was withdrawn and forgotten.
    fn take_own(&mut self, now: Instant, network: &NetworkId, epoch: u64, row: WireRow) {
        if row.version > most_version(epoch) || epoch > self.epoch.max(FAR_EPOCH) + STEP {
            return;
        }
        if epoch < self.epoch {
            // Others shall know that there is a new life, which has nothing to do with that.
            let me = self.me.clone();
            if self.store.owner(&NetworkId::cluster(), &me).is_none() {
                let key = RowKey::new(PRESENCE, "");
                self.write(now, &NetworkId::cluster(), key, (Phase::Ready, Bytes::new()));
            }
            return;
        }
        if epoch > self.epoch || row.version > self.version {
            // This life must leave room for what is still to be said in it.
            let spent = row.version > most_version(epoch) - STEP;
            let epoch = if epoch > self.epoch || spent { (epoch + 1).min(MAX_EPOCH) } else { epoch };
            self.begin_life(now, epoch, row.version);
            return;
        }
        let key = RowKey::new(&row.table, &row.key);
        let known = self.store.get(network, &self.me, &key).is_some();
        if !known && row.phase != Phase::Gone {
            self.write(now, network, key, (Phase::Gone, Bytes::new()));
        }
    }

    pub(super) fn begin_life(&mut self, now: Instant, epoch: u64, seen: u64) {
        self.epoch = epoch;
        self.version = self.version.max(seen).max(epoch << EPOCH_SHIFT);
        let me = self.me.clone();
        for network in self.store.networks_of(&me) {
            let rows: Vec<(RowKey, Row)> = self
                .store
                .owner(&network, &me)
                .into_iter()
                .flat_map(|rows| rows.rows.iter().map(|(key, row)| (key.clone(), row.clone())))
                .collect();
            for (key, row) in rows {
                self.write(now, &network, key, (row.phase, row.value));
            }
        }
    }

    /// Epoch and version of an owner's attachment to a network: its rows there are younger.
    fn attachment_of(&self, network: &NetworkId, owner: &NodeName) -> Option<(u64, u64)> {
        let key = RowKey::new(ATTACHMENT, network.as_str());
        let row = self.store.get(&NetworkId::cluster(), owner, &key)?;
        Some((row.epoch, row.version))
    }

    /// An owner left a network: what it had there is gone, also if that message was lost.
    fn drop_detached(&mut self, key: &RowKey, owner: &NodeName, version: u64) {
        if let Ok(network) = NetworkId::new(&*key.key) {
            self.remove_where(&network, owner, |_, row| row.version < version);
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests need a moment to start from")]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::membership::Publish;
    use crate::{Config, Profile};

    #[test]
    fn no_claim_about_a_life_is_the_last_word() {
        let boot = 1_800_000_000_000;
        let claims = [
            (boot, (1 << 63) - 1),
            (boot, most_version(boot)),
            (boot, most_version(boot) - 1),
            (FAR_EPOCH, FAR_EPOCH << EPOCH_SHIFT),
            (FAR_EPOCH + STEP, most_version(FAR_EPOCH + STEP)),
            (MAX_EPOCH, MAX_EPOCH << EPOCH_SHIFT),
            (MAX_EPOCH, most_version(MAX_EPOCH)),
        ];
        for (epoch, version) in claims {
            let now = Instant::now();
            let ((mut owner, members), (mut witness, others)) =
                (tables("x", boot, now), tables("w", boot, now));
            let (network, name) = (NetworkId::new("net").unwrap(), NodeName::new("x").unwrap());
            let at = Publish { network: &network, table: "t", key: "k" };
            owner.publish(now, at, (Phase::Ready, "genuine".into())).unwrap();
            witness.join_network(now, &network, &others);
            witness.take_group(now, told(&owner), &others);
            let row = |version| WireRow {
                table: "t".into(),
                key: "k".into(),
                version,
                phase: Phase::Ready,
                value: "forged".into(),
            };
            let forged =
                || Group { network: network.clone(), owner: name.clone(), epoch, rows: vec![row(version)] };
            owner.take_group(now, forged(), &members);
            witness.take_group(now, forged(), &others);
            witness.take_group(now, told(&owner), &others);
            let heard = witness.store.get(&network, &name, &RowKey::new("t", "k")).unwrap();
            assert_eq!(&*heard.value, b"genuine", "{epoch} {version}");
        }
    }

    fn tables(name: &str, boot: u64, now: Instant) -> (Tables, Members) {
        let mut rng = StdRng::seed_from_u64(1);
        let mut config = Config::new(NodeName::new(name).unwrap(), Profile::Lan);
        config.boot = boot;
        let members = Members::new(config.name.clone(), now, &mut rng);
        (Tables::new(&config, now, rng), members)
    }

    /// What x says about its record.
    fn told(owner: &Tables) -> Group {
        let (network, name) = (NetworkId::new("net").unwrap(), NodeName::new("x").unwrap());
        let row = owner.store.get(&network, &name, &RowKey::new("t", "k")).unwrap();
        let (version, phase, value) = (row.version, row.phase, row.value.clone());
        let rows = vec![WireRow { table: "t".into(), key: "k".into(), version, phase, value }];
        Group { network, owner: name, epoch: row.epoch, rows }
    }
}
