//! The simulator's world with the words that tests use.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use bytes::Bytes;
use overlay_gossip::sim::{self, Stall};
use overlay_gossip::*;

pub use overlay_gossip::sim::name;

/// A simulated cluster; when it goes, no rule may have been broken.
pub struct World(sim::World);

impl Deref for World {
    type Target = sim::World;

    fn deref(&self) -> &sim::World {
        &self.0
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut sim::World {
        &mut self.0
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.0.violations(), &[], "seed {}", self.0.seed());
        }
    }
}

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A cluster whose nodes have joined.
pub fn joined(seed: u64, count: usize, profile: Profile) -> World {
    let mut world = World::new(seed, count, profile);
    world.everyone_joins(0);
    let took = world.run_until(ms(20_000), World::all_agree);
    assert!(took.is_some(), "not joined, seed {seed}");
    world.run_for(ms(3000));
    world
}

impl World {
    pub fn new(seed: u64, count: usize, profile: Profile) -> Self {
        Self(sim::World::new(seed, count, &Config::new(name(0), profile)))
    }

    /// All know each other already.
    pub fn settled(seed: u64, count: usize, profile: Profile) -> Self {
        Self(sim::World::settled(seed, count, &Config::new(name(0), profile)))
    }

    pub fn machine(&self, i: usize) -> &Membership {
        self.0.machine(i).unwrap()
    }

    pub fn runs(&self, i: usize) -> bool {
        self.0.machine(i).is_some()
    }

    /// Stops the process for a while; what is sent to it waits.
    pub fn pause(&mut self, i: usize, time: Duration) {
        self.0.stall(i, time, Stall::Process);
    }

    /// Runs until `done` holds (looked at every 10 ms) and says how long that took.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> Option<Duration> {
        let start = self.elapsed();
        loop {
            if done(self) {
                return Some(self.elapsed() - start);
            }
            if self.elapsed() - start >= limit {
                return None;
            }
            self.0.run_for(ms(10));
        }
    }

    #[allow(clippy::too_many_arguments, reason = "tests")]
    pub fn publish(&mut self, i: usize, network: &str, key: &str, phase: Phase, value: &str) {
        let network = NetworkId::new(network).unwrap();
        let value = Bytes::copy_from_slice(value.as_bytes());
        self.with(i, |m, now| {
            m.publish(now, Publish { network: &network, table: "t", key }, phase, value).unwrap();
        });
    }

    /// What a node sees in a table: owner, key, value, suspended.
    pub fn rows(&self, i: usize, network: &str) -> Vec<(String, String, String, bool)> {
        let records = self.machine(i).records(&NetworkId::new(network).unwrap(), "t");
        records
            .into_iter()
            .map(|r| (r.owner.to_string(), r.key, String::from_utf8(r.value.to_vec()).unwrap(), r.suspended))
            .collect()
    }

    /// All running nodes see all running nodes alive and no others.
    pub fn all_agree(&self) -> bool {
        let running: Vec<usize> = (0..self.len()).filter(|i| self.runs(*i)).collect();
        self.agree()
            && running.iter().all(|i| running.iter().all(|j| self.state(*i, *j) == Some(MemberState::Alive)))
    }
}
