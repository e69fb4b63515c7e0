//! Whole clusters on one virtual clock: loss, reordering, cuts and crashes, decided by a seed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "tests"
)]
#![allow(clippy::disallowed_methods, reason = "one reading of the clock is the origin of virtual time")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use bytes::Bytes;
use overlay_raft::{
    Action, Config, Consensus, Event, Input, LogStore, MemberChange, MemberId, MemoryLog, Output, Persist,
    ProposalId, Role, Saved,
};

#[test]
fn three_members_keep_every_promise_under_faults() {
    for seed in 0..36 {
        World::new(seed, 3).survive(8_000);
    }
}

#[test]
fn five_members_keep_every_promise_under_faults() {
    for seed in 100..109 {
        World::new(seed, 5).survive(6_000);
    }
}

#[test]
fn the_same_seed_replays_the_same_trace() {
    let trace = |seed| {
        let mut world = World::new(seed, 3);
        world.survive(4_000);
        (world.trace, world.events)
    };
    for seed in 0..6 {
        assert_eq!(trace(seed), trace(seed), "seed {seed}");
    }
    assert_ne!(trace(7), trace(8));
}

#[test]
fn a_dead_leader_is_replaced_in_about_one_to_two_seconds() {
    let mut times = Vec::new();
    for seed in 0..31 {
        let mut world = World::with_tick(seed, 3, Duration::from_millis(100));
        world.grow();
        let leader = world.leader().unwrap();
        world.crash(leader);
        let start = world.millis;
        while world.leader().is_none() {
            world.step();
            assert!(world.millis - start < 5_000, "seed {seed}");
        }
        times.push(world.millis - start);
    }
    times.sort_unstable();
    let median = times[times.len() / 2];
    assert!((900..=2_000).contains(&median), "{times:?}");
}

#[test]
fn a_returning_member_does_not_disturb_the_leader() {
    let mut world = World::new(3, 3);
    world.grow();
    let leader = world.leader().unwrap();
    let term = world.nodes[leader].machine.as_ref().unwrap().status().term;
    let other = (leader + 1) % 3;
    world.cut(other);
    world.run(4_000);
    world.heal();
    world.run(3_000);
    let status = world.nodes[leader].machine.as_ref().unwrap().status();
    assert_eq!((status.role, status.term), (Role::Leader, term), "PreVote keeps the term");
}

#[test]
fn a_removed_number_never_comes_back() {
    let mut world = World::new(5, 3);
    world.grow();
    let leader = world.leader().unwrap();
    let gone = (leader + 1) % 3;
    world.change(leader, MemberChange::Remove { id: id(gone) });
    world.run(3_000);
    assert_eq!(world.role(gone), Role::Removed);
    world.change(leader, MemberChange::Add { id: id(gone), context: vec![] });
    world.run(1_000);
    let status = world.nodes[leader].machine.as_ref().unwrap().status();
    assert!(!status.members.contains_key(&id(gone)));
    assert_eq!(world.refused.len(), 1, "{:?}", world.refused);
}

/// One replica of a state machine: the digest of everything that was applied.
#[derive(Clone, Default)]
struct Replica {
    index: u64,
    digest: u64,
    values: BTreeSet<u64>,
}

impl Replica {
    fn apply(&mut self, index: u64, value: u64) {
        assert!(index > self.index, "an entry is applied twice or backwards");
        let mut hasher = DefaultHasher::new();
        (self.digest, index, value).hash(&mut hasher);
        (self.index, self.digest) = (index, hasher.finish());
        self.values.insert(value);
    }

    fn snapshot(&self) -> Bytes {
        let mut out = [self.index.to_be_bytes(), self.digest.to_be_bytes()].concat();
        out.extend(self.values.iter().flat_map(|value| value.to_be_bytes()));
        out.into()
    }

    fn restore(data: &[u8]) -> Self {
        let mut words = data.chunks(8).map(|word| u64::from_be_bytes(word.try_into().unwrap()));
        let (index, digest) = (words.next().unwrap_or(0), words.next().unwrap_or(0));
        Self { index, digest, values: words.collect() }
    }
}

struct Node {
    machine: Option<Consensus>,
    disk: MemoryLog,
    /// On the way to the disk, with the time when it will be there; lost in a crash.
    writes: VecDeque<(u64, Persist)>,
    replica: Replica,
    lives: u64,
}

struct World {
    seed: u64,
    random: u64,
    origin: Instant,
    millis: u64,
    nodes: Vec<Node>,
    size: usize,
    /// By time of arrival; the second part keeps them apart.
    wire: BTreeMap<(u64, u64), (usize, usize, Bytes)>,
    sent: u64,
    cut: BTreeSet<usize>,
    loss: u64,
    tick: Duration,
    next_value: u64,
    proposals: BTreeMap<ProposalId, u64>,
    acknowledged: BTreeMap<u64, u64>,
    /// What every index holds, as first applied by anybody.
    history: BTreeMap<u64, u64>,
    leaders: BTreeMap<u64, usize>,
    refused: Vec<String>,
    /// Milliseconds during which a majority could work, had it a leader.
    workable: u64,
    trace: u64,
    events: u64,
}

