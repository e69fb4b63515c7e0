//! Everybody known, with an index by address, an order for probing and a digest.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use rand::Rng;
use rand::rngs::StdRng;

use super::suspicion::Suspicion;
use crate::{Member, MemberState, NodeName};

/// A member and what this node remembers about it.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) member: Member,
    pub(crate) changed_at: Instant,
    /// When this node last got something from it directly.
    pub(crate) heard: Option<Instant>,
    pub(crate) suspicion: Option<Suspicion>,
    /// How often in a row its view of the cluster differed from ours.
    pub(crate) differed: u8,
}

/// All members, this node included.
#[derive(Debug)]
pub(crate) struct Members {
    me: NodeName,
    known: BTreeMap<NodeName, Known>,
    by_addr: BTreeMap<SocketAddr, NodeName>,
    /// All but this node, in the order of probing.
    ring: Vec<NodeName>,
    up: usize,
    digest: u64,
}

impl Members {
    pub(crate) fn new(me: NodeName) -> Self {
        Self { me, known: BTreeMap::new(), by_addr: BTreeMap::new(), ring: Vec::new(), up: 0, digest: 0 }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Known> {
        self.known.get(name)
    }

    /// For what the digest and the indexes do not cover; see [`update`](Self::update).
    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Known> {
        self.known.get_mut(name)
    }

    pub(crate) fn by_addr(&self, addr: SocketAddr) -> Option<&NodeName> {
        self.by_addr.get(&addr)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Known> {
        self.known.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// How many are alive or suspect, this node included.
    pub(crate) fn up(&self) -> usize {
        self.up
    }

    /// Whether a member is alive or suspect.
    pub(crate) fn is_up(&self, name: &str) -> bool {
        self.known.get(name).is_some_and(|k| k.member.state.is_up())
    }

    /// The same number wherever the same members are up with the same incarnations.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    /// Adds a member, or replaces all that is said about it.
    pub(crate) fn update(&mut self, now: Instant, member: Member, rng: &mut StdRng) {
        let name = member.name.clone();
        if let Some(old) = self.known.get(&name) {
            self.discount(&old.member.clone());
        } else if name != self.me {
            let at = rng.random_range(0..=self.ring.len());
            self.ring.insert(at, name.clone());
        }
        self.by_addr.insert(member.addr, name.clone());
        if member.state.is_up() {
            self.up += 1;
            self.digest = self.digest.wrapping_add(fingerprint(&member));
        }
        match self.known.get_mut(&name) {
            Some(known) => {
                if known.member.state != member.state {
                    known.changed_at = now;
                }
                known.member = member;
            }
            None => {
                let known = Known { member, changed_at: now, heard: None, suspicion: None, differed: 0 };
                self.known.insert(name, known);
            }
        }
    }

    pub(crate) fn remove(&mut self, name: &NodeName) {
        if let Some(old) = self.known.remove(name) {
            self.discount(&old.member);
            self.ring.retain(|n| n != name);
        }
    }

    /// Puts the ring in a new order.
    pub(crate) fn shuffle(&mut self, rng: &mut StdRng) {
        use rand::seq::SliceRandom;
        self.ring.shuffle(rng);
    }

    /// The member at a place in the ring.
    pub(crate) fn at(&self, index: usize) -> Option<&NodeName> {
        self.ring.get(index)
    }

    /// Up to `count` different members other than this node for which `fit` holds, by chance.
    pub(crate) fn pick(
        &self,
        rng: &mut StdRng,
        count: usize,
        mut fit: impl FnMut(&Known) -> bool,
    ) -> Vec<NodeName> {
        let len = self.ring.len();
        let mut picked: Vec<NodeName> = Vec::new();
        if len == 0 {
            return picked;
        }
        // From a random place on; a second place after each hit keeps neighbours apart.
        let mut at = rng.random_range(0..len);
        let mut misses = 0;
        while picked.len() < count && misses < len {
            let candidate = self.ring.get(at % len).and_then(|n| self.known.get(n));
            at += 1;
            misses += 1;
            let Some(known) = candidate else { continue };
            if fit(known) && !picked.contains(&known.member.name) {
                picked.push(known.member.name.clone());
                at = rng.random_range(0..len);
                misses = 0;
            }
        }
        picked
    }

    fn discount(&mut self, old: &Member) {
        if self.by_addr.get(&old.addr) == Some(&old.name) {
            self.by_addr.remove(&old.addr);
        }
        if old.state.is_up() {
            self.up -= 1;
            self.digest = self.digest.wrapping_sub(fingerprint(old));
        }
    }
}

impl Known {
    /// Whether gossip still goes to it.
    pub(crate) fn hears_gossip(&self, now: Instant, to_the_dead: std::time::Duration) -> bool {
        match self.member.state {
            MemberState::Alive | MemberState::Suspect => true,
            MemberState::Dead => now.saturating_duration_since(self.changed_at) < to_the_dead,
            MemberState::Left => false,
        }
    }
}

fn fingerprint(member: &Member) -> u64 {
    crate::table::hash(&[member.name.as_str().as_bytes(), &member.incarnation.to_be_bytes()])
}
