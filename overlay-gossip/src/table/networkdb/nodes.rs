//! Who is here, and in which networks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::super::{Phase, RowKey};
use super::Tables;
use crate::membership::Members;
use crate::wire::networkdb::{Message, NetworkEntry, NetworkEvent, NodeEvent, PushPull};
use crate::{MemberState, NetworkId, NodeName};

/// Another node.
#[derive(Debug)]
pub(super) struct Node {
    ltime: u64,
    /// It said goodbye to NetworkDB, which it does before it says goodbye to the membership.
    pub(super) left: bool,
    /// It was lost.
    down: bool,
    networks: BTreeMap<NetworkId, Attachment>,
    seen: Instant,
}

/// One network of another node.
#[derive(Debug)]
struct Attachment {
    ltime: u64,
    /// Since when it is not in it any more.
    left: Option<Instant>,
}

/// A network that this node is in, or was in recently.
#[derive(Debug)]
pub(super) struct Mine {
    ltime: u64,
    since: Instant,
    left: Option<Instant>,
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

    /// A member came, was lost or left.
    pub(crate) fn owner_changed(&mut self, now: Instant, owner: &NodeName, state: MemberState) {
        self.changes.members = true;
        self.touch(owner);
        if *owner == self.me {
            return;
        }
        match state {
            MemberState::Left => {
                if let Some(node) = self.nodes.get_mut(owner) {
                    node.left = true;
                }
                self.drop_node(owner);
            }
            MemberState::Alive => {
                let Some(node) = self.nodes.get_mut(owner) else { return };
                let back = std::mem::take(&mut node.left) | std::mem::take(&mut node.down);
                if back {
                    self.meet_soon(now, owner.clone());
                }
                self.wake(now);
            }
            MemberState::Dead => {
                if let Some(node) = self.nodes.get_mut(owner) {
                    node.down = true;
                }
            }
            MemberState::Suspect => {}
        }
    }

    /// A member is not remembered any more.
    pub(crate) fn forget_owner(&mut self, owner: &NodeName) {
        self.drop_node(owner);
        self.nodes.remove(owner);
        self.answered.remove(owner);
    }

    /// This node is about to ask to be let in: what it says about its networks shall count as new.
    pub(crate) fn before_join(&mut self) {
        let ltime = self.network_clock.tick();
        self.mine.values_mut().filter(|mine| mine.is_joined()).for_each(|mine| mine.ltime = ltime);
    }

    /// A seed has answered. It does not pass on what it was told.
    pub(crate) fn on_joined(&mut self) {
        self.tell_node(true);
        let joined: Vec<NetworkId> = self.joined().cloned().collect();
        joined.iter().for_each(|network| self.tell_network(network));
    }

    /// Says goodbye.
    pub(crate) fn say_leave(&mut self) {
        self.leaving = true;
        self.tell_node(false);
    }

    /// Comes back after a goodbye: the others have forgotten all that this node had said.
    pub(crate) fn renew(&mut self, now: Instant) {
        self.leaving = false;
        self.before_join();
        self.on_joined();
        self.repeat_own(now);
    }

    /// This node was called dead: others have dropped its attachments and entries, at least old versions of Docker.
    pub(crate) fn called_dead(&mut self, now: Instant, members: &Members) {
        if self.leaving || self.objected.is_some_and(|at| now.saturating_duration_since(at) < OBJECT) {
            return;
        }
        self.objected = Some(now);
        self.before_join();
        self.on_joined();
        let networks: Vec<NetworkId> = self.joined().cloned().collect();
        let others: BTreeSet<NodeName> = networks.iter().flat_map(|n| self.others(n, members)).collect();
        let others = self.some_of(others.into_iter().collect(), MOST_SYNCS);
        others.into_iter().for_each(|peer| self.meet_soon(now, peer));
    }

    /// Which networks each node is in, as far as is known, for a full exchange.
    pub(crate) fn summary(&self) -> Vec<u8> {
        let mine = self.mine.iter().map(|(network, mine)| NetworkEntry {
            network: network.as_str(),
            ltime: mine.ltime,
            node: self.me.as_str(),
            leaving: !mine.is_joined(),
        });
        let others = self.nodes.iter().flat_map(|(name, node)| {
            node.networks.iter().map(|(network, attachment)| NetworkEntry {
                network: network.as_str(),
                ltime: attachment.ltime,
                node: name.as_str(),
                leaving: attachment.left.is_some(),
            })
        });
        let networks = mine.chain(others).collect();
        Message::PushPull(PushPull { ltime: self.network_clock.now(), networks, node: self.me.as_str() })
            .to_vec()
    }

    /// What another node says in a full exchange. It is not passed on.
    pub(super) fn take_state(&mut self, now: Instant, state: &PushPull<'_>, members: &Members) {
        let event = NodeEvent { joins: true, ltime: state.ltime, node: state.node };
        self.take_node(now, &event, members);
        for entry in &state.networks {
            let event = NetworkEvent {
                joins: !entry.leaving,
                ltime: entry.ltime,
                node: entry.node,
                network: entry.network,
            };
            self.take_network_event(now, &event, members);
        }
    }

