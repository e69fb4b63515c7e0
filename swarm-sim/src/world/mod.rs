//! Machines, a network and one clock.

mod deliver;
mod pump;
mod user;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use overlay_gossip::DialId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use swarm_state::{Rejection, Reply, State, Timestamp};

use crate::check::{StateCheck, TableCheck, Unsettled, Violation, find_unsettled};
use crate::manager::{Manager, ManagerDisk, Moment, Request};
use crate::message::{Life, Parcel};
use crate::net::Net;
use crate::node::Node;
use crate::trace::Trace;
use crate::{Config, Link, Machine, Processes};
pub use user::Ticket;
pub(crate) use user::resolve;

/// A cluster on one virtual clock. One seed decides everything that happens in it.
///
/// ```
/// use std::time::Duration;
/// use swarm_sim::{Config, Machine, World};
///
/// let mut world = World::new(Config::new(1, 3));
/// world.start();
/// world.create_service("web", 3, &[]);
/// world.settle(Duration::from_secs(20))?;
/// let victim = world.busiest().unwrap_or(Machine(2));
/// world.cut_power(victim);
/// let took = world.run_until(Duration::from_secs(8), |world| world.running("web") == 3)?;
/// assert!(took > Duration::from_secs(1)); // a silent death is not noticed at once
/// # Ok::<(), swarm_sim::Failure>(())
/// ```
#[derive(Debug)]
pub struct World {
    config: Config,
    origin: Instant,
    now: Instant,
    rng: StdRng,
    net: Net,
    nodes: Vec<Node>,
    /// By time of arrival; the second part keeps them apart.
    queue: BTreeMap<(Instant, u64), (Machine, Machine, Parcel)>,
    order: u64,
    /// Who dialled, by the number of the stream.
    streams: BTreeMap<u64, (Life, DialId)>,
    requests: VecDeque<(Ticket, Request)>,
    asked: Option<(Life, Instant)>,
    next_ask: Instant,
    answers: BTreeMap<Ticket, Result<Reply, Rejection>>,
    tickets: u64,
    states: StateCheck,
    tables: TableCheck,
    violation: Option<Violation>,
    trace: Trace,
}

/// A run did not go as it must.
#[derive(Clone, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum Failure {
    #[error("seed {seed}, after {at:?}: {violation}")]
    Violated { seed: u64, at: Duration, violation: Violation },
    #[error("seed {seed}, after {at:?}: still not settled, since {what}")]
    Unsettled { seed: u64, at: Duration, what: Unsettled },
    #[error("seed {seed}, after {at:?}: what was waited for did not come within {limit:?}")]
    TooLate { seed: u64, at: Duration, limit: Duration },
}

impl World {
    /// Machines without power.
    pub fn new(config: Config) -> Self {
        let origin = origin();
        let mut rng = StdRng::seed_from_u64(config.seed);
        let net = Net::new(config.link, rng.random());
        let machines = 0..config.machines.clamp(1, 100);
        Self {
            origin,
            now: origin,
            rng,
            net,
            nodes: machines.map(|number| Node::new(Machine(number))).collect(),
            queue: BTreeMap::new(),
            order: 0,
            streams: BTreeMap::new(),
            requests: VecDeque::new(),
            asked: None,
            next_ask: origin,
            answers: BTreeMap::new(),
            tickets: 0,
            states: StateCheck::default(),
            tables: TableCheck::default(),
            violation: None,
            trace: Trace::default(),
            config,
        }
    }

    /// The first machine founds a swarm and all others join it.
    pub fn start(&mut self) {
        let founder = Machine(0);
        self.node_mut(founder).set_up(vec![founder], Some(ManagerDisk::founding(founder)));
        self.power_on(founder);
        self.ask_to_found(founder);
        for machine in self.machines().skip(1) {
            let manager = (machine.0 < self.config.managers).then(ManagerDisk::joining);
            let is_manager = manager.is_some();
            self.node_mut(machine).set_up(vec![founder], manager);
            self.power_on(machine);
            self.ask_to_join(machine, is_manager);
        }
    }

    /// Silence: processes, memory and what was on its way to the disk are gone.
    pub fn cut_power(&mut self, machine: Machine) {
        if self.node(machine).is_up() {
            self.note(format!("{machine} loses power"));
            self.node_mut(machine).power_off();
            self.states.stopped(machine);
            self.tables.stopped(machine);
        }
    }

    /// Starts what was there before, from its disks.
    pub fn power_on(&mut self, machine: Machine) {
        if self.node(machine).is_up() {
            return;
        }
        self.note(format!("{machine} starts"));
        let moment = self.moment();
        let index = machine.index();
        if let Some(node) = self.nodes.get_mut(index) {
            node.power_on(&self.config, moment, &mut self.rng);
        }
        self.pump(machine);
    }

    /// Nothing goes from one machine to another one. The other direction is not concerned.
    pub fn cut_one_way(&mut self, from: Machine, to: Machine) {
        self.note(format!("nothing goes from {from} to {to}"));
        self.net.cut(from, to);
    }

    /// Nothing goes between two machines.
    pub fn cut(&mut self, one: Machine, other: Machine) {
        self.note(format!("nothing goes between {one} and {other}"));
        self.net.cut(one, other);
        self.net.cut(other, one);
    }

    /// Cuts these machines off from all others.
    pub fn split(&mut self, island: &[Machine]) {
        let names: Vec<String> = island.iter().map(ToString::to_string).collect();
        self.note(format!("{} cut off from the others", names.join(" ")));
        let mainland: Vec<Machine> = self.machines().filter(|machine| !island.contains(machine)).collect();
        for one in island {
            for other in &mainland {
                self.net.cut(*one, *other);
                self.net.cut(*other, *one);
            }
        }
    }

