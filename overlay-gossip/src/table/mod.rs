//! Replicated tables: each record has one owner, who alone writes it.
//!
//! ```text
//!   publish ─▶ store ─▶ spread: at once to all nodes of the network (to some, if many), which pass it on
//!                └────▶ sync: hashes with a random node per network; rows where they differ
//! ```
//!
//! Attachment is a record itself, in a network without a name that all nodes belong to. So is presence, which a node
//! writes when it finds records of an earlier life of its own while it has none in this one.

mod merge;
mod record;
mod spread;
mod store;
mod sync;
mod watch;
mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;

pub use record::{Phase, PhaseError, Record};
pub(crate) use store::hash;
pub use watch::{RecordChange, Watch};
pub(crate) use wire::is_ours;

use self::spread::Spread;
use self::store::{Row, RowKey, Store};
use self::wire::TableMessage;
use crate::config::Rule;
use crate::membership::{Members, Publish};
use crate::name::MAX_NAME;
use crate::wire::WireError;
use crate::{Config, MemberState, NetworkId, NodeName};

/// Why a record was not published. Nothing has changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum PublishError {
    /// Tables and keys have at most 255 bytes, and a table has at least one.
    #[error("a table has 1 to 255 bytes (not {table}) and a key at most 255 (not {key})")]
    Name { table: usize, key: usize },
    /// The value is longer than [`Config::max_value`].
    #[error("a value has at most {max} bytes, not {len}")]
    Value { len: usize, max: usize },
    /// There are [`Config::max_records`] records.
    #[error("there are {max} records already")]
    Full { max: usize },
    /// A phase goes forward only; withdraw the record to start again.
    #[error("the record is {from}, it cannot become {to}")]
    Backwards { from: Phase, to: Phase },
}

/// What changed since the last look.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// Members or attachments.
    pub members: bool,
    /// Tables, by network and name.
    pub tables: BTreeSet<(NetworkId, String)>,
}

/// A message for another node.
#[derive(Debug)]
pub(crate) struct Send {
    pub(crate) to: NodeName,
    pub(crate) body: Bytes,
}

/// The tables of one node.
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

/// What is known about the lives of an owner.
#[derive(Debug, Default)]
struct Life {
    epoch: u64,
    /// Lives up to this one have ended with a goodbye.
    ended: u64,
    /// When rows of earlier lives vanish.
    retire_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    packet: usize,
    records: usize,
    value: usize,
    tombstone: Duration,
    sync: Duration,
    delay: Duration,
    gossip: Duration,
    fanout: usize,
    retransmit: u32,
    retire: Duration,
}

