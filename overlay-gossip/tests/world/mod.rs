//! Many machines, one virtual clock, a network that can lose, delay and cut.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use overlay_gossip::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub struct World {
    pub seed: u64,
    pub rng: StdRng,
    pub start: Instant,
    pub now: Instant,
    pub profile: Profile,
    pub nodes: Vec<Node>,
    pub loss: f64,
    pub delay: Duration,
    pub datagrams: u64,
    pub bytes: u64,
    pub tune: fn(&mut Config),
    queue: BTreeMap<(Instant, u64), Parcel>,
    order: u64,
    cuts: BTreeSet<(usize, usize)>,
    streams: BTreeMap<u64, (usize, DialId)>,
    wakes: BTreeMap<usize, Instant>,
}

pub struct Node {
    pub machine: Option<Membership>,
    pub addr: SocketAddr,
    /// The host is there; a dead process on it means refused connections.
    pub host: bool,
    pub lives: u64,
    stalled: Instant,
    pub events: Vec<(Instant, Event)>,
    incarnation: u32,
    seen: BTreeMap<(NetworkId, NodeName, String, String), u64>,
}

enum Parcel {
    Datagram { from: SocketAddr, to: usize, payload: Bytes },
    Request { stream: u64, from: SocketAddr, to: usize, payload: Bytes, reply: bool },
    Reply { to: usize, id: DialId, payload: Bytes },
    Failed { to: usize, id: DialId, failure: DialFailure },
}

pub fn name(i: usize) -> NodeName {
    NodeName::new(format!("n{i}")).unwrap()
}

impl World {
    pub fn new(seed: u64, count: usize, profile: Profile) -> Self {
        Self::tuned(seed, count, profile, |_| {})
    }

    pub fn tuned(seed: u64, count: usize, profile: Profile, tune: fn(&mut Config)) -> Self {
        let now = Instant::now();
        let mut world = Self {
            seed,
            rng: StdRng::seed_from_u64(seed),
            start: now,
            now,
            profile,
            nodes: Vec::new(),
            loss: 0.0,
            delay: Duration::from_micros(500),
            datagrams: 0,
            bytes: 0,
            tune,
            queue: BTreeMap::new(),
            order: 0,
            cuts: BTreeSet::new(),
            streams: BTreeMap::new(),
            wakes: BTreeMap::new(),
        };
        for i in 0..count {
            let ip = Ipv4Addr::from(0x0a00_0001 + u32::try_from(i).unwrap());
            world.nodes.push(Node {
                machine: None,
                addr: SocketAddr::new(IpAddr::V4(ip), 7946),
                host: true,
                lives: 0,
                stalled: now,
                events: Vec::new(),
                incarnation: 0,
                seen: BTreeMap::new(),
            });
            world.boot(i);
        }
        world
    }

    /// Starts a process with the node's name on its host, with no memory of earlier ones.
    pub fn boot(&mut self, i: usize) {
        let mut config = Config::new(name(i), self.profile);
        config.advertise = self.nodes[i].addr;
        self.nodes[i].lives += 1;
        config.boot = 1_000_000 * self.nodes[i].lives;
        (self.tune)(&mut config);
        let seed = self.rng.random();
        let node = &mut self.nodes[i];
        node.machine = Some(Membership::new(config, self.now, seed));
        node.host = true;
        node.incarnation = 0;
        node.seen.clear();
        self.pump(i);
    }

    /// Ends the process; the host stays and refuses connections.
    pub fn kill(&mut self, i: usize) {
        self.nodes[i].machine = None;
        self.wakes.remove(&i);
    }

    /// Ends process and host: silence.
    pub fn power_off(&mut self, i: usize) {
        self.kill(i);
        self.nodes[i].host = false;
    }

    pub fn cut(&mut self, a: usize, b: usize) {
        self.cuts.insert((a.min(b), a.max(b)));
    }

    pub fn heal(&mut self) {
        self.cuts.clear();
    }

