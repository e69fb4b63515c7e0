//! What goes wrong in the world.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;

use super::World;

/// How the network treats what is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network {
    /// One way, at least; up to twice that by chance.
    pub delay: Duration,
    /// Share of datagrams that are lost. TCP is slowed by it: 200 ms for each lost segment, 1 s for a connection.
    pub loss: f64,
    /// Share of datagrams that arrive twice.
    pub duplicate: f64,
    /// Share of datagrams that come up to 50 ms late, behind others.
    pub reorder: f64,
}

impl Default for Network {
    /// 0.4 to 0.8 ms one way and nothing wrong.
    fn default() -> Self {
        Self { delay: Duration::from_micros(400), loss: 0.0, duplicate: 0.0, reorder: 0.0 }
    }
}

/// How a node stands still.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stall {
    /// The process is stopped: its timers wait, too.
    Process,
    /// The process runs, but all that it sends and should receive is held back.
    Traffic,
}

/// What is wrong now.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// From one node to another, nothing passes.
    cuts: BTreeSet<(usize, usize)>,
    /// From one node to another, no datagrams pass.
    udp: BTreeSet<(usize, usize)>,
    stalled: BTreeMap<usize, (Instant, Stall)>,
}

impl World {
    /// Nothing passes from one node to the other; the way back is open.
    pub fn cut_one_way(&mut self, from: usize, to: usize) {
        self.faults.cuts.insert((from, to));
    }

    /// Nothing passes between two nodes.
    pub fn cut(&mut self, a: usize, b: usize) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    /// Nothing passes between the nodes below `border` and the others.
    pub fn part(&mut self, border: usize) {
        for a in 0..border {
            (border..self.len()).for_each(|b| self.cut(a, b));
        }
    }

    /// No datagrams pass between two nodes; TCP does.
    pub fn block_udp(&mut self, a: usize, b: usize) {
        self.faults.udp.insert((a, b));
        self.faults.udp.insert((b, a));
    }

    /// Everything passes again.
    pub fn heal(&mut self) {
        self.faults.cuts.clear();
        self.faults.udp.clear();
    }

    /// A node stands still for a while.
    pub fn stall(&mut self, i: usize, time: Duration, how: Stall) {
        self.faults.stalled.insert(i, (self.now + time, how));
    }

    /// Until when a node takes no input.
    pub(super) fn held_until(&self, i: usize) -> Option<Instant> {
        self.faults.stalled.get(&i).map(|(until, _)| *until).filter(|until| *until > self.now)
    }

    /// Until when a node's timers wait.
    pub(super) fn stopped_until(&self, i: usize) -> Option<Instant> {
        let (until, how) = self.faults.stalled.get(&i)?;
        (*how == Stall::Process && *until > self.now).then_some(*until)
    }

    /// How long until something sent now leaves the node.
    pub(super) fn held_back(&self, i: usize) -> Duration {
        self.held_until(i).map_or(Duration::ZERO, |until| until - self.now)
    }

    pub(super) fn passes(&self, from: usize, to: usize) -> bool {
        self.nodes[to].host && self.nodes[from].host && !self.faults.cuts.contains(&(from, to))
    }

    pub(super) fn udp_passes(&self, from: usize, to: usize) -> bool {
        self.passes(from, to) && !self.faults.udp.contains(&(from, to))
    }

    /// How long a datagram takes now; `None`: it is lost.
    pub(super) fn flight(&mut self) -> Option<Duration> {
        let Network { delay, loss, reorder, .. } = self.network;
        if loss > 0.0 && self.rng.random_bool(loss) {
            return None;
        }
        let late = reorder > 0.0 && self.rng.random_bool(reorder);
        let late =
            if late { Duration::from_micros(self.rng.random_range(0..50_000)) } else { Duration::ZERO };
        Some(delay.mul_f64(self.rng.random_range(1.0..2.0)) + late)
    }

    /// How long one way of a TCP exchange takes now; `syn`: with setting it up.
    pub(super) fn stream_flight(&mut self, syn: bool) -> Duration {
        let Network { delay, loss, .. } = self.network;
        let mut time = if syn { delay * 3 } else { delay }.mul_f64(self.rng.random_range(1.0..2.0));
        let lost = |rng: &mut StdRng| loss > 0.0 && rng.random_bool(loss);
        let retries = (0..MOST_RETRIES).take_while(|_| lost(&mut self.rng)).count();
        time += Duration::from_millis(if syn { 1000 } else { 200 }) * u32::try_from(retries).unwrap_or(0);
        time
    }
}

/// TCP gets through in the end.
const MOST_RETRIES: usize = 6;
