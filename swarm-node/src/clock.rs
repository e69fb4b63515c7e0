//! Where time and chance come from: the one place of this crate that asks the operating system for them.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};
use swarm_state::Timestamp;

/// The time of day, for what people and other nodes read.
#[expect(clippy::disallowed_methods, reason = "drivers are where time comes from")]
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// The time of day as the certificate code wants it.
#[expect(clippy::disallowed_methods, reason = "drivers are where time comes from")]
pub(crate) fn system_now() -> SystemTime {
    SystemTime::now()
}

/// The steady clock, for periods.
#[expect(clippy::disallowed_methods, reason = "drivers are where time comes from")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// Bytes nobody can guess.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the kernel has random bytes after boot");
    bytes
}
