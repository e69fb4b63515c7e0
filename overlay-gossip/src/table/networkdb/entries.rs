//! Entries: this node's own, and what others say.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::store::Entry;
use super::{Phase, PublishError, RowKey, Tables};
use crate::membership::{Members, Publish};
use crate::name::MAX_NAME;
use crate::wire::networkdb::{Change, Message, TableEvent};
use crate::{NetworkId, NodeName};

impl Tables {
    pub(crate) fn publish(
        &mut self,
        now: Instant,
        at: Publish<'_>,
        (phase, value): (Phase, Bytes),
        members: &Members,
    ) -> Result<(), PublishError> {
        let (table, key) = (at.table.len(), at.key.len());
        if table == 0 || table > MAX_NAME || key > MAX_NAME {
            return Err(PublishError::Name { table, key });
        }
        if let Some(name) = [at.network.as_str(), at.table, at.key].into_iter().find(|n| n.contains('/')) {
            return Err(PublishError::Slash { name: name.to_owned() });
        }
        if value.len() > self.limits.value {
            return Err(PublishError::Value { len: value.len(), max: self.limits.value });
        }
        let key = RowKey::new(at.table, at.key);
        let known = self.store.get(at.network, &key);
        let mut change = Change::Create;
        match known {
            Some(entry) if entry.owner != self.me => {
                if phase == Phase::Gone {
                    return Ok(());
                }
                if entry.is_live() && self.is_present(&entry.owner, members) {
                    return Err(PublishError::Taken { owner: entry.owner.clone() });
                }
            }
            Some(entry) if !entry.is_live() && phase == Phase::Gone => return Ok(()),
            Some(entry) if entry.is_live() && phase < entry.phase => {
                return Err(PublishError::Backwards { from: entry.phase, to: phase });
            }
            Some(entry) if entry.phase == phase && entry.value == value => return Ok(()),
            Some(entry) if entry.is_live() && entry.is_told() => change = Change::Update,
            Some(_) => {}
            None if phase == Phase::Gone => return Ok(()),
            None if self.store.len() >= self.limits.records => {
                return Err(PublishError::Full { max: self.limits.records });
            }
            None => {}
        }
        self.join_network(now, at.network, members);
        if phase == Phase::Gone {
            self.withdraw(now, at.network, &key);
        } else {
            self.write(now, at.network, key, (phase, value, change));
        }
        Ok(())
    }

    /// Withdraws an entry of this node's own. It goes on to say what it said last: Docker needs that.
    pub(super) fn withdraw(&mut self, now: Instant, network: &NetworkId, key: &RowKey) {
        let Some(entry) = self.store.get(network, key) else { return };
        if entry.is_told() {
            let value = entry.value.clone();
            self.write(now, network, key.clone(), (Phase::Gone, value, Change::Delete));
        } else {
            let key = key.clone();
            self.note(network, &key);
            self.store.remove_where(network, |k, _| *k == key);
        }
    }

    /// Says all that this node has said again, in a new time.
    pub(super) fn repeat_own(&mut self, now: Instant) {
        let networks: Vec<NetworkId> = self.joined().cloned().collect();
        for network in networks {
            let entries = self.store.entries(&network);
            let own: Vec<(RowKey, Entry)> = entries
                .filter(|(_, entry)| entry.owner == self.me && entry.is_live() && entry.is_told())
                .map(|(key, entry)| (key.clone(), entry.clone()))
                .collect();
            for (key, entry) in own {
                self.write(now, &network, key, (entry.phase, entry.value, Change::Create));
            }
        }
    }

    /// Another node's word about an entry.
    pub(super) fn take_table_event(
        &mut self,
        now: Instant,
        event: &TableEvent<'_>,
        bulk: bool,
        members: &Members,
    ) {
        let (Ok(owner), Ok(network)) = (NodeName::new(event.node), NetworkId::new(event.network)) else {
            self.refused += 1;
            return;
        };
        let sizes = event.table.len().max(event.key.len());
        let empty = event.table.is_empty();
        if !self.table_clock.witness(event.ltime)
            || event.value.len() > self.limits.value
            || sizes > MAX_NAME
            || empty
        {
            self.refused += 1;
            return;
        }
        if !self.is_joined(&network) {
            return;
        }
        let key = RowKey::new(event.table, event.key);
        let entry = self.entry_of(now, owner, event);
        if entry.owner == self.me {
            self.take_own(now, &network, key, entry);
        } else if self.is_attached(&network, &entry.owner) {
            self.take_entry(now, (&network, key), (entry, bulk), members);
        } else if let Some(mine) = self.mine.get_mut(&network)
            && mine.missed.len() < MOST_MISSED
        {
            mine.missed.insert(entry.owner);
        }
    }

    /// An entry as an event.
    pub(super) fn event_of(
        &self,
        now: Instant,
        (network, key): (&NetworkId, &RowKey),
        entry: &Entry,
    ) -> Vec<u8> {
        let left = entry.forget_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let seconds = u32::try_from(left.as_secs()).unwrap_or(u32::MAX).min(i32::MAX.unsigned_abs());
        Message::Table(TableEvent {
            change: entry.change,
            ltime: entry.ltime,
            node: entry.owner.as_str(),
            network: network.as_str(),
            table: &key.table,
            key: &key.key,
            value: &entry.value,
            reap_after: if entry.is_live() { 0 } else { seconds.max(1) },
        })
        .to_vec()
    }

