//! Which subnets are taken, and which one is next.

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::{AddrSet, Family, PoolSpec, bits};

/// Disjoint subnets, and pools that give the lowest free piece.
///
/// Subnets outside of all pools can be claimed too. Picking a piece of the pool's own length is a bitmap
/// search; other lengths walk over what is taken.
///
/// ```
/// use overlay_ipam::{PoolSpec, SubnetPool};
///
/// let mut pool = SubnetPool::new(&[PoolSpec { base: "10.0.0.0/8".parse()?, piece: 24 }]);
/// assert!(pool.claim("10.0.0.128/25".parse()?)); // blocks the piece 10.0.0.0/24
/// assert_eq!(pool.pick(None, None, &[]), Some("10.0.1.0/24".parse()?));
/// # Ok::<(), ipnet::AddrParseError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SubnetPool {
    bases: Vec<Base>,
    taken: BTreeSet<IpNet>,
}

impl SubnetPool {
    /// Nothing is taken. Pools are searched by address, IPv4 first; one inside of another is ignored, and so
    /// is one of length 0.
    pub fn new(pools: &[PoolSpec]) -> Self {
        let mut bases: Vec<Base> = Vec::new();
        let mut sorted: Vec<_> =
            pools.iter().filter(|pool| pool.base.prefix_len() > 0).map(Base::new).collect();
        sorted.sort_by_key(|base| base.net);
        for base in sorted {
            if bases.last().is_none_or(|covering| !covering.net.contains(&base.net)) {
                bases.push(base);
            }
        }
        Self { bases, taken: BTreeSet::new() }
    }

    /// Takes the subnet (host bits are ignored) unless it overlaps one that is taken; tells whether it did.
    pub fn claim(&mut self, net: IpNet) -> bool {
        let net = net.trunc();
        let free = self.overlapping(net).next().is_none();
        if free {
            self.taken.insert(net);
            self.bases.iter_mut().for_each(|base| base.block(net));
        }
        free
    }

    /// Frees exactly this subnet; tells whether it was taken.
    pub fn release(&mut self, net: IpNet) -> bool {
        let net = net.trunc();
        let found = self.taken.remove(&net);
        if found {
            for base in &mut self.bases {
                base.unblock(net);
            }
            // a piece stays blocked as long as another part of it is taken
            for index in 0..self.bases.len() {
                let piece = self.bases.get(index).and_then(|base| base.piece_around(net));
                let neighbour = piece.and_then(|piece| self.overlapping(piece).next());
                if let (Some(neighbour), Some(base)) = (neighbour, self.bases.get_mut(index)) {
                    base.block(neighbour);
                }
            }
        }
        found
    }

    /// Whether exactly this subnet is taken.
    pub fn contains(&self, net: IpNet) -> bool {
        self.taken.contains(&net)
    }

    /// How many subnets are taken.
    pub fn count(&self) -> usize {
        self.taken.len()
    }

    /// The taken subnets that overlap `net`, by address. Finding the first is one search.
    pub fn overlapping(&self, net: IpNet) -> impl Iterator<Item = IpNet> {
        let covering = self.taken.range(..net).next_back().filter(|before| before.contains(&net));
        let inside = self.taken.range(net..).take_while(move |after| net.contains(*after));
        covering.into_iter().chain(inside).copied()
    }

    /// The lowest free subnet that overlaps nothing of `avoid`. Without a family IPv4 comes first; without a
    /// length it is that of the pool. It is not taken yet.
    pub fn pick(&self, family: Option<Family>, len: Option<u8>, avoid: &[IpNet]) -> Option<IpNet> {
        self.bases.iter().filter(|base| family.is_none_or(|family| Family::of(base.net) == family)).find_map(
            |base| match len {
                Some(len) if len != base.piece => self.pick_odd(base.net, len, avoid),
                _ => base.pick(avoid),
            },
        )
    }

    /// Whether the blocked pieces are those that something taken overlaps, and no others.
    pub(crate) fn is_consistent(&self) -> bool {
        let mut rebuilt: Vec<Base> = self.bases.iter().map(Base::emptied).collect();
        for base in &mut rebuilt {
            self.taken.iter().for_each(|net| base.block(*net));
        }
        rebuilt == self.bases
    }

    /// Jumps from obstacle to obstacle.
    fn pick_odd(&self, base: IpNet, len: u8, avoid: &[IpNet]) -> Option<IpNet> {
        if len < base.prefix_len() || len > base.max_prefix_len() {
            return None;
        }
        let mut at = bits::first(base);
        while at <= bits::last(base) {
            let candidate = bits::net(Family::of(base), at, len);
            let Some(obstacle) = self.overlapping(candidate).next().or_else(|| obstacle(candidate, avoid))
            else {
                return Some(candidate);
            };
            at = bits::last(obstacle).max(bits::last(candidate)).checked_add(1)?;
        }
        None
    }
}

/// One pool, as numbered pieces.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Base {
    net: IpNet,
    piece: u8,
    blocked: AddrSet,
}

impl Base {
    fn new(pool: &PoolSpec) -> Self {
        let net = pool.base.trunc();
        let piece = pool.piece.clamp(net.prefix_len(), net.max_prefix_len());
        let base = Self { net, piece, blocked: AddrSet::new(0) };
        Self { blocked: AddrSet::new(bits::span(net) >> base.shift()), ..base }
    }

    fn emptied(&self) -> Self {
        Self { blocked: AddrSet::new(self.blocked.last()), ..*self }
    }

    fn pick(&self, avoid: &[IpNet]) -> Option<IpNet> {
        let mut index = self.blocked.next_absent(0)?;
        loop {
            let candidate = self.nth(index);
            let Some(obstacle) = obstacle(candidate, avoid) else {
                return Some(candidate);
            };
            let end = bits::last(obstacle).max(bits::last(candidate)) - bits::first(self.net);
            index = self.blocked.next_absent((end >> self.shift()) + 1)?;
        }
    }

    fn block(&mut self, net: IpNet) {
        if let Some((first, last)) = self.pieces(net) {
            self.blocked.insert_range(first, last);
        }
    }

    fn unblock(&mut self, net: IpNet) {
        if let Some((first, last)) = self.pieces(net) {
            self.blocked.remove_range(first, last);
        }
    }

    /// The piece that `net` is a proper part of.
    fn piece_around(&self, net: IpNet) -> Option<IpNet> {
        let (first, _) = self.pieces(net).filter(|_| net.prefix_len() > self.piece)?;
        Some(self.nth(first))
    }

    /// The numbers of the first and the last piece that overlap `net`.
    fn pieces(&self, net: IpNet) -> Option<(u128, u128)> {
        if !bits::overlap(self.net, net) {
            return None;
        }
        let (start, end) = (bits::first(self.net), bits::last(self.net));
        let number = |at: u128| (at.clamp(start, end) - start) >> self.shift();
        Some((number(bits::first(net)), number(bits::last(net))))
    }

    fn nth(&self, index: u128) -> IpNet {
        let offset = index.checked_shl(self.shift()).unwrap_or(0);
        bits::net(Family::of(self.net), bits::first(self.net).saturating_add(offset), self.piece)
    }

    /// Below 128, because no base has length 0.
    fn shift(&self) -> u32 {
        u32::from(self.net.max_prefix_len() - self.piece)
    }
}

fn obstacle(candidate: IpNet, avoid: &[IpNet]) -> Option<IpNet> {
    avoid.iter().copied().find(|net| bits::overlap(candidate, *net))
}
