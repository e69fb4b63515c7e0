//! Thousands of nodes on one virtual clock, with a network that loses, doubles, reorders, delays and cuts.
//!
//! ```text
//!   World ── boot, kill, power_off, stall, cut, … ──▶ nodes (the real machines, real bytes)
//!     │           queue of parcels and alarms  ◀──┘        │ after each step
//!     ▼                                                    ▼
//!   run_until(limit, |world| …)                   checks: what must hold whatever happens
//! ```
//!
//! One seed is one history, bit for bit. Nothing here is needed to run a node.
#![expect(
    clippy::indexing_slicing,
    reason = "numbers of nodes come from scripts; a wrong one is a bug there"
)]

mod check;
mod deliver;
mod faults;
mod queue;
pub mod script;
mod view;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub use self::check::Violation;
pub use self::faults::{Network, Stall};
pub use crate::config::Rule;

use self::check::Checks;
use self::faults::Faults;
use self::queue::{Parcel, Queue};
use self::view::Views;
use crate::{Config, DialId, Event, Member, MemberState, Membership, NodeName, Vsn};

/// A cluster and the network below it.
#[derive(Debug)]
pub struct World {
    seed: u64,
    rng: StdRng,
    start: Instant,
    now: Instant,
    /// How the network treats what is sent.
    pub network: Network,
    /// What was sent so far.
    pub traffic: Traffic,
    /// Whether events are kept, by node. On for up to 1,000 nodes.
    pub keep_events: bool,
    /// Somebody lies: nodes may believe in incarnations that never were.
    pub hostile: bool,
    config: Config,
    nodes: Vec<Node>,
    queue: Queue,
    faults: Faults,
    by_addr: BTreeMap<SocketAddr, usize>,
    streams: BTreeMap<u64, Stream>,
    next_stream: u64,
    views: Views,
    checks: Checks,
    /// Descriptions of members that machines share, by member.
    pool: Vec<Vec<Arc<Member>>>,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Traffic {
    /// Datagrams.
    pub datagrams: u64,
    /// Their bytes, with 42 each for Ethernet, IPv4 and UDP headers.
    pub datagram_bytes: u64,
    /// TCP exchanges started.
    pub dials: u64,
    /// Their payload bytes, both ways.
    pub stream_bytes: u64,
}

#[derive(Debug)]
struct Node {
    machine: Option<Membership>,
    addr: SocketAddr,
    /// The host is there; a dead process on it means refused connections.
    host: bool,
    lives: u64,
    /// What its clock says about that.
    clock: u64,
    events: Vec<(Duration, Event)>,
    /// When its alarm rings, if one is set.
    alarm: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    dialler: usize,
    life: u64,
    id: DialId,
    target: usize,
    /// Which life of the target has it; 0: none yet.
    target_life: u64,
    /// A message is expected back.
    reply: bool,
}

/// The name of a node.
#[must_use]
pub fn name(node: usize) -> NodeName {
    NodeName::new(format!("n{node}")).expect("short and without control characters")
}

impl World {
    /// `count` nodes that run and know nobody. `config` gives all but name, address and life.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the virtual clock needs a moment to start from")]
    pub fn new(seed: u64, count: usize, config: &Config) -> Self {
        let now = Instant::now();
        let mut world = Self {
            seed,
            rng: StdRng::seed_from_u64(seed),
            start: now,
            now,
            network: Network::default(),
            traffic: Traffic::default(),
            keep_events: count <= 1000,
            hostile: false,
            config: config.clone(),
            nodes: Vec::with_capacity(count),
            queue: Queue::default(),
            faults: Faults::default(),
            by_addr: BTreeMap::new(),
            streams: BTreeMap::new(),
            next_stream: 0,
            views: Views::default(),
            checks: Checks::default(),
            pool: Vec::new(),
        };
        for _ in 0..count {
            world.add();
        }
        world
    }

    /// As [`new`](Self::new), but all nodes know each other already.
    #[must_use]
    pub fn settled(seed: u64, count: usize, config: &Config) -> Self {
        let mut world = Self::new(seed, 0, config);
        world.keep_events = count <= 1000;
        let vsn = config.vsn;
        let members: Vec<Arc<Member>> = (0..count).map(|i| Arc::new(description(i, vsn))).collect();
        world.pool = members.iter().map(|member| vec![Arc::clone(member)]).collect();
        for i in 0..count {
            world.add();
            let now = world.now;
            if let Some(machine) = &mut world.nodes[i].machine {
                machine.restore(now, &members);
            }
        }
        world.views.all_know_all();
        world
    }

    /// Another node, with a machine of its own. Knows nobody.
    pub fn add(&mut self) -> usize {
        let i = self.nodes.len();
        let addr = addr(i);
        self.nodes.push(Node {
            machine: None,
            addr,
            host: true,
            lives: 0,
            clock: 0,
            events: Vec::new(),
            alarm: None,
        });
        self.by_addr.insert(addr, i);
        self.views.add();
        self.checks.add();
        if self.pool.len() <= i {
            self.pool.push(Vec::new());
        }
        self.boot(i);
        i
    }

