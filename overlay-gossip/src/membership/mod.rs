//! The machine: one node's view of its cluster.

mod awareness;
mod broadcast;
mod gossip;
mod hearing;
mod members;
mod merge;
mod probe;
mod push_pull;
mod repair;
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
use self::probe::Probes;
use self::push_pull::{Dialled, Seed};
use self::repair::Repairs;
use self::user::User;
use self::watch::Watches;
use crate::key::Keyring;
use crate::table::{Changes, Tables};
use crate::wire::Decoder;
use crate::wire::WireError;
use crate::wire::message::Message;
use crate::wire::packet::{self, Envelope};
use crate::wire::stream::StreamMessage;
use crate::{
    Action, Config, DialId, Event, Input, Key, Member, MemberState, NetworkId, NodeName, Output, Phase,
    PublishError, Record, Stats, StreamId, Transmit,
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
        let done = self.tables.publish(now, key, phase, value);
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

    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, payload: &[u8]) -> Result<(), InputError> {
        if self.leaving == Leaving::Done {
            return Ok(());
        }
        self.stats.datagrams_in += 1;
        self.stats.bytes_in += u64::try_from(payload.len()).unwrap_or(u64::MAX);
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let mut decoder = std::mem::take(&mut self.decoder);
        let result = self.take_apart(now, from, &mut decoder, payload);
        self.decoder = decoder;
        self.flush_tables(now);
        result.inspect_err(|error| self.stats.count(*error)).map_err(InputError::from)
    }

    /// Handles the messages of a datagram. An error after the first one is counted, and ends it.
    fn take_apart(
        &mut self,
        now: Instant,
        from: SocketAddr,
        decoder: &mut Decoder,
        payload: &[u8],
    ) -> Result<(), WireError> {
        let mut first = true;
        for message in decoder.datagram(&self.envelope, payload)? {
            match message {
                Ok(message) => {
                    if std::mem::take(&mut first) {
                        self.heard_from(now, from);
                    }
                    match Message::parse(message) {
                        Ok(message) => self.handle_message(now, from, message),
                        Err(error) => self.stats.count(error),
                    }
                }
                Err(error) if first => return Err(error),
                Err(error) => self.stats.count(error),
            }
        }
        Ok(())
    }

    fn handle_message(&mut self, now: Instant, from: SocketAddr, message: Message<'_>) {
        match message {
            Message::Ping(ping) => self.on_ping(now, from, &ping),
            Message::IndirectPing(ping) => self.on_indirect_ping(now, from, &ping),
            Message::Ack(ack) => self.on_ack(now, from, &ack),
            Message::Nack { seq } => self.on_nack(seq),
            Message::Suspect(claim) => self.on_suspect(now, &claim),
            Message::Alive(alive) => self.on_alive(now, &alive),
            Message::Dead(claim) => self.on_dead(now, &claim),
            Message::User(body) => self.on_user(now, body),
            Message::Error(_) => self.stats.ignored += 1,
        }
    }

    fn handle_request(
        &mut self,
        now: Instant,
        (id, _from): (StreamId, SocketAddr),
        payload: &[u8],
    ) -> Result<(), InputError> {
        self.stats.streams_in += 1;
        let silent = self.leaving == Leaving::Done;
        let result = if silent { Ok(Answer::Close) } else { self.answer(now, id, payload) };
        let reply = match &result {
            Ok(Answer::Reply(message)) => Some(self.envelope.wrap_stream(message, false, &mut self.rng)),
            Ok(Answer::Hold) => None,
            Ok(Answer::Close) | Err(_) => Some(Bytes::new()),
        };
        if let Some(payload) = reply {
            self.outputs.push_back(Output::Action(Action::Reply { id, payload }));
        }
        self.flush_tables(now);
        result.map(drop).map_err(|error| {
            self.stats.count(error);
            error.into()
        })
    }

    /// What a request gets for an answer, if anything.
    fn answer(&mut self, now: Instant, id: StreamId, payload: &[u8]) -> Result<Answer, WireError> {
        let plain = self.envelope.unwrap_stream(payload, true, self.config.max_stream)?;
        match StreamMessage::parse(&plain, self.config.max_members)? {
            StreamMessage::PushPull(theirs) => {
                let tables = self.shares_tables(theirs.user);
                let reply = self.push_pull_state(false, tables);
                self.merge_push_pull(now, &theirs, false)?;
                Ok(Answer::Reply(reply))
            }
            StreamMessage::Message(Message::Ping(ping)) => Ok(match self.stream_ack(&ping) {
                Some(_) if ping.watch && self.hold(now, id, ping.seq) => Answer::Hold,
                Some(ack) => Answer::Reply(ack),
                None => Answer::Close,
            }),
            StreamMessage::User(body) => {
                self.on_user(now, body);
                Ok(Answer::Close)
            }
            StreamMessage::Message(_) => {
                self.stats.ignored += 1;
                Ok(Answer::Close)
            }
        }
    }

    /// Sends what the tables want to send.
    fn flush_tables(&mut self, now: Instant) {
        while let Some(send) = self.tables.poll_send() {
            let Some(known) = self.members.get(send.to.as_str()) else { continue };
            let (to, vsn) = (known.member.addr, known.member.vsn);
            self.stats.table_messages_out += 1;
            let room = self.config.packet_size.saturating_sub(self.envelope.overhead() + 1);
            if send.body.len() <= room {
                self.transmit(to, &user::user_message(&send.body), vsn.protocol_max >= 5);
            } else {
                self.dial_user(now, to, &send.body);
            }
        }
    }

    /// Wraps and queues a datagram.
    fn transmit(&mut self, to: SocketAddr, message: &[u8], crc: bool) {
        let payload = self.envelope.wrap(message, crc, &mut self.rng);
        self.stats.datagrams_out += 1;
        self.stats.bytes_out += u64::try_from(payload.len()).unwrap_or(u64::MAX);
        self.outputs.push_back(Output::Transmit(Transmit { to, payload }));
    }

    /// Sends messages with as much gossip as fits beside them.
    fn transmit_with_gossip(&mut self, to: SocketAddr, mut messages: Vec<Bytes>, crc: bool) {
        let used: usize = messages.iter().map(|m| m.len() + 2).sum();
        let room = self.config.packet_size.saturating_sub(self.envelope.overhead() + 2 + used);
        messages.append(&mut self.take_gossip(room));
        if !messages.is_empty() {
            self.transmit(to, &packet::compound(&messages), crc);
        }
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}

/// What becomes of a stream that somebody opened.
#[derive(Debug)]
enum Answer {
    Reply(Vec<u8>),
    /// It stays open.
    Hold,
    Close,
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

impl Stats {
    pub(crate) fn count(&mut self, error: WireError) {
        match error {
            WireError::Sealed => self.undecryptable += 1,
            WireError::Label => self.wrong_label += 1,
            WireError::Unknown(_) => self.ignored += 1,
            WireError::Truncated | WireError::Malformed | WireError::Checksum | WireError::Limit => {
                self.malformed += 1;
            }
        }
    }
}

/// Longest metadata of a member in bytes.
pub(crate) const MAX_META: usize = 512;
