//! The addresses of one prefix.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{AddrSet, Family, Moment, Rest, Usage, bits, pool::clock::Queue};

/// Which addresses of a prefix are in use, which rest, and which one is next: next-fit, so that a freed one is used
/// again after all others.
///
/// ```text
///   used = edges ∪ in use ∪ resting         free = everything else
///          .0 .255          └── two queues, one for each length of rest
/// ```
///
/// Two bitmaps and two queues: taking and freeing touch a few words, whatever is in use. It knows no holders, so it
/// can be used alone, for instance by a node for the block that was delegated to it.
///
/// ```
/// use overlay_ipam::{AddrPool, Lane, Moment, Rest};
///
/// let mut pool = AddrPool::new("10.0.0.0/30".parse()?, None);
/// let (first, second) = (pool.allocate().unwrap(), pool.allocate().unwrap());
/// assert_eq!([first.to_string(), second.to_string()], ["10.0.0.1", "10.0.0.2"]);
/// assert!(pool.release(first, Lane::Plain, Some(Rest { ready_ms: 30_000, mark: 1 })));
/// assert_eq!(pool.allocate(), None);
/// pool.thaw(&Moment { now_ms: 30_000, settled: 0 });
/// assert_eq!(pool.allocate(), Some(first));
/// # Ok::<(), ipnet::AddrParseError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AddrPool {
    net: IpNet,
    used: AddrSet,
    resting: AddrSet,
    lanes: [Queue<Span>; 2],
    /// Bounds of dynamic addresses.
    low: u128,
    high: u128,
    /// Where the next dynamic search starts.
    cursor: u128,
    edges: u8,
}

/// How long a freed address rests: those of the same kind rest equally long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lane {
    /// Addresses of tasks, nodes and static owners, and blocks.
    Plain,
    /// Virtual addresses of services.
    Virtual,
}

/// Distances from the first address of the prefix, both included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    pub(crate) first: u128,
    pub(crate) last: u128,
}

impl AddrPool {
    /// Nothing is in use but the edges. Addresses outside of `range` are given only to who names them; a range
    /// outside of the prefix counts as none.
    pub fn new(net: IpNet, range: Option<IpNet>) -> Self {
        let mut pool = Self::block(net);
        if let Some(range) = range.filter(|range| pool.net.contains(range)) {
            let start = bits::first(pool.net);
            (pool.low, pool.high) = (bits::first(range) - start, bits::last(range) - start);
            pool.cursor = pool.low;
        }
        for edge in edges(pool.net) {
            pool.edges += u8::from(pool.used.insert(edge));
        }
        pool
    }

    /// The same for a part of a larger network, which has no edges of its own: every address can be used.
    pub fn block(net: IpNet) -> Self {
        let net = net.trunc();
        let last = bits::span(net);
        // memory follows what is used, also where a prefix of 2²⁴ addresses costs its creator nothing
        let set = if matches!(net, IpNet::V6(_)) && last > 0xffff { AddrSet::sparse } else { AddrSet::new };
        Self {
            net,
            used: set(last),
            resting: set(last),
            lanes: Default::default(),
            low: 0,
            high: last,
            cursor: 0,
            edges: 0,
        }
    }

    /// The prefix.
    pub fn net(&self) -> IpNet {
        self.net
    }

    /// Takes the next free address of the range.
    #[inline]
    pub fn allocate(&mut self) -> Option<IpAddr> {
        self.allocate_offset().map(|offset| self.addr(offset))
    }

    /// Takes this very address; tells whether it was free.
    pub fn take(&mut self, addr: IpAddr) -> bool {
        self.offset(addr).is_some_and(|offset| self.used.insert(offset))
    }

    /// Frees an address, at once or after a rest; tells whether it was in use. Of the rests in one lane each must be
    /// over no earlier than the one before.
    #[inline]
    pub fn release(&mut self, addr: IpAddr, lane: Lane, rest: Option<Rest>) -> bool {
        let Some(offset) = self.offset(addr).filter(|offset| self.is_in_use(*offset)) else { return false };
        self.free(Span { first: offset, last: offset }, lane, rest);
        true
    }

