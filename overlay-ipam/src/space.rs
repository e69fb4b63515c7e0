//! The addresses of one subnet.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
};

use ipnet::IpNet;

use crate::{AddrSet, Family, Hold, Owner, Usage, bits};

/// Addresses as distances from the network address.
///
/// ```text
///   set = edges ∪ holders ∪ resting         free = everything else
///         .0 .255   who     freed a moment ago
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Space {
    net: IpNet,
    set: AddrSet,
    /// Bounds of dynamic addresses.
    low: u128,
    high: u128,
    /// Where the next dynamic search starts.
    pub(crate) cursor: u128,
    pub(crate) holders: BTreeMap<u128, Owner>,
    /// How many holders are fixed.
    fixed: u128,
    pub(crate) resting: Resting,
}

/// Freed addresses in the order of their release; two queues, because their holds differ.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Resting {
    pub(crate) plain: VecDeque<Freed>,
    pub(crate) virtual_: VecDeque<Freed>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Freed {
    pub(crate) offset: u128,
    pub(crate) at_ms: u64,
}

/// Why an address cannot be taken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Obstacle {
    Edge,
    Holder(Owner),
    Resting { ready_ms: u64 },
}

impl Space {
    /// An empty subnet; `range` lies inside of it.
    pub(crate) fn new(net: IpNet, range: Option<IpNet>) -> Self {
        let start = bits::first(net);
        let (low, high) = match range {
            Some(range) => (bits::first(range) - start, bits::last(range) - start),
            None => (0, bits::span(net)),
        };
        let mut set = AddrSet::new(bits::span(net));
        for edge in edges(net) {
            set.insert(edge);
        }
        Self {
            net,
            set,
            low,
            high,
            cursor: low,
            holders: BTreeMap::new(),
            fixed: 0,
            resting: Resting::default(),
        }
    }

    pub(crate) fn net(&self) -> IpNet {
        self.net
    }

    pub(crate) fn offset(&self, addr: IpAddr) -> Option<u128> {
        self.net.contains(&addr).then(|| bits::of(addr) - bits::first(self.net))
    }

    pub(crate) fn addr(&self, offset: u128) -> IpAddr {
        bits::addr(Family::of(self.net), bits::first(self.net).saturating_add(offset))
    }

    /// The next dynamic address from `cursor` on that is not one of `skip`.
    pub(crate) fn pick(&self, cursor: u128, skip: impl Fn(u128) -> bool) -> Option<u128> {
        let search = |start: u128| {
            let mut found = self.set.next_absent(start);
            while let Some(offset) = found.filter(|offset| skip(*offset)) {
                found = self.set.next_absent(offset + 1);
            }
            found.filter(|offset| *offset <= self.high)
        };
        search(cursor.max(self.low)).or_else(|| search(self.low))
    }

    /// Where the search goes on after a dynamic pick.
    pub(crate) fn after(&self, offset: u128) -> u128 {
        if offset >= self.high { self.low } else { offset + 1 }
    }

    /// What is in the way of taking this very address.
    pub(crate) fn obstacle(&self, offset: u128, hold: &Hold) -> Option<Obstacle> {
        if !self.set.contains(offset) {
            return None;
        }
        if let Some(owner) = self.holders.get(&offset) {
            return Some(Obstacle::Holder(owner.clone()));
        }
        let ready_ms = self.resting.ready(hold).find(|(resting, _)| *resting == offset);
        Some(ready_ms.map_or(Obstacle::Edge, |(_, ready_ms)| Obstacle::Resting { ready_ms }))
    }

    /// Gives the address to the owner; tells whether it was free.
    pub(crate) fn take(&mut self, offset: u128, owner: Owner) -> bool {
        let free = self.set.insert(offset);
        if free {
            self.fixed += u128::from(owner.is_fixed());
            self.holders.insert(offset, owner);
        }
        free
    }

    /// Takes the address from its holder and lets it rest.
    pub(crate) fn free(&mut self, offset: u128, at_ms: u64, hold: &Hold) {
        let Some(owner) = self.holders.remove(&offset) else { return };
        self.fixed -= u128::from(owner.is_fixed());
        let (queue, hold_ms) = match owner.is_virtual() {
            true => (&mut self.resting.virtual_, hold.vip_ms),
            false => (&mut self.resting.plain, hold.address_ms),
        };
        if hold_ms == 0 {
            self.set.remove(offset);
        } else {
            queue.push_back(Freed { offset, at_ms });
        }
    }

