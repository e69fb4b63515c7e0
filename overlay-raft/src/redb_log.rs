use std::fmt;
use std::path::Path;

use bytes::Bytes;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::codec::{Take, put_entry, put_hard_state};
use crate::convert::{image, parse_image};
use crate::log::{Entry, Saved};
use crate::output::Persist;
use crate::store::{LogStore, StoreError};

/// A log in one file of `redb`, a copy-on-write B-tree: each save is one transaction and one fsync.
///
/// A file cannot be open twice; the second opener gets an error.
pub struct RedbLog {
    database: Database,
}

impl fmt::Debug for RedbLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbLog").finish_non_exhaustive()
    }
}

impl RedbLog {
    /// Opens `raft.redb` in this directory, which is created if need be.
    ///
    /// # Errors
    ///
    /// The directory cannot be written, another process has the file open, or it is no log.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("raft.redb");
        let open = |reason: String| StoreError::Open { path: path.display().to_string(), reason };
        std::fs::create_dir_all(dir).map_err(|error| open(error.to_string()))?;
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(&path)
            .map_err(|error| open(error.to_string()))?;
        Ok(Self { database })
    }
}

impl LogStore for RedbLog {
    fn load(&mut self) -> Result<Option<Saved>, StoreError> {
        let read = self.database.begin_read().map_err(io)?;
        let meta = match read.open_table(META) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        let Some(hard) = meta.get(HARD).map_err(io)? else { return Ok(None) };
        let hard = Bytes::copy_from_slice(hard.value()).take_hard_state()?;
        let snapshot = match meta.get(SNAPSHOT).map_err(io)? {
            Some(stored) => Some(parse_image(Bytes::copy_from_slice(stored.value()))?),
            None => None,
        };
        let mut entries = Vec::new();
        for row in read.open_table(ENTRIES).map_err(io)?.iter().map_err(io)? {
            let (_, stored) = row.map_err(io)?;
            entries.push(Bytes::copy_from_slice(stored.value()).take_entry()?);
        }
        Ok(Some(Saved { hard, snapshot, entries }))
    }

    fn save(&mut self, batch: &[Persist]) -> Result<(), StoreError> {
        let mut write = self.database.begin_write().map_err(io)?;
        write.set_durability(Durability::Immediate).map_err(io)?;
        save_meta(&write, batch)?;
        save_entries(&write, batch)?;
        write.commit().map_err(io)
    }
}

/// Only the last hard state and snapshot of a batch matter.
fn save_meta(write: &WriteTransaction, batch: &[Persist]) -> Result<(), StoreError> {
    let mut meta = write.open_table(META).map_err(io)?;
    if let Some(last) = batch.last() {
        let mut hard = Vec::new();
        put_hard_state(&mut hard, &last.hard);
        meta.insert(HARD, hard.as_slice()).map_err(io)?;
    }
    if let Some(snapshot) = batch.iter().rev().find_map(|persist| persist.snapshot.as_ref()) {
        meta.insert(SNAPSHOT, &*image(snapshot)).map_err(io)?;
    }
    Ok(())
}

fn save_entries(write: &WriteTransaction, batch: &[Persist]) -> Result<(), StoreError> {
    let mut table = write.open_table(ENTRIES).map_err(io)?;
    let mut bytes = Vec::new();
    for persist in batch {
        if persist.first > 0 {
            table.retain_in(..persist.first, |_, _| false).map_err(io)?;
        }
        let Some(Entry { index: first, .. }) = persist.entries.first() else { continue };
        let stale = table.last().map_err(io)?.is_some_and(|(last, _)| last.value() >= *first);
        if stale {
            table.retain_in(*first.., |_, _| false).map_err(io)?;
        }
        for entry in &persist.entries {
            bytes.clear();
            put_entry(&mut bytes, entry);
            table.insert(entry.index, bytes.as_slice()).map_err(io)?;
        }
    }
    Ok(())
}

fn io(error: impl fmt::Display) -> StoreError {
    StoreError::Io { reason: error.to_string() }
}

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
const HARD: &str = "hard";
const SNAPSHOT: &str = "snapshot";
/// Small: the engine reads from memory, and the file only at the start.
const CACHE_BYTES: usize = 4 << 20;
