//! Which subnets are taken, and which one is next.

use ipnet::IpNet;

use crate::{AddrSet, Family, PoolSpec, bits, pool::taken::Taken, set::ranges::Ranges};

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
/// pool.avoid(["10.0.1.0/24".parse()?]); // somebody else's
/// assert_eq!(pool.pick(None, None, &[]), Some("10.0.2.0/24".parse()?));
/// # Ok::<(), ipnet::AddrParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SubnetPool {
    bases: Vec<Base>,
    taken: Taken,
    /// Of each family, as numbers.
    avoided: [Ranges; 2],
}

impl SubnetPool {
    /// Nothing is taken. Pools are searched by address, IPv4 first; one inside of another is ignored, and so
    /// is one of length 0.
    pub fn new(pools: &[PoolSpec]) -> Self {
        let mut pool = Self { bases: Vec::new(), taken: Taken::default(), avoided: Default::default() };
        pool.set_pools(pools);
        pool
    }

    /// Replaces the pools; what is taken stays so.
    pub fn set_pools(&mut self, pools: &[PoolSpec]) {
        let mut sorted: Vec<_> =
            pools.iter().filter(|pool| pool.base.prefix_len() > 0).map(Base::new).collect();
        sorted.sort_by_key(|base| base.net);
        self.bases.clear();
        for base in sorted {
            if self.bases.last().is_none_or(|covering| !covering.net.contains(&base.net)) {
                self.bases.push(base);
            }
        }
        for net in self.taken.iter() {
            self.bases.iter_mut().for_each(|base| base.block(net));
        }
    }

    /// Replaces the prefixes that [`pick`](Self::pick) keeps clear of; they can be claimed all the same.
    pub fn avoid(&mut self, nets: impl IntoIterator<Item = IpNet>) {
        self.avoided = Default::default();
        for net in nets {
            avoided_mut(&mut self.avoided, net).insert(bits::first(net), bits::last(net));
        }
    }

    /// Takes the subnet (host bits are ignored) unless it overlaps one that is taken; tells whether it did.
    pub fn claim(&mut self, net: IpNet) -> bool {
        self.claim_for(net, 0)
    }

    /// Frees exactly this subnet; tells whether it was taken.
    pub fn release(&mut self, net: IpNet) -> bool {
        let net = net.trunc();
        let found = self.taken.remove(net).is_some();
        if found {
            let (bases, taken) = (&mut self.bases, &self.taken);
            for base in bases {
                base.unblock(net);
                // a piece stays blocked as long as another part of it is taken
                let neighbour = base.piece_around(net).and_then(|piece| taken.overlapping(piece).next());
                if let Some((neighbour, _)) = neighbour {
                    base.block(neighbour);
                }
            }
        }
        found
    }

    /// Whether exactly this subnet is taken.
    pub fn contains(&self, net: IpNet) -> bool {
        self.taken.get(net).is_some()
    }

    /// How many subnets are taken.
    pub fn count(&self) -> usize {
        self.taken.len()
    }

    /// The taken subnets that overlap `net`, by address. Finding the first is one search.
    pub fn overlapping(&self, net: IpNet) -> impl Iterator<Item = IpNet> {
        self.taken.overlapping(net).map(|(net, _)| net)
    }

    /// The lowest free subnet that overlaps nothing of `avoid` (and nothing that is avoided anyway). Without a
    /// family IPv4 comes first; without a length it is that of the pool. It is not taken yet.
    pub fn pick(&self, family: Option<Family>, len: Option<u8>, avoid: &[IpNet]) -> Option<IpNet> {
        let of_family = |base: &&Base| family.is_none_or(|family| Family::of(base.net) == family);
        self.bases.iter().filter(of_family).find_map(|base| match len {
            Some(len) if len != base.piece => self.pick_odd(base.net, len, avoid),
            _ => self.pick_piece(base, avoid),
        })
    }

    /// The pool that the prefix lies in.
    pub(crate) fn base_of(&self, net: IpNet) -> Option<IpNet> {
        self.bases.iter().map(|base| base.net).find(|base| base.contains(&net))
    }

    pub(crate) fn claim_for(&mut self, net: IpNet, whose: u32) -> bool {
        let net = net.trunc();
        let free = self.taken.overlapping(net).next().is_none();
        if free {
            self.taken.insert(net, whose);
            self.bases.iter_mut().for_each(|base| base.block(net));
        }
        free
    }

    /// The same subnet, for somebody else.
    pub(crate) fn pass_to(&mut self, net: IpNet, whose: u32) {
        if self.taken.remove(net).is_some() {
            self.taken.insert(net, whose);
        }
    }

    /// The taken subnets that overlap `net`, and whose they are.
    pub(crate) fn holders(&self, net: IpNet) -> impl Iterator<Item = (IpNet, u32)> {
        self.taken.overlapping(net)
    }

    /// Whether the blocked pieces are those that something taken overlaps, and no others.
    pub(crate) fn is_consistent(&self) -> bool {
        let mut rebuilt: Vec<Base> = self.bases.iter().map(Base::emptied).collect();
        for base in &mut rebuilt {
            self.taken.iter().for_each(|net| base.block(net));
        }
        rebuilt == self.bases
    }

    fn pick_piece(&self, base: &Base, avoid: &[IpNet]) -> Option<IpNet> {
        let mut index = base.blocked.next_absent(0)?;
        loop {
            let candidate = base.nth(index);
            let Some(end) = self.end_of_obstacle(candidate, avoid) else {
                return Some(candidate);
            };
            let end = end.max(bits::last(candidate)) - bits::first(base.net);
            index = base.blocked.next_absent((end >> base.shift()) + 1)?;
        }
    }

    /// Jumps from obstacle to obstacle.
    fn pick_odd(&self, base: IpNet, len: u8, avoid: &[IpNet]) -> Option<IpNet> {
        if len < base.prefix_len() || len > base.max_prefix_len() {
            return None;
        }
        let mut at = bits::first(base);
        while at <= bits::last(base) {
            let candidate = bits::net(Family::of(base), at, len);
            let taken = self.overlapping(candidate).next().map(bits::last);
            let Some(end) = taken.or_else(|| self.end_of_obstacle(candidate, avoid)) else {
                return Some(candidate);
            };
            at = end.max(bits::last(candidate)).checked_add(1)?;
        }
        None
    }

    /// Where that ends which has to be avoided.
    fn end_of_obstacle(&self, candidate: IpNet, avoid: &[IpNet]) -> Option<u128> {
        let [v4, v6] = &self.avoided;
        let ranges = if matches!(candidate, IpNet::V4(_)) { v4 } else { v6 };
        let always = ranges.blocker(bits::first(candidate), bits::last(candidate));
        let named = || avoid.iter().find(|net| bits::overlap(candidate, **net)).map(|net| bits::last(*net));
        always.or_else(named)
    }
}

impl PartialEq for SubnetPool {
    fn eq(&self, other: &Self) -> bool {
        self.bases == other.bases && self.avoided == other.avoided && self.taken.iter().eq(other.taken.iter())
    }
}

impl Eq for SubnetPool {}

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

    fn block(&mut self, net: IpNet) {
        match self.pieces(net) {
            Some((first, last)) if first == last => drop(self.blocked.insert(first)),
            Some((first, last)) => self.blocked.insert_range(first, last),
            None => {}
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

fn avoided_mut([v4, v6]: &mut [Ranges; 2], net: IpNet) -> &mut Ranges {
    if matches!(net, IpNet::V4(_)) { v4 } else { v6 }
}
