//! The addresses of one subnet and who holds them.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use crate::{AddrPool, Moment, Usage, bits, pool::addr_pool::Span, state::slots::Slots};

/// ```text
///   pool    which addresses are free, in use, resting
///   slots   distance ─▶ lease            blocks   distance ─▶ lease of the whole block
/// ```
#[derive(Clone, Debug)]
pub(crate) struct Space {
    pub(crate) pool: AddrPool,
    slots: Slots,
    blocks: BTreeMap<u128, (u128, u32)>,
    /// How many holders are fixed.
    fixed: u32,
}

impl Space {
    /// Nobody is known to hold anything.
    pub(crate) fn of(pool: AddrPool) -> Self {
        Self { slots: Slots::new(bits::span(pool.net())), pool, blocks: BTreeMap::new(), fixed: 0 }
    }

    pub(crate) fn net(&self) -> IpNet {
        self.pool.net()
    }

    pub(crate) fn offset(&self, addr: IpAddr) -> Option<u128> {
        self.pool.offset(addr)
    }

    /// The lease that the address belongs to.
    #[inline]
    pub(crate) fn lease_at(&self, offset: u128) -> Option<u32> {
        self.slots.get(offset).or_else(|| {
            let (_, (last, number)) = self.blocks.range(..=offset).next_back()?;
            (*last >= offset).then_some(*number)
        })
    }

    /// Writes down whose the addresses are that the pool has given.
    #[inline]
    pub(crate) fn assign(&mut self, span: Span, number: u32, is_fixed: bool) {
        self.fixed += u32::from(is_fixed);
        if span.first == span.last {
            self.slots.set(span.first, number);
        } else {
            self.blocks.insert(span.first, (span.last, number));
        }
    }

    /// The opposite; the pool still has the addresses in use.
    #[inline]
    pub(crate) fn unassign(&mut self, span: Span, is_fixed: bool) {
        self.fixed -= u32::from(is_fixed);
        if span.first == span.last {
            self.slots.clear(span.first);
        } else {
            self.blocks.remove(&span.first);
        }
    }

    /// Leases by address.
    pub(crate) fn leases(&self) -> impl Iterator<Item = u32> {
        let mut singles = self.slots.iter().peekable();
        let mut blocks = self.blocks.iter().map(|(first, (_, number))| (*first, *number)).peekable();
        std::iter::from_fn(move || match (singles.peek(), blocks.peek()) {
            (Some((single, _)), Some((block, _))) if block < single => blocks.next(),
            (Some(_), _) => singles.next(),
            (None, _) => blocks.next(),
        })
        .map(|(_, number)| number)
    }

    /// How many holders are fixed.
    pub(crate) fn fixed(&self) -> u32 {
        self.fixed
    }

    pub(crate) fn usage(&self, moment: &Moment) -> Usage {
        let usage = self.pool.usage(moment);
        let fixed = u128::from(self.fixed);
        Usage { in_use: usage.in_use - fixed, reserved: usage.reserved + fixed, ..usage }
    }

    /// Whether edges, leases and resting addresses are disjoint and are all that is used.
    pub(crate) fn is_consistent(&self, fixed: usize) -> bool {
        let singles = self.slots.iter().map(|(offset, _)| Span { first: offset, last: offset });
        let blocks = self.blocks.iter().map(|(first, (last, _))| Span { first: *first, last: *last });
        self.pool.is_made_of(singles.chain(blocks)) && usize::try_from(self.fixed) == Ok(fixed)
    }
}

impl Span {
    /// 2^`log2` addresses.
    pub(crate) fn new(first: u128, log2: u8) -> Self {
        let more = 1_u128.checked_shl(log2.into()).map_or(u128::MAX, |size| size - 1);
        Self { first, last: first.saturating_add(more) }
    }
}
