//! Who is here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::super::Phase;
use super::Tables;
use super::attachments::{Attachment, state_size};
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
    pub(super) down: bool,
    pub(super) networks: BTreeMap<NetworkId, Attachment>,
    pub(super) seen: Instant,
}

impl Tables {
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

    /// A node, known from now on if there is room.
    pub(super) fn node(&mut self, now: Instant, name: &NodeName) -> Option<&mut Node> {
        if !self.nodes.contains_key(name) && self.nodes.len() >= self.limits.records {
            return None;
        }
        let fresh = || Node { ltime: 0, left: false, down: false, networks: BTreeMap::new(), seen: now };
        let node = self.nodes.entry(name.clone()).or_insert_with(fresh);
        node.seen = now;
        Some(node)
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
}

/// With how many nodes everything is exchanged at once, at most.
pub(super) const MOST_SYNCS: usize = 12;
/// Time between two objections.
const OBJECT: Duration = Duration::from_secs(5);
