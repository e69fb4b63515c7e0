//! All leases of all networks: 56 bytes each, found by owner.

mod bulk;

use std::collections::BTreeMap;

use crate::{
    Lane, Owner, OwnerKey,
    state::index::{Index, mix},
    state::texts::Texts,
    words::key::Name,
};

/// ```text
///   by_grant  (network, owner) ─▶ first lease there ─▶ second one (the other family)
///   by_owner  owner ─▶ its leases in all networks, those of one network next to each other
/// ```
///
/// Leases are numbered and linked by numbers, so a lease costs its own bytes, two slots of four bytes, and its place
/// in the subnet's table. Nothing that can be seen depends on the numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leases {
    /// Of at most [`CHUNK`] leases, so that growing never copies all.
    chunks: Vec<Vec<Entry>>,
    /// The first unused entry; they are linked by `next`.
    unused: Option<u32>,
    len: usize,
    by_grant: Index,
    by_owner: Index,
    texts: Texts,
}

/// One address (or block) in the hands of an owner.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    key: [u64; 2],
    offset: [u64; 2],
    pub(crate) generation: u64,
    pub(crate) network: u32,
    next: u32,
    prev: u32,
    pub(crate) subnet: u16,
    kind: u8,
    /// Logarithm of the number of addresses: 0 = one.
    pub(crate) log2: u8,
}

/// Where a lease is and since when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) network: u32,
    pub(crate) subnet: u16,
    pub(crate) offset: u128,
    pub(crate) log2: u8,
    pub(crate) generation: u64,
}

/// An owner without text of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Packed {
    kind: u8,
    key: [u64; 2],
}

impl Leases {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Entry> {
        let (chunk, at) = split(number);
        self.chunks.get(chunk)?.get(at)
    }

    /// The owner of a lease.
    pub(crate) fn owner(&self, entry: &Entry) -> Owner {
        let key = match entry.kind & TEXT {
            0 => Name::Id(entry.key),
            _ => Name::Text(self.texts.text(entry.key)),
        };
        let kind = entry.kind & !TEXT;
        // all kinds but the gateway's were stored with a key
        Owner::of_kind(kind, (kind > 0).then_some(OwnerKey(key))).unwrap_or(Owner::Gateway)
    }

    /// As it would be stored; `None`: nobody of this name holds anything.
    #[inline]
    pub(crate) fn pack(&self, owner: &Owner) -> Option<Packed> {
        let kind = owner.kind();
        match owner.key().map(|key| &key.0) {
            None => Some(Packed { kind, key: [0, 0] }),
            Some(Name::Id(key)) => Some(Packed { kind, key: *key }),
            Some(Name::Text(text)) => Some(Packed { kind: kind | TEXT, key: self.texts.find(text)? }),
        }
    }

    /// The leases of an owner in a network.
    #[inline]
    pub(crate) fn of_grant(&self, network: u32, owner: Packed) -> impl Iterator<Item = (u32, &Entry)> {
        let first = self.first_of_grant(network, owner);
        self.chain(first).take_while(move |(_, entry)| entry.network == network)
    }

    /// The leases of an owner in all networks; not for gateways and auxiliary addresses.
    pub(crate) fn of_owner(&self, owner: Packed) -> impl Iterator<Item = (u32, &Entry)> {
        let first = self.by_owner.find(hash_owner(owner), |number| self.is_of(number, owner));
        self.chain(first)
    }

    /// One of the leases of each owner, without gateways and auxiliary addresses.
    pub(crate) fn owners(&self) -> impl Iterator<Item = Owner> {
        let heads = self.chunks.iter().flatten();
        heads
            .filter(|entry| entry.prev == NONE && entry.is_lease() && !entry.is_fixed())
            .map(|entry| self.owner(entry))
    }

    /// All leases of a grant share their generation: if there is one already, it is that of the new lease too.
    pub(crate) fn insert(&mut self, owner: &Owner, place: Place) -> u32 {
        let owner = self.intern(owner);
        let last = self.of_grant(place.network, owner).last().map(|(number, entry)| (number, *entry));
        let generation = last.map_or(place.generation, |(_, entry)| entry.generation);
        let entry = Entry::new(owner, Place { generation, ..place });
        let number = self.store(entry);
        self.link(number, &entry, last);
        self.len += 1;
        number
    }