    /// Forgets deletions after their time.
    pub(super) fn forget_entries(&mut self, now: Instant) {
        let networks: Vec<NetworkId> = self.store.networks().cloned().collect();
        for network in networks {
            let gone = |_: &RowKey, entry: &Entry| entry.forget_at.is_some_and(|at| at <= now);
            for key in self.store.remove_where(&network, gone) {
                if let Some(queue) = self.queues.get_mut(&network) {
                    queue.remove(&key);
                }
            }
        }
        self.queues.retain(|_, queue| !queue.is_empty());
    }

    /// Removes entries of others without a word.
    pub(super) fn remove_where(&mut self, network: &NetworkId, mut gone: impl FnMut(&Entry) -> bool) {
        for key in self.store.remove_where(network, |_, entry| gone(entry)) {
            self.note(network, &key);
            if let Some(queue) = self.queues.get_mut(network) {
                queue.remove(&key);
            }
        }
    }

    fn take_entry(
        &mut self,
        now: Instant,
        (network, key): (&NetworkId, RowKey),
        (entry, bulk): (Entry, bool),
        members: &Members,
    ) {
        let old = self.store.get(network, &key);
        let known = old.is_some();
        if old.is_some_and(|old| old.rank() >= entry.rank()) {
            return;
        }
        if !known && self.store.len() >= self.limits.records {
            self.refused += 1;
            return;
        }
        // Only its owner withdraws an entry.
        if let Some(old) = old.filter(|old| old.owner == self.me && old.is_live() && !entry.is_live()) {
            let (phase, value) = (old.phase, old.value.clone());
            return self.write(now, network, key, (phase, value, Change::Update));
        }
        // Nobody needs to hear of the end of what nobody knows, unless it is a recent one.
        let recent = entry.forget_at.is_some_and(|at| at > now + self.limits.tombstone / 6);
        let queued = self.queues.get(network).map_or(0, super::Queue::len);
        let relay = (known || entry.is_live() || (bulk && recent))
            && (!bulk || queued <= MOST_QUEUED)
            && self.mine.get(network).is_some_and(|mine| mine.in_sync);
        self.taken += 1;
        self.note(network, &key);
        self.store.put(network, key.clone(), entry);
        if relay && self.others(network, members).len() > 1 {
            if bulk {
                self.enqueue_once(now, network, key);
            } else {
                self.enqueue(now, network, key, true);
            }
        } else if let Some(queue) = self.queues.get_mut(network) {
            // It was to be said what is not so any more.
            queue.remove(&key);
        }
    }

    /// Somebody holds an entry of this node: of an earlier life, or one that somebody made up. The word of its owner
    /// is repeated in a newer time.
    fn take_own(&mut self, now: Instant, network: &NetworkId, key: RowKey, theirs: Entry) {
        if self.leaving {
            return;
        }
        match self.store.get(network, &key) {
            Some(mine) if mine.owner == self.me && mine.is_told() => {
                let same = mine.is_live() == theirs.is_live() && mine.value == theirs.value;
                if mine.ltime > theirs.ltime || (mine.ltime == theirs.ltime && same) {
                    return;
                }
                let change = if mine.is_live() { Change::Update } else { Change::Delete };
                let (phase, value) = (mine.phase, mine.value.clone());
                self.write(now, network, key, (phase, value, change));
            }
            Some(other) if other.rank() >= theirs.rank() && other.owner != self.me => {}
            Some(_) | None if !theirs.is_live() => {}
            Some(mine) if mine.owner == self.me => {
                // Not told yet, and it will be in a newer time.
            }
            Some(_) | None => {
                if self.store.len() < self.limits.records {
                    self.write(now, network, key, (Phase::Gone, theirs.value, Change::Delete));
                }
            }
        }
    }

    fn entry_of(&self, now: Instant, owner: NodeName, event: &TableEvent<'_>) -> Entry {
        let keep = self.limits.tombstone;
        let forget_at = (event.change == Change::Delete).then(|| match event.reap_after {
            0 => now + keep,
            seconds => now + Duration::from_secs(seconds.into()).min(keep),
        });
        Entry {
            owner,
            ltime: event.ltime,
            phase: if forget_at.is_some() { Phase::Gone } else { Phase::Ready },
            value: Bytes::copy_from_slice(event.value),
            change: event.change,
            forget_at,
        }
    }

    /// Writes an entry of this node's own.
    fn write(
        &mut self,
        now: Instant,
        network: &NetworkId,
        key: RowKey,
        (phase, value, change): (Phase, Bytes, Change),
    ) {
        let ltime = self.table_clock.tick();
        let forget_at = (phase == Phase::Gone).then(|| now + self.limits.tombstone);
        let entry = Entry { owner: self.me.clone(), ltime, phase, value, change, forget_at };
        let told = entry.is_told();
        self.note(network, &key);
        self.store.put(network, key.clone(), entry);
        if told {
            self.enqueue(now, network, key, false);
        }
    }

    fn note(&mut self, network: &NetworkId, key: &RowKey) {
        self.changes.tables.insert((network.clone(), key.table.as_ref().to_owned()));
    }
}

/// What a bulk sync brought is not gossiped on if so much waits already. As Docker.
const MOST_QUEUED: usize = 500;
/// Nodes to remember whose entries came too early, per network.
const MOST_MISSED: usize = 256;
