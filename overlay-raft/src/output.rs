use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::log::{Entry, HardState, MemberChange, Snapshot};
use crate::{MemberId, Refusal};

/// What the world tells the machine.
#[derive(Debug)]
pub enum Input {
    /// Bytes of a peer; may be anything.
    Message(Bytes),
    /// Please commit this command, at most [`MAX_COMMAND`](crate::MAX_COMMAND) bytes.
    Proposal {
        /// Comes back with the answer.
        id: ProposalId,
        /// Opaque.
        command: Bytes,
    },
    /// Please commit this change of the members; they queue up.
    Change {
        /// Comes back with the answer.
        id: ProposalId,
        /// What is to change.
        change: MemberChange,
    },
    /// Which index must be applied so that a read sees everything that is acknowledged by now?
    Read {
        /// Comes back with the answer.
        id: ProposalId,
    },
    /// Please hand the leadership to this member.
    Transfer {
        /// The next leader.
        to: MemberId,
    },
    /// The transport could not deliver to this member.
    Unreachable {
        /// To whom.
        member: MemberId,
    },
    /// Everything up to this [`Persist`] is durable.
    Persisted {
        /// The last one.
        id: PersistId,
    },
    /// The answer to [`Action::TakeSnapshot`].
    SnapshotTaken {
        /// The index that was asked for.
        index: u64,
        /// The state machine's bytes at that index.
        data: Bytes,
    },
}

/// A number that the caller gives a proposal or a read.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ProposalId(pub u64);

/// The number of a [`Persist`]; they grow.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PersistId(pub u64);

/// What the machine tells the world. The order matters: carry them out one after another.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes; they may be lost.
    Transmit(Transmit),
    /// Something happened.
    Event(Event),
    /// Must be done.
    Action(Action),
}

/// Bytes for another member.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transmit {
    /// To whom.
    pub to: MemberId,
    /// One message.
    pub message: Bytes,
}

/// A fact.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// Another leader or another term.
    LeaderChanged {
        /// The term.
        term: u64,
        /// `None` while an election goes on.
        leader: Option<MemberId>,
    },
    /// A proposal or read will not be answered otherwise.
    Refused {
        /// Which.
        id: ProposalId,
        /// Why.
        why: Refusal,
    },
    /// A read may be answered as soon as `index` is applied.
    ReadConfirmed {
        /// Which.
        id: ProposalId,
        /// Apply up to here first.
        index: u64,
    },
    /// This member has been removed from the cluster, and does nothing any more.
    Removed,
    /// The state machine's snapshot is over the limit; the log grows until one fits.
    SnapshotTooLarge {
        /// Its size in bytes.
        len: usize,
    },
}

/// A request that must be carried out, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Make this durable, then answer with [`Input::Persisted`]; several may be done together.
    Persist(Persist),
    /// Apply this command to the state machine.
    Apply {
        /// Its index.
        index: u64,
        /// Opaque.
        command: Bytes,
        /// Who waits for the result here.
        proposal: Option<ProposalId>,
    },
    /// Tell the state machine that the members changed.
    ChangeMembers {
        /// The index of the change.
        index: u64,
        /// All members and their context bytes.
        members: BTreeMap<MemberId, Vec<u8>>,
        /// Who waits for the result here.
        proposal: Option<ProposalId>,
    },
    /// Replace the state machine's state.
    Restore(Snapshot),
    /// Serialise the state machine's state now, and answer with [`Input::SnapshotTaken`].
    TakeSnapshot {
        /// The last applied index.
        index: u64,
    },
}

/// What must be durable before the machine goes on; one atomic step.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Persist {
    /// Answer with it.
    pub id: PersistId,
    /// Replaces the stored one.
    pub hard: HardState,
    /// Replaces the stored one.
    pub snapshot: Option<Snapshot>,
    /// Drop stored entries before this index; `u64::MAX`: all of them.
    pub first: u64,
    /// Replace all stored entries from the first one's index on.
    pub entries: Vec<Entry>,
}

/// What a member is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// It decides what is appended.
    Leader,
    /// It follows a leader, or waits for one.
    Follower,
    /// It stands for election.
    Candidate,
    /// It has no vote (yet): nobody added it, or it has not heard of that.
    Learner,
    /// It was removed for good.
    Removed,
}

/// A member's view of the cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Status {
    /// This member.
    pub id: MemberId,
    /// The latest term.
    pub term: u64,
    /// What this member is.
    pub role: Role,
    /// Who leads as far as is known.
    pub leader: Option<MemberId>,
    /// The last index that is applied here.
    pub applied: u64,
    /// The last index that is known to be committed.
    pub commit: u64,
    /// All members and their context bytes.
    pub members: BTreeMap<MemberId, Vec<u8>>,
    /// Those with a vote.
    pub voters: BTreeSet<MemberId>,
    /// Who was heard of within an election timeout. The leader knows of everybody; the others of
    /// themselves and the leader only.
    pub reachable: BTreeMap<MemberId, bool>,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Messages that were taken in.
    pub received: u64,
    /// Bytes that were no message.
    pub malformed: u64,
    /// Messages that were well-formed but not for us, from strangers, or could not be true.
    pub refused: u64,
    /// Messages that were sent.
    pub transmitted: u64,
    /// Elections that this member began.
    pub campaigns: u64,
    /// Snapshots that were taken here.
    pub snapshots_taken: u64,
    /// Snapshots of a leader that replaced our state.
    pub snapshots_restored: u64,
}