impl World {
    fn new(seed: u64, size: usize) -> Self {
        Self::with_tick(seed, size, Duration::from_millis(20))
    }

    fn with_tick(seed: u64, size: usize, tick: Duration) -> Self {
        let mut world = Self {
            seed,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678,
            origin: Instant::now(),
            millis: 0,
            nodes: Vec::new(),
            size,
            wire: BTreeMap::new(),
            sent: 0,
            cut: BTreeSet::new(),
            loss: 0,
            tick,
            next_value: 1,
            proposals: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            history: BTreeMap::new(),
            leaders: BTreeMap::new(),
            refused: Vec::new(),
            workable: 0,
            trace: 0,
            events: 0,
        };
        for member in 0..size {
            let saved = if member == 0 {
                Saved::founding(id(0), b"founder".to_vec(), Replica::default().snapshot())
            } else {
                Saved::default()
            };
            world.nodes.push(Node {
                machine: None,
                disk: MemoryLog::from(saved),
                writes: VecDeque::new(),
                replica: Replica::default(),
                lives: 0,
            });
            world.boot(member);
        }
        world
    }

    /// Adds everybody, one after another, and waits until all have caught up.
    fn grow(&mut self) {
        for member in 1..self.size {
            self.change(0, MemberChange::Add { id: id(member), context: vec![member as u8] });
            self.run(2_000);
        }
        for member in 0..self.size {
            let status = self.nodes[member].machine.as_ref().unwrap().status();
            assert_eq!(status.members.len(), self.size, "member {member}, seed {}", self.seed);
        }
    }

    /// Faults for that long, then peace; everything that was promised must hold.
    fn survive(&mut self, millis: u64) {
        self.grow();
        self.loss = 5;
        let end = self.millis + millis;
        while self.millis < end {
            self.step();
            match self.draw(1_000) {
                0..=2 => {
                    let victim = self.victim();
                    self.crash(victim);
                }
                3..=10 => {
                    let victim = self.draw(self.size as u64) as usize;
                    self.boot(victim);
                }
                11..=13 => {
                    let victim = self.victim();
                    self.cut(victim);
                }
                14..=18 => self.heal(),
                19 => {
                    let (from, to) =
                        (self.draw(self.size as u64) as usize, self.draw(self.size as u64) as usize);
                    self.input(from, Input::Transfer { to: id(to) });
                }
                20..=150 => {
                    let member = self.draw(self.size as u64) as usize;
                    self.propose(member);
                }
                _ => {}
            }
        }
        self.loss = 0;
        self.heal();
        for member in 0..self.size {
            self.boot(member);
        }
        self.run(3_000);
        let leader = self.leader().unwrap_or_else(|| panic!("no leader after peace, seed {}", self.seed));
        self.propose(leader);
        self.run(1_000);
        self.check_the_end();
    }

    /// The leader more often than anybody else.
    fn victim(&mut self) -> usize {
        let anybody = self.draw(self.size as u64) as usize;
        if self.draw(2) == 0 { self.leader().unwrap_or(anybody) } else { anybody }
    }

    fn check_the_end(&self) {
        let first = &self.nodes[0].replica;
        for (member, node) in self.nodes.iter().enumerate() {
            assert_eq!(node.replica.digest, first.digest, "state of member {member}, seed {}", self.seed);
        }
        let enough = self.workable / 500;
        let acknowledged = self.acknowledged.len() as u64;
        assert!(acknowledged >= enough, "{acknowledged} acknowledged, not {enough}, seed {}", self.seed);
        for (value, index) in &self.acknowledged {
            assert!(first.values.contains(value), "value {value} at {index} was lost, seed {}", self.seed);
        }
    }

    fn propose(&mut self, member: usize) {
        let value = self.next_value;
        self.next_value += 1;
        let proposal = ProposalId(value);
        self.proposals.insert(proposal, value);
        let command = Bytes::copy_from_slice(&value.to_be_bytes());
        self.input(member, Input::Proposal { id: proposal, command });
    }

    fn change(&mut self, member: usize, change: MemberChange) {
        let proposal = ProposalId(1_000_000 + self.next_value);
        self.next_value += 1;
        self.input(member, Input::Change { id: proposal, change });
    }

    fn run(&mut self, millis: u64) {
        let end = self.millis + millis;
        while self.millis < end {
            self.step();
        }
    }

