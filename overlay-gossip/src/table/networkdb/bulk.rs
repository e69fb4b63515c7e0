//! Bulk sync: all entries of networks by stream, asked for or not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::gossip::PART;
use super::nodes::MOST_SYNCS;
use super::{Send, Tables};
use crate::membership::Members;
use crate::wire::networkdb::{BulkSync, Change, Message};
use crate::{NetworkId, NodeName};

impl Tables {
    /// Exchanges everything with one random node per network.
    pub(super) fn run_bulk(&mut self, now: Instant, members: &Members) {
        let mut partners: BTreeMap<NodeName, Vec<NetworkId>> = BTreeMap::new();
        let networks: Vec<NetworkId> = self.joined().cloned().collect();
        for network in networks {
            let others = self.others(&network, members);
            for peer in self.some_of(others, 1) {
                partners.entry(peer).or_default().push(network.clone());
            }
        }
        for (peer, networks) in partners {
            self.send_bulk(now, &peer, &networks, true);
        }
    }

    /// Plans to exchange everything with a node.
    pub(super) fn meet_soon(&mut self, now: Instant, peer: NodeName) {
        if peer == self.me {
            return;
        }
        self.meet.insert(peer);
        let at = now + self.limits.delay.max(MEET);
        self.meet_at = Some(self.meet_at.map_or(at, |due| due.min(at)));
    }

    /// Of many that appeared, some are enough: they know the same, and those who come ask themselves.
    pub(super) fn run_meet(&mut self, now: Instant, members: &Members) {
        self.meet_at = None;
        let peers: Vec<NodeName> = std::mem::take(&mut self.meet).into_iter().collect();
        for peer in self.some_of(peers, MOST_MET) {
            let shared: Vec<NetworkId> =
                self.joined().filter(|network| self.is_attached(network, &peer)).cloned().collect();
            if !shared.is_empty() && self.is_present(&peer, members) {
                self.send_bulk(now, &peer, &shared, true);
            }
        }
    }

    /// Answers some of those who could not be answered at once.
    pub(super) fn run_owed(&mut self, now: Instant, members: &Members) {
        self.owed.retain(|peer, _| members.is_up(peer.as_str()));
        let waiting: Vec<NodeName> = self.owed.keys().cloned().collect();
        for peer in self.some_of(waiting, MOST_SYNCS) {
            if self.may_answer(now, &peer)
                && let Some(networks) = self.owed.remove(&peer)
            {
                let networks: Vec<NetworkId> = networks.into_iter().collect();
                self.send_bulk(now, &peer, &networks, false);
            }
        }
        self.owed_at = (!self.owed.is_empty()).then(|| now + self.limits.gossip);
    }

    /// A bulk sync arrived, and what it says was taken over. Only members get an answer, and not all at once: an
    /// answer is larger than a question.
    pub(super) fn answer_bulk(&mut self, now: Instant, sync: &BulkSync<'_>, members: &Members) {
        self.table_clock.witness(sync.ltime);
        let networks = sync.networks.iter().filter_map(|name| NetworkId::new(name).ok());
        let networks: BTreeSet<NetworkId> = networks.filter(|network| self.is_joined(network)).collect();
        if !sync.unsolicited {
            for network in &networks {
                if let Some(mine) = self.mine.get_mut(network) {
                    mine.in_sync = true;
                }
            }
            return;
        }
        let Some(peer) = members.get(sync.node).map(|known| known.member.name.clone()) else { return };
        if peer == self.me {
            return;
        }
        if !self.may_answer(now, &peer) {
            self.owed.entry(peer).or_default().extend(networks);
            self.owed_at = self.owed_at.or(Some(now + self.limits.gossip));
            return;
        }
        let networks: Vec<NetworkId> = networks.into_iter().collect();
        self.send_bulk(now, &peer, &networks, false);
    }

    /// Whether it is a node's turn to be answered, which counts as an answer: one for each node in an interval of
    /// gossip, and not many in all, since questions in the names of others cost nothing.
    fn may_answer(&mut self, now: Instant, peer: &NodeName) -> bool {
        let interval = self.limits.gossip;
        if now.saturating_duration_since(self.answers.0) >= interval {
            self.answers = (now, 0);
        }
        let recent = self.answered.get(peer).is_some_and(|at| now.saturating_duration_since(*at) < interval);
        if recent || self.answers.1 >= MOST_SYNCS {
            return false;
        }
        self.answers.1 += 1;
        self.answered.insert(peer.clone(), now);
        true
    }

    /// Sends all that is known of some networks: who is in them, then their entries. With `ask`, the other side does
    /// the same.
    pub(super) fn send_bulk(&mut self, now: Instant, to: &NodeName, networks: &[NetworkId], ask: bool) {
        let mut events = Vec::new();
        for network in networks {
            events.extend(self.attachment_events(network));
            for (key, entry) in self.store.entries(network).filter(|(_, entry)| entry.is_told()) {
                let change = if entry.is_live() { Change::Create } else { Change::Delete };
                let entry = super::store::Entry { change, ..entry.clone() };
                events.push(self.event_of(now, (network, key), &entry));
            }
        }
        let events: Vec<&[u8]> = events.iter().map(Vec::as_slice).collect();
        self.send_parts(to, networks, &events, ask);
    }

    /// Sends some entries that were not asked for, as if they were: with who is in the network.
    pub(super) fn push_bulk(&mut self, to: &NodeName, network: &NetworkId, events: &[&[u8]]) {
        let attached = self.attachment_events(network);
        let events: Vec<&[u8]> = attached.iter().map(Vec::as_slice).chain(events.iter().copied()).collect();
        self.send_parts(to, std::slice::from_ref(network), &events, false);
    }

    /// Sends events in messages of bounded size; the last one asks, if any does.
    fn send_parts(&mut self, to: &NodeName, networks: &[NetworkId], events: &[&[u8]], ask: bool) {
        let mut rest = events;
        loop {
            let mut size = 0;
            let fits = rest.iter().take_while(|event| {
                size += event.len() + PART;
                size <= STREAM
            });
            let count = fits.count().max(1).min(rest.len());
            let (part, more) = rest.split_at(count);
            let payload = Message::Compound(part.to_vec()).to_vec();
            let message = Message::BulkSync(BulkSync {
                ltime: self.table_clock.tick(),
                unsolicited: ask && more.is_empty(),
                node: self.me.as_str(),
                networks: networks.iter().map(NetworkId::as_str).collect(),
                payload: &payload,
            });
            let body = message.to_vec().into();
            self.sends.push_back(Send { to: to.clone(), body, stream: true });
            if more.is_empty() {
                return;
            }
            rest = more;
        }
    }
}

/// Bytes of events per message.
const STREAM: usize = 512 << 10;
/// How soon after it was heard of a node everything is exchanged with it.
const MEET: Duration = Duration::from_millis(20);
/// With how many of those that appear together, at most.
const MOST_MET: usize = 3;
