//! What happened, as text and as a digest.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

/// What happened in a world. The same seed writes the same bytes.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    text: String,
    digest: u64,
    events: u64,
}

impl Trace {
    /// One line per event that people care about, and per delivery if [`crate::Config::every_delivery`] is set.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A digest over all deliveries, whether they have lines or not.
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// How many messages were delivered.
    pub const fn deliveries(&self) -> u64 {
        self.events
    }

    pub(crate) fn line(&mut self, at: Duration, line: &str) {
        let _ = writeln!(self.text, "{:9.4} {}", at.as_secs_f64(), line.trim_end()); // a string takes everything
    }

    /// Takes a delivery into the digest; says what it has become.
    pub(crate) fn delivery(&mut self, at: Duration, what: &str, payload: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.digest);
        hasher.write_u128(at.as_nanos());
        hasher.write(what.as_bytes());
        hasher.write(payload);
        self.digest = hasher.finish();
        self.events += 1;
        self.digest
    }
}