    pub fn everyone_joins(&mut self, seed: usize) {
        let to = self.nodes[seed].addr;
        for i in 0..self.nodes.len() {
            self.with(i, |m, now| m.join(now, to));
        }
    }

    pub fn with<R>(&mut self, i: usize, act: impl FnOnce(&mut Membership, Instant) -> R) -> R {
        let now = self.now;
        let result = act(self.nodes[i].machine.as_mut().unwrap(), now);
        self.pump(i);
        result
    }

    pub fn machine(&self, i: usize) -> &Membership {
        self.nodes[i].machine.as_ref().unwrap()
    }

    /// Stops the process for a while; what is sent to it waits.
    pub fn stall(&mut self, i: usize, time: Duration) {
        self.nodes[i].stalled = self.now + time;
        self.wakes.insert(i, self.now + time);
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

    pub fn state(&self, at: usize, of: usize) -> Option<MemberState> {
        self.machine(at).member(&name(of)).map(|m| m.state)
    }

    /// All running nodes see all running nodes alive and no others.
    pub fn all_agree(&self) -> bool {
        let running: Vec<usize> =
            (0..self.nodes.len()).filter(|i| self.nodes[*i].machine.is_some()).collect();
        running.iter().all(|i| {
            let up = self.machine(*i).members().filter(|m| m.state == MemberState::Alive).count();
            up == running.len() && running.iter().all(|j| self.state(*i, *j) == Some(MemberState::Alive))
        })
    }

    pub fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Runs until `done` holds (looked at every 10 ms) and says how long that took.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> Option<Duration> {
        let start = self.now;
        let end = start + limit;
        let mut look = start;
        loop {
            if self.now >= look {
                if done(self) {
                    return Some(self.now - start);
                }
                look = self.now + Duration::from_millis(10);
            }
            let parcel = self.queue.keys().next().map(|(at, _)| *at);
            let wake = self.wakes.values().min().copied();
            let next = parcel.into_iter().chain(wake).chain([look, end]).min().unwrap();
            self.now = self.now.max(next);
            if self.now >= end {
                return done(self).then(|| self.now - start);
            }
            self.step();
        }
    }

    fn step(&mut self) {
        while let Some((&(at, order), _)) = self.queue.first_key_value() {
            if at > self.now {
                break;
            }
            let parcel = self.queue.remove(&(at, order)).unwrap();
            self.deliver(parcel);
        }
        let due: Vec<usize> = self.wakes.iter().filter(|(_, at)| **at <= self.now).map(|(i, _)| *i).collect();
        for i in due {
            self.with(i, |m, now| m.handle_timeout(now));
        }
    }

    fn deliver(&mut self, parcel: Parcel) {
        let (Parcel::Datagram { to, .. }
        | Parcel::Request { to, .. }
        | Parcel::Reply { to, .. }
        | Parcel::Failed { to, .. }) = &parcel;
        let stalled = self.nodes[*to].stalled;
        if stalled > self.now {
            // Behind the timers: the worst order.
            self.post(stalled + Duration::from_micros(1) - self.now, parcel);
            return;
        }
        match parcel {
            Parcel::Datagram { from, to, payload } => {
                if self.nodes[to].machine.is_some() {
                    let input = Input::Datagram { from, payload: &payload };
                    self.with(to, |m, now| m.handle_input(now, input)).unwrap();
                }
            }
            Parcel::Request { stream, from, to, payload, reply } => {
                let (dialler, id) = self.streams[&stream];
                if self.nodes[to].machine.is_none() {
                    self.streams.remove(&stream);
                    let failure = DialFailure::Refused;
                    self.post(self.delay, Parcel::Failed { to: dialler, id, failure });
                    return;
                }
                let input = Input::Request { id: StreamId(stream), from, payload: &payload };
                self.with(to, |m, now| m.handle_input(now, input)).unwrap();
                if !reply {
                    self.post(self.delay, Parcel::Reply { to: dialler, id, payload: Bytes::new() });
                }
            }
            Parcel::Reply { to, id, payload } => {
                if self.nodes[to].machine.is_some() {
                    // A process that has been restarted may not have asked.
                    let _ =
                        self.with(to, |m, now| m.handle_input(now, Input::Replied { id, payload: &payload }));
                }
            }
            Parcel::Failed { to, id, failure } => {
                if self.nodes[to].machine.is_some() {
                    let _ = self.with(to, |m, now| m.handle_input(now, Input::DialFailed { id, failure }));
                }
            }
        }
    }

    fn pump(&mut self, i: usize) {
        while let Some(output) = self.nodes[i].machine.as_mut().and_then(Membership::poll_output) {
            match output {
                Output::Event(event) => self.nodes[i].events.push((self.now, event)),
                Output::Transmit(t) => {
                    assert!(t.payload.len() <= 1400, "a datagram of {} bytes", t.payload.len());
                    self.datagrams += 1;
                    self.bytes += t.payload.len() as u64;
                    let Some(to) = self.route(i, t.to) else { continue };
                    if self.loss > 0.0 && self.rng.random_bool(self.loss) {
                        continue;
                    }
                    let from = self.nodes[i].addr;
                    let delay = self.delay.mul_f64(self.rng.random_range(0.8..1.6));
                    self.post(delay, Parcel::Datagram { from, to, payload: t.payload });
                }
                Output::Action(Action::Dial { id, to, payload, reply, timeout }) => {
                    self.bytes += payload.len() as u64;
                    let mut frame = Frame::new(8 << 20);
                    assert_eq!(frame.end(&payload).unwrap(), Some(payload.len()), "a whole message");
                    match self.route(i, to) {
                        None => {
                            let failure = DialFailure::TimedOut;
                            self.post(timeout, Parcel::Failed { to: i, id, failure });
                        }
                        Some(to) => {
                            self.order += 1;
                            let (stream, from) = (self.order, self.nodes[i].addr);
                            self.streams.insert(stream, (i, id));
                            let request = Parcel::Request { stream, from, to, payload, reply };
                            self.post(self.delay * 3, request);
                        }
                    }
                }
                Output::Action(Action::Reply { id, payload }) => {
                    if let Some((to, id)) = self.streams.remove(&id.0)
                        && !payload.is_empty()
                    {
                        self.bytes += payload.len() as u64;
                        self.post(self.delay, Parcel::Reply { to, id, payload });
                    }
                }
            }
        }
        self.check(i);
        match self.nodes[i].machine.as_ref().and_then(Membership::poll_timeout) {
            Some(at) => self.wakes.insert(i, at),
            None => self.wakes.remove(&i),
        };
    }

    /// What must hold at each step, whatever happens.
    fn check(&mut self, i: usize) {
        let seed = self.seed;
        let node = &mut self.nodes[i];
        let Some(machine) = &node.machine else { return };
        let me = machine.member(&name(i)).unwrap();
        assert!(me.incarnation >= node.incarnation, "own incarnation went back, seed {seed}");
        assert!(me.state.is_up() || me.state == MemberState::Left, "believes itself dead, seed {seed}");
        node.incarnation = me.incarnation;
        assert!(machine.stats().queue <= 4 * self.nodes.len() + 16, "queue grows, seed {seed}");
    }

    /// Records at a node never go back to older versions.
    pub fn check_versions(&mut self, i: usize, network: &str) {
        let seed = self.seed;
        let records = self.machine(i).records(&NetworkId::new(network).unwrap(), "t");
        for r in records {
            let key = (r.network, r.owner, r.table, r.key);
            let old = self.nodes[i].seen.insert(key, r.version);
            assert!(old.is_none_or(|old| old <= r.version), "a version went back, seed {seed}");
        }
    }

    fn route(&self, from: usize, to: SocketAddr) -> Option<usize> {
        let to = self.nodes.iter().position(|n| n.addr == to)?;
        let cut = self.cuts.contains(&(from.min(to), from.max(to)));
        (self.nodes[to].host && self.nodes[from].host && !cut).then_some(to)
    }

    fn post(&mut self, after: Duration, parcel: Parcel) {
        self.order += 1;
        self.queue.insert((self.now + after, self.order), parcel);
    }
}
