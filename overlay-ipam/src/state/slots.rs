//! Which lease an address belongs to.

use std::collections::BTreeMap;

/// Numbers of leases by distance from the first address: pages of 64 where addresses are dense, a map where they
/// are not.
#[derive(Clone, Debug)]
pub(crate) enum Slots {
    Dense(Vec<Option<Box<Page>>>),
    Sparse(BTreeMap<u128, u32>),
}

type Page = [u32; 64];

impl Slots {
    /// For the distances `0..=last`.
    pub(crate) fn new(last: u128) -> Self {
        if last < 1 << 24 { Self::Dense(Vec::new()) } else { Self::Sparse(BTreeMap::new()) }
    }

    #[inline]
    pub(crate) fn get(&self, offset: u128) -> Option<u32> {
        match self {
            Self::Sparse(map) => map.get(&offset).copied(),
            Self::Dense(pages) => {
                let (page, at) = split(offset);
                pages.get(page)?.as_ref()?.get(at).copied().filter(|number| *number != NONE)
            }
        }
    }

    #[inline]
    pub(crate) fn set(&mut self, offset: u128, number: u32) {
        match self {
            Self::Sparse(map) => drop(map.insert(offset, number)),
            Self::Dense(pages) => {
                let (page, at) = split(offset);
                if pages.len() <= page {
                    pages.resize_with(page + 1, || None);
                }
                let page = pages.get_mut(page).map(|page| page.get_or_insert_with(|| Box::new([NONE; 64])));
                if let Some(slot) = page.and_then(|page| page.get_mut(at)) {
                    *slot = number;
                }
            }
        }
    }

    #[inline]
    pub(crate) fn clear(&mut self, offset: u128) {
        match self {
            Self::Sparse(map) => drop(map.remove(&offset)),
            Self::Dense(pages) => {
                let (page, at) = split(offset);
                let page = pages.get_mut(page).and_then(Option::as_mut);
                if let Some(slot) = page.and_then(|page| page.get_mut(at)) {
                    *slot = NONE;
                }
            }
        }
    }

    /// Distances with their leases, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u128, u32)> {
        let (pages, map) = match self {
            Self::Dense(pages) => (pages.as_slice(), None),
            Self::Sparse(map) => (&[][..], Some(map)),
        };
        let pages = (0_u128..).step_by(64).zip(pages);
        let dense = pages.flat_map(|(start, page)| {
            let slots = (start..).zip(page.as_ref().map(|page| page.as_slice()).unwrap_or_default());
            slots.filter(|(_, number)| **number != NONE).map(|(offset, number)| (offset, *number))
        });
        dense.chain(map.into_iter().flatten().map(|(offset, number)| (*offset, *number)))
    }
}

/// Distances of dense tables are below 2²⁴.
#[inline]
fn split(offset: u128) -> (usize, usize) {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    (offset / 64, offset % 64)
}

const NONE: u32 = u32::MAX;
