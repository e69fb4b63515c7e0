use std::collections::BTreeMap;

use crate::log::{Entry, HardState, Saved, Snapshot};
use crate::output::Persist;

/// Where a member's log lives.
///
/// A crash may undo only what [`save`](Self::save) has not returned from; each `Persist` is there
/// as a whole or not at all, and none without those before it.
pub trait LogStore: Send + 'static {
    /// Reads everything; `None` if nothing was ever saved.
    ///
    /// # Errors
    ///
    /// The store cannot be read, or holds what this version does not understand.
    fn load(&mut self) -> Result<Option<Saved>, StoreError>;

    /// Makes all of these durable, in order; all in one step, so that many cost as much as one.
    ///
    /// # Errors
    ///
    /// Nothing may be relied on after that: the member must stop.
    fn save(&mut self, batch: &[Persist]) -> Result<(), StoreError>;
}

/// The store failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The directory or the file cannot be opened.
    #[error("the log in {path} cannot be opened: {reason}")]
    Open {
        /// The file.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// Reading or writing failed, e.g. because the disk is full.
    #[error("the log cannot be read or written: {reason}")]
    Io {
        /// What the store says.
        reason: String,
    },
    /// What is stored is not what was written, or was written by another version.
    #[error("the stored log is damaged: {0}")]
    Damaged(#[from] crate::DecodeError),
}

/// A log in memory, for simulation; a clone is what a crash would leave of it.
///
/// ```
/// use overlay_raft::{LogStore, MemoryLog, Saved, MemberId};
///
/// let mut log = MemoryLog::from(Saved::founding(MemberId::new(1)?, vec![], bytes::Bytes::new()));
/// assert_eq!(log.load()?.map(|saved| saved.hard.commit), Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    hard: Option<HardState>,
    snapshot: Option<Snapshot>,
    entries: BTreeMap<u64, Entry>,
}

impl From<Saved> for MemoryLog {
    fn from(saved: Saved) -> Self {
        let entries = saved.entries.into_iter().map(|entry| (entry.index, entry)).collect();
        Self { hard: Some(saved.hard), snapshot: saved.snapshot, entries }
    }
}

impl LogStore for MemoryLog {
    fn load(&mut self) -> Result<Option<Saved>, StoreError> {
        let Some(hard) = self.hard else { return Ok(None) };
        let entries = self.entries.values().cloned().collect();
        Ok(Some(Saved { hard, snapshot: self.snapshot.clone(), entries }))
    }

    fn save(&mut self, batch: &[Persist]) -> Result<(), StoreError> {
        for persist in batch {
            self.hard = Some(persist.hard);
            if let Some(snapshot) = &persist.snapshot {
                self.snapshot = Some(snapshot.clone());
            }
            self.entries = self.entries.split_off(&persist.first);
            if let Some(first) = persist.entries.first() {
                self.entries.split_off(&first.index);
            }
            self.entries.extend(persist.entries.iter().map(|entry| (entry.index, entry.clone())));
        }
        Ok(())
    }
}
