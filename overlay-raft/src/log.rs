//! What is kept: entries, snapshots and the vote, as plain types.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::MemberId;

/// One place of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its position; the first one of a cluster is 2, as 1 is the founding snapshot.
    pub index: u64,
    /// The term of the leader that wrote it.
    pub term: u64,
    /// What it says.
    pub payload: Payload,
}

/// What an entry says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Payload {
    /// Nothing: a leader's first entry.
    Empty,
    /// A command for the state machine.
    Command(Bytes),
    /// A change of the members.
    Change(MemberChange),
}

/// One change of the members; they happen one after another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MemberChange {
    /// Adds a voter, or replaces the context of one that is there.
    Add {
        /// Its number, which must never have been removed.
        id: MemberId,
        /// Whatever the caller wants to know about it, e.g. its address.
        context: Vec<u8>,
    },
    /// Removes a voter for good.
    Remove {
        /// Its number, never to be used again.
        id: MemberId,
    },
}

/// Who belongs to the cluster, and who did once.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Membership {
    /// The voters and their context bytes.
    pub members: BTreeMap<MemberId, Vec<u8>>,
    /// The numbers that must not be added again.
    pub removed: BTreeSet<MemberId>,
}

impl Membership {
    pub(crate) fn change(&mut self, change: &MemberChange) {
        match change {
            MemberChange::Add { id, context } => {
                self.members.insert(*id, context.clone());
            }
            MemberChange::Remove { id } => {
                self.members.remove(id);
                self.removed.insert(*id);
            }
        }
    }
}

/// The state of everything up to an index, which replaces the log up to there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Snapshot {
    /// The last entry that it contains.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
    /// The members at that index.
    pub membership: Membership,
    /// The state machine's bytes.
    pub data: Bytes,
}

/// What a member must not forget even without any entry.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct HardState {
    /// The latest term that it has seen.
    pub term: u64,
    /// Whom it voted for in that term.
    pub vote: Option<MemberId>,
    /// What it knows to be committed; may lag behind.
    pub commit: u64,
}

/// Everything that a [`LogStore`](crate::LogStore) holds of one member.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Saved {
    /// Term, vote and commit index.
    pub hard: HardState,
    /// The latest snapshot; `None` for a member that was never given one.
    pub snapshot: Option<Snapshot>,
    /// The entries in order, some of which the snapshot may contain already.
    pub entries: Vec<Entry>,
}

impl Saved {
    /// The beginning of a cluster: one member, and the state machine's first snapshot at index 1.
    #[must_use]
    pub fn founding(id: MemberId, context: Vec<u8>, data: Bytes) -> Self {
        let membership = Membership { members: BTreeMap::from([(id, context)]), removed: BTreeSet::new() };
        let snapshot = Snapshot { index: 1, term: 1, membership, data };
        let hard = HardState { term: 1, vote: None, commit: 1 };
        Self { hard, snapshot: Some(snapshot), entries: Vec::new() }
    }
}

/// The largest snapshot, 64 MiB.
pub const MAX_SNAPSHOT: usize = 64 << 20;
/// The largest command, 1.5 MiB as SwarmKit.
pub const MAX_COMMAND: usize = 3 << 19;
/// The largest context of a member, 4 KiB.
pub const MAX_CONTEXT: usize = 4096;
