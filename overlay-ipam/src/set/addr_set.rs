//! A set of numbers that answers "which is the next one absent" quickly.

use crate::{set::bitmap::Bitmap, set::ranges::Ranges};

/// A set over `0..=last` that finds the next absent number quickly.
///
/// Up to 2²⁴ numbers (an IPv4 /8, all VNIs, all ports) it is a bitmap with three summaries on top: at most
/// 2.2 MB, nothing where nothing was ever set, every operation a handful of word reads. Above that it is a map of
/// used ranges: memory follows what is used, so an IPv6 prefix costs nothing when it is empty or filled in order.
///
/// ```
/// let mut set = overlay_ipam::AddrSet::new(255);
/// set.insert(0);
/// set.insert(1);
/// assert_eq!(set.next_absent(0), Some(2));
/// assert_eq!(set.next_absent(256), None);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AddrSet {
    last: u128,
    bits: Bits,
}

impl AddrSet {
    /// An empty set that can hold `0..=last`; `u128::MAX` itself is one too many and left out.
    pub fn new(last: u128) -> Self {
        match u32::try_from(last) {
            Ok(last) if last <= Bitmap::LAST => {
                Self { last: last.into(), bits: Bits::Dense(Bitmap::new(last)) }
            }
            _ => Self::sparse(last),
        }
    }

    /// The same, as a map of ranges in any case: memory follows what is used, wherever it lies.
    ///
    /// ```
    /// let mut set = overlay_ipam::AddrSet::sparse(u128::MAX);
    /// set.insert_range(0, 1 << 100);
    /// assert_eq!(set.next_absent(7), Some((1 << 100) + 1));
    /// ```
    pub fn sparse(last: u128) -> Self {
        Self { last: last.min(u128::MAX - 1), bits: Bits::Sparse(Ranges::default()) }
    }

    /// The highest number that it can hold.
    pub fn last(&self) -> u128 {
        self.last
    }

    /// How many numbers are present.
    pub fn count(&self) -> u128 {
        match &self.bits {
            Bits::Dense(bitmap) => bitmap.count().into(),
            Bits::Sparse(ranges) => ranges.count(),
        }
    }

    /// How many of `first..=last` are present.
    pub fn count_range(&self, first: u128, last: u128) -> u128 {
        let last = last.min(self.last);
        match &self.bits {
            _ if first > last => 0,
            Bits::Dense(bitmap) => bitmap.count_range(low(first), low(last)).into(),
            Bits::Sparse(ranges) => ranges.count_range(first, last),
        }
    }

    /// Whether the number is present; those beyond the end are not.
    #[inline]
    pub fn contains(&self, n: u128) -> bool {
        n <= self.last
            && match &self.bits {
                Bits::Dense(bitmap) => bitmap.contains(low(n)),
                Bits::Sparse(ranges) => ranges.contains(n),
            }
    }

    /// Adds the number; tells whether it was absent. Beyond the end nothing happens.
    #[inline]
    pub fn insert(&mut self, n: u128) -> bool {
        if n > self.last {
            return false;
        }
        match &mut self.bits {
            Bits::Dense(bitmap) => bitmap.insert(low(n)),
            Bits::Sparse(ranges) if ranges.contains(n) => false,
            Bits::Sparse(ranges) => {
                ranges.insert(n, n);
                true
            }
        }
    }

    /// Removes the number; tells whether it was present.
    #[inline]
    pub fn remove(&mut self, n: u128) -> bool {
        if n > self.last {
            return false;
        }
        match &mut self.bits {
            Bits::Dense(bitmap) => bitmap.remove(low(n)),
            Bits::Sparse(ranges) if !ranges.contains(n) => false,
            Bits::Sparse(ranges) => {
                ranges.remove(n, n);
                true
            }
        }
    }

    /// Adds `first..=last`, cut at the end of the set.
    pub fn insert_range(&mut self, first: u128, last: u128) {
        let last = last.min(self.last);
        match &mut self.bits {
            _ if first > last => {}
            Bits::Dense(bitmap) => bitmap.insert_range(low(first), low(last)),
            Bits::Sparse(ranges) => ranges.insert(first, last),
        }
    }

    /// Removes `first..=last`, cut at the end of the set.
    pub fn remove_range(&mut self, first: u128, last: u128) {
        let last = last.min(self.last);
        match &mut self.bits {
            _ if first > last => {}
            Bits::Dense(bitmap) => bitmap.remove_range(low(first), low(last)),
            Bits::Sparse(ranges) => ranges.remove(first, last),
        }
    }

    /// The lowest absent number from `n` on.
    #[inline]
    pub fn next_absent(&self, n: u128) -> Option<u128> {
        if n > self.last {
            return None;
        }
        let found = match &self.bits {
            Bits::Dense(bitmap) => bitmap.next_absent(low(n)).map(u128::from),
            Bits::Sparse(ranges) => ranges.next_absent(n),
        };
        found.filter(|found| *found <= self.last)
    }

    /// The lowest absent number in `first..=last`, searched from `cursor` on and then from the start.
    #[inline]
    pub fn next_fit(&self, first: u128, last: u128, cursor: u128) -> Option<u128> {
        let found = |from| self.next_absent(from).filter(|n| *n <= last);
        found(cursor.max(first)).or_else(|| found(first))
    }

    /// The lowest run of `size` (a power of two) absent numbers within `first..=last` that starts at a multiple of
    /// `size`.
    pub fn next_block(&self, first: u128, last: u128, size: u128) -> Option<u128> {
        let mut at = first.checked_next_multiple_of(size)?;
        loop {
            let end = at.checked_add(size - 1).filter(|end| *end <= last.min(self.last))?;
            let blocker = match &self.bits {
                Bits::Dense(bitmap) => bitmap.next_present(low(at)).map(u128::from).filter(|n| *n <= end),
                Bits::Sparse(ranges) => ranges.blocker(at, end),
            };
            match blocker {
                None => return Some(at),
                Some(blocker) => at = self.next_absent(blocker)?.checked_next_multiple_of(size)?,
            }
        }
    }

    /// The present numbers as ranges, in order.
    pub fn ranges(&self) -> Vec<(u128, u128)> {
        match &self.bits {
            Bits::Sparse(ranges) => ranges.iter().collect(),
            Bits::Dense(bitmap) => {
                let mut runs = Vec::new();
                let mut next = bitmap.next_present(0);
                while let Some(first) = next {
                    let end = bitmap.next_absent(first).unwrap_or(Bitmap::LAST + 1).min(low(self.last) + 1);
                    runs.push((first.into(), u128::from(end) - 1));
                    next = bitmap.next_present(end);
                }
                runs
            }
        }
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Bits {
    Dense(Bitmap),
    Sparse(Ranges),
}

/// Only called below the end of a bitmap, which is below 2²⁴.
#[inline]
fn low(n: u128) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
