//! Who is in which network.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::super::RowKey;
use super::Tables;
use super::nodes::MOST_SYNCS;
use crate::membership::Members;
use crate::wire::networkdb::{Message, NetworkEvent};
use crate::{MemberState, NetworkId, NodeName};

/// One network of another node.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) ltime: u64,
    /// Since when it is not in it any more.
    pub(super) left: Option<Instant>,
}

/// A network that this node is in, or was in recently.
#[derive(Debug)]
pub(super) struct Mine {
    pub(super) ltime: u64,
    since: Instant,
    pub(super) left: Option<Instant>,
    /// Others' entries have been heard: what is news may be passed on.
    pub(super) in_sync: bool,
    /// Nodes whose entries came before their attachment.
    pub(super) missed: BTreeSet<NodeName>,
}

impl Mine {
    pub(super) fn is_joined(&self) -> bool {
        self.left.is_none()
    }

    /// Others may not have heard yet that this node is here.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < FRESH
    }
}

impl Tables {
    pub(crate) fn join_network(&mut self, now: Instant, network: &NetworkId, members: &Members) {
        if self.is_joined(network) {
            return;
        }
        let ltime = self.network_clock.tick();
        let peers = self.others(network, members);
        let in_sync = peers.is_empty();
        let mine = Mine { ltime, since: now, left: None, in_sync, missed: BTreeSet::new() };
        self.mine.insert(network.clone(), mine);
        self.attached.entry(network.clone()).or_default().insert(self.me.clone());
        self.changes.members = true;
        self.tell_network(network);
        for peer in self.some_of(peers, MOST_SYNCS) {
            self.send_bulk(now, &peer, std::slice::from_ref(network), true);
        }
    }

    /// Leaves a network. Its own entries stay behind as deletions: they are told when it joins again, to who missed
    /// that it had left.
    pub(crate) fn leave_network(&mut self, now: Instant, network: &NetworkId) {
        if !self.is_joined(network) {
            return;
        }
        let ltime = self.network_clock.tick();
        if let Some(mine) = self.mine.get_mut(network) {
            (mine.ltime, mine.left) = (ltime, Some(now));
        }
        self.tell_network(network);
        self.changes.members = true;
        let me = self.me.clone();
        let entries = self.store.entries(network);
        let own: Vec<RowKey> =
            entries.filter(|(_, e)| e.owner == me && e.is_live()).map(|(key, _)| key.clone()).collect();
        for key in own {
            self.withdraw(now, network, &key);
        }
        self.remove_where(network, |entry| entry.owner != me);
        self.queues.remove(network);
        self.detach(network, &me);
    }

    /// A node joins or leaves a network; says whether that is news.
    pub(super) fn take_network_event(
        &mut self,
        now: Instant,
        event: &NetworkEvent<'_>,
        members: &Members,
    ) -> bool {
        let (Ok(name), Ok(network)) = (NodeName::new(event.node), NetworkId::new(event.network)) else {
            return false;
        };
        if !self.network_clock.witness(event.ltime) {
            return false;
        }
        if name == self.me {
            self.correct(now, &network, event);
            return false;
        }
        let left = members.get(name.as_str()).is_some_and(|known| known.member.state == MemberState::Left);
        let size = state_size(&name, &network);
        let full = self.state + size > self.limits.state;
        let left = left || self.nodes.get(&name).is_some_and(|node| node.left);
        if left || (!event.joins && !self.nodes.contains_key(&name)) {
            return false;
        }
        let up = members.is_up(name.as_str());
        let Some(node) = self.node(now, &name) else { return false };
        node.down |= !up;
        let gone = (!event.joins).then_some(now);
        match node.networks.get_mut(&network) {
            Some(known) if known.ltime >= event.ltime => return false,
            Some(known) => *known = Attachment { ltime: event.ltime, left: gone },
            None if !event.joins || full => return false,
            None => {
                node.networks.insert(network.clone(), Attachment { ltime: event.ltime, left: gone });
                self.state += size;
            }
        }
        if event.joins {
            self.attach(now, network, name);
        } else {
            self.remove_where(&network, |entry| entry.owner == name);
            self.detach(&network, &name);
        }
        true
    }

    /// Whether a node is in a network, also if it is lost.
    pub(super) fn is_attached(&self, network: &NetworkId, name: &NodeName) -> bool {
        self.attached.get(network).is_some_and(|nodes| nodes.contains(name))
    }

    pub(super) fn is_joined(&self, network: &NetworkId) -> bool {
        self.mine.get(network).is_some_and(Mine::is_joined)
    }