    /// Starts a process with the node's name on its host, with no memory of earlier ones.
    pub fn boot(&mut self, i: usize) {
        self.kill(i);
        let mut config = self.config.clone();
        config.name = name(i);
        config.advertise = self.nodes[i].addr;
        self.nodes[i].lives += 1;
        self.nodes[i].clock += 1;
        config.boot = 1_000_000 * self.nodes[i].clock;
        let seed = self.rng.random();
        let node = &mut self.nodes[i];
        node.machine = Some(Membership::new(config, self.now, seed));
        node.host = true;
        node.alarm = None;
        self.views.start(i);
        self.checks.start(i);
        self.pump(i);
    }

    /// Moves a node to another address; its process starts anew there.
    pub fn move_to(&mut self, i: usize, addr: SocketAddr) {
        self.kill(i);
        self.by_addr.remove(&self.nodes[i].addr);
        self.by_addr.insert(addr, i);
        self.nodes[i].addr = addr;
        self.boot(i);
    }

    /// Makes the next life of a node think that it is an earlier one: its clock went back.
    pub fn forget_lives(&mut self, i: usize) {
        self.nodes[i].clock = 0;
    }

    /// Ends the process; the host stays and refuses connections.
    pub fn kill(&mut self, i: usize) {
        if self.nodes[i].machine.take().is_none() {
            return;
        }
        self.nodes[i].alarm = None;
        self.views.stop(i);
        self.break_streams(i);
    }

    /// Ends process and host: silence.
    pub fn power_off(&mut self, i: usize) {
        self.nodes[i].host = false;
        self.kill(i);
    }

    /// All nodes are told at once to join this one.
    pub fn everyone_joins(&mut self, seed: usize) {
        (0..self.nodes.len()).for_each(|i| self.join(i, seed));
    }

    /// A node is told to join another one.
    pub fn join(&mut self, i: usize, seed: usize) {
        let to = self.nodes[seed].addr;
        self.with(i, |machine, now| machine.join(now, to));
    }

    /// Calls a node's machine and does what it wants done.
    ///
    /// # Panics
    ///
    /// If the node does not run.
    pub fn with<R>(&mut self, i: usize, act: impl FnOnce(&mut Membership, Instant) -> R) -> R {
        let now = self.now;
        let result = act(self.nodes[i].machine.as_mut().expect("the node runs"), now);
        self.pump(i);
        result
    }

    /// A node's machine, if it runs.
    #[must_use]
    pub fn machine(&self, i: usize) -> Option<&Membership> {
        self.nodes[i].machine.as_ref()
    }

    /// How many nodes there are, running or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Where a node listens.
    #[must_use]
    pub fn addr(&self, i: usize) -> SocketAddr {
        self.nodes[i].addr
    }

    /// The virtual time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now.duration_since(self.start)
    }

    /// What decides everything that is left to chance.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Chance, for scripts.
    pub fn rng(&mut self) -> &mut StdRng {
        &mut self.rng
    }

    /// What happened at a node, with the time.
    #[must_use]
    pub fn events(&self, i: usize) -> &[(Duration, Event)] {
        &self.nodes[i].events
    }

    /// What a running node believes about another.
    #[must_use]
    pub fn state(&self, at: usize, of: usize) -> Option<MemberState> {
        self.machine(at)?.member(&name(of)).map(|member| member.state)
    }

    /// Whether all running nodes hold exactly the running ones for alive or suspect.
    #[must_use]
    pub fn agree(&self) -> bool {
        self.views.agree()
    }

    /// How many running nodes hold this one for alive or suspect.
    #[must_use]
    pub fn believers(&self, i: usize) -> usize {
        self.views.believers(i)
    }

    /// How many pairs of nodes are wrong about each other.
    #[must_use]
    pub fn disagreements(&self) -> usize {
        self.views.wrong()
    }

    /// Runs for a while.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Runs until `done` holds and says how long that took. `done` is asked after each step: it must be quick.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> Option<Duration> {
        let begun = self.now;
        let end = begun + limit;
        while !done(self) {
            match self.queue.next_at().filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => {
                    self.now = end;
                    return done(self).then_some(limit);
                }
            }
            if let Some(parcel) = self.queue.pop() {
                self.deliver(parcel);
            }
        }
        Some(self.now - begun)
    }

    fn post(&mut self, after: Duration, parcel: Parcel) {
        self.queue.push(self.now + after, parcel);
    }
}

/// Where a node lives at first.
fn addr(i: usize) -> SocketAddr {
    let host = u32::try_from(i).unwrap_or(u32::MAX);
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from(0x0a00_0001u32.saturating_add(host))), 7946)
}

fn description(i: usize, vsn: Vsn) -> Member {
    let meta = bytes::Bytes::new();
    Member { name: name(i), addr: addr(i), state: MemberState::Alive, incarnation: 1, meta, vsn }
}
