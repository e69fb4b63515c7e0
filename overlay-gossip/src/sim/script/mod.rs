//! Scripts with figures: what happens, and what is measured.

mod spread;
mod trouble;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Stall, Violation, World};
use crate::{Config, NodeName, Profile};

/// What happens in a run.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Script {
    /// All nodes are told to join the first one, at once.
    JoinStorm,
    /// One node joins a settled cluster.
    Newcomer,
    /// One process of a settled cluster is killed.
    Crash,
    /// One host of a settled cluster falls silent.
    Blackhole,
    /// Some nodes stand still most of the time.
    SlowNodes,
    /// Many records are created at once on one node.
    Burst,
    /// The cluster is cut in halves for a while.
    Partition,
    /// Nodes join and die all the time.
    Churn,
    /// Nothing happens.
    Idle,
}

/// A script and its numbers.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What happens.
    pub script: Script,
    /// How many nodes there are, with those that join later.
    pub nodes: usize,
    /// How they are configured; names and addresses do not matter.
    pub config: Config,
    /// Share of datagrams that are lost.
    pub loss: f64,
    /// Slow nodes: how many.
    pub slow: usize,
    /// Slow nodes: how long they stand still, each time. They run for 1.024 s in between.
    pub stall_time: Duration,
    /// Slow nodes: how they stand still.
    pub stall: Stall,
    /// Slow nodes: whether all stand still at the same time.
    pub in_step: bool,
    /// Churn: how many nodes join, and how many die.
    pub churn: (usize, usize),
    /// Burst: how many records.
    pub records: usize,
}

/// Something that was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// What it is.
    pub what: &'static str,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
}

/// What came out of one run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What was measured.
    pub figures: Vec<Figure>,
    /// Rules that were broken; none, one hopes.
    pub violations: Vec<Violation>,
}

/// The text names no [`Script`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a script is one of join-storm, newcomer, crash, blackhole, slow-nodes, burst, partition, churn, idle"
)]
pub struct ScriptError;

impl Script {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::JoinStorm,
        Self::Newcomer,
        Self::Crash,
        Self::Blackhole,
        Self::SlowNodes,
        Self::Burst,
        Self::Partition,
        Self::Churn,
        Self::Idle,
    ];
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::JoinStorm => "join-storm",
            Self::Newcomer => "newcomer",
            Self::Crash => "crash",
            Self::Blackhole => "blackhole",
            Self::SlowNodes => "slow-nodes",
            Self::Burst => "burst",
            Self::Partition => "partition",
            Self::Churn => "churn",
            Self::Idle => "idle",
        })
    }
}

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(s: &str) -> Result<Self, ScriptError> {
        Self::ALL.into_iter().find(|script| script.to_string() == s).ok_or(ScriptError)
    }
}

impl Plan {
    /// A script with the numbers that the documentation's figures use.
    ///
    /// # Panics
    ///
    /// Never.
    #[must_use]
    pub fn new(script: Script, nodes: usize, profile: Profile) -> Self {
        let name = NodeName::new("template").expect("a short name");
        Self {
            script,
            nodes,
            config: Config::new(name, profile),
            loss: 0.0,
            slow: 8,
            stall_time: Duration::from_millis(8192),
            stall: Stall::Traffic,
            in_step: true,
            churn: (nodes / 10, nodes / 50),
            records: 1000,
        }
    }

    /// Runs it. `progress` is called after each virtual second.
    pub fn run(&self, seed: u64, progress: &mut dyn FnMut(&World)) -> Outcome {
        match self.script {
            Script::JoinStorm => spread::join_storm(self, seed, progress),
            Script::Newcomer => spread::newcomer(self, seed, progress),
            Script::Burst => spread::burst(self, seed, progress),
            Script::Idle => spread::idle(self, seed, progress),
            Script::Crash | Script::Blackhole => trouble::death(self, seed, progress),
            Script::SlowNodes => trouble::slow_nodes(self, seed, progress),
            Script::Partition => trouble::partition(self, seed, progress),
            Script::Churn => trouble::churn(self, seed, progress),
        }
    }

    fn settled(&self, seed: u64, count: usize) -> World {
        let mut world = World::settled(seed, count, &self.config);
        world.network.loss = self.loss;
        world
    }
}

/// Runs until something holds, with word of the progress.
fn run(
    world: &mut World,
    limit: Duration,
    progress: &mut dyn FnMut(&World),
    mut done: impl FnMut(&World) -> bool,
) -> Option<Duration> {
    let start = world.elapsed();
    let second = Duration::from_secs(1);
    loop {
        let left = limit.saturating_sub(world.elapsed() - start);
        if world.run_until(left.min(second), &mut done).is_some() {
            return Some(world.elapsed() - start);
        }
        progress(world);
        if left <= second {
            return None;
        }
    }
}

/// How long it took, or far too long.
fn seconds(what: &'static str, took: Option<Duration>) -> Figure {
    Figure { what, value: took.map_or(f64::INFINITY, |t| t.as_secs_f64()), unit: "s" }
}

fn count(what: &'static str, value: usize) -> Figure {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let value = value as f64;
    Figure { what, value, unit: "count" }
}

/// What each node sends in a second.
fn per_node(world: &World, before: super::Traffic, time: Duration) -> [Figure; 2] {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let per = |n: u64| n as f64 / time.as_secs_f64() / world.len() as f64;
    let sent = world.traffic;
    let datagrams = per(sent.datagram_bytes - before.datagram_bytes);
    let streams = per(sent.stream_bytes - before.stream_bytes + 400 * (sent.dials - before.dials));
    [
        Figure { what: "bytes_per_node", value: datagrams + streams, unit: "B/s" },
        Figure { what: "datagrams_per_node", value: per(sent.datagrams - before.datagrams), unit: "1/s" },
    ]
}

fn outcome(world: &World, figures: impl IntoIterator<Item = Figure>) -> Outcome {
    Outcome { figures: figures.into_iter().collect(), violations: world.violations().to_vec() }
}
