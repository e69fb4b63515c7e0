//! Numbers without addresses: VNIs, ports.

use std::ops::{Bound, RangeBounds};

use serde::{Deserialize, Serialize};

use crate::{AddrSet, Moment, Rest, pool::clock::Queue};

/// Hands out the numbers of a range, next-fit: a freed one is not used again before all others were.
///
/// ```
/// let mut ports = overlay_ipam::IdSpace::new(30_000..=32_767);
/// assert_eq!(ports.take_next(), Some(30_000));
/// assert!(ports.claim(30_000).is_err());
/// ports.release(30_000);
/// assert_eq!(ports.take_next(), Some(30_001));
/// ```
///
/// One that is [put to rest](Self::rest) stays in use until its rest is over.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct IdSpace {
    first: u32,
    last: u32,
    /// Where the next search starts.
    cursor: u32,
    /// Distance from `first`.
    taken: AddrSet,
    resting: Queue<u32>,
}

/// Why a number could not be claimed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum ClaimError {
    #[error("{id} is in use")]
    InUse { id: u32 },
    #[error("{id} is not in {first}..={last}")]
    Outside { id: u32, first: u32, last: u32 },
}

impl IdSpace {
    /// All numbers of the range are free. An empty range has room for its first number all the same.
    pub fn new(range: impl RangeBounds<u32>) -> Self {
        let first = match range.start_bound() {
            Bound::Included(first) => *first,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let last = match range.end_bound() {
            Bound::Included(last) => *last,
            Bound::Excluded(end) => end.saturating_sub(1),
            Bound::Unbounded => u32::MAX,
        };
        Self::between(first, last)
    }

    /// Takes the next free number, or `None` if there is none.
    pub fn take_next(&mut self) -> Option<u32> {
        let offset = self.taken.next_fit(0, self.taken.last(), (self.cursor - self.first).into())?;
        let id = self.first + u32::try_from(offset).ok()?;
        self.taken.insert(offset);
        self.cursor = if id == self.last { self.first } else { id + 1 };
        Some(id)
    }

    /// Takes this number; the cursor stays.
    ///
    /// # Errors
    ///
    /// If it is in use or outside of the range.
    pub fn claim(&mut self, id: u32) -> Result<(), ClaimError> {
        let (first, last) = (self.first, self.last);
        if !(first..=last).contains(&id) {
            return Err(ClaimError::Outside { id, first, last });
        }
        if self.taken.insert((id - first).into()) { Ok(()) } else { Err(ClaimError::InUse { id }) }
    }

    /// Frees the number at once, also one that rests; tells whether it was in use.
    pub fn release(&mut self, id: u32) -> bool {
        self.resting.retain(|resting| *resting != id);
        self.free(id)
    }

    /// Frees the number after a rest; tells whether it was in use. Each rest must be over no earlier than the one
    /// before.
    ///
    /// ```
    /// use overlay_ipam::{IdSpace, Moment, Rest};
    ///
    /// let mut vnis = IdSpace::new(4096..=4096);
    /// vnis.take_next();
    /// assert!(vnis.rest(4096, Rest { ready_ms: 60_000, mark: 1 }));
    /// assert_eq!(vnis.take_next(), None);
    /// vnis.thaw(&Moment { now_ms: 0, settled: 1 }); // every node has forgotten it
    /// assert_eq!(vnis.take_next(), Some(4096));
    /// ```
    pub fn rest(&mut self, id: u32, rest: Rest) -> bool {
        let rests = self.contains(id) && !self.is_resting(id);
        if rests {
            self.resting.push(id, rest);
        }
        rests
    }

    /// Frees the numbers whose rest is over.
    pub fn thaw(&mut self, moment: &Moment) {
        while let Some(id) = self.resting.pop(moment) {
            self.free(id);
        }
    }

    /// The numbers that rest, those that are free first first.
    pub fn resting(&self) -> impl Iterator<Item = (u32, Rest)> {
        self.resting.iter()
    }

    /// Whether the number was freed and rests.
    pub fn is_resting(&self, id: u32) -> bool {
        self.resting.iter().any(|(resting, _)| resting == id)
    }

    /// Whether the number is in use.
    pub fn contains(&self, id: u32) -> bool {
        id.checked_sub(self.first).is_some_and(|offset| self.taken.contains(offset.into()))
    }

    /// How many numbers are in use.
    pub fn count(&self) -> u64 {
        u64::try_from(self.taken.count()).unwrap_or(u64::MAX)
    }

    fn free(&mut self, id: u32) -> bool {
        id.checked_sub(self.first).is_some_and(|offset| self.taken.remove(offset.into()))
    }

    fn between(first: u32, last: u32) -> Self {
        let last = last.max(first);
        let taken = AddrSet::new((last - first).into());
        Self { first, last, cursor: first, taken, resting: Queue::default() }
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    first: u32,
    last: u32,
    cursor: u32,
    used: Vec<(u32, u32)>,
    /// Number, time, mark.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    resting: Vec<(u32, u64, u64)>,
}

impl From<Stored> for IdSpace {
    fn from(stored: Stored) -> Self {
        let mut space = Self::between(stored.first, stored.last);
        space.cursor = stored.cursor.clamp(space.first, space.last);
        for (from, to) in stored.used {
            if from >= space.first && from <= to {
                space.taken.insert_range((from - space.first).into(), (to - space.first).into());
            }
        }
        for (id, ready_ms, mark) in stored.resting {
            space.rest(id, Rest { ready_ms, mark });
        }
        space
    }
}

impl From<IdSpace> for Stored {
    fn from(space: IdSpace) -> Self {
        let id = |offset: u128| u32::try_from(offset).map_or(space.last, |offset| space.first + offset);
        let used = space.taken.ranges().into_iter().map(|(from, to)| (id(from), id(to))).collect();
        let resting = space.resting.iter().map(|(id, rest)| (id, rest.ready_ms, rest.mark)).collect();
        Self { first: space.first, last: space.last, cursor: space.cursor, used, resting }
    }
}
