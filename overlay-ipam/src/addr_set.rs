//! A set of numbers that answers "which is the next one absent" quickly.

use crate::{bitmap::Bitmap, ranges::Ranges};

/// A set over `0..=last` that finds the next absent number quickly.
///
/// Up to 65,536 numbers it is a bitmap with two summaries on top: at most 8.4 kB, every operation a handful of
/// word reads. Above that it is a map of used ranges: memory follows what is used, so an IPv6 prefix or
/// 2²⁴ identifiers cost nothing when empty or filled in order.
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
        let last = last.min(u128::MAX - 1);
        let bits = match u16::try_from(last) {
            Ok(last) => Bits::Dense(Bitmap::new(last)),
            Err(_) => Bits::Sparse(Ranges::default()),
        };
        Self { last, bits }
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

    /// Whether the number is present; those beyond the end are not.
    pub fn contains(&self, n: u128) -> bool {
        n <= self.last
            && match &self.bits {
                Bits::Dense(bitmap) => bitmap.contains(low(n)),
                Bits::Sparse(ranges) => ranges.contains(n),
            }
    }

    /// Adds the number; tells whether it was absent. Beyond the end nothing happens.
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
            Bits::Dense(bitmap) => {
                for n in low(first)..=low(last) {
                    bitmap.insert(n);
                }
            }
            Bits::Sparse(ranges) => ranges.insert(first, last),
        }
    }

    /// Removes `first..=last`, cut at the end of the set.
    pub fn remove_range(&mut self, first: u128, last: u128) {
        let last = last.min(self.last);
        match &mut self.bits {
            _ if first > last => {}
            Bits::Dense(bitmap) => {
                for n in low(first)..=low(last) {
                    bitmap.remove(n);
                }
            }
            Bits::Sparse(ranges) => ranges.remove(first, last),
        }
    }

    /// The lowest absent number from `n` on.
    pub fn next_absent(&self, n: u128) -> Option<u128> {
        if n > self.last {
            return None;
        }
        match &self.bits {
            Bits::Dense(bitmap) => bitmap.next_absent(low(n)).map(u128::from),
            Bits::Sparse(ranges) => ranges.next_absent(n).filter(|found| *found <= self.last),
        }
    }

    /// The lowest absent number in `first..=last`, searched from `cursor` on and then from the start.
    pub fn next_fit(&self, first: u128, last: u128, cursor: u128) -> Option<u128> {
        let found = |from| self.next_absent(from).filter(|n| *n <= last);
        found(cursor.max(first)).or_else(|| found(first))
    }

    /// The present numbers as ranges, in order.
    pub fn ranges(&self) -> Vec<(u128, u128)> {
        match &self.bits {
            Bits::Sparse(ranges) => ranges.iter().collect(),
            Bits::Dense(_) => {
                let mut runs = Ranges::default();
                (0..=self.last).filter(|n| self.contains(*n)).for_each(|n| runs.insert(n, n));
                runs.iter().collect()
            }
        }
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Bits {
    Dense(Bitmap),
    Sparse(Ranges),
}

/// Only called below the end of a bitmap, which is below 2¹⁶.
fn low(n: u128) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}
