//! Everybody known, with indexes by name and address, an order for probing and a digest.
//!
//! A member takes about 50 bytes here beside its description, which is shared: ten thousand nodes that know each
//! other fit into one process.

mod digest;
mod index;
mod ring;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashTable;
use rand::Rng;
use rand::rngs::StdRng;

pub(crate) use self::digest::bucket_of;
use self::index::place;
use super::suspicion::Suspicion;
use crate::{Member, MemberState, NodeName};

/// A member and what this node remembers about it.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) member: Arc<Member>,
    /// When its state changed.
    changed: Tick,
    /// When this node last got something from it directly.
    heard: Tick,
    /// It answered by TCP only, the last time it was asked.
    pub(crate) udp_blocked: bool,
}

/// Tenths of a second since the node's start, plus one; 0 is never. Lasts for 13 years.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Tick(u32);

/// All members, this node included.
#[derive(Debug)]
pub(crate) struct Members {
    me: NodeName,
    start: Instant,
    /// Keeps others from choosing names that collide.
    salt: u64,
    known: Vec<Known>,
    by_name: HashTable<u32>,
    by_addr: HashTable<u32>,
    /// All but this node, in the order of probing.
    ring: Vec<u32>,
    dead: BTreeSet<NodeName>,
    suspicions: BTreeMap<NodeName, Suspicion>,
    up: usize,
    /// Those of them that are of this crate.
    kin: usize,
    digest: u64,
}

impl Tick {
    /// How long ago `earlier` was.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(100) * self.0.saturating_sub(earlier.0)
    }
}

impl Known {
    pub(crate) fn changed(&self) -> Tick {
        self.changed
    }

    /// When this node last got something from it directly, if ever.
    pub(crate) fn heard(&self) -> Option<Tick> {
        (self.heard != Tick::default()).then_some(self.heard)
    }

    /// Whether gossip still goes to it.
    pub(crate) fn hears_gossip(&self, now: Tick, to_the_dead: Duration) -> bool {
        match self.member.state {
            MemberState::Alive | MemberState::Suspect => true,
            MemberState::Dead => now.since(self.changed) < to_the_dead,
            MemberState::Left => false,
        }
    }
}

impl Members {
    pub(crate) fn new(me: NodeName, start: Instant, rng: &mut StdRng) -> Self {
        Self {
            me,
            start,
            salt: rng.random(),
            known: Vec::new(),
            by_name: HashTable::new(),
            by_addr: HashTable::new(),
            ring: Vec::new(),
            dead: BTreeSet::new(),
            suspicions: BTreeMap::new(),
            up: 0,
            kin: 0,
            digest: 0,
        }
    }

    pub(crate) fn tick(&self, now: Instant) -> Tick {
        let tenths = now.saturating_duration_since(self.start).as_millis() / 100;
        Tick(u32::try_from(tenths).unwrap_or(u32::MAX).saturating_add(1))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Known> {
        self.slot(self.id(name)?)
    }

    /// This node: the first that was known, and never forgotten.
    pub(crate) fn myself(&self) -> Option<&Known> {
        self.known.first()
    }

    /// For what the digest and the indexes do not cover; see [`update`](Self::update).
    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Known> {
        let id = self.id(name)?;
        self.known.get_mut(place(id))
    }

    pub(crate) fn by_addr(&self, addr: SocketAddr) -> Option<&NodeName> {
        let id = self.addr_id(addr)?;
        self.slot(id).map(|known| &known.member.name)
    }

    /// Notes that a datagram of the cluster came from there.
    pub(crate) fn heard_from(&mut self, now: Instant, addr: SocketAddr) {
        let tick = self.tick(now);
        let id = self.addr_id(addr);
        if let Some(known) = id.and_then(|id| self.known.get_mut(place(id))) {
            known.heard = tick;
        }
    }

    /// Notes that this member answered.
    pub(crate) fn heard(&mut self, now: Instant, name: &NodeName) {
        let tick = self.tick(now);
        if let Some(known) = self.get_mut(name.as_str()) {
            known.heard = tick;
        }
    }

    /// In no particular order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Known> {
        self.known.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// How many are alive or suspect, this node included.
    pub(crate) fn up(&self) -> usize {
        self.up
    }

    /// How many of them do what HashiCorp's do not, this node included. Nobody says so in Docker's format: there it is 0.
    pub(crate) fn kin(&self) -> usize {
        self.kin
    }

    /// Whether a member is alive or suspect.
    pub(crate) fn is_up(&self, name: &str) -> bool {
        self.get(name).is_some_and(|k| k.member.state.is_up())
    }

    /// The same number wherever the same members are up with the same incarnations.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn suspicion(&self, name: &str) -> Option<&Suspicion> {
        self.suspicions.get(name)
    }