    /// Puts a resting address back as it was; tells whether it was free.
    pub(crate) fn rest(&mut self, freed: Freed, is_virtual: bool) -> bool {
        let queue = if is_virtual { &mut self.resting.virtual_ } else { &mut self.resting.plain };
        queue.push_back(freed);
        self.set.insert(freed.offset)
    }

    /// Whether some hold is over.
    pub(crate) fn is_due(&self, now_ms: u64, hold: &Hold) -> bool {
        self.next_ready(hold).is_some_and(|ready_ms| ready_ms <= now_ms)
    }

    /// When the next resting address is ready.
    pub(crate) fn next_ready(&self, hold: &Hold) -> Option<u64> {
        let front = |queue: &VecDeque<Freed>, hold_ms| queue.front().map(|freed| freed.ready(hold_ms));
        let plain = front(&self.resting.plain, hold.address_ms);
        plain.into_iter().chain(front(&self.resting.virtual_, hold.vip_ms)).min()
    }

    /// Frees the addresses whose hold is over.
    pub(crate) fn thaw(&mut self, now_ms: u64, hold: &Hold) {
        let queues = [(&mut self.resting.plain, hold.address_ms), (&mut self.resting.virtual_, hold.vip_ms)];
        for (queue, hold_ms) in queues {
            while let Some(freed) = queue.front().filter(|freed| freed.ready(hold_ms) <= now_ms) {
                self.set.remove(freed.offset);
                queue.pop_front();
            }
        }
    }

    pub(crate) fn usage(&self, now_ms: u64, hold: &Hold) -> Usage {
        let resting = |from: u128, to: u128| {
            let held = self.resting.ready(hold).filter(|(_, ready_ms)| *ready_ms > now_ms);
            wide(held.filter(|(offset, _)| (from..=to).contains(offset)).count())
        };
        let edges_in =
            |from: u128, to: u128| wide(edges(self.net).filter(|edge| (from..=to).contains(edge)).count());
        let end = self.set.last();
        let capacity = end.saturating_add(1);
        let held = resting(0, end);
        let reserved = self.fixed + edges_in(0, end);
        let in_use = wide(self.holders.len()) - self.fixed;
        let free = capacity - in_use - held - reserved;
        let available = if (self.low, self.high) == (0, end) {
            free
        } else {
            let holders = wide(self.holders.range(self.low..=self.high).count());
            self.high - self.low + 1 - holders - resting(self.low, self.high) - edges_in(self.low, self.high)
        };
        Usage { subnet: self.net, capacity, in_use, held, reserved, free, available }
    }

    /// Whether edges, holders and resting addresses are disjoint and are all that is set.
    pub(crate) fn is_consistent(&self) -> bool {
        let mut rebuilt = AddrSet::new(self.set.last());
        let resting = self.resting.plain.iter().chain(&self.resting.virtual_).map(|freed| freed.offset);
        let disjoint = edges(self.net)
            .chain(self.holders.keys().copied())
            .chain(resting)
            .all(|offset| rebuilt.insert(offset));
        let fixed = wide(self.holders.values().filter(|owner| owner.is_fixed()).count());
        disjoint && rebuilt == self.set && fixed == self.fixed
    }

    /// Whether this is the network, broadcast or anycast address.
    pub(crate) fn is_edge(&self, offset: u128) -> bool {
        edges(self.net).any(|edge| edge == offset)
    }
}

impl Resting {
    /// Each address with the time when its hold is over.
    fn ready(&self, hold: &Hold) -> impl Iterator<Item = (u128, u64)> {
        let (address_ms, vip_ms) = (hold.address_ms, hold.vip_ms);
        let plain = self.plain.iter().map(move |freed| (freed.offset, freed.ready(address_ms)));
        plain.chain(self.virtual_.iter().map(move |freed| (freed.offset, freed.ready(vip_ms))))
    }
}

impl Freed {
    fn ready(self, hold_ms: u64) -> u64 {
        self.at_ms.saturating_add(hold_ms)
    }
}

/// Addresses that no host may have: network and broadcast of IPv4, the anycast address of IPv6; none in the
/// two longest prefixes of a family (RFC 3021, RFC 6164).
fn edges(net: IpNet) -> impl Iterator<Item = u128> {
    let has_edges = net.prefix_len() < net.max_prefix_len() - 1;
    let first = has_edges.then_some(0);
    let last = (has_edges && matches!(net, IpNet::V4(_))).then(|| bits::span(net));
    first.into_iter().chain(last)
}

fn wide(count: usize) -> u128 {
    u128::try_from(count).unwrap_or(u128::MAX)
}
