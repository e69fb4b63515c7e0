//! Docker's NetworkDB as a format of the tables: a node of ours is a member among Docker's.
//!
//! ```text
//!   publish ─▶ store ─▶ gossip: every 200 ms one packet of events to 3 nodes of the network, which pass them on
//!                └────▶ bulk:   all entries of a network and of those who are in it, by stream: on joining it, to
//!                               who appears or comes back, every 30 s with one node, and when there is too much
//!                               to gossip
//!   join_network ─▶ attachments: who is in which network: events by the membership's gossip, and all of it in full
//!                   exchanges
//! ```
//!
//! There is one entry under each key, and the newest by its Lamport time stays. It counts while its owner is in the
//! network. What Docker's own nodes did wrong and this one does not do:
//!
//! - A deletion is made up by nobody: entries of a node that leaves a network are forgotten, not declared deleted. A
//!   deletion with the time of a live entry is taken for made up.
//! - A node is not dropped because another one has its address.
//! - Entries of a lost node stay, suspended, and so do its attachments.
//! - What this node is said to have done, and has not, it corrects with a newer time.
//! - A bulk sync carries the attachments that its entries depend on.
//! - No claim about time leaves none for the truth: beyond 2^63, clocks are moved in steps only.

mod attachments;
mod bulk;
mod entries;
mod gossip;
mod nodes;
mod queue;
mod store;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;

use self::attachments::Mine;
use self::nodes::Node;
use self::queue::Queue;
use self::store::Store;
use super::{Changes, Limits, Phase, PublishError, Record, RowKey, Send};
use crate::lamport::Lamport;
use crate::membership::Members;
use crate::wire::WireError;
use crate::wire::networkdb::Message;
use crate::{Config, NetworkId, NodeName};

/// The tables of one node, in NetworkDB's format.
#[derive(Debug)]
pub(crate) struct Tables {
    me: NodeName,
    rng: StdRng,
    limits: Limits,
    network_clock: Lamport,
    table_clock: Lamport,
    /// The others.
    nodes: BTreeMap<NodeName, Node>,
    /// How many bytes the attachments of `nodes` take in a full exchange.
    state: usize,
    mine: BTreeMap<NetworkId, Mine>,
    attached: BTreeMap<NetworkId, BTreeSet<NodeName>>,
    store: Store,
    queues: BTreeMap<NetworkId, Queue>,
    gossip_at: Option<Instant>,
    last_gossip: Instant,
    next_bulk: Option<Instant>,
    next_sweep: Instant,
    /// Nodes to exchange everything with soon.
    meet: BTreeSet<NodeName>,
    meet_at: Option<Instant>,
    /// Nodes that asked again too soon, and what for.
    owed: BTreeMap<NodeName, BTreeSet<NetworkId>>,
    owed_at: Option<Instant>,
    answered: BTreeMap<NodeName, Instant>,
    /// Since when answers are counted, and how many there were.
    answers: (Instant, usize),
    /// Goodbye was said.
    leaving: bool,
    /// When this node said last that it is here, or that it goes.
    said_here: u64,
    /// When this node last objected to being called dead.
    objected: Option<Instant>,
    sends: VecDeque<Send>,
    /// Messages for all members, and whether they are another node's.
    broadcasts: VecDeque<(Bytes, bool)>,
    changes: Changes,
    taken: u64,
    refused: u64,
}

impl Tables {
    pub(crate) fn new(config: &Config, now: Instant, mut rng: StdRng) -> Self {
        let mut limits = Limits::new(config);
        limits.tombstone = limits.tombstone.max(TOMBSTONE);
        let first = config.push_pull_interval.mul_f64(rand::Rng::random_range(&mut rng, 0.5..1.0));
        Self {
            me: config.name.clone(),
            rng,
            limits,
            network_clock: Lamport::default(),
            table_clock: Lamport::default(),
            nodes: BTreeMap::new(),
            state: 0,
            mine: BTreeMap::new(),
            attached: BTreeMap::new(),
            store: Store::default(),
            queues: BTreeMap::new(),
            gossip_at: None,
            last_gossip: now,
            next_bulk: (!config.push_pull_interval.is_zero()).then(|| now + first),
            next_sweep: now + SWEEP,
            meet: BTreeSet::new(),
            meet_at: None,
            owed: BTreeMap::new(),
            owed_at: None,
            answered: BTreeMap::new(),
            answers: (now, 0),
            leaving: false,
            said_here: 0,
            objected: None,
            sends: VecDeque::new(),
            broadcasts: VecDeque::new(),
            changes: Changes::default(),
            taken: 0,
            refused: 0,
        }
    }

    pub(crate) fn poll_send(&mut self) -> Option<Send> {
        self.sends.pop_front()
    }

    pub(crate) fn poll_broadcast(&mut self) -> Option<(Bytes, bool)> {
        self.broadcasts.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = [self.gossip_at, self.meet_at, self.owed_at, self.next_bulk, Some(self.next_sweep)];
        deadlines.into_iter().flatten().min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, members: &Members) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.gossip_at) {
            self.run_gossip(now, members);
        }
        if due(self.meet_at) {
            self.run_meet(now, members);
        }
        if due(self.owed_at) {
            self.run_owed(now, members);
        }
        if due(self.next_bulk) {
            self.next_bulk = Some(now + self.limits.exchange);
            self.run_bulk(now, members);
        }
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP;
            self.forget_attachments(now, members);
            self.forget_entries(now);
        }
    }

    /// Takes a message of another node.
    pub(crate) fn handle_message(
        &mut self,
        now: Instant,
        body: &[u8],
        members: &Members,
    ) -> Result<(), WireError> {
        self.take(now, body, (false, MAX_DEPTH), members)
    }

    /// Takes a message, which came as part of a bulk sync or not.
    fn take(
        &mut self,
        now: Instant,
        body: &[u8],
        (bulk, depth): (bool, u8),
        members: &Members,
    ) -> Result<(), WireError> {
        let depth = depth.checked_sub(1).ok_or(WireError::Limit)?;
        match Message::parse(body)? {
            Message::Node(event) => self.take_node_event(now, &event, members),
            Message::Network(event) => {
                if self.take_network_event(now, &event, members) {
                    self.broadcasts.push_back((Message::Network(event).to_vec().into(), true));
                }
            }
            Message::Table(event) => self.take_table_event(now, &event, bulk, members),
            Message::PushPull(state) => self.take_state(now, &state, members),
            Message::BulkSync(sync) => {
                let payload = self.take(now, sync.payload, (true, depth), members);
                self.answer_bulk(now, &sync, members);
                payload?;
            }
            Message::Compound(parts) => {
                // One bad part does not spoil the others.
                let mut result = Ok(());
                for part in parts {
                    if let Err(error) = self.take(now, part, (bulk, depth), members) {
                        result = Err(error);
                    }
                }
                result?;
            }
        }
        Ok(())
    }

    fn is_present(&self, owner: &NodeName, members: &Members) -> bool {
        let left = self.nodes.get(owner).is_some_and(|node| node.left);
        *owner == self.me || (!left && members.is_up(owner.as_str()))
    }
}

/// A bulk sync holds a compound, which holds events.
const MAX_DEPTH: u8 = 4;

/// How long a deletion is remembered, at least. 30 min, as Docker: it would come back from who forgets it later.
const TOMBSTONE: Duration = Duration::from_secs(30 * 60);

/// Time between two looks at what may be forgotten. 5 s, as Docker.
const SWEEP: Duration = Duration::from_secs(5);