    /// Makes those addresses free whose rest is over.
    #[inline]
    pub fn thaw(&mut self, moment: &Moment) {
        for lane in &mut self.lanes {
            while let Some(span) = lane.pop(moment) {
                if span.first == span.last {
                    self.used.remove(span.first);
                    self.resting.remove(span.first);
                } else {
                    self.used.remove_range(span.first, span.last);
                    self.resting.remove_range(span.first, span.last);
                }
            }
        }
    }

    /// Whether the address is in use: neither free nor resting nor an edge.
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.offset(addr).is_some_and(|offset| self.is_in_use(offset))
    }

    /// How full it is.
    pub fn usage(&self, moment: &Moment) -> Usage {
        let due_in = |from: u128, to: u128| -> u128 {
            let due = self.lanes.iter().flat_map(|lane| lane.due(*moment));
            let within = |span: Span| (span.last.min(to) + 1).saturating_sub(span.first.max(from));
            due.map(within).sum()
        };
        let end = self.used.last();
        let (capacity, due) = (end.saturating_add(1), due_in(0, end));
        let reserved = u128::from(self.edges);
        let free = capacity - self.used.count() + due;
        let available = if (self.low, self.high) == (0, end) {
            free
        } else {
            let used = self.used.count_range(self.low, self.high);
            self.high - self.low + 1 - used + due_in(self.low, self.high)
        };
        let held = self.resting.count() - due;
        let in_use = capacity - free - held - reserved;
        Usage { subnet: self.net, capacity, in_use, held, reserved, free, available }
    }

    #[inline]
    pub(crate) fn allocate_offset(&mut self) -> Option<u128> {
        let offset = self.peek()?;
        self.used.insert(offset);
        self.cursor = if offset >= self.high { self.low } else { offset + 1 };
        Some(offset)
    }

    /// The next dynamic address; it is not taken yet.
    #[inline]
    pub(crate) fn peek(&self) -> Option<u128> {
        self.used.next_fit(self.low, self.high, self.cursor)
    }

    /// The lowest free block of 2^`log2` addresses in the range.
    pub(crate) fn peek_block(&self, log2: u8) -> Option<u128> {
        self.used.next_block(self.low, self.high, 1_u128.checked_shl(log2.into())?)
    }

    #[inline]
    pub(crate) fn take_span(&mut self, span: Span) -> bool {
        if span.first == span.last {
            return self.used.insert(span.first);
        }
        let free = span.last <= self.used.last() && self.used.count_range(span.first, span.last) == 0;
        if free {
            self.used.insert_range(span.first, span.last);
        }
        free
    }

    /// The caller knows that all of it is in use.
    pub(crate) fn free(&mut self, span: Span, lane: Lane, rest: Option<Rest>) {
        let single = span.first == span.last;
        match rest {
            None if single => drop(self.used.remove(span.first)),
            None => self.used.remove_range(span.first, span.last),
            Some(rest) => {
                match single {
                    true => drop(self.resting.insert(span.first)),
                    false => self.resting.insert_range(span.first, span.last),
                }
                self.lane_mut(lane).push(span, rest);
            }
        }
    }

    /// Puts something back that rested; tells whether it was free.
    pub(crate) fn put_to_rest(&mut self, span: Span, lane: Lane, rest: Rest) -> bool {
        let free = self.take_span(span);
        if free {
            self.free(span, lane, Some(rest));
        }
        free
    }

    pub(crate) fn cursor(&self) -> u128 {
        self.cursor
    }

    pub(crate) fn set_cursor(&mut self, cursor: u128) {
        self.cursor = cursor.clamp(self.low, self.high);
    }

    #[inline]
    pub(crate) fn offset(&self, addr: IpAddr) -> Option<u128> {
        let offset = match (addr, self.net) {
            (IpAddr::V4(addr), IpNet::V4(net)) => addr.to_bits().checked_sub(net.addr().to_bits())?.into(),
            (IpAddr::V6(addr), IpNet::V6(net)) => addr.to_bits().checked_sub(net.addr().to_bits())?,
            (IpAddr::V4(_), IpNet::V6(_)) | (IpAddr::V6(_), IpNet::V4(_)) => return None,
        };
        (offset <= self.used.last()).then_some(offset)
    }

    #[inline]
    pub(crate) fn addr(&self, offset: u128) -> IpAddr {
        bits::addr(Family::of(self.net), bits::of(self.net.addr()).saturating_add(offset))
    }

    /// The rest of an address that rests.
    pub(crate) fn rest_of(&self, offset: u128) -> Option<Rest> {
        if !self.resting.contains(offset) {
            return None;
        }
        let around = |(span, rest): (Span, Rest)| (span.first..=span.last).contains(&offset).then_some(rest);
        self.rests().map(|(_, span, rest)| (span, rest)).find_map(around)
    }

    pub(crate) fn rests(&self) -> impl Iterator<Item = (Lane, Span, Rest)> {
        let [plain, virtual_] = &self.lanes;
        let plain = plain.iter().map(|(span, rest)| (Lane::Plain, span, rest));
        plain.chain(virtual_.iter().map(|(span, rest)| (Lane::Virtual, span, rest)))
    }

    /// Those whose rest is not over at that moment; at most `most` of each lane, the oldest ones.
    pub(crate) fn pending(&self, moment: &Moment, most: usize) -> impl Iterator<Item = (Span, Rest)> {
        self.lanes.iter().flat_map(move |lane| lane.pending(moment).take(most))
    }

    /// The first of them in each lane.
    pub(crate) fn first_pending(&self, moment: &Moment) -> impl Iterator<Item = Rest> {
        self.lanes.iter().filter_map(|lane| lane.pending(moment).next()).map(|(_, rest)| rest)
    }

    /// When the first of the resting addresses is ready by time.
    pub(crate) fn next_ready(&self) -> Option<u64> {
        self.lanes.iter().filter_map(|lane| lane.iter().next()).map(|(_, rest)| rest.ready_ms).min()
    }

    pub(crate) fn is_due(&self, moment: &Moment) -> bool {
        self.lanes.iter().any(|lane| lane.due(*moment).next().is_some())
    }

    /// Whether this is the network, broadcast or anycast address.
    pub(crate) fn is_edge(&self, offset: u128) -> bool {
        (self.edges > 0 && offset == 0) || (self.edges > 1 && offset == self.used.last())
    }

    /// Whether edges, `in_use` and what rests are disjoint and are all that is used.
    pub(crate) fn is_made_of(&self, in_use: impl Iterator<Item = Span>) -> bool {
        let mut rebuilt = Self::new(self.net, None);
        let resting: u128 = self.rests().map(|(_, span, _)| span.last - span.first + 1).sum();
        let disjoint =
            in_use.chain(self.rests().map(|(_, span, _)| span)).all(|span| rebuilt.take_span(span));
        let rest = self
            .rests()
            .all(|(_, Span { first, last }, _)| self.resting.count_range(first, last) == (last - first) + 1);
        disjoint && rest && rebuilt.used == self.used && resting == self.resting.count() && self.is_in_order()
    }

    /// Whether what was freed first is ready first.
    pub(crate) fn is_in_order(&self) -> bool {
        self.lanes.iter().all(Queue::is_sorted)
    }

    #[inline]
    fn is_in_use(&self, offset: u128) -> bool {
        self.used.contains(offset) && !self.resting.contains(offset) && !self.is_edge(offset)
    }

    #[inline]
    fn lane_mut(&mut self, lane: Lane) -> &mut Queue<Span> {
        let [plain, virtual_] = &mut self.lanes;
        match lane {
            Lane::Plain => plain,
            Lane::Virtual => virtual_,
        }
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
