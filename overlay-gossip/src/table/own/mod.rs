//! The native tables: each record has one owner, who alone writes it.
//!
//! ```text
//!   publish ─▶ store ─▶ spread: at once to all nodes of the network (to some, if many), which pass it on
//!                └────▶ sync: hashes with a random node per network; rows where they differ
//! ```
//!
//! Attachment is a record itself, in a network without a name that all nodes belong to. So is presence, which a node
//! writes when it finds records of an earlier life of its own while it has none in this one.

mod lives;
mod merge;
mod spread;
mod store;
mod sync;
mod view;
mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;

use self::lives::Life;
use self::spread::Spread;
pub(crate) use self::store::hash;
use self::store::{Row, Store};
use self::wire::TableMessage;
pub(crate) use self::wire::is_ours;
use super::{Changes, Limits, Phase, PublishError, Record, RowKey, Send};
use crate::config::Rule;
use crate::membership::{Members, Publish};
use crate::name::MAX_NAME;
use crate::wire::WireError;
use crate::{Config, NetworkId, NodeName};

/// The tables of one node, in the native format.
#[derive(Debug)]
pub(crate) struct Tables {
    me: NodeName,
    rng: StdRng,
    epoch: u64,
    version: u64,
    store: Store,
    joined: BTreeSet<NetworkId>,
    attached: BTreeMap<NetworkId, BTreeSet<NodeName>>,
    owners: BTreeMap<NodeName, Life>,
    spread: Spread,
    sends: VecDeque<Send>,
    next_sync: Instant,
    next_sweep: Instant,
    /// Nodes to compare with soon.
    meet: BTreeSet<NodeName>,
    meet_at: Option<Instant>,
    changes: Changes,
    limits: Limits,
    #[cfg(feature = "sim")]
    broken: Option<Rule>,
    taken: u64,
    refused: u64,
}

impl Tables {
    pub(crate) fn new(config: &Config, now: Instant, rng: StdRng) -> Self {
        let limits = Limits::new(config);
        let epoch = config.boot.clamp(1, MAX_EPOCH);
        Self {
            me: config.name.clone(),
            rng,
            epoch,
            version: epoch << EPOCH_SHIFT,
            store: Store::default(),
            joined: BTreeSet::from([NetworkId::cluster()]),
            attached: BTreeMap::new(),
            owners: BTreeMap::new(),
            spread: Spread::default(),
            sends: VecDeque::new(),
            next_sync: now + config.table_sync_interval,
            next_sweep: now + SWEEP,
            meet: BTreeSet::new(),
            meet_at: None,
            changes: Changes::default(),
            limits,
            #[cfg(feature = "sim")]
            broken: config.broken,
            taken: 0,
            refused: 0,
        }
    }

    pub(crate) fn poll_send(&mut self) -> Option<Send> {
        self.sends.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        [self.spread.due(), self.meet_at, Some(self.next_sync), Some(self.next_sweep)]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, members: &Members) {
        if self.spread.due().is_some_and(|at| at <= now) {
            self.run_spread(now, members);
        }
        if self.meet_at.is_some_and(|at| at <= now) {
            self.run_meet(members);
        }
        if now >= self.next_sync {
            self.next_sync = now + self.limits.sync;
            if !self.breaks(Rule::TablesSync) {
                self.run_sync(members);
            }
        }
        if now >= self.next_sweep {
            self.sweep(now, members);
        }
    }

    pub(crate) fn join_network(&mut self, now: Instant, network: &NetworkId, members: &Members) {
        if !self.joined.insert(network.clone()) {
            return;
        }
        let key = RowKey::new(ATTACHMENT, network.as_str());
        self.write(now, &NetworkId::cluster(), key, (Phase::Ready, Bytes::new()));
        self.pull(network, members);
    }

    pub(crate) fn leave_network(&mut self, now: Instant, network: &NetworkId) {
        if !self.joined.contains(network) {
            return;
        }
        let me = self.me.clone();
        let mine: Vec<RowKey> = self
            .store
            .owner(network, &me)
            .into_iter()
            .flat_map(|rows| rows.rows.iter().filter(|(_, row)| row.phase != Phase::Gone))
            .map(|(key, _)| key.clone())
            .collect();
        for key in mine {
            self.write(now, network, key, (Phase::Gone, Bytes::new()));
        }
        let key = RowKey::new(ATTACHMENT, network.as_str());
        self.write(now, &NetworkId::cluster(), key, (Phase::Gone, Bytes::new()));
        self.joined.remove(network);
        let others: Vec<NodeName> =
            self.store.owners(network).map(|(owner, _)| owner.clone()).filter(|o| *o != me).collect();
        for owner in others {
            self.remove_where(network, &owner, |_, _| true);
        }
    }

