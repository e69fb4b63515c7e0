//! When to look for work again at once, and when to sleep.

use std::time::{Duration, Instant};

/// Looks again for a while after each piece of work; but where that is in vain, ever more rarely.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    busy_poll: Duration,
    last_work: Instant,
    /// Looked again since the last work.
    looked: bool,
    /// How many times in a row looking was in vain.
    misses: u32,
    /// How many pieces of work to sleep for before looking is tried again.
    rest: u32,
}

impl Patience {
    pub(super) const fn new(busy_poll: Duration, now: Instant) -> Self {
        Self { busy_poll, last_work: now, looked: false, misses: 0, rest: 0 }
    }

    /// Whether to look again instead of sleeping.
    pub(super) fn looks_again(&mut self, now: Instant) -> bool {
        if self.rest > 0 || self.busy_poll.is_zero() {
            return false;
        }
        if now.saturating_duration_since(self.last_work) < self.busy_poll {
            self.looked = true;
            return true;
        }
        if self.looked {
            self.looked = false;
            self.misses = (self.misses + 1).min(MOST_MISSES);
            self.rest = 1 << self.misses;
        }
        false
    }

    /// There was work.
    pub(super) fn worked(&mut self, now: Instant, while_looking: bool) {
        self.last_work = now;
        self.looked = false;
        if while_looking {
            self.misses = 0;
        } else {
            self.rest = self.rest.saturating_sub(1);
        }
    }
}

/// After this many, looking is tried at every 64th piece of work only.
const MOST_MISSES: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a first moment")]
    fn looking_in_vain_becomes_rare_and_success_brings_it_back() {
        let (start, window) = (Instant::now(), Duration::from_micros(30));
        let mut patience = Patience::new(window, start);
        let mut looked = 0;
        for second in 1..=1000 {
            let now = start + Duration::from_secs(second);
            looked += u32::from(patience.looks_again(now));
            patience.looks_again(now + window);
            patience.worked(now, false);
            looked += u32::from(patience.looks_again(now));
            assert!(!patience.looks_again(now + window));
        }
        assert!(looked < 30, "{looked} of 1000");
        let now = start + Duration::from_secs(2000);
        patience.worked(now, true);
        for _ in 0..64 {
            patience.worked(now, false);
        }
        assert!(patience.looks_again(now));
        patience.worked(now, true);
        assert!(patience.looks_again(now));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a first moment")]
    fn without_a_window_it_always_sleeps() {
        let now = Instant::now();
        assert!(!Patience::new(Duration::ZERO, now).looks_again(now));
    }
}
