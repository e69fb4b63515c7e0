//! Finding a member by name or address.

use std::hash::Hasher;
use std::net::SocketAddr;

use rand::Rng;
use rand::rngs::StdRng;

use super::{Known, Members};
use crate::NodeName;

impl Members {
    /// Makes room for `more` members.
    pub(crate) fn reserve(&mut self, more: usize) {
        let Self { known, by_name, by_addr, ring, salt, .. } = self;
        known.reserve_exact(more);
        ring.reserve_exact(more);
        by_name.reserve(more, |id| rehash_name(known, *salt, *id));
        by_addr.reserve(more, |id| rehash_addr(known, *salt, *id));
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

    pub(super) fn id(&self, name: &str) -> Option<u32> {
        let hash = hash_name(self.salt, name);
        let same = |id: &u32| self.slot(*id).is_some_and(|k| k.member.name.as_str() == name);
        self.by_name.find(hash, same).copied()
    }

    pub(super) fn addr_id(&self, addr: SocketAddr) -> Option<u32> {
        let hash = hash_addr(self.salt, addr);
        self.by_addr.find(hash, |id| self.slot(*id).is_some_and(|k| k.member.addr == addr)).copied()
    }

    pub(super) fn slot(&self, id: u32) -> Option<&Known> {
        self.known.get(place(id))
    }

    /// Puts a new member behind all others and at a random place of the ring.
    pub(super) fn append(&mut self, id: u32, known: Known, rng: &mut StdRng) {
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
    pub(super) fn index_addr(&mut self, id: u32) {
        let Some(addr) = self.slot(id).map(|k| k.member.addr) else { return };
        let hash = hash_addr(self.salt, addr);
        let Self { known, by_addr, salt, .. } = self;
        let same = |other: &u32| known.get(place(*other)).is_some_and(|k| k.member.addr == addr);
        match by_addr.find_mut(hash, same) {
            Some(slot) => *slot = id,
            None => drop(by_addr.insert_unique(hash, id, |id| rehash_addr(known, *salt, *id))),
        }
    }
}

pub(super) fn place(id: u32) -> usize {
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

pub(super) fn hash_addr(salt: u64, addr: SocketAddr) -> u64 {
    use std::hash::Hash;
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write_u64(salt);
    addr.hash(&mut hasher);
    hasher.finish()
}