impl Tables {
    pub(crate) fn new(config: &Config, now: Instant, rng: StdRng) -> Self {
        let limits = Limits {
            // Room for the type byte, checksum, seal and label.
            packet: config.packet_size.saturating_sub(40 + config.label.len()).max(256),
            records: config.max_records,
            value: config.max_value,
            tombstone: config.tombstone,
            sync: config.table_sync_interval,
            delay: config.table_delay,
            gossip: config.gossip_interval,
            fanout: config.gossip_nodes.max(1),
            retransmit: config.retransmit_mult.max(1),
            retire: config.table_retire,
        };
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

    pub(crate) fn len(&self) -> usize {
        self.store.len()
    }

    /// How many records came from others.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// How many records of others were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
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
        phase: Phase,
        value: Bytes,
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

    /// The records of a table that are not withdrawn.
    pub(crate) fn records(&self, network: &NetworkId, table: &str, members: &Members) -> Vec<Record> {
        let mut records = Vec::new();
        for (owner, rows) in self.store.owners(network) {
            let absent = !self.is_present(owner, members);
            let epoch = self.epoch_of(owner);
            for (key, row) in rows.table(table).filter(|(_, row)| row.phase != Phase::Gone) {
                records.push(Record {
                    network: network.clone(),
                    table: table.to_owned(),
                    key: key.key.as_ref().to_owned(),
                    owner: owner.clone(),
                    version: row.version,
                    phase: row.phase,
                    value: row.value.clone(),
                    suspended: absent || row.epoch < epoch,
                });
            }
        }
        records
    }

    /// Who is attached to a network and up.
    pub(crate) fn peers(&self, network: &NetworkId, members: &Members) -> Vec<NodeName> {
        let attached = self.attached.get(network).into_iter().flatten();
        attached.filter(|name| self.is_present(name, members)).cloned().collect()
    }

    pub(crate) fn networks(&self) -> impl Iterator<Item = &NetworkId> {
        self.attached.keys()
    }

    pub(crate) fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// A member came, was lost or left.
    pub(crate) fn owner_changed(
        &mut self,
        now: Instant,
        owner: &NodeName,
        state: MemberState,
        members: &Members,
    ) {
        self.changes.members = true;
        self.touch(owner);
        if *owner == self.me {
            return;
        }
        match state {
            MemberState::Left => {
                if let Some(life) = self.owners.get_mut(owner) {
                    life.ended = life.epoch;
                    life.retire_at = None;
                }
                self.drop_rows(owner);
            }
            MemberState::Alive => {
                // Back after a goodbye: the new life counts whatever its clock says, and nothing of the old is held.
                if let Some(life) = self.owners.get_mut(owner).filter(|life| life.ended != 0) {
                    *life = Life::default();
                }
                self.meet_soon(now, owner, members);
            }
            MemberState::Suspect | MemberState::Dead => {}
        }
    }

    /// A member is not remembered any more.
    pub(crate) fn forget_owner(&mut self, owner: &NodeName) {
        self.drop_rows(owner);
        self.owners.remove(owner);
    }

    /// Starts a new life of this node: all its records get new versions.
    pub(crate) fn renew(&mut self, now: Instant) {
        self.begin_life(now, self.epoch.saturating_add(1).min(MAX_EPOCH), self.version);
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

    fn drop_rows(&mut self, owner: &NodeName) {
        for network in self.store.networks_of(owner) {
            self.remove_where(&network, owner, |_, _| true);
        }
    }

    /// All tables with rows of this owner look different now.
    fn touch(&mut self, owner: &NodeName) {
        for network in self.store.networks_of(owner) {
            if network.as_str().is_empty() {
                self.changes.members = true;
                continue;
            }
            let rows = self.store.owner(&network, owner);
            let tables: BTreeSet<String> =
                rows.into_iter().flat_map(|r| r.rows.keys()).map(|k| k.table.as_ref().to_owned()).collect();
            self.changes.tables.extend(tables.into_iter().map(|table| (network.clone(), table)));
        }
    }

    /// Forgets withdrawn records after their time, and rows of ended lives.
    fn sweep(&mut self, now: Instant, members: &Members) {
        self.next_sweep = now + SWEEP;
        let networks: Vec<NetworkId> = self.store.networks().cloned().collect();
        let keep = self.limits.tombstone;
        for network in networks {
            let owners: Vec<NodeName> = self.store.owners(&network).map(|(owner, _)| owner.clone()).collect();
            for owner in owners {
                let epoch = self.epoch_of(&owner);
                let retire = self.owners.get(&owner).and_then(|l| l.retire_at).is_some_and(|at| at <= now);
                let unknown = members.get(owner.as_str()).is_none();
                self.remove_where(&network, &owner, |_, row| {
                    let age = now.saturating_duration_since(row.changed_at);
                    (row.phase == Phase::Gone && age > keep)
                        || (retire && row.epoch < epoch)
                        || (unknown && age > keep)
                });
            }
        }
        for life in self.owners.values_mut() {
            match life.retire_at {
                Some(at) if at <= now => life.retire_at = None,
                Some(at) => self.next_sweep = self.next_sweep.min(at),
                None => {}
            }
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

    fn is_present(&self, owner: &NodeName, members: &Members) -> bool {
        *owner == self.me || members.is_up(owner.as_str())
    }
}

/// Tables of the network without a name.
const PRESENCE: &str = "presence";
const ATTACHMENT: &str = "attachment";

/// Milliseconds since 1970 for the next 250 years.
const MAX_EPOCH: u64 = (1 << 43) - 1;
/// Versions of a life start above all versions of earlier ones.
const EPOCH_SHIFT: u32 = 20;
const MAX_VERSION: u64 = (1 << 63) - 1;

const SWEEP: Duration = Duration::from_secs(15);