    pub(crate) fn publish(
        &mut self,
        now: Instant,
        at: Publish<'_>,
        (phase, value): (Phase, Bytes),
    ) -> Result<(), PublishError> {
        let (table, key) = (at.table.len(), at.key.len());
        if table == 0 || table > MAX_NAME || key > MAX_NAME {
            return Err(PublishError::Name { table, key });
        }
        if value.len() > self.limits.value {
            return Err(PublishError::Value { len: value.len(), max: self.limits.value });
        }
        let key = RowKey::new(at.table, at.key);
        match self.store.get(at.network, &self.me, &key) {
            Some(row) if row.phase == Phase::Gone && phase == Phase::Gone => return Ok(()),
            Some(row) if row.phase != Phase::Gone && phase < row.phase => {
                return Err(PublishError::Backwards { from: row.phase, to: phase });
            }
            Some(row) if row.phase == phase && row.value == value => return Ok(()),
            Some(_) => {}
            None if phase == Phase::Gone => return Ok(()),
            None if self.store.len() >= self.limits.records => {
                return Err(PublishError::Full { max: self.limits.records });
            }
            None => {}
        }
        if self.joined.insert(at.network.clone()) {
            let key = RowKey::new(ATTACHMENT, at.network.as_str());
            self.write(now, &NetworkId::cluster(), key, (Phase::Ready, Bytes::new()));
        }
        let value = if phase == Phase::Gone { Bytes::new() } else { value };
        self.write(now, at.network, key, (phase, value));
        Ok(())
    }

    /// Takes a message of another node.
    pub(crate) fn handle_message(
        &mut self,
        now: Instant,
        body: &[u8],
        members: &Members,
    ) -> Result<(), WireError> {
        if !is_ours(body) {
            return Err(WireError::Unknown(body.first().copied().unwrap_or(0)));
        }
        let (from, message) = wire::parse(body)?;
        if from == self.me {
            return Ok(());
        }
        match message {
            TableMessage::Rows(groups) => {
                for group in groups {
                    self.take_group(now, group, members);
                }
            }
            TableMessage::Summary(theirs) => self.on_summary(&from, &theirs),
            TableMessage::Digest { ask, networks } => self.on_digest(&from, ask, &networks),
        }
        Ok(())
    }

    /// Writes a record of this node's own.
    fn write(&mut self, now: Instant, network: &NetworkId, key: RowKey, (phase, value): (Phase, Bytes)) {
        self.version += 1;
        let me = self.me.clone();
        let row = Row { epoch: self.epoch, version: self.version, phase, value, changed_at: now };
        self.note(network, &me, &key, phase);
        let pace = spread::Pace { delay: self.limits.delay, interval: self.limits.gossip, relay: false };
        self.store.put(network, &me, key.clone(), row);
        self.spread.add((network.clone(), me, key), now, &pace);
    }

    /// Keeps account of changes and attachments; says whether a node got attached to a network of ours.
    fn note(&mut self, network: &NetworkId, owner: &NodeName, key: &RowKey, phase: Phase) -> bool {
        if !network.as_str().is_empty() {
            self.changes.tables.insert((network.clone(), key.table.as_ref().to_owned()));
            return false;
        }
        self.changes.members = true;
        if &*key.table != ATTACHMENT {
            return false;
        }
        let Ok(attached) = NetworkId::new(&*key.key) else { return false };
        if phase == Phase::Gone {
            self.detach(&attached, owner);
            return false;
        }
        let ours = self.joined.contains(&attached) && *owner != self.me;
        self.attached.entry(attached).or_default().insert(owner.clone()) && ours
    }

    fn detach(&mut self, network: &NetworkId, owner: &NodeName) {
        if let Some(nodes) = self.attached.get_mut(network) {
            nodes.remove(owner);
            if nodes.is_empty() {
                self.attached.remove(network);
            }
        }
    }

    fn remove_where(
        &mut self,
        network: &NetworkId,
        owner: &NodeName,
        gone: impl FnMut(&RowKey, &Row) -> bool,
    ) {
        for key in self.store.remove_where(network, owner, gone) {
            self.note(network, owner, &key, Phase::Gone);
        }
    }

    #[cfg(feature = "sim")]
    fn breaks(&self, rule: Rule) -> bool {
        self.broken == Some(rule)
    }

    #[cfg(not(feature = "sim"))]
    #[expect(clippy::unused_self, reason = "never, outside of simulations")]
    fn breaks(&self, _rule: Rule) -> bool {
        false
    }

    fn epoch_of(&self, owner: &NodeName) -> u64 {
        if *owner == self.me { self.epoch } else { self.owners.get(owner).map_or(0, |life| life.epoch) }
    }
}

/// Tables of the network without a name.
const PRESENCE: &str = "presence";
const ATTACHMENT: &str = "attachment";

/// The largest version of a life. No owner gets so far; somebody may say that it did.
const fn most_version(epoch: u64) -> u64 {
    (epoch << EPOCH_SHIFT) + (1 << 42)
}

/// The latest life. Its largest version has 63 bits, as many as travel.
const MAX_EPOCH: u64 = (1 << 43) - (1 << 22) - 1;
/// The latest life that a clock gives: in milliseconds since 1970, the year 2109.
const FAR_EPOCH: u64 = 1 << 42;
/// How much later than that, or than the last one known, a life may be. So no claim about an owner is the last word.
const STEP: u64 = 1 << 20;
/// Versions of a life start above all versions of earlier ones.
const EPOCH_SHIFT: u32 = 20;

const SWEEP: Duration = Duration::from_secs(15);
