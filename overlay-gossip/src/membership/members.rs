//! Everybody known, with indexes by name and address, an order for probing and a digest.
//!
//! A member takes about 50 bytes here beside its description, which is shared: ten thousand nodes that know each
//! other fit into one process.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashTable;
use rand::Rng;
use rand::rngs::StdRng;

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

    /// Whether a member is alive or suspect.
    pub(crate) fn is_up(&self, name: &str) -> bool {
        self.get(name).is_some_and(|k| k.member.state.is_up())
    }

    /// The same number wherever the same members are up with the same incarnations.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    /// The digest in parts: member by member, each belongs to the part that its name says.
    pub(crate) fn buckets(&self, count: usize) -> Vec<u32> {
        let mut buckets = vec![0u32; count];
        for known in self.known.iter().filter(|k| k.member.state.is_up()) {
            if let Some(bucket) = buckets.get_mut(bucket_of(&known.member.name, count)) {
                let [a, b, c, d, ..] = fingerprint(&known.member).to_be_bytes();
                *bucket = bucket.wrapping_add(u32::from_be_bytes([a, b, c, d]));
            }
        }
        buckets
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

    /// Makes room for `more` members.
    pub(crate) fn reserve(&mut self, more: usize) {
        let Self { known, by_name, by_addr, ring, salt, .. } = self;
        known.reserve_exact(more);
        ring.reserve_exact(more);
        by_name.reserve(more, |id| rehash_name(known, *salt, *id));
        by_addr.reserve(more, |id| rehash_addr(known, *salt, *id));
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

    pub(crate) fn remove(&mut self, name: &NodeName) {
        let Some(id) = self.id(name.as_str()) else { return };
        self.discount(id, true);
        self.suspicions.remove(name);
        let salt = self.salt;
        if let Ok(entry) = self.by_name.find_entry(hash_name(salt, name.as_str()), |other| *other == id) {
            entry.remove();
        }
        self.ring.retain(|other| *other != id);
        let last = u32::try_from(self.known.len() - 1).unwrap_or(u32::MAX);
        if last != id {
            // The last one moves into the gap.
            let Self { known, by_name, by_addr, .. } = self;
            let hashes = (rehash_name(known, salt, last), rehash_addr(known, salt, last));
            let slots = [
                by_name.find_mut(hashes.0, |other| *other == last),
                by_addr.find_mut(hashes.1, |other| *other == last),
            ];
            slots.into_iter().flatten().for_each(|slot| *slot = id);
            self.ring.iter_mut().filter(|other| **other == last).for_each(|other| *other = id);
        }
        self.known.swap_remove(place(id));
    }

    /// Puts the ring in a new order.
    pub(crate) fn shuffle(&mut self, rng: &mut StdRng) {
        use rand::seq::SliceRandom;
        self.ring.shuffle(rng);
    }

    /// The member at a place in the ring.
    pub(crate) fn at(&self, index: usize) -> Option<&Known> {
        self.ring.get(index).and_then(|id| self.slot(*id))
    }

    /// How many are dead.
    pub(crate) fn dead(&self) -> usize {
        self.dead.len()
    }

    /// One of the dead, by chance.
    pub(crate) fn pick_dead(&self, rng: &mut StdRng) -> Option<NodeName> {
        use rand::seq::IteratorRandom;
        self.dead.iter().choose(rng).cloned()
    }

    /// Up to `count` different members other than this node for which `fit` holds, by chance.
    pub(crate) fn pick(
        &self,
        rng: &mut StdRng,
        count: usize,
        mut fit: impl FnMut(&Known) -> bool,
    ) -> Vec<NodeName> {
        let len = self.ring.len();
        let mut picked: Vec<NodeName> = Vec::with_capacity(count.min(len));
        if len == 0 {
            return picked;
        }
        // From a random place on; a second place after each hit keeps neighbours apart.
        let mut at = rng.random_range(0..len);
        let mut misses = 0;
        while picked.len() < count && misses < len {
            let candidate = self.at(at % len);
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

    fn id(&self, name: &str) -> Option<u32> {
        let hash = hash_name(self.salt, name);
        let same = |id: &u32| self.slot(*id).is_some_and(|k| k.member.name.as_str() == name);
        self.by_name.find(hash, same).copied()
    }

    fn addr_id(&self, addr: SocketAddr) -> Option<u32> {
        let hash = hash_addr(self.salt, addr);
        self.by_addr.find(hash, |id| self.slot(*id).is_some_and(|k| k.member.addr == addr)).copied()
    }

    fn slot(&self, id: u32) -> Option<&Known> {
        self.known.get(place(id))
    }

    /// Puts a new member behind all others and at a random place of the ring.
    fn append(&mut self, id: u32, known: Known, rng: &mut StdRng) {
        let hash = hash_name(self.salt, known.member.name.as_str());
        let mine = known.member.name == self.me;
        if self.known.len() == self.known.capacity() {
            self.reserve(self.known.len() / 8 + 4);
        }
        self.known.push(known);
        let Self { known, by_name, salt, .. } = self;
        by_name.insert_unique(hash, id, |id| rehash_name(known, *salt, *id));
        if !mine {
            // Whoever was there goes to the end of the round.
            self.ring.push(id);
            let last = self.ring.len() - 1;
            self.ring.swap(rng.random_range(0..=last), last);
        }
    }

    /// The newest claim to an address wins.
    fn index_addr(&mut self, id: u32) {
        let Some(addr) = self.slot(id).map(|k| k.member.addr) else { return };
        let hash = hash_addr(self.salt, addr);
        let Self { known, by_addr, salt, .. } = self;
        let same = |other: &u32| known.get(place(*other)).is_some_and(|k| k.member.addr == addr);
        match by_addr.find_mut(hash, same) {
            Some(slot) => *slot = id,
            None => drop(by_addr.insert_unique(hash, id, |id| rehash_addr(known, *salt, *id))),
        }
    }

    fn count(&mut self, member: &Member) {
        if member.state.is_up() {
            self.up += 1;
            self.digest = self.digest.wrapping_add(fingerprint(member));
        } else if member.state == MemberState::Dead {
            self.dead.insert(member.name.clone());
        }
    }

    fn discount(&mut self, id: u32, moved: bool) {
        let Some(old) = self.slot(id).map(|k| Arc::clone(&k.member)) else { return };
        if moved {
            let hash = hash_addr(self.salt, old.addr);
            if let Ok(entry) = self.by_addr.find_entry(hash, |other| *other == id) {
                entry.remove();
            }
        }
        if old.state.is_up() {
            self.up -= 1;
            self.digest = self.digest.wrapping_sub(fingerprint(&old));
        } else if old.state == MemberState::Dead {
            self.dead.remove(&old.name);
        }
    }
}

/// Which of `count` parts of the digest a member belongs to.
pub(crate) fn bucket_of(name: &NodeName, count: usize) -> usize {
    let hash = crate::table::hash(&[name.as_str().as_bytes()]);
    usize::try_from(hash >> 32).unwrap_or(0) % count.max(1)
}

fn fingerprint(member: &Member) -> u64 {
    crate::table::hash(&[member.name.as_str().as_bytes(), &member.incarnation.to_be_bytes()])
}

fn place(id: u32) -> usize {
    usize::try_from(id).unwrap_or(usize::MAX)
}

fn rehash_name(known: &[Known], salt: u64, id: u32) -> u64 {
    known.get(place(id)).map_or(0, |k| hash_name(salt, k.member.name.as_str()))
}

fn rehash_addr(known: &[Known], salt: u64, id: u32) -> u64 {
    known.get(place(id)).map_or(0, |k| hash_addr(salt, k.member.addr))
}

fn hash_name(salt: u64, name: &str) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write_u64(salt);
    hasher.write(name.as_bytes());
    hasher.finish()
}

fn hash_addr(salt: u64, addr: SocketAddr) -> u64 {
    use std::hash::Hash;
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write_u64(salt);
    addr.hash(&mut hasher);
    hasher.finish()
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
