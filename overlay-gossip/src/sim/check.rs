//! What must hold at each step, whatever happens.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::World;
use crate::{MemberState, NetworkId, NodeName, Phase, Record};

/// A rule that was broken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// Where.
    pub node: usize,
    /// When.
    pub at: Duration,
    /// What.
    pub what: String,
}

/// What the checks remember.
#[derive(Debug, Default)]
pub(super) struct Checks {
    violations: Vec<Violation>,
    /// Incarnation of each node in this life, and the highest it ever had.
    incarnations: Vec<(u32, u32)>,
    /// The incarnation with which a node was declared dead, by observer and subject.
    deaths: BTreeMap<(usize, usize), u32>,
    /// What owners have written.
    written: BTreeMap<Key, BTreeMap<u64, (Phase, bytes::Bytes)>>,
    /// The version that an observer has seen last.
    seen: BTreeMap<(usize, Key), u64>,
}

type Key = (NodeName, NetworkId, String, String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{} {} at {:?}", self.node, self.what, self.at)
    }
}

impl Checks {
    pub(super) fn add(&mut self) {
        self.incarnations.push((0, 0));
    }

    pub(super) fn start(&mut self, i: usize) {
        self.incarnations[i].0 = 0;
        self.deaths.retain(|(observer, _), _| *observer != i);
        self.seen.retain(|(observer, _), _| *observer != i);
    }
}

impl World {
    /// Rules that were broken so far.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.checks.violations
    }

    pub(super) fn violation(&mut self, node: usize, what: impl Into<String>) {
        if self.checks.violations.len() < MOST {
            let at = self.elapsed();
            self.checks.violations.push(Violation { node, at, what: what.into() });
        }
    }

    pub(super) fn check_datagram(&mut self, i: usize, len: usize) {
        if len > self.config.packet_size {
            self.violation(i, format!("sends a datagram of {len} bytes"));
        }
    }

    /// After each step of a node.
    pub(super) fn check(&mut self, i: usize) {
        let Some(machine) = &mut self.nodes[i].machine else { return };
        let changes = machine.take_changes();
        let (queue, members) = (machine.queue_len(), machine.members_len());
        let contradicts = self.views.len() <= FEW && machine.queue_contradicts();
        let (incarnation, state) = machine.own_state();
        let (last, highest) = &mut self.checks.incarnations[i];
        let back = incarnation < *last;
        *last = incarnation;
        *highest = (*highest).max(incarnation);
        if back {
            self.violation(i, "lowers its own incarnation");
        }
        if !state.is_up() && state != MemberState::Left {
            self.violation(i, "believes itself dead");
        }
        // At most its own kind of news, and a few suspicions, of each member.
        if queue > 4 * members + 64 {
            self.violation(i, format!("queues {queue} messages about {members} members"));
        }
        if contradicts {
            self.violation(i, "says different things about one member");
        }
        for (network, table) in changes.tables {
            self.check_table(i, &network, &table);
        }
    }

    /// After an event about a member.
    pub(super) fn check_view(&mut self, i: usize, subject: usize, name: &NodeName, up: Option<bool>) {
        let Some(member) = self.machine(i).and_then(|machine| machine.member(name)) else { return };
        let (incarnation, addr, state) = (member.incarnation, member.addr, member.state);
        if !self.hostile
            && incarnation > self.checks.incarnations[subject].1.max(1)
            && addr == self.nodes[subject].addr
        {
            self.violation(i, format!("believes in an incarnation that {name} never had"));
        }
        match up {
            Some(false) => drop(self.checks.deaths.insert((i, subject), incarnation)),
            Some(true) if state.is_up() => {
                let died = self.checks.deaths.remove(&(i, subject));
                if died.is_some_and(|died| incarnation <= died) && self.nodes[subject].lives == 1 {
                    self.violation(i, format!("revives {name} without news of it"));
                }
            }
            Some(true) | None => {}
        }
    }

    /// Records are what their owners wrote, and never get older.
    fn check_table(&mut self, i: usize, network: &NetworkId, table: &str) {
        let Some(machine) = self.machine(i) else { return };
        let me = super::name(i);
        let records = machine.records(network, table);
        for record in records {
            let Record { network, table, key, owner, version, phase, value, .. } = record;
            let mine = owner == me;
            let key: Key = (owner, network, table, key);
            if mine {
                self.checks.written.entry(key.clone()).or_default().insert(version, (phase, value));
            } else if let Some(what) = self.judge(&key, version, phase, &value) {
                self.violation(i, format!("{what}: {}/{} of {}", key.2, key.3, key.0));
            }
            let old = self.checks.seen.insert((i, key.clone()), version);
            if old.is_some_and(|old| old > version) {
                self.violation(i, format!("goes back to an old version of {}/{} of {}", key.2, key.3, key.0));
            }
        }
    }

    fn judge(&self, key: &Key, version: u64, phase: Phase, value: &[u8]) -> Option<&'static str> {
        match self.checks.written.get(key).and_then(|versions| versions.get(&version)) {
            Some((p, v)) if *p == phase && v == value => None,
            Some(_) => Some("holds something else than the owner wrote"),
            None => Some("holds something that the owner never wrote"),
        }
    }
}

/// Enough to see what is wrong.
const MOST: usize = 50;

/// Checks that take longer are made in worlds of so many nodes.
const FEW: usize = 32;
