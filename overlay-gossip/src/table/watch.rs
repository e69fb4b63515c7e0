//! Seeing a table change, one record at a time.

use std::collections::BTreeMap;

use crate::{NetworkId, NodeName, Record};

/// Follows one table: turns snapshots into what has changed between them, so that whoever replays the changes holds
/// what the last snapshot holds, whatever was missed in between.
///
/// ```
/// use overlay_gossip::{NetworkId, RecordChange, Watch};
///
/// let web = NetworkId::new("web")?;
/// let mut watch = Watch::new(&web, "endpoints");
/// # let records = Vec::new();
/// for change in watch.follow(records) {
///     match change {
///         RecordChange::Appeared(record) => println!("+ {}", record.key),
///         RecordChange::Changed { was, is } => println!("{}: {} is {} now", is.key, was.phase, is.phase),
///         RecordChange::Vanished(record) => println!("- {}", record.key),
///     }
/// }
/// # Ok::<(), overlay_gossip::NameError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Watch {
    network: NetworkId,
    table: String,
    held: BTreeMap<(NodeName, String), Record>,
}

/// A step from one snapshot of a table to the next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RecordChange {
    /// There was none under this owner and key.
    Appeared(Record),
    /// Its content, phase, version or suspension is another one.
    Changed {
        /// Before.
        was: Record,
        /// Now.
        is: Record,
    },
    /// It was withdrawn, or its owner is gone for good.
    Vanished(Record),
}

impl Watch {
    /// Holds nothing yet: the first snapshot appears as a whole.
    #[must_use]
    pub fn new(network: &NetworkId, table: &str) -> Self {
        Self { network: network.clone(), table: table.to_owned(), held: BTreeMap::new() }
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &NetworkId {
        &self.network
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The records of the last snapshot, in order of owner and key.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.held.values()
    }

    /// What has changed, in order of owner and key: vanished ones first. Records of other tables are passed over.
    pub fn follow(&mut self, snapshot: impl IntoIterator<Item = Record>) -> Vec<RecordChange> {
        let mut fresh = BTreeMap::new();
        for record in snapshot {
            if record.network == self.network && record.table == self.table {
                fresh.insert((record.owner.clone(), record.key.clone()), record);
            }
        }
        let mut old = std::mem::replace(&mut self.held, fresh);
        let mut changes = Vec::new();
        for (key, is) in &self.held {
            match old.remove(key) {
                None => changes.push(RecordChange::Appeared(is.clone())),
                Some(was) if was != *is => changes.push(RecordChange::Changed { was, is: is.clone() }),
                Some(_) => {}
            }
        }
        let mut all: Vec<RecordChange> = old.into_values().map(RecordChange::Vanished).collect();
        all.append(&mut changes);
        all
    }
}