    pub(crate) fn remove(&mut self, number: u32) {
        let Some(entry) = self.get(number).copied() else { return };
        let owner = packed(&entry);
        self.unlink(number, &entry, owner);
        if let Some(gone) = self.get_mut(number) {
            gone.kind = UNUSED;
        }
        self.set_next(number, self.unused.unwrap_or(NONE));
        self.unused = Some(number);
        if owner.kind & TEXT != 0 {
            self.texts.drop_one(owner.key);
        }
        self.len -= 1;
    }

    /// The same lease, elsewhere in the network.
    pub(crate) fn moved(&mut self, number: u32, offset: u128, log2: u8) {
        if let Some(entry) = self.get_mut(number) {
            entry.offset = halves(offset);
            entry.log2 = log2;
        }
    }

    /// Whether every lease is found where it should be, in time linear in their number.
    pub(crate) fn is_consistent(&self) -> bool {
        let mut texts: BTreeMap<u64, u32> = BTreeMap::new();
        let (mut len, mut grants, mut owners) = (0, 0, 0);
        let (numbers, all) = (0.., self.chunks.iter().flatten());
        for (at, entry) in numbers.zip(all).filter(|(_, entry)| entry.is_lease()) {
            let number = numbered(at);
            len += 1;
            let owner = packed(entry);
            if !self.of_grant(entry.network, owner).any(|(found, _)| found == number) {
                return false;
            }
            grants += usize::from(self.first_of_grant(entry.network, owner) == Some(number));
            if !entry.is_fixed() && entry.prev == NONE {
                owners += 1;
                if self.of_owner(owner).next().map(|(found, _)| found) != Some(number) {
                    return false;
                }
            }
            if owner.kind & TEXT != 0 {
                let [_, text] = owner.key;
                *texts.entry(text).or_default() += 1;
            }
        }
        (len, grants, owners) == (self.len, self.by_grant.len(), self.by_owner.len())
            && self.texts.counts(&texts)
    }

    fn first_of_grant(&self, network: u32, owner: Packed) -> Option<u32> {
        let is_it =
            |number| self.get(number).is_some_and(|entry| entry.network == network && packed(entry) == owner);
        self.by_grant.find(hash(network, owner), is_it)
    }

    fn chain(&self, first: Option<u32>) -> impl Iterator<Item = (u32, &Entry)> {
        let with_entry = |number: u32| Some((number, self.get(number)?));
        std::iter::successors(first.and_then(with_entry), move |(_, entry)| with_entry(entry.next))
    }

    fn is_of(&self, number: u32, owner: Packed) -> bool {
        self.get(number).is_some_and(|entry| packed(entry) == owner)
    }

    fn intern(&mut self, owner: &Owner) -> Packed {
        let kind = owner.kind();
        match owner.key().map(|key| &key.0) {
            None => Packed { kind, key: [0, 0] },
            Some(Name::Id(key)) => Packed { kind, key: *key },
            Some(Name::Text(text)) => Packed { kind: kind | TEXT, key: self.texts.add(text) },
        }
    }

