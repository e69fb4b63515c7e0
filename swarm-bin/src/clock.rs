//! Where this program's time comes from.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Now, for measuring.
#[expect(clippy::disallowed_methods, reason = "a program measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970, for showing how long ago something was.
pub(crate) fn unix_seconds() -> u64 {
    since_1970().as_secs()
}

/// Milliseconds since 1970, for putting what several processes saw in order.
pub(crate) fn unix_millis() -> u64 {
    since_1970().as_millis().try_into().unwrap_or(u64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "a program shows real time")]
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
