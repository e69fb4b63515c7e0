//! The part of the log that is held in memory, from the last compaction on: what the engine reads.

use std::collections::VecDeque;

use raft::eraftpb;
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use crate::ResumeError;
use crate::convert::{entry_to_raft, hard_to_raft, image, snapshot_to_raft, voters};
use crate::log::{Saved, Snapshot};

pub(crate) struct Tail {
    initial: RaftState,
    /// Index and term of the last entry that was dropped.
    base: (u64, u64),
    entries: VecDeque<eraftpb::Entry>,
    bytes: usize,
    snapshot: Option<Snapshot>,
}

impl Tail {
    /// Checks that everything fits together, so that the engine need not panic.
    pub(crate) fn new(saved: Saved) -> Result<Self, ResumeError> {
        let fail = |what| Err(ResumeError::Inconsistent { what });
        let Saved { hard, snapshot, entries } = saved;
        let start = snapshot.as_ref().map_or((0, 0), |s| (s.index, s.term));
        let first = entries.first().map_or(start.0 + 1, |e| e.index);
        if first == 0 || first > start.0 + 1 {
            return fail("entries after the snapshot are missing");
        }
        // Where entries reach behind the snapshot, the term before the first one is not known any more.
        let skip = if first == start.0 + 1 { 0 } else { 1 };
        let mut tail = Self {
            initial: RaftState::default(),
            base: if skip == 0 { start } else { entries.first().map_or(start, |e| (e.index, e.term)) },
            entries: VecDeque::new(),
            bytes: 0,
            snapshot: None,
        };
        for entry in entries.iter().skip(skip) {
            if entry.index != tail.last() + 1 || entry.term < tail.last_term() {
                return fail("the entries are not in order");
            }
            tail.push(entry_to_raft(entry));
        }
        if hard.commit < start.0 || hard.commit > tail.last() || hard.term < tail.last_term() {
            return fail("the commit index or the term is out of range");
        }
        if tail.last() < start.0 || (start.0 > 0 && tail.term_at(start.0) != Some(start.1)) {
            return fail("the snapshot contradicts the entries");
        }
        let conf = snapshot.as_ref().map(|s| voters(&s.membership)).unwrap_or_default();
        tail.initial = RaftState::new(hard_to_raft(&hard), conf);
        tail.snapshot = snapshot;
        Ok(tail)
    }

    pub(crate) fn last(&self) -> u64 {
        self.entries.back().map_or(self.base.0, |e| e.index)
    }

    /// Bytes of the commands after this index; what a restart would have to apply again.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// Adds entries, which replace those from the first one's index on.
    pub(crate) fn append(&mut self, entries: &[eraftpb::Entry]) {
        let Some(first) = entries.first() else { return };
        while self.last() >= first.index {
            match self.entries.pop_back() {
                Some(entry) => self.bytes -= entry.data.len(),
                None => break,
            }
        }
        for entry in entries {
            self.push(entry.clone());
        }
    }

    /// A leader's snapshot replaces everything.
    pub(crate) fn replace(&mut self, snapshot: Snapshot) {
        self.base = (snapshot.index, snapshot.term);
        self.entries.clear();
        self.bytes = 0;
        self.snapshot = Some(snapshot);
    }

    /// Keeps our own snapshot and drops entries up to `index`; returns the first one that is left.
    pub(crate) fn compact(&mut self, snapshot: Snapshot, index: u64) -> u64 {
        let until = index.min(snapshot.index);
        self.snapshot = Some(snapshot);
        while self.entries.front().is_some_and(|e| e.index <= until) {
            if let Some(entry) = self.entries.pop_front() {
                self.bytes -= entry.data.len();
                self.base = (entry.index, entry.term);
            }
        }
        self.base.0 + 1
    }

    pub(crate) fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.base.0 { Some(self.base.1) } else { self.at(index).map(|e| e.term) }
    }

    fn at(&self, index: u64) -> Option<&eraftpb::Entry> {
        let position = index.checked_sub(self.base.0 + 1)?;
        self.entries.get(usize::try_from(position).ok()?)
    }

    fn last_term(&self) -> u64 {
        self.entries.back().map_or(self.base.1, |e| e.term)
    }

    fn push(&mut self, entry: eraftpb::Entry) {
        self.bytes += entry.data.len();
        self.entries.push_back(entry);
    }
}

impl Storage for Tail {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.initial.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        if low <= self.base.0 {
            return Err(StorageError::Compacted.into());
        }
        let max = max_size.into().unwrap_or(u64::MAX);
        let (mut found, mut size) = (Vec::new(), 0u64);
        for index in low..high {
            let entry = self.at(index).ok_or(StorageError::Unavailable)?;
            let length = u64::try_from(entry.data.len() + entry.context.len() + 24).unwrap_or(u64::MAX);
            size = size.saturating_add(length);
            if size > max && !found.is_empty() {
                break;
            }
            found.push(entry.clone());
        }
        Ok(found)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        match self.term_at(index) {
            Some(term) => Ok(term),
            None if index < self.base.0 => Err(StorageError::Compacted.into()),
            None => Err(StorageError::Unavailable.into()),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    /// One that its receiver is part of; it refuses others.
    fn snapshot(&self, _: u64, to: u64) -> raft::Result<eraftpb::Snapshot> {
        let unavailable = StorageError::SnapshotTemporarilyUnavailable;
        let knows = |s: &&Snapshot| s.membership.members.keys().any(|id| id.get() == to);
        let snapshot = self.snapshot.as_ref().filter(knows).ok_or(unavailable)?;
        snapshot_to_raft(image(snapshot)).map_err(|_| StorageError::SnapshotTemporarilyUnavailable.into())
    }
}
