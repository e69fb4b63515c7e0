//! Passing changed records on: fresh ones at once, then a few more times by gossip.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::wire::RowPacker;
use super::{RowKey, Send, Tables};
use crate::membership::{Known, Members};
use crate::{NetworkId, NodeName};

/// Records that are still to be passed on. Their content is read from the store when they leave.
#[derive(Debug, Default)]
pub(super) struct Spread {
    order: BTreeSet<(u32, RowId)>,
    sent: BTreeMap<RowId, u32>,
    due: Option<Instant>,
}

pub(super) type RowId = (NetworkId, NodeName, RowKey);

/// How soon a record is passed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) delay: Duration,
    pub(super) interval: Duration,
    /// Others have it already, most likely: it is not our own, and its owner sends to all itself.
    pub(super) relay: bool,
}

impl Spread {
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Queues a record anew.
    pub(super) fn add(&mut self, id: RowId, now: Instant, pace: &Pace) {
        if let Some(sent) = self.sent.remove(&id) {
            self.order.remove(&(sent, id.clone()));
        }
        let sent = u32::from(pace.relay);
        self.order.insert((sent, id.clone()));
        self.sent.insert(id, sent);
        self.wake(now + if pace.relay { pace.interval } else { pace.delay });
    }

    fn wake(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    fn remove(&mut self, id: &RowId) -> Option<u32> {
        let sent = self.sent.remove(id)?;
        self.order.remove(&(sent, id.clone()));
        Some(sent)
    }
}

impl Tables {
    /// Sends the least sent records, up to [`BURST`] bytes, to the nodes of their networks.
    pub(super) fn run_spread(&mut self, now: Instant, members: &Members) {
        self.spread.due = None;
        let mut batch: BTreeMap<NetworkId, Vec<(u32, RowId)>> = BTreeMap::new();
        let mut bytes = 0;
        for (sent, id) in &self.spread.order {
            if bytes > BURST {
                break;
            }
            let size = self.store.get(&id.0, &id.1, &id.2).map_or(0, |row| row.value.len() + 64);
            bytes += size;
            batch.entry(id.0.clone()).or_default().push((*sent, id.clone()));
        }
        for (network, ids) in batch {
            self.spread_network(&network, ids, members);
        }
        let fresh = self.spread.order.first().is_some_and(|(sent, _)| *sent == 0);
        if fresh {
            self.spread.wake(now + self.limits.delay);
        } else if !self.spread.order.is_empty() {
            self.spread.wake(now + self.limits.gossip);
        }
    }

    fn spread_network(&mut self, network: &NetworkId, ids: Vec<(u32, RowId)>, members: &Members) {
        let crowd = self.crowd(network, members);
        let few = crowd <= AUDIENCE;
        let fresh = ids.iter().any(|(sent, _)| *sent == 0);
        let limit = self.limits.retransmit * crate::membership::digits(crowd);
        let targets = if few && fresh {
            self.audience(network, members)
        } else {
            self.some_of(network, members, self.limits.fanout + usize::from(fresh))
        };
        let me = self.me.clone();
        let mut packer = RowPacker::new(&me, self.limits.packet);
        for (_, id) in &ids {
            let Some(row) = self.store.get(&id.0, &id.1, &id.2) else { continue };
            packer.push(&id.0, &id.1, row.epoch, &row.as_ref(&id.2));
        }
        let messages = packer.finish();
        // Many packets at once would be lost on the way: one stream carries them safely.
        let messages = if messages.len() > PACKETS { self.repack(&ids) } else { messages };
        for to in targets {
            self.sends.extend(messages.iter().map(|body| Send {
                to: to.clone(),
                body: body.clone(),
                stream: false,
            }));
        }
        for (sent, id) in ids {
            self.spread.remove(&id);
            if sent + 1 < limit {
                self.spread.order.insert((sent + 1, id.clone()));
                self.spread.sent.insert(id, sent + 1);
            }
        }
    }

    fn repack(&self, ids: &[(u32, RowId)]) -> Vec<Bytes> {
        let mut packer = RowPacker::new(&self.me, STREAM);
        for (_, id) in ids {
            let Some(row) = self.store.get(&id.0, &id.1, &id.2) else { continue };
            packer.push(&id.0, &id.1, row.epoch, &row.as_ref(&id.2));
        }
        packer.finish()
    }

    /// How soon another node's record is passed on.
    pub(super) fn pace(&self, network: &NetworkId, members: &Members) -> Pace {
        let relay = self.crowd(network, members) <= AUDIENCE;
        Pace { delay: self.limits.delay, interval: self.limits.gossip, relay }
    }

    /// How many nodes there are that want the records of a network, about.
    fn crowd(&self, network: &NetworkId, members: &Members) -> usize {
        if network.as_str().is_empty() {
            members.up()
        } else {
            self.attached.get(network).map_or(0, BTreeSet::len)
        }
    }

    /// The other nodes that want the records of a network.
    fn audience(&self, network: &NetworkId, members: &Members) -> Vec<NodeName> {
        let wants = |k: &&Known| k.member.name != self.me && wants_tables(k);
        if network.as_str().is_empty() {
            return members.iter().filter(wants).map(|k| k.member.name.clone()).collect();
        }
        let attached = self.attached.get(network).into_iter().flatten();
        let known = attached.filter_map(|name| members.get(name.as_str()));
        known.filter(wants).map(|k| k.member.name.clone()).collect()
    }

    /// Some of them, by chance.
    pub(super) fn some_of(&mut self, network: &NetworkId, members: &Members, count: usize) -> Vec<NodeName> {
        use rand::seq::SliceRandom;
        if network.as_str().is_empty() {
            return members.pick(&mut self.rng, count, wants_tables);
        }
        let mut peers = self.audience(network, members);
        let (some, _) = peers.partial_shuffle(&mut self.rng, count);
        some.to_vec()
    }
}

fn wants_tables(known: &Known) -> bool {
    known.member.vsn.has_tables() && known.member.state.is_up()
}

/// Up to so many nodes get fresh records from their owner directly.
const AUDIENCE: usize = 12;
/// Up to so many datagrams go to one node at once; more go as a stream.
const PACKETS: usize = 8;
/// Bytes of records per round.
const BURST: usize = 1 << 20;
/// Bytes of records per stream.
pub(super) const STREAM: usize = 512 << 10;
