//! Replicated tables: what each node says about what it runs, known to all nodes of a network.
//!
//! | module | concern |
//! |---|---|
//! | `own` | the native format |
//! | `networkdb` | Docker's |
//! | `record`, `watch` | what readers get |

mod key;
mod limits;
mod networkdb;
mod own;
mod record;
mod watch;

use std::collections::BTreeSet;
use std::time::Instant;

use bytes::Bytes;
use rand::rngs::StdRng;

pub(crate) use self::own::{hash, is_ours};
pub use self::record::{Phase, PhaseError, Record};
pub use self::watch::{RecordChange, Watch};

use self::key::RowKey;
use self::limits::Limits;
use crate::config::TableFormat;
use crate::membership::{Members, Publish};
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
    /// In [`TableFormat::NetworkDb`], there is one record under each key, and another node that is up has it.
    #[error("{owner} has a record under this key")]
    Taken { owner: NodeName },
    /// In [`TableFormat::NetworkDb`], names have no slash: Docker takes them apart there.
    #[error("a name has no slash: {name}")]
    Slash { name: String },
    /// The agent's task has ended.
    #[error("this node has been shut down")]
    Stopped,
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
    /// By TCP, whatever its size.
    pub(crate) stream: bool,
}

/// The tables of one node, in one of the formats.
#[derive(Debug)]
pub(crate) enum Tables {
    Own(Box<own::Tables>),
    NetworkDb(Box<networkdb::Tables>),
}

/// Does the same with both.
macro_rules! each {
    ($self:expr, $tables:ident => $does:expr) => {
        match $self {
            Tables::Own($tables) => $does,
            Tables::NetworkDb($tables) => $does,
        }
    };
}

impl Tables {
    pub(crate) fn new(config: &Config, now: Instant, rng: StdRng) -> Self {
        match config.table_format {
            TableFormat::Native => Self::Own(Box::new(own::Tables::new(config, now, rng))),
            TableFormat::NetworkDb => Self::NetworkDb(Box::new(networkdb::Tables::new(config, now, rng))),
        }
    }

    pub(crate) fn len(&self) -> usize {
        each!(self, tables => tables.len())
    }

    /// How many records came from others.
    pub(crate) fn taken(&self) -> u64 {
        each!(self, tables => tables.taken())
    }

    /// How many records of others were refused.
    pub(crate) fn refused(&self) -> u64 {
        each!(self, tables => tables.refused())
    }

    pub(crate) fn poll_send(&mut self) -> Option<Send> {
        each!(self, tables => tables.poll_send())
    }

    /// The next message that the membership shall gossip to all members, and whether it is another node's.
    pub(crate) fn poll_broadcast(&mut self) -> Option<(Bytes, bool)> {
        match self {
            Self::Own(_) => None,
            Self::NetworkDb(tables) => tables.poll_broadcast(),
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        each!(self, tables => tables.poll_timeout())
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, members: &Members) {
        each!(self, tables => tables.handle_timeout(now, members));
    }

    /// Takes a message of another node.
    pub(crate) fn handle_message(
        &mut self,
        now: Instant,
        body: &[u8],
        members: &Members,
    ) -> Result<(), WireError> {
        each!(self, tables => tables.handle_message(now, body, members))
    }

    pub(crate) fn join_network(&mut self, now: Instant, network: &NetworkId, members: &Members) {
        each!(self, tables => tables.join_network(now, network, members));
    }

    pub(crate) fn leave_network(&mut self, now: Instant, network: &NetworkId) {
        each!(self, tables => tables.leave_network(now, network));
    }

    pub(crate) fn publish(
        &mut self,
        now: Instant,
        at: Publish<'_>,
        (phase, value): (Phase, Bytes),
        members: &Members,
    ) -> Result<(), PublishError> {
        match self {
            Self::Own(tables) => tables.publish(now, at, (phase, value)),
            Self::NetworkDb(tables) => tables.publish(now, at, (phase, value), members),
        }
    }

    /// The records of a table that are not withdrawn.
    pub(crate) fn records(&self, network: &NetworkId, table: &str, members: &Members) -> Vec<Record> {
        each!(self, tables => tables.records(network, table, members))
    }

    /// Who is attached to a network and up.
    pub(crate) fn peers(&self, network: &NetworkId, members: &Members) -> Vec<NodeName> {
        each!(self, tables => tables.peers(network, members))
    }

    pub(crate) fn networks(&self) -> impl Iterator<Item = &NetworkId> {
        let (own, docker) = match self {
            Self::Own(tables) => (Some(tables.networks()), None),
            Self::NetworkDb(tables) => (None, Some(tables.networks())),
        };
        own.into_iter().flatten().chain(docker.into_iter().flatten())
    }

    pub(crate) fn take_changes(&mut self) -> Changes {
        each!(self, tables => tables.take_changes())
    }

    /// A member came, was lost or left.
    pub(crate) fn owner_changed(
        &mut self,
        now: Instant,
        owner: &NodeName,
        state: MemberState,
        members: &Members,
    ) {
        match self {
            Self::Own(tables) => tables.owner_changed(now, owner, state, members),
            Self::NetworkDb(tables) => tables.owner_changed(now, owner, state),
        }
    }

    /// A member is not remembered any more.
    pub(crate) fn forget_owner(&mut self, owner: &NodeName) {
        each!(self, tables => tables.forget_owner(owner));
    }

    /// Starts a new life of this node, after a goodbye.
    pub(crate) fn renew(&mut self, now: Instant) {
        each!(self, tables => tables.renew(now));
    }

    /// What a full exchange says about the tables, to a node that announces them or not.
    pub(crate) fn state(&self, announced: bool) -> Vec<u8> {
        match self {
            Self::Own(tables) if announced => tables.summary(),
            Self::Own(_) => Vec::new(),
            Self::NetworkDb(tables) => tables.summary(),
        }
    }

    /// This node is about to ask to be let in.
    pub(crate) fn before_join(&mut self) {
        if let Self::NetworkDb(tables) = self {
            tables.before_join();
        }
    }

    /// A seed has answered.
    pub(crate) fn on_joined(&mut self) {
        if let Self::NetworkDb(tables) = self {
            tables.on_joined();
        }
    }

    /// Somebody called this node dead.
    pub(crate) fn called_dead(&mut self, now: Instant, members: &Members) {
        if let Self::NetworkDb(tables) = self {
            tables.called_dead(now, members);
        }
    }

    /// Says goodbye, if that is to be said before the membership's own.
    pub(crate) fn say_leave(&mut self) -> bool {
        match self {
            Self::Own(_) => false,
            Self::NetworkDb(tables) => {
                tables.say_leave();
                true
            }
        }
    }
}