    /// A node came or left; passed on if that is news.
    pub(super) fn take_node_event(&mut self, now: Instant, event: &NodeEvent<'_>, members: &Members) {
        if event.node == self.me.as_str() {
            // Somebody takes an earlier goodbye of this node for a new one.
            let news = event.ltime >= self.said_here;
            if self.network_clock.witness(event.ltime) && news && !event.joins && !self.leaving {
                self.tell_node(true);
            }
        } else if self.take_node(now, event, members) {
            self.broadcasts.push_back((Message::Node(*event).to_vec().into(), true));
        }
    }

    fn take_node(&mut self, now: Instant, event: &NodeEvent<'_>, members: &Members) -> bool {
        let Ok(name) = NodeName::new(event.node) else { return false };
        // Who is unknown to the membership may be anybody, and nobody would tell of its end.
        let up = members.is_up(name.as_str());
        if !self.network_clock.witness(event.ltime) || !up || name == self.me {
            return false;
        }
        let Some(node) = self.node(now, &name) else { return false };
        if node.ltime >= event.ltime {
            return false;
        }
        node.ltime = event.ltime;
        let news = node.left == event.joins;
        node.left = !event.joins;
        if news {
            self.changes.members = true;
            self.touch(&name);
            if event.joins {
                self.meet_soon(now, name);
            } else {
                self.drop_node(&name);
            }
        }
        news
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

    /// A node, known from now on if there is room.
    fn node(&mut self, now: Instant, name: &NodeName) -> Option<&mut Node> {
        if !self.nodes.contains_key(name) && self.nodes.len() >= self.limits.records {
            return None;
        }
        let fresh = || Node { ltime: 0, left: false, down: false, networks: BTreeMap::new(), seen: now };
        let node = self.nodes.entry(name.clone()).or_insert_with(fresh);
        node.seen = now;
        Some(node)
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

    fn detach(&mut self, network: &NetworkId, name: &NodeName) {
        self.changes.members = true;
        if let Some(nodes) = self.attached.get_mut(network) {
            nodes.remove(name);
            if nodes.is_empty() {
                self.attached.remove(network);
            }
        }
    }

    /// What a node said is void.
    fn drop_node(&mut self, name: &NodeName) {
        let networks: Vec<NetworkId> = self.store.networks().cloned().collect();
        for network in networks {
            self.remove_where(&network, |entry| entry.owner == *name);
        }
        let networks = self.nodes.get_mut(name).map(|node| std::mem::take(&mut node.networks));
        let networks = networks.unwrap_or_default();
        let size: usize = networks.keys().map(|network| state_size(name, network)).sum();
        self.state = self.state.saturating_sub(size);
        networks.keys().for_each(|network| self.detach(network, name));
    }

    /// All tables with entries of this owner look different now.
    fn touch(&mut self, owner: &NodeName) {
        let networks: Vec<NetworkId> = self.store.networks().cloned().collect();
        for network in networks {
            let entries = self.store.entries(&network);
            let tables: BTreeSet<String> = entries
                .filter(|(_, e)| e.owner == *owner && e.phase != Phase::Gone)
                .map(|(key, _)| key.table.as_ref().to_owned())
                .collect();
            self.changes.tables.extend(tables.into_iter().map(|table| (network.clone(), table)));
        }
    }

    fn tell_node(&mut self, joins: bool) {
        let ltime = self.network_clock.tick();
        self.said_here = ltime;
        let event = Message::Node(NodeEvent { joins, ltime, node: self.me.as_str() }).to_vec();
        self.broadcasts.push_back((event.into(), false));
    }

    fn tell_network(&mut self, network: &NetworkId) {
        let Some(mine) = self.mine.get(network) else { return };
        let (joins, ltime) = (mine.is_joined(), mine.ltime);
        let event = NetworkEvent { joins, ltime, node: self.me.as_str(), network: network.as_str() };
        self.broadcasts.push_back((Message::Network(event).to_vec().into(), false));
    }
}

/// What an attachment takes in a full exchange, at most.
fn state_size(name: &NodeName, network: &NetworkId) -> usize {
    name.as_str().len() + network.as_str().len() + 24
}

/// With how many nodes everything is exchanged at once, at most.
pub(super) const MOST_SYNCS: usize = 12;
/// Attachments outlive the deletions that depend on them.
const MARGIN: Duration = Duration::from_secs(25);
/// Networks that others believe this node to be in and that it was never in, or has left, at most.
const MOST_CORRECTED: usize = 1024;
/// So long after joining a network, gossip says so with the entries.
const FRESH: Duration = Duration::from_secs(3);
/// Time between two objections.
const OBJECT: Duration = Duration::from_secs(5);