    fn store(&mut self, entry: Entry) -> u32 {
        if let Some(number) = self.unused
            && let Some(place) = self.get_mut(number)
        {
            let next = place.next;
            *place = entry;
            self.unused = (next != NONE).then_some(next);
            return number;
        }
        let full = self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK);
        if full {
            // a small state stays small
            let room = if self.chunks.is_empty() { 4 } else { CHUNK };
            self.chunks.push(Vec::with_capacity(room));
        }
        let before = self.chunks.len() - 1;
        let chunk = self.chunks.last_mut();
        chunk.map_or(NONE, |chunk| {
            chunk.push(entry);
            numbered(before * CHUNK + chunk.len() - 1)
        })
    }

    /// After the others of its grant, or in front of all others of its owner.
    fn link(&mut self, number: u32, entry: &Entry, last: Option<(u32, Entry)>) {
        if let Some((before, Entry { next: after, .. })) = last {
            self.set_next(before, number);
            self.set_links(number, before, after);
            self.set_prev(after, number);
            return;
        }
        let owner = packed(entry);
        let Self { chunks, by_grant, by_owner, .. } = self;
        by_grant.insert(hash_grant(Some(entry)), number, |number| hash_grant(self::entry(chunks, number)));
        if entry.is_fixed() {
            return;
        }
        let is_it = |number| self::entry(chunks, number).is_some_and(|entry| packed(entry) == owner);
        match by_owner.find(hash_owner(owner), is_it) {
            Some(head) => {
                by_owner.replace(hash_owner(owner), head, number);
                self.set_links(number, NONE, head);
                self.set_prev(head, number);
            }
            None => {
                let hash_of =
                    |number| self::entry(chunks, number).map_or(0, |entry| hash_owner(packed(entry)));
                by_owner.insert(hash_owner(owner), number, hash_of);
            }
        }
    }

    fn unlink(&mut self, number: u32, entry: &Entry, owner: Packed) {
        let successor = self.get(entry.next).filter(|next| next.network == entry.network).map(|_| entry.next);
        let is_first = self.first_of_grant(entry.network, owner) == Some(number);
        let Self { chunks, by_grant, by_owner, .. } = self;
        if is_first {
            let hash = hash_grant(Some(entry));
            match successor {
                Some(successor) => by_grant.replace(hash, number, successor),
                None => by_grant.remove(hash, number, |number| hash_grant(self::entry(chunks, number))),
            }
        }
        if entry.prev == NONE && !entry.is_fixed() {
            let hash = hash_owner(owner);
            if entry.next == NONE {
                let hash_of =
                    |number| self::entry(chunks, number).map_or(0, |entry| hash_owner(packed(entry)));
                by_owner.remove(hash, number, hash_of);
            } else {
                by_owner.replace(hash, number, entry.next);
            }
        }
        self.set_next(entry.prev, entry.next);
        self.set_prev(entry.next, entry.prev);
    }

    fn set_links(&mut self, number: u32, prev: u32, next: u32) {
        self.set_prev(number, prev);
        self.set_next(number, next);
    }

    fn set_next(&mut self, number: u32, next: u32) {
        if let Some(entry) = self.get_mut(number) {
            entry.next = next;
        }
    }

    fn set_prev(&mut self, number: u32, prev: u32) {
        if let Some(entry) = self.get_mut(number) {
            entry.prev = prev;
        }
    }

    fn get_mut(&mut self, number: u32) -> Option<&mut Entry> {
        let (chunk, at) = split(number);
        self.chunks.get_mut(chunk)?.get_mut(at)
    }
}

impl Entry {
    /// Not linked yet.
    fn new(owner: Packed, place: Place) -> Self {
        Self {
            key: owner.key,
            offset: halves(place.offset),
            generation: place.generation,
            network: place.network,
            next: NONE,
            prev: NONE,
            subnet: place.subnet,
            kind: owner.kind,
            log2: place.log2,
        }
    }

    /// Distance from the first address of the subnet.
    pub(crate) fn offset(&self) -> u128 {
        let [high, low] = self.offset;
        u128::from(high) << 64 | u128::from(low)
    }

    /// Whether the owner is a gateway or an auxiliary address.
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self.kind & !TEXT, 0 | 5)
    }

    pub(crate) fn lane(&self) -> Lane {
        if self.kind & !TEXT == 1 { Lane::Virtual } else { Lane::Plain }
    }

    fn is_lease(&self) -> bool {
        self.kind != UNUSED
    }
}

fn entry(chunks: &[Vec<Entry>], number: u32) -> Option<&Entry> {
    let (chunk, at) = split(number);
    chunks.get(chunk)?.get(at)
}

fn packed(entry: &Entry) -> Packed {
    Packed { kind: entry.kind, key: entry.key }
}

#[inline]
fn hash(network: u32, Packed { kind, key: [high, low] }: Packed) -> u64 {
    mix(high ^ u64::from(kind) << 56, low, u64::from(network) + 1)
}

fn hash_grant(entry: Option<&Entry>) -> u64 {
    entry.map_or(0, |entry| hash(entry.network, packed(entry)))
}

#[inline]
fn hash_owner(Packed { kind, key: [high, low] }: Packed) -> u64 {
    mix(high ^ u64::from(kind) << 56, low, 0)
}

#[inline]
fn split(number: u32) -> (usize, usize) {
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    (number / CHUNK, number % CHUNK)
}

fn numbered(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(NONE)
}

fn halves(offset: u128) -> [u64; 2] {
    let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0);
    [half(offset >> 64), half(offset)]
}

const CHUNK: usize = 1024;
const NONE: u32 = u32::MAX;
/// The key is the number of a text.
const TEXT: u8 = 0x80;
const UNUSED: u8 = 0x7f;
