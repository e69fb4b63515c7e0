//! The machine: one node's view of its cluster.

mod awareness;
mod broadcast;
mod gossip;
mod hearing;
mod input;
mod members;
mod merge;
mod moved;
mod probe;
mod push_pull;
mod repair;
mod send;
#[cfg(feature = "serf")]
mod serf;
mod snapshot;
mod suspicion;
mod user;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;

pub(crate) use gossip::digits;
pub(crate) use members::{Known, Members};

use self::awareness::Awareness;
use self::broadcast::Broadcasts;
use self::hearing::Hearing;
use self::moved::Moved;
use self::probe::Probes;
use self::push_pull::{Dialled, Seed};
use self::repair::Repairs;
use self::user::User;
use self::watch::Watches;
use crate::key::Keyring;
use crate::table::{Changes, Tables};
use crate::wire::packet::Envelope;
use crate::wire::{Decoder, WireError};
use crate::{
    Config, DialId, Event, Input, Key, Member, MemberState, NetworkId, NodeName, Output, Phase, PublishError,
    Record, Stats, TableFormat, Vsn,
};

/// Membership and tables of one node, without sockets, clock or threads.
///
/// Feed it what happens, then drain [`poll_output`](Self::poll_output) and wake it at
/// [`poll_timeout`](Self::poll_timeout).
///
/// ```
/// use std::time::Instant;
/// use overlay_gossip::{Config, Membership, NodeName, Output, Profile};
///
/// let now = Instant::now();
/// let mut node = Membership::new(Config::new(NodeName::new("a")?, Profile::Lan), now, 7);
/// node.join(now, "127.0.0.1:7947".parse()?);
/// assert!(matches!(node.poll_output(), Some(Output::Action(_)))); // dial the seed
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Membership {
    config: Config,
    rng: StdRng,
    envelope: Envelope,
    members: Members,
    awareness: Awareness,
    broadcasts: Broadcasts,
    probes: Probes,
    suspicions: BTreeSet<(Instant, NodeName)>,
    next_gossip: Instant,
    last_gossip: Instant,
    next_push_pull: Option<Instant>,
    next_reconnect: Option<Instant>,
    hearing: Hearing,
    moved: Moved,
    repairs: Repairs,
    watches: Watches,
    /// Members for a full exchange.
    soon: BTreeSet<(Instant, NodeName)>,
    /// Members to compare with.
    later: BTreeSet<(Instant, NodeName)>,
    dials: BTreeMap<DialId, Dialled>,
    next_dial: u64,
    seeds: BTreeMap<SocketAddr, Seed>,
    leaving: Leaving,
    tables: Tables,
    user: User,
    decoder: Decoder,
    outputs: VecDeque<Output>,
    members_changed: bool,
    stats: Stats,
}

