//! What a world is like.

use std::time::Duration;

/// How a world is made. Start from [`Config::new`] and change fields.
///
/// ```
/// use swarm_sim::{Config, World};
///
/// let config = Config { managers: 3, ..Config::new(7, 5) }; // seed, machines
/// assert_eq!(World::new(config).seed(), 7);
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// Decides every random choice in the world and in all machines of it.
    pub seed: u64,
    /// Machines, 1 to 100.
    pub machines: u8,
    /// So many of the first machines are managers; at least one. 1.
    pub managers: u8,
    /// How packets travel.
    pub link: Link,
    /// How tasks behave.
    pub processes: Processes,
    /// Entries between two snapshots of the log. 60: small enough that snapshots travel in every longer run.
    pub snapshot_every: u64,
    /// A rule to break, to see that the checks notice.
    pub mutation: Option<Mutation>,
    /// Whether each delivery gets a line in the trace; otherwise it only goes into the digest.
    pub every_delivery: bool,
}

/// How packets travel between two machines.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// The shortest delay. 300 µs.
    pub latency: Duration,
    /// Up to so much is added. 700 µs.
    pub jitter: Duration,
    /// Part of the datagrams that are lost; streams are slowed down by 200 ms instead. 0.
    pub loss: f64,
    /// Part of the datagrams that arrive twice. 0.
    pub duplication: f64,
    /// Part of the datagrams that are delayed by up to 30 ms and so overtaken by others. 0.
    pub reordering: f64,
}

/// How tasks behave.
#[derive(Clone, Copy, Debug)]
pub struct Processes {
    /// Longest time to prepare a task. 100 ms.
    pub prepare: Duration,
    /// Longest time from the start of a process until it runs. 150 ms.
    pub start: Duration,
    /// Longest time that a process takes to stop. 100 ms.
    pub stop: Duration,
    /// Part of the tasks that cannot be prepared. 0.
    pub rejects: f64,
    /// Part of the processes that end by themselves, with an error, within ten seconds. 0.
    pub fails: f64,
}

/// A rule that is broken on purpose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mutation {
    /// What a disk has confirmed is lost in a power cut.
    DiskForgets,
    /// Some task gets the addresses of another one.
    DoubleLease,
    /// Some running task is accepted again.
    StateGoesBack,
    /// Workers publish the endpoints of tasks that have ended once more.
    EndpointsReturn,
    /// Workers do not withdraw the endpoints of tasks that have ended.
    EndpointsStay,
    /// The leader does not listen to the gossip, and not to silence either.
    DeafLeader,
}

impl Config {
    /// One manager, a calm network, tasks that work.
    pub const fn new(seed: u64, machines: u8) -> Self {
        Self {
            seed,
            machines,
            managers: 1,
            link: Link::calm(),
            processes: Processes::calm(),
            snapshot_every: 60,
            mutation: None,
            every_delivery: false,
        }
    }
}

impl Link {
    /// A local network without trouble.
    pub const fn calm() -> Self {
        Self {
            latency: Duration::from_micros(300),
            jitter: Duration::from_micros(700),
            loss: 0.0,
            duplication: 0.0,
            reordering: 0.0,
        }
    }

    /// A local network with all kinds of trouble.
    pub const fn rough() -> Self {
        Self {
            jitter: Duration::from_millis(5),
            loss: 0.1,
            duplication: 0.05,
            reordering: 0.1,
            ..Self::calm()
        }
    }
}

impl Processes {
    /// Tasks that work.
    pub const fn calm() -> Self {
        Self {
            prepare: Duration::from_millis(100),
            start: Duration::from_millis(150),
            stop: Duration::from_millis(100),
            rejects: 0.0,
            fails: 0.0,
        }
    }
}
