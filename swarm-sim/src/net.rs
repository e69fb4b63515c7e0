//! The network between the machines: what arrives, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::{Link, Machine};

#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) link: Link,
    rng: StdRng,
    /// From, to: nothing goes this way.
    cuts: BTreeSet<(Machine, Machine)>,
    /// When the last message of each stream arrives: the next one is not earlier.
    streams: BTreeMap<(Machine, Machine), Instant>,
}

impl Net {
    pub(crate) fn new(link: Link, seed: u64) -> Self {
        Self { link, rng: StdRng::seed_from_u64(seed), cuts: BTreeSet::new(), streams: BTreeMap::new() }
    }

    pub(crate) fn cut(&mut self, from: Machine, to: Machine) {
        if from != to {
            self.cuts.insert((from, to));
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
    }

    pub(crate) fn is_cut(&self, from: Machine, to: Machine) -> bool {
        self.cuts.contains(&(from, to))
    }

    /// When the copies of a datagram arrive; none if it is lost.
    pub(crate) fn datagram(&mut self, now: Instant, from: Machine, to: Machine) -> Vec<Instant> {
        if self.is_cut(from, to) || self.hits(self.link.loss) {
            return Vec::new();
        }
        let copies = if self.hits(self.link.duplication) { 2 } else { 1 };
        let arrival = |net: &mut Self| {
            let late = if net.hits(net.link.reordering) {
                net.up_to(Duration::from_millis(30))
            } else {
                Duration::ZERO
            };
            now + net.delay(from, to) + late
        };
        (0..copies).map(|_| arrival(self)).collect()
    }

    /// When the next message of a stream arrives; `None` if it never does.
    pub(crate) fn stream(&mut self, now: Instant, from: Machine, to: Machine) -> Option<Instant> {
        if self.is_cut(from, to) {
            return None;
        }
        let again = if self.hits(self.link.loss) { Duration::from_millis(200) } else { Duration::ZERO };
        let at = now + self.delay(from, to) + again;
        let last = self.streams.entry((from, to)).or_insert(at);
        *last = at.max(*last);
        Some(*last)
    }

    fn delay(&mut self, from: Machine, to: Machine) -> Duration {
        if from == to {
            return Duration::from_micros(20);
        }
        self.link.latency + self.up_to(self.link.jitter)
    }

    fn hits(&mut self, part: f64) -> bool {
        part > 0.0 && self.rng.random_bool(part.min(1.0))
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.rng.random_range(0.0..=1.0))
    }
}
