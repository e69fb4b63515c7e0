//! When what was freed may be used again.

use std::collections::VecDeque;

/// Two ways to be over: the time has come, or every live node has said that it forgot the old holder.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Moment {
    /// By the clock of whoever writes the log, in milliseconds.
    pub now_ms: u64,
    /// Everything with a mark up to this one has been forgotten by every live node; 0 = nothing.
    pub settled: u64,
}

/// The terms on which something freed rests.
///
/// ```
/// use overlay_ipam::{Moment, Rest};
///
/// let rest = Rest { ready_ms: 30_000, mark: 7 };
/// assert!(!rest.is_over(&Moment { now_ms: 29_999, settled: 6 }));
/// assert!(rest.is_over(&Moment { now_ms: 30_000, settled: 6 }));
/// assert!(rest.is_over(&Moment { now_ms: 0, settled: 7 }));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rest {
    /// When it is over by time.
    pub ready_ms: u64,
    /// What every live node has to acknowledge for it to be over earlier.
    pub mark: u64,
}

impl Rest {
    /// Whether it is over.
    #[inline]
    pub fn is_over(&self, moment: &Moment) -> bool {
        self.ready_ms <= moment.now_ms || self.mark <= moment.settled
    }
}

/// What rests on the same terms: a queue, because time and marks only grow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Queue<T> {
    queue: VecDeque<(T, Rest)>,
}

impl<T: Copy> Queue<T> {
    pub(crate) fn push(&mut self, what: T, rest: Rest) {
        self.queue.push_back((what, rest));
    }

    /// The next one whose rest is over.
    #[inline]
    pub(crate) fn pop(&mut self, moment: &Moment) -> Option<T> {
        let (what, _) = self.queue.front().filter(|(_, rest)| rest.is_over(moment)).copied()?;
        self.queue.pop_front();
        Some(what)
    }

    /// Those whose rest is over but that were not taken out yet.
    pub(crate) fn due(&self, moment: Moment) -> impl Iterator<Item = T> {
        self.queue.iter().take_while(move |(_, rest)| rest.is_over(&moment)).map(|(what, _)| *what)
    }

    /// Those whose rest is not over.
    pub(crate) fn pending(&self, moment: &Moment) -> impl Iterator<Item = (T, Rest)> {
        let over = self.queue.partition_point(|(_, rest)| rest.is_over(moment));
        self.queue.range(over..).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (T, Rest)> {
        self.queue.iter().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.queue.retain(|(what, _)| keep(what));
    }

    /// Whether each rest is over no later than the next one.
    pub(crate) fn is_sorted(&self) -> bool {
        self.queue.iter().is_sorted_by(|(_, a), (_, b)| a.ready_ms <= b.ready_ms && a.mark <= b.mark)
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { queue: VecDeque::new() }
    }
}
