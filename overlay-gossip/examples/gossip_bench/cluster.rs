//! A cluster of one kind of agent, and what is done to it.

use std::error::Error;
use std::io;
use std::time::Duration;

use rand::Rng;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, sleep};

use crate::args::Peer;
use crate::board::{Board, Fact};
use crate::cost::{Memory, Totals};
use crate::process::Process;

/// Running agents; the first is never killed while others shall join it.
#[derive(Debug)]
pub(crate) struct Cluster {
    agents: Vec<Option<Process>>,
    pub(crate) board: Board,
}

/// Seconds from a moment until one, or the last one, knew.
#[derive(Debug)]
pub(crate) struct Spread {
    /// In order.
    pub(crate) times: Vec<f64>,
    /// Nobody is missing.
    pub(crate) complete: bool,
}

/// What an agent costs when nothing happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    /// Percent of a core.
    pub(crate) processor: f64,
    pub(crate) bytes: f64,
    pub(crate) packets: f64,
    pub(crate) memory: Memory,
    /// Suspicions of members that were well, by all observers.
    pub(crate) suspicions: usize,
}

impl Cluster {
    /// Starts all of them, each alone, and waits until all answer.
    pub(crate) async fn start(peer: Peer, nodes: usize) -> Result<Self, Box<dyn Error>> {
        let (said, incoming) = unbounded_channel();
        let starting: Vec<_> = (0..nodes)
            .map(|number| tokio::spawn(Process::start(peer.kind(number), number, said.clone())))
            .collect();
        let mut agents = Vec::new();
        for process in starting {
            agents.push(Some(process.await??));
        }
        let mut cluster = Self { agents, board: Board::new(incoming) };
        if !cluster.board.wait(&[Fact::Ready], nodes, Instant::now() + PATIENCE).await {
            return Err(format!("not all of {nodes} agents ({}) answer", peer.name()).into());
        }
        sleep(Duration::from_secs(1) + Duration::from_millis(10) * u32::try_from(nodes)?).await;
        Ok(cluster)
    }

    /// Ends all that are left.
    pub(crate) async fn end(self) {
        for agent in self.agents.into_iter().flatten() {
            agent.end().await;
        }
    }

    /// All join the first one at once; until each knows each.
    pub(crate) async fn storm(&mut self) -> io::Result<Spread> {
        self.board.clear();
        let start = Instant::now();
        for agent in self.agents.iter_mut().skip(1).flatten() {
            agent.join(0).await?;
        }
        let nodes = self.agents.len();
        let facts: Vec<Fact> = (0..nodes).map(Fact::Up).collect();
        Ok(self.spread(&facts, nodes - 1, start + STORM).await.after(start))
    }

    /// Nothing happens for a while.
    pub(crate) async fn idle(&mut self, time: Duration) -> Idle {
        self.board.clear();
        let suspicions = self.board.suspicions;
        let (start, before) = (Instant::now(), self.totals());
        sleep(time).await;
        let (time, used) = (start.elapsed().as_secs_f64(), self.totals().since(before));
        let nodes = self.up() as f64;
        let per_node = |total: f64| total / time / nodes;
        let memory: Vec<Memory> = self.processes().filter_map(Memory::of).collect();
        let mean = |of: fn(&Memory) -> f64| memory.iter().map(of).sum::<f64>() / memory.len().max(1) as f64;
        self.board.clear();
        Idle {
            processor: 100.0 * per_node(used.processor),
            bytes: per_node(used.bytes),
            packets: per_node(used.packets),
            memory: Memory { rss: mean(|m| m.rss), pss: mean(|m| m.pss) },
            suspicions: self.board.suspicions - suspicions,
        }
    }

    /// One of them is killed, up to two seconds after this pause; until all others call it failed.
    pub(crate) async fn kill(&mut self, pause: Duration) -> io::Result<Spread> {
        let phase = rand::rng().random_range(0..2000);
        sleep(pause + Duration::from_millis(phase)).await;
        let victim = self.anyone();
        self.board.clear();
        self.board.kill(victim);
        let start = Instant::now();
        if let Some(mut process) = self.take(victim) {
            process.kill()?;
            tokio::spawn(process.end());
        }
        Ok(self.spread(&[Fact::Failed(victim)], self.up(), start + PATIENCE).await.after(start))
    }

    /// One of them sends a user event; until all have it.
    pub(crate) async fn event(&mut self) -> io::Result<Spread> {
        let sender = self.anyone();
        self.board.clear();
        let start = Instant::now();
        if let Some(agent) = self.agents.get_mut(sender).and_then(Option::as_mut) {
            agent.event().await?;
        }
        Ok(self.spread(&[Fact::Heard], self.up(), start + EXCHANGE).await.after(start))
    }

    /// One of them leaves; until all others know.
    pub(crate) async fn leave(&mut self) -> io::Result<Spread> {
        let leaver = self.anyone();
        self.board.clear();
        let start = Instant::now();
        let mut agent = self.take(leaver);
        if let Some(agent) = &mut agent {
            agent.leave().await?;
        }
        let spread = self.spread(&[Fact::Left(leaver)], self.up(), start + PATIENCE).await.after(start);
        if let Some(agent) = agent {
            agent.end().await;
        }
        Ok(spread)
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals::now(self.processes())
    }

    /// How many run.
    pub(crate) fn up(&self) -> usize {
        self.agents.iter().flatten().count()
    }

    fn processes(&self) -> impl Iterator<Item = u32> {
        self.agents.iter().flatten().map(|process| process.id)
    }

    fn take(&mut self, number: usize) -> Option<Process> {
        self.agents.get_mut(number)?.take()
    }

    fn anyone(&self) -> usize {
        let running: Vec<usize> =
            self.agents.iter().enumerate().filter(|(_, agent)| agent.is_some()).map(|(n, _)| n).collect();
        let place = rand::rng().random_range(0..running.len().max(1));
        running.get(place).copied().unwrap_or_default()
    }

    async fn spread(&mut self, facts: &[Fact], by: usize, end: Instant) -> Times {
        let complete = self.board.wait(facts, by, end).await;
        let mut times: Vec<Instant> = facts.iter().flat_map(|fact| self.board.times(*fact)).collect();
        if !complete {
            times.push(end);
        }
        times.sort();
        Times { times, complete }
    }
}

impl Spread {
    pub(crate) fn first(&self) -> f64 {
        self.times.first().copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn last(&self) -> f64 {
        self.times.last().copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn percent(&self, percent: usize) -> f64 {
        let place = (self.times.len() * percent).div_ceil(100).max(1) - 1;
        self.times.get(place).copied().unwrap_or(f64::NAN)
    }
}

/// A [`Spread`] whose beginning is not taken off yet.
struct Times {
    times: Vec<Instant>,
    complete: bool,
}

impl Times {
    fn after(self, start: Instant) -> Spread {
        let seconds = |at: &Instant| at.saturating_duration_since(start).as_secs_f64();
        Spread { times: self.times.iter().map(seconds).collect(), complete: self.complete }
    }
}

/// How long all may take to know each other.
const STORM: Duration = Duration::from_secs(300);
/// How long a user event may take. Whom gossip has missed gets it with the next full exchange: 90 s at most between
/// two of a hundred members, 150 s of three hundred.
const EXCHANGE: Duration = Duration::from_secs(160);
/// How long anything else may take.
const PATIENCE: Duration = Duration::from_secs(60);
