//! Gossip of entries: what is new goes to a few nodes of its network at a time.

use std::time::Instant;

use super::{RowKey, Send, Tables};
use crate::membership::Members;
use crate::wire::networkdb::Message;
use crate::{NetworkId, NodeName};

impl Tables {
    /// Queues an entry to be told.
    pub(super) fn enqueue(&mut self, now: Instant, network: &NetworkId, key: RowKey, relay: bool) {
        self.queues.entry(network.clone()).or_default().add(key, relay);
        self.wake(now);
    }

    /// Queues what a bulk sync brought to be told once: others have bulk syncs, too.
    pub(super) fn enqueue_once(&mut self, now: Instant, network: &NetworkId, key: RowKey) {
        let attached = self.attached.get(network).map_or(0, std::collections::BTreeSet::len);
        let limit = self.times(attached);
        self.enqueue(now, network, key.clone(), true);
        if let Some(queue) = self.queues.get_mut(network) {
            queue.delivered(&key, limit);
        }
    }

    /// Has the next round soon, but never more than one in an interval.
    pub(super) fn wake(&mut self, now: Instant) {
        if !self.queues.is_empty() {
            let at = (now + self.limits.delay).max(self.last_gossip + self.limits.gossip);
            self.gossip_at = Some(self.gossip_at.map_or(at, |due| due.min(at)));
        }
    }

    /// One round.
    pub(super) fn run_gossip(&mut self, now: Instant, members: &Members) {
        self.gossip_at = None;
        self.last_gossip = now;
        let networks: Vec<NetworkId> = self.queues.keys().cloned().collect();
        for network in networks {
            let others = self.others(&network, members);
            // Alone, it waits for somebody to come.
            if others.is_empty() || !self.is_joined(&network) {
                continue;
            }
            self.gossip_to(now, &network, others);
            if self.queues.get(&network).is_some_and(|queue| !queue.is_empty()) {
                self.gossip_at = Some(now + self.limits.gossip);
            }
        }
        self.queues.retain(|_, queue| !queue.is_empty());
    }

    fn gossip_to(&mut self, now: Instant, network: &NetworkId, others: Vec<NodeName>) {
        let limit = self.times(others.len() + 1);
        let batch = self.batch(now, network);
        let few = others.len() <= AUDIENCE;
        let some = self.some_of(others.clone(), self.limits.fanout);
        let events = batch.stream.iter().chain(&batch.too_long).map(|(_, event)| event.as_slice());
        let events: Vec<&[u8]> = events.collect();
        if !events.is_empty() {
            for to in if few { &others } else { &some } {
                self.push_bulk(to, network, &events);
            }
        }
        for packet in &batch.packets {
            let parts = packet.iter().map(|(_, event)| event.as_slice());
            let hello = batch.hello.iter().map(Vec::as_slice);
            let body = bytes::Bytes::from(Message::Compound(hello.chain(parts).collect()).to_vec());
            for to in &some {
                self.sends.push_back(Send { to: to.clone(), body: body.clone(), stream: false });
            }
        }
        let Some(queue) = self.queues.get_mut(network) else { return };
        let done = batch.stale.iter().chain(batch.too_long.iter().map(|(key, _)| key));
        done.for_each(|key| queue.remove(key));
        batch.packets.iter().flatten().for_each(|(key, _)| queue.sent(key, limit));
        if few {
            batch.stream.iter().for_each(|(key, _)| queue.delivered(key, limit));
        } else {
            batch.stream.iter().for_each(|(key, _)| queue.sent(key, limit));
        }
    }

    /// What goes out in this round: a packet, or some if there is news; a stream if there is too much of it.
    fn batch(&self, now: Instant, network: &NetworkId) -> Batch {
        let mut batch = Batch::default();
        let Some(queue) = self.queues.get(network) else { return batch };
        if self.mine.get(network).is_some_and(|mine| mine.is_fresh(now)) {
            batch.hello = self.attachment_of_mine(network);
        }
        let hello: usize = batch.hello.iter().map(|event| event.len() + PART).sum();
        let room = self.limits.packet.saturating_sub(hello + PART);
        let mut used = room;
        let mut news = 0;
        for ((sent, relay), key) in queue.iter() {
            let Some(entry) = self.store.get(network, key).filter(|entry| entry.is_told()) else {
                batch.stale.push(key.clone());
                continue;
            };
            let fresh = sent == 0 && !relay;
            let full = batch.packets.len() >= if fresh { MOST_PACKETS + 1 } else { 1 };
            let event = self.event_of(now, (network, key), entry);
            let size = event.len() + PART;
            if size > room && relay {
                batch.stale.push(key.clone());
            } else if size > room {
                batch.too_long.push((key.clone(), event));
            } else if used + size <= room {
                used += size;
                batch
                    .packets
                    .last_mut()
                    .into_iter()
                    .for_each(|packet| packet.push((key.clone(), event.clone())));
            } else if !full {
                used = size;
                batch.packets.push(vec![(key.clone(), event)]);
            } else if fresh && news < MOST_BYTES {
                batch.stream.push((key.clone(), event));
            } else {
                break;
            }
            news += if fresh { size } else { 0 };
        }
        if batch.packets.len() > MOST_PACKETS {
            let packets = std::mem::take(&mut batch.packets).into_iter().flatten();
            batch.stream = packets.chain(std::mem::take(&mut batch.stream)).collect();
        }
        batch
    }

    /// How often an entry is sent in a network of so many nodes.
    fn times(&self, nodes: usize) -> u32 {
        self.limits.retransmit * crate::membership::digits(nodes)
    }

    fn attachment_of_mine(&self, network: &NetworkId) -> Vec<Vec<u8>> {
        let mut events = self.attachment_events(network);
        events.truncate(1); // its own comes first
        events
    }
}

/// One round of gossip in one network.
#[derive(Debug, Default)]
struct Batch {
    /// That this node is in the network, if that is new.
    hello: Vec<Vec<u8>>,
    packets: Vec<Vec<(RowKey, Vec<u8>)>>,
    /// What is too much for packets.
    stream: Vec<(RowKey, Vec<u8>)>,
    /// What no packet holds.
    too_long: Vec<(RowKey, Vec<u8>)>,
    /// What is not there any more.
    stale: Vec<RowKey>,
}

/// Up to so many nodes get what is too much for packets directly.
const AUDIENCE: usize = 12;
/// Packets with new entries to one node in one interval.
const MOST_PACKETS: usize = 4;
/// Bytes of new entries in one interval.
const MOST_BYTES: usize = 1 << 20;
/// What a compound adds to a message, at most.
pub(super) const PART: usize = 10;
