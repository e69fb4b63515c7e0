//! Finds things by what they are, without a copy of it.

/// A hash table of numbers under which the things are stored elsewhere: 4 bytes per slot, linear probing, at most
/// three quarters full. Its order depends on its history, so nothing iterates over it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    slots: Vec<u32>,
    len: usize,
}

impl Index {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The number for which `is_it` holds, among those with the hash.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash);
        loop {
            match self.slots.get(at) {
                None | Some(&EMPTY) => return None,
                Some(number) if is_it(*number) => return Some(*number),
                Some(_) => at = self.after(at),
            }
        }
    }

    /// The caller knows that it is not there. `hash_of` tells the hash of what is there.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, number: u32, hash_of: impl Fn(u32) -> u64) {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.resize((self.slots.len() * 2).max(16), hash_of);
        }
        self.len += 1;
        self.put(hash, number);
    }

    /// An empty one with room for so many.
    pub(crate) fn with_room(count: usize) -> Self {
        Self { slots: vec![EMPTY; (count * 4 / 3 + 1).next_power_of_two().max(16)], len: 0 }
    }

    /// Things with the same hash next to each other, and all nearly in the order of their slots: what is pushed in this
    /// order is pushed next to what was pushed before.
    pub(crate) fn in_order(&self, things: Vec<(u64, u32)>) -> Vec<(u64, u32)> {
        let region = |hash: u64| self.home(hash) / REGION;
        let mut ends = vec![0_usize; self.slots.len() / REGION + 1];
        for (hash, _) in &things {
            if let Some(count) = ends.get_mut(region(*hash)) {
                *count += 1;
            }
        }
        ends.iter_mut().fold(0, |start, end| std::mem::replace(end, start) + start);
        let mut sorted = vec![(0, 0); things.len()];
        for thing in things {
            let Some(at) = ends.get_mut(region(thing.0)) else { continue };
            if let Some(place) = sorted.get_mut(*at) {
                *place = thing;
            }
            *at += 1;
        }
        sorted.chunk_by_mut(|(a, _), (b, _)| region(*a) == region(*b)).for_each(<[_]>::sort_unstable);
        sorted
    }

    /// The caller knows that it is not there, and that there is room.
    #[inline]
    pub(crate) fn push(&mut self, hash: u64, number: u32) {
        self.len += 1;
        self.put(hash, number);
    }

    /// Puts another number in the place of one.
    #[inline]
    pub(crate) fn replace(&mut self, hash: u64, old: u32, new: u32) {
        if let Some(at) = self.place_of(hash, old)
            && let Some(slot) = self.slots.get_mut(at)
        {
            *slot = new;
        }
    }

    /// Takes a number out; those after it move up, so there are no tombstones.
    #[inline]
    pub(crate) fn remove(&mut self, hash: u64, number: u32, hash_of: impl Fn(u32) -> u64) {
        let Some(mut hole) = self.place_of(hash, number) else { return };
        self.len -= 1;
        let mask = self.slots.len() - 1;
        let mut at = self.after(hole);
        while let Some(next) = self.slots.get(at).copied().filter(|next| *next != EMPTY) {
            let home = self.home(hash_of(next));
            // may it move back to the hole without leaving its own chain?
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.set(hole, next);
                hole = at;
            }
            at = self.after(at);
        }
        self.set(hole, EMPTY);
    }

    fn resize(&mut self, slots: usize, hash_of: impl Fn(u32) -> u64) {
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; slots]);
        for number in old.into_iter().filter(|number| *number != EMPTY) {
            self.put(hash_of(number), number);
        }
    }

    #[inline]
    fn put(&mut self, hash: u64, number: u32) {
        let mut at = self.home(hash);
        while self.slots.get(at).is_some_and(|slot| *slot != EMPTY) {
            at = self.after(at);
        }
        self.set(at, number);
    }

    #[inline]
    fn set(&mut self, at: usize, number: u32) {
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = number;
        }
    }

    fn place_of(&self, hash: u64, number: u32) -> Option<usize> {
        let mut at = self.home(hash);
        loop {
            match self.slots.get(at) {
                None | Some(&EMPTY) => return None,
                Some(found) if *found == number => return Some(at),
                Some(_) => at = self.after(at),
            }
        }
    }

    /// The number of slots is a power of two, or none.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        usize::try_from(hash & u64::from(u32::MAX)).unwrap_or(0) & self.slots.len().saturating_sub(1)
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        (at + 1) & self.slots.len().saturating_sub(1)
    }
}

/// The same on every machine; keys that somebody could choose are numbered before they come here.
#[inline]
pub(crate) fn mix(a: u64, b: u64, c: u64) -> u64 {
    let mut hash = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.rotate_left(32);
    hash = (hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ c;
    hash = (hash ^ hash >> 32).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

const EMPTY: u32 = u32::MAX;
/// Slots that fit into the fastest memory.
const REGION: usize = 1024;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_agrees_with_a_set_although_hashes_collide() {
        let hash = |n: u32| u64::from(n % 61);
        let (mut index, mut set) = (Index::default(), BTreeSet::new());
        let mut random = 1_u32;
        for _ in 0..20_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let n = random >> 20 & 0xff;
            if set.remove(&n) {
                index.remove(hash(n), n, hash);
            } else {
                set.insert(n);
                index.insert(hash(n), n, hash);
            }
            let probe = random >> 9 & 0xff;
            assert_eq!(index.find(hash(probe), |found| found == probe).is_some(), set.contains(&probe));
            assert_eq!(index.len(), set.len());
        }
    }
}