    /// The networks that this node is in.
    pub(super) fn joined(&self) -> impl Iterator<Item = &NetworkId> {
        self.mine.iter().filter(|(_, mine)| mine.is_joined()).map(|(network, _)| network)
    }

    /// Who is in a network since when, as events.
    pub(super) fn attachment_events(&self, network: &NetworkId) -> Vec<Vec<u8>> {
        let event = |node: &NodeName, ltime| {
            let (node, network) = (node.as_str(), network.as_str());
            Message::Network(NetworkEvent { joins: true, ltime, node, network }).to_vec()
        };
        let mine = self.mine.get(network).filter(|mine| mine.is_joined());
        let others = self.attached.get(network).into_iter().flatten().filter_map(|name| {
            let attachment = self.nodes.get(name)?.networks.get(network)?;
            Some(event(name, attachment.ltime))
        });
        mine.map(|mine| event(&self.me, mine.ltime)).into_iter().chain(others).collect()
    }

    /// Forgets who left networks long ago, and who is no member.
    pub(super) fn forget_attachments(&mut self, now: Instant, members: &Members) {
        let keep = self.limits.tombstone + MARGIN;
        let old = |at: Instant| now.saturating_duration_since(at) > keep;
        self.mine.retain(|_, mine| !mine.left.is_some_and(old));
        for node in self.nodes.values_mut() {
            node.networks.retain(|_, attachment| !attachment.left.is_some_and(old));
        }
        let strangers: Vec<NodeName> = self
            .nodes
            .iter()
            .filter(|(name, node)| old(node.seen) && members.get(name.as_str()).is_none())
            .map(|(name, _)| name.clone())
            .collect();
        strangers.iter().for_each(|name| self.forget_owner(name));
        self.answered.retain(|_, at| now.saturating_duration_since(*at) < MARGIN);
        let sizes =
            self.nodes.iter().flat_map(|(name, node)| node.networks.keys().map(|n| state_size(name, n)));
        self.state = sizes.sum();
    }

    /// Somebody knows of this node what it does not know itself: something of an earlier life.
    fn correct(&mut self, now: Instant, network: &NetworkId, event: &NetworkEvent<'_>) {
        if self.leaving {
            return;
        }
        let wrong = match self.mine.get(network) {
            Some(mine) => mine.is_joined() != event.joins && event.ltime >= mine.ltime,
            None => {
                event.joins && self.mine.values().filter(|mine| !mine.is_joined()).count() < MOST_CORRECTED
            }
        };
        if !wrong {
            return;
        }
        let ltime = self.network_clock.tick();
        let left = || Mine { ltime, since: now, left: Some(now), in_sync: false, missed: BTreeSet::new() };
        self.mine.entry(network.clone()).or_insert_with(left).ltime = ltime;
        self.tell_network(network);
    }

    fn attach(&mut self, now: Instant, network: NetworkId, name: NodeName) {
        self.changes.members = true;
        let missed = self.mine.get_mut(&network).is_some_and(|mine| mine.missed.remove(&name));
        let ours = self.is_joined(&network);
        let fresh = self.attached.entry(network).or_default().insert(name.clone());
        if ours && (fresh || missed) {
            self.meet_soon(now, name);
            self.wake(now);
        }
    }

    pub(super) fn detach(&mut self, network: &NetworkId, name: &NodeName) {
        self.changes.members = true;
        if let Some(nodes) = self.attached.get_mut(network) {
            nodes.remove(name);
            if nodes.is_empty() {
                self.attached.remove(network);
            }
        }
    }

    pub(super) fn tell_network(&mut self, network: &NetworkId) {
        let Some(mine) = self.mine.get(network) else { return };
        let (joins, ltime) = (mine.is_joined(), mine.ltime);
        let event = NetworkEvent { joins, ltime, node: self.me.as_str(), network: network.as_str() };
        self.broadcasts.push_back((Message::Network(event).to_vec().into(), false));
    }
}

/// What an attachment takes in a full exchange, at most.
pub(super) fn state_size(name: &NodeName, network: &NetworkId) -> usize {
    name.as_str().len() + network.as_str().len() + 24
}

/// Attachments outlive the deletions that depend on them.
const MARGIN: Duration = Duration::from_secs(25);
/// Networks that others believe this node to be in and that it was never in, or has left, at most.
const MOST_CORRECTED: usize = 1024;
/// So long after joining a network, gossip says so with the entries.
const FRESH: Duration = Duration::from_secs(3);