/// Why an input was dropped. Nothing has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The bytes are not a message of this cluster.
    #[error("not a message of this cluster: {0}")]
    Wire(#[from] WireError),
    /// An answer to a question that was not asked, or was given up.
    #[error("nothing of ours is answered by it")]
    Unasked,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Leaving {
    No,
    /// The intent to leave is going round; the goodbye follows at this time at the latest.
    Soon(Instant),
    Until(Instant),
    Done,
}

impl Membership {
    /// A node that is alone. `seed` decides everything that is left to chance; it must be unpredictable and different
    /// for each life of each node if the cluster has keys, since nonces come from it.
    #[must_use]
    pub fn new(mut config: Config, now: Instant, seed: u64) -> Self {
        config.meta.truncate(MAX_META);
        if config.table_format == TableFormat::NetworkDb {
            config.vsn = Vsn::DOCKER;
        }
        config.advertise.set_ip(config.advertise.ip().to_canonical());
        while config.label.len() > 255 {
            config.label.pop();
        }
        let mut rng = StdRng::seed_from_u64(seed);
        let mut members = Members::new(config.name.clone(), now, &mut rng);
        let me = Member {
            name: config.name.clone(),
            addr: config.advertise,
            state: MemberState::Alive,
            incarnation: 1,
            meta: config.meta.clone(),
            vsn: config.vsn,
        };
        members.update(now, Arc::new(me), &mut rng);
        let envelope = Envelope {
            keyring: Keyring::new(&config.keys),
            label: config.label.clone().into_bytes(),
            verify_incoming: config.verify_incoming,
            verify_outgoing: config.verify_outgoing,
            compress: config.compress,
        };
        let mut node = Self {
            probes: Probes::new(now + push_pull::jitter(&mut rng, config.probe_interval)),
            next_gossip: now + push_pull::jitter(&mut rng, config.gossip_interval),
            last_gossip: now,
            next_push_pull: push_pull::after(now, push_pull::jitter(&mut rng, config.push_pull_interval)),
            next_reconnect: push_pull::after(now, config.reconnect_interval),
            tables: Tables::new(&config, now, StdRng::from_rng(&mut rng)),
            awareness: Awareness::new(config.awareness_max),
            broadcasts: Broadcasts::default(),
            suspicions: BTreeSet::new(),
            hearing: Hearing::new(now),
            moved: Moved::default(),
            repairs: Repairs::new(now),
            watches: Watches::default(),
            soon: BTreeSet::new(),
            later: BTreeSet::new(),
            dials: BTreeMap::new(),
            next_dial: 0,
            seeds: BTreeMap::new(),
            leaving: Leaving::No,
            user: User::default(),
            decoder: Decoder::default(),
            outputs: VecDeque::new(),
            members_changed: true,
            stats: Stats::default(),
            config,
            rng,
            envelope,
            members,
        };
        node.announce();
        node
    }

    /// Takes what arrived.
    ///
    /// # Errors
    ///
    /// [`InputError`] when the sender is wrong; it is counted and changes nothing. A datagram of several messages may
    /// be good in parts: the bad ones are counted and no error.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) -> Result<(), InputError> {
        match input {
            Input::Datagram { from, payload } => self.handle_datagram(now, from, payload),
            Input::Request { id, from, payload } => self.handle_request(now, (id, from), payload),
            Input::Replied { id, payload } => self.handle_replied(now, id, payload),
            Input::DialFailed { id, failure } => self.handle_dial_failed(now, id, failure),
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Leaving::Soon(at) = self.leaving
            && (now >= at || self.user.queue.is_empty() || self.members.up() <= 1)
        {
            self.leaving = Leaving::Until(now + self.config.leave_timeout);
            self.say_goodbye(now);
        }
        if let Leaving::Until(end) = self.leaving
            && (now >= end || self.broadcasts.is_empty() || self.members.up() == 0)
        {
            self.leaving = Leaving::Done;
            self.release_watchers(now, true);
            self.outputs.push_back(Output::Event(Event::Left));
        }
        if self.leaving != Leaving::Done {
            self.run_probes(now);
            self.run_suspicions(now);
            self.run_user(now);
            self.run_gossip(now);
            self.run_push_pull(now);
            self.release_watchers(now, false);
            self.tables.handle_timeout(now, &self.members);
            self.flush_tables(now);
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.leaving == Leaving::Done {
            return None;
        }
        let leaving = match self.leaving {
            Leaving::Soon(end) | Leaving::Until(end) => Some(end),
            Leaving::No | Leaving::Done => None,
        };
        let gossip = self.has_gossip().then_some(self.next_gossip);
        let deadlines = [
            leaving,
            gossip,
            self.probes.poll_timeout(self.members.len() > 1),
            self.suspicions.first().map(|(at, _)| *at),
            self.next_push_pull,
            self.next_reconnect,
            self.soon.first().map(|(at, _)| *at),
            self.later.first().map(|(at, _)| *at),
            self.next_release(),
            self.tables.poll_timeout(),
            self.user_due(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Asks a member of the cluster to let this node in. Tried again until it answers once.
    pub fn join(&mut self, now: Instant, peer: SocketAddr) {
        if self.leaving != Leaving::No {
            self.leaving = Leaving::No;
            self.rejoin(now);
        }
        self.add_seed(now, peer);
    }

    /// Says goodbye. [`Event::Left`] follows when the word has gone round, or after
    /// [`Config::leave_timeout`].
    pub fn leave(&mut self, now: Instant) {
        if self.leaving != Leaving::No {
            return;
        }
        let end = now + self.config.leave_timeout;
        if self.send_leave_intent(now) {
            self.leaving = Leaving::Soon(end);
            self.next_gossip = now;
        } else {
            self.leaving = Leaving::Until(end);
            self.say_goodbye(now);
        }
    }

    /// Whether this node has left and is silent.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.leaving == Leaving::Done
    }

    /// Attaches this node to a network: its tables are replicated here from now on.
    pub fn join_network(&mut self, now: Instant, network: &NetworkId) {
        self.tables.join_network(now, network, &self.members);
        self.flush_tables(now);
    }

    /// Detaches this node: withdraws its records there and forgets those of others.
    pub fn leave_network(&mut self, now: Instant, network: &NetworkId) {
        self.tables.leave_network(now, network);
        self.flush_tables(now);
    }

    /// Creates or changes a record of this node's own; [`Phase::Gone`] withdraws it. Joins the network if need be.
    ///
    /// # Errors
    ///
    /// [`PublishError`] when a limit is exceeded, or the phase would go backwards.
    pub fn publish(
        &mut self,
        now: Instant,
        key: Publish<'_>,
        phase: Phase,
        value: Bytes,
    ) -> Result<(), PublishError> {
        let done = self.tables.publish(now, key, (phase, value), &self.members);
        self.flush_tables(now);
        if done.is_err() {
            self.stats.records_refused += 1;
        }
        done
    }

    /// Uses other keys from now on: the first seals, all open.
    pub fn set_keys(&mut self, keys: Vec<Key>) {
        self.envelope.keyring = Keyring::new(&keys);
        self.config.keys = keys;
    }

    /// Changes what this node says about itself; cut off after 512 bytes.
    pub fn set_meta(&mut self, now: Instant, mut meta: Bytes) {
        meta.truncate(MAX_META);
        self.config.meta = meta;
        self.reannounce(now);
    }

    /// Takes evidence from outside that a member's process is gone, as if its host had refused a connection of this
    /// node's. The member can object.
    pub fn report_refused(&mut self, now: Instant, name: &NodeName) {
        self.suspect_refused(now, name);
    }

    /// Everybody known, this node included, by name.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        let mut all: Vec<&Member> = self.members.iter().map(|known| &*known.member).collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all.into_iter()
    }

    /// One member.
    #[must_use]
    pub fn member(&self, name: &NodeName) -> Option<&Member> {
        self.members.get(name.as_str()).map(|known| &*known.member)
    }

    /// The records of a table, in order of owner and key, without withdrawn ones.
    #[must_use]
    pub fn records(&self, network: &NetworkId, table: &str) -> Vec<Record> {
        self.tables.records(network, table, &self.members)
    }

    /// The nodes that are attached to a network and up, by name; this node included if it is attached.
    #[must_use]
    pub fn peers(&self, network: &NetworkId) -> Vec<NodeName> {
        self.tables.peers(network, &self.members)
    }

    /// Networks with attached nodes.
    pub fn networks(&self) -> impl Iterator<Item = &NetworkId> {
        self.tables.networks()
    }

    /// What changed since the last call: members or attachments, and tables.
    pub fn take_changes(&mut self) -> Changes {
        let mut changes = self.tables.take_changes();
        changes.members |= std::mem::take(&mut self.members_changed);
        changes
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            health: self.awareness.score(),
            members_up: self.members.up(),
            queue: self.broadcasts.len(),
            records: self.tables.len(),
            records_in: self.tables.taken(),
            records_refused: self.stats.records_refused + self.tables.refused(),
            ..self.stats
        }
    }
}

/// Names a record of this node's own.
#[derive(Clone, Copy, Debug)]
pub struct Publish<'a> {
    /// The network.
    pub network: &'a NetworkId,
    /// The table in it; 1 to 255 bytes.
    pub table: &'a str,
    /// The key in that; at most 255 bytes.
    pub key: &'a str,
}

/// Longest metadata of a member in bytes.
pub(crate) const MAX_META: usize = 512;
