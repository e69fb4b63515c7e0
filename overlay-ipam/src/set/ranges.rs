//! A sparse set: the used ranges, coalesced.

use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Ranges {
    /// First and last number of each; never adjacent.
    used: BTreeMap<u128, u128>,
    count: u128,
}

impl Ranges {
    pub(crate) fn contains(&self, n: u128) -> bool {
        self.covering(n).is_some()
    }

    pub(crate) fn count(&self) -> u128 {
        self.count
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u128, u128)> {
        self.used.iter().map(|(first, last)| (*first, *last))
    }

    /// The lowest absent number from `n` on. `None` only at the end of numbers.
    pub(crate) fn next_absent(&self, n: u128) -> Option<u128> {
        match self.covering(n) {
            Some((_, last)) => last.checked_add(1),
            None => Some(n),
        }
    }

    pub(crate) fn insert(&mut self, first: u128, last: u128) {
        let (mut low, mut high) = (first, last);
        // what touches or overlaps is swallowed, from the top down
        while let Some((f, l)) = self.before(last.saturating_add(1)) {
            if l.saturating_add(1) < first {
                break;
            }
            (low, high) = (low.min(f), high.max(l));
            self.used.remove(&f);
            self.count -= l - f + 1;
        }
        self.used.insert(low, high);
        self.count += high - low + 1;
    }

    pub(crate) fn remove(&mut self, first: u128, last: u128) {
        while let Some((f, l)) = self.before(last) {
            if l < first {
                break;
            }
            self.used.remove(&f);
            self.count -= l - f + 1;
            if l > last {
                self.used.insert(last + 1, l);
                self.count += l - last;
            }
            if f < first {
                self.used.insert(f, first - 1);
                self.count += first - f;
                break;
            }
        }
    }

    /// The end of the last range that overlaps `first..=last`.
    pub(crate) fn blocker(&self, first: u128, last: u128) -> Option<u128> {
        self.before(last).map(|(_, end)| end).filter(|end| *end >= first)
    }

    /// How many of `first..=last` are present.
    pub(crate) fn count_range(&self, first: u128, last: u128) -> u128 {
        let start = self.covering(first).map_or(first, |(start, _)| start);
        let parts = self.used.range(start..=last);
        parts.map(|(from, to)| (*to).min(last) - (*from).max(first) + 1).sum()
    }

    fn covering(&self, n: u128) -> Option<(u128, u128)> {
        self.before(n).filter(|(_, last)| *last >= n)
    }

    /// The last range that starts at or before `n`.
    fn before(&self, n: u128) -> Option<(u128, u128)> {
        self.used.range(..=n).next_back().map(|(first, last)| (*first, *last))
    }
}
