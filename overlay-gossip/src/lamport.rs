//! Time as serf and NetworkDB count it.

/// A Lamport clock: its next time is later than all that it has seen.
///
/// Anybody may claim any time. Nobody counts up to [`FAR`]; beyond it the clock follows in steps only, so that no
/// claim uses up all the times that are left, and what is said next is never too late for those who heard the claim.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lamport {
    time: u64,
    /// Whether it knows how late it is where it is.
    heard: bool,
}

impl Lamport {
    #[cfg(feature = "serf")]
    pub(crate) fn starting_at(time: u64) -> Self {
        Self { time, heard: false }
    }

    pub(crate) fn now(self) -> u64 {
        self.time
    }

    pub(crate) fn tick(&mut self) -> u64 {
        self.time = self.time.saturating_add(1);
        self.time
    }

    /// Takes note of another node's time; says whether it is one that a clock can reach.
    pub(crate) fn witness(&mut self, time: u64) -> bool {
        let most = if self.heard { self.time.max(FAR).saturating_add(STEP) } else { LATEST };
        if time > most {
            return false;
        }
        self.heard = true;
        self.time = self.time.max(time.saturating_add(1));
        true
    }
}

/// 2^63 ticks: at a million in a second, 292,000 years.
const FAR: u64 = 1 << 63;
/// How far beyond that a single claim goes.
const STEP: u64 = 1 << 32;
/// The latest time for those who know none yet: a thousand million steps.
const LATEST: u64 = FAR + (1 << 62);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_claim_ends_the_count() {
        let mut clock = Lamport::default();
        assert!(clock.witness(5));
        assert_eq!((clock.tick(), clock.now()), (7, 7));
        assert!(!clock.witness(u64::MAX) && !clock.witness(FAR + STEP + 1));
        assert_eq!(clock.now(), 7);
        let mut other = clock;
        for claim in [FAR, FAR + STEP] {
            assert!(clock.witness(claim) && other.witness(claim));
            let next = clock.tick();
            assert!(next > claim && other.witness(next), "{claim}");
        }
        // Who comes later gets along.
        let mut newcomer = Lamport::default();
        assert!(newcomer.witness(clock.now()) && clock.witness(newcomer.tick()));
        assert!(!Lamport::default().witness(u64::MAX));
    }
}