    /// Takes all cuts back.
    pub fn heal(&mut self) {
        self.note("all cuts heal".to_owned());
        self.net.heal();
    }

    /// Changes how packets travel from now on.
    pub const fn set_link(&mut self, link: Link) {
        self.net.link = link;
    }

    /// Changes how tasks behave on machines that start from now on.
    pub const fn set_processes(&mut self, processes: Processes) {
        self.config.processes = processes;
    }

    /// Lets time pass.
    ///
    /// # Errors
    ///
    /// As soon as a rule is broken.
    pub fn run_for(&mut self, time: Duration) -> Result<(), Failure> {
        let end = self.now + time;
        while self.advance(end)? {}
        Ok(())
    }

    /// Lets time pass until `done` holds, which is looked at every 20 ms; says how long that took.
    ///
    /// # Errors
    ///
    /// If a rule is broken, or if it takes longer than `limit`.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Result<Duration, Failure> {
        let start = self.now;
        while self.now < start + limit {
            if done(self) {
                return Ok(self.now - start);
            }
            self.run_for(GLANCE.min(start + limit - self.now))?;
        }
        Err(Failure::TooLate { seed: self.seed(), at: self.elapsed(), limit })
    }

    /// Lets time pass until everything is as it should be, and stays so for a second; says how long that took.
    ///
    /// # Errors
    ///
    /// If a rule is broken, or if it takes longer than `limit`.
    pub fn settle(&mut self, limit: Duration) -> Result<Duration, Failure> {
        let start = self.now;
        let mut since: Option<Instant> = None;
        loop {
            match self.unsettled() {
                Some(what) if self.now >= start + limit => {
                    return Err(Failure::Unsettled { seed: self.seed(), at: self.elapsed(), what });
                }
                Some(_) => since = None,
                None if self.now >= *since.get_or_insert(self.now) + CALM => {
                    return Ok(since.unwrap_or(self.now) - start);
                }
                None => {}
            }
            self.run_for(LOOK)?;
        }
    }

    /// The first thing that is not as it should be some time after the last trouble.
    pub fn unsettled(&self) -> Option<Unsettled> {
        if !self.requests.is_empty() {
            return Some(Unsettled::NoLeader);
        }
        find_unsettled(&self.nodes, self.states.newest())
    }

    /// All machines.
    pub fn machines(&self) -> impl Iterator<Item = Machine> + use<> {
        (0..self.config.machines.clamp(1, 100)).map(Machine)
    }

    /// Whether a machine has power.
    pub fn is_up(&self, machine: Machine) -> bool {
        self.node(machine).is_up()
    }

    /// The manager that leads; of several, the one of the latest term.
    pub fn leader(&self) -> Option<Machine> {
        let leaders = self.nodes.iter().filter_map(|node| Some((node.machine, node.manager()?)));
        let leaders = leaders.filter(|(_, manager)| manager.leads());
        leaders.max_by_key(|(_, manager)| manager.raft().status().term).map(|(machine, _)| machine)
    }

    /// The state as the most advanced manager with power knows it.
    pub fn state(&self) -> Option<&State> {
        let states = self.nodes.iter().filter_map(|node| node.manager().map(Manager::state));
        states.max_by_key(|state| state.index())
    }

    /// So many tasks of a service are wanted and really run, on machines with power.
    pub fn running(&self, service: &str) -> usize {
        let Some(state) = self.state() else { return 0 };
        let Ok(service) = state.find_service(service) else { return 0 };
        let wanted =
            |id| state.task(id).is_some_and(|task| task.service_id == service.id && task.is_wanted());
        let workers = self.nodes.iter().filter_map(Node::worker);
        workers.flat_map(|worker| worker.running()).filter(|id| wanted(*id)).count()
    }

    /// The machine with the most processes, of those that are no managers if there are any.
    pub fn busiest(&self) -> Option<Machine> {
        let busy = |node: &Node| node.worker().map_or(0, |worker| worker.processes().count());
        let up = self.nodes.iter().filter(|node| node.is_up());
        up.max_by_key(|node| (node.manager().is_none(), busy(node), node.machine)).map(|node| node.machine)
    }

    /// What happened.
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The seed of this world.
    pub const fn seed(&self) -> u64 {
        self.config.seed
    }

    /// Virtual time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.now - self.origin
    }

    /// Writes a line into the trace.
    pub fn note(&mut self, text: String) {
        let at = self.elapsed();
        self.trace.line(at, &text);
    }

    fn moment(&self) -> Moment {
        let millis = i64::try_from(self.elapsed().as_millis()).unwrap_or(i64::MAX);
        Moment { now: self.now, at: Timestamp::from_millis(EPOCH.saturating_add(millis)) }
    }

    fn node(&self, machine: Machine) -> &Node {
        self.nodes.get(machine.index()).expect("a world has the machines that it names")
    }

    fn node_mut(&mut self, machine: Machine) -> &mut Node {
        self.nodes.get_mut(machine.index()).expect("a world has the machines that it names")
    }

    fn check(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result {
            self.violation.get_or_insert(violation);
        }
    }

    fn failed(&self) -> Result<(), Failure> {
        match &self.violation {
            Some(violation) => {
                let violation = violation.clone();
                Err(Failure::Violated { seed: self.seed(), at: self.elapsed(), violation })
            }
            None => Ok(()),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "one reading is the origin of virtual time; nothing depends on it"
)]
fn origin() -> Instant {
    Instant::now()
}

/// The virtual date at the beginning, in milliseconds since 1970.
const EPOCH: i64 = 1_790_000_000_000;
/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(20);
/// How often everything is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// So long must everything be as it should.
const CALM: Duration = Duration::from_secs(1);
