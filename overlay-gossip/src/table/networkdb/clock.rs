//! Time as NetworkDB counts it.

/// A Lamport clock: its next time is later than all that it has seen.
#[derive(Debug, Default)]
pub(super) struct Lamport(u64);

impl Lamport {
    pub(super) fn now(&self) -> u64 {
        self.0
    }

    pub(super) fn tick(&mut self) -> u64 {
        self.0 = self.0.saturating_add(1);
        self.0
    }

    /// Takes note of another node's time; says whether it is one that a clock can reach.
    pub(super) fn witness(&mut self, time: u64) -> bool {
        if time > LATEST {
            return false;
        }
        self.0 = self.0.max(time.saturating_add(1));
        true
    }
}

/// A clock that was set to its last time by somebody could not go on.
const LATEST: u64 = 1 << 63;