    pub(crate) fn suspicion_mut(&mut self, name: &str) -> Option<&mut Suspicion> {
        self.suspicions.get_mut(name)
    }

    pub(crate) fn set_suspicion(
        &mut self,
        name: &NodeName,
        suspicion: Option<Suspicion>,
    ) -> Option<Suspicion> {
        match suspicion {
            Some(suspicion) => self.suspicions.insert(name.clone(), suspicion),
            None => self.suspicions.remove(name),
        }
    }

    /// Everybody who is suspected.
    pub(crate) fn suspects(&self) -> impl Iterator<Item = &NodeName> {
        self.suspicions.keys()
    }

    /// Adds a member, or replaces all that is said about it.
    pub(crate) fn update(&mut self, now: Instant, member: Arc<Member>, rng: &mut StdRng) {
        let changed = self.tick(now);
        let name = member.name.clone();
        let id = self.id(name.as_str());
        let moved = id.and_then(|id| self.slot(id)).is_none_or(|old| old.member.addr != member.addr);
        if let Some(id) = id {
            self.discount(id, moved);
        }
        self.count(&member);
        let id = match id {
            Some(id) => {
                if let Some(known) = self.known.get_mut(place(id)) {
                    if known.member.state != member.state {
                        known.changed = changed;
                    }
                    known.member = member;
                }
                id
            }
            None => {
                let Ok(id) = u32::try_from(self.known.len()) else { return };
                self.append(id, Known { member, changed, heard: Tick::default(), udp_blocked: false }, rng);
                id
            }
        };
        if moved {
            self.index_addr(id);
        }
    }

    /// Shares the description of a member with whoever holds an equal one.
    pub(crate) fn share(&mut self, member: &Arc<Member>) {
        if let Some(known) = self.get_mut(member.name.as_str())
            && known.member == *member
        {
            known.member = Arc::clone(member);
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests need a moment to start from")]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::Vsn;

    fn member(i: u32, port: u16, state: MemberState) -> Arc<Member> {
        Arc::new(Member {
            name: NodeName::new(format!("n{i}")).unwrap(),
            addr: SocketAddr::from(([10, 0, 0, 1], port)),
            state,
            incarnation: 1,
            meta: bytes::Bytes::new(),
            vsn: Vsn::MEMBERLIST,
        })
    }

    #[test]
    fn indexes_follow_whatever_is_added_moved_and_removed() {
        let mut rng = StdRng::seed_from_u64(1);
        let now = Instant::now();
        let mut members = Members::new(NodeName::new("n0").unwrap(), now, &mut rng);
        let mut model: BTreeMap<u32, (u16, MemberState)> = BTreeMap::new();
        for _ in 0..3000 {
            let i = rng.random_range(0..40u32);
            let port = u16::try_from(1000 + i + 100 * rng.random_range(0..3u32)).unwrap();
            match rng.random_range(0..4) {
                0 if i != 0 => {
                    members.remove(&NodeName::new(format!("n{i}")).unwrap());
                    model.remove(&i);
                }
                kind => {
                    let state = if kind == 1 { MemberState::Dead } else { MemberState::Alive };
                    members.update(now, member(i, port, state), &mut rng);
                    model.insert(i, (port, state));
                }
            }
            assert_eq!(members.len(), model.len());
            assert_eq!(members.ring.len(), model.keys().filter(|i| **i != 0).count());
            assert_eq!(members.up(), model.values().filter(|(_, s)| s.is_up()).count());
            assert_eq!(members.dead.len(), model.len() - members.up());
            for (i, (port, state)) in &model {
                let name = format!("n{i}");
                assert_eq!(members.get(&name).unwrap().member.state, *state);
                let addr = SocketAddr::from(([10, 0, 0, 1], *port));
                assert_eq!(members.by_addr(addr).unwrap().as_str(), name);
            }
            let sum = members.buckets(1)[0];
            let all = members.buckets(7).into_iter().fold(0u32, u32::wrapping_add);
            assert_eq!(sum, all);
        }
    }
}