    fn step(&mut self) {
        self.millis += 1;
        let up = (0..self.size).filter(|m| self.nodes[*m].machine.is_some() && !self.cut.contains(m)).count();
        self.workable += u64::from(up > self.size / 2 && self.loss > 0);
        let now = self.now();
        while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.millis) {
            let (from, to, message) = entry.remove();
            if !self.cut.contains(&from) && !self.cut.contains(&to) {
                self.input(to, Input::Message(message));
            }
        }
        for member in 0..self.size {
            self.write(member);
            if let Some(machine) = &mut self.nodes[member].machine
                && machine.poll_timeout().is_some_and(|at| at <= now)
            {
                machine.handle_timeout(now);
            }
            self.drain(member);
        }
    }

    fn write(&mut self, member: usize) {
        let millis = self.millis;
        let node = &mut self.nodes[member];
        let mut batch = Vec::new();
        while node.writes.front().is_some_and(|(at, _)| *at <= millis) {
            batch.extend(node.writes.pop_front().map(|(_, persist)| persist));
        }
        let Some(last) = batch.last().map(|persist| persist.id) else { return };
        node.disk.save(&batch).unwrap();
        self.input(member, Input::Persisted { id: last });
    }

    fn input(&mut self, member: usize, input: Input) {
        let now = self.now();
        if let Some(machine) = &mut self.nodes[member].machine {
            let _ = machine.handle_input(now, input);
            self.drain(member);
        }
    }

    fn drain(&mut self, member: usize) {
        loop {
            let Some(machine) = &mut self.nodes[member].machine else { return };
            let Some(output) = machine.poll_output() else { break };
            self.note(&(member, format!("{output:?}")));
            match output {
                Output::Transmit(transmit) => {
                    self.send(member, transmit.to.get() as usize - 1, transmit.message)
                }
                Output::Event(Event::Refused { why, .. }) => self.refused.push(why.to_string()),
                Output::Event(_) => {}
                Output::Action(action) => self.act(member, action),
            }
        }
        let status = self.nodes[member].machine.as_ref().map(Consensus::status);
        if let Some(status) = status.filter(|status| status.role == Role::Leader) {
            let known = *self.leaders.entry(status.term).or_insert(member);
            assert_eq!(known, member, "two leaders in term {}, seed {}", status.term, self.seed);
        }
    }

    fn act(&mut self, member: usize, action: Action) {
        match action {
            Action::Persist(persist) => {
                let delay = 1 + self.draw(if self.loss > 0 { 25 } else { 5 });
                let node = &mut self.nodes[member];
                let at = node.writes.back().map_or(0, |(at, _)| *at).max(self.millis + delay);
                node.writes.push_back((at, persist));
            }
            Action::Apply { index, command, proposal } => {
                let value = u64::from_be_bytes(command.as_ref().try_into().unwrap());
                let known = *self.history.entry(index).or_insert(value);
                assert_eq!(known, value, "index {index} holds two values, seed {}", self.seed);
                self.nodes[member].replica.apply(index, value);
                if let Some(proposal) = proposal {
                    assert_eq!(self.proposals[&proposal], value, "the wrong proposer is answered");
                    self.acknowledged.insert(value, index);
                }
            }
            Action::ChangeMembers { .. } => {}
            Action::Restore(snapshot) => self.nodes[member].replica = Replica::restore(&snapshot.data),
            Action::TakeSnapshot { index } => {
                let data = self.nodes[member].replica.snapshot();
                self.input(member, Input::SnapshotTaken { index, data });
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, message: Bytes) {
        if to >= self.size || self.draw(100) < self.loss {
            return;
        }
        let delay = 1 + self.draw(if self.loss > 0 { 40 } else { 5 });
        self.sent += 1;
        let copies = 1 + u64::from(self.loss > 0 && self.draw(50) == 0);
        for copy in 0..copies {
            self.wire.insert((self.millis + delay + copy, self.sent), (from, to, message.clone()));
        }
    }

    fn crash(&mut self, member: usize) {
        let node = &mut self.nodes[member];
        node.machine = None;
        node.writes.clear();
    }

    fn boot(&mut self, member: usize) {
        let now = self.now();
        let seed = self.draw(u64::MAX);
        let node = &mut self.nodes[member];
        if node.machine.is_some() {
            return;
        }
        node.lives += 1;
        node.replica = Replica::default();
        let saved = node.disk.load().unwrap().unwrap_or_default();
        let config =
            Config { snapshot_every: 25, keep_entries: 5, tick: self.tick, ..Config::new(id(member)) };
        node.machine = Some(Consensus::new(config, saved, now, seed).unwrap());
        self.drain(member);
    }

    fn cut(&mut self, member: usize) {
        self.cut.insert(member);
    }

    fn heal(&mut self) {
        self.cut.clear();
    }

    fn role(&self, member: usize) -> Role {
        self.nodes[member].machine.as_ref().unwrap().status().role
    }

    /// Of those that can be reached.
    fn leader(&self) -> Option<usize> {
        (0..self.size)
            .filter(|member| !self.cut.contains(member))
            .find(|member| self.nodes[*member].machine.as_ref().is_some_and(Consensus::is_leader))
    }

    fn now(&self) -> Instant {
        self.origin + Duration::from_millis(self.millis)
    }

    fn note(&mut self, what: &impl Hash) {
        let mut hasher = DefaultHasher::new();
        (self.trace, self.millis, what).hash(&mut hasher);
        self.trace = hasher.finish();
        self.events += 1;
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

fn id(member: usize) -> MemberId {
    MemberId::new(member as u64 + 1).unwrap()
}
