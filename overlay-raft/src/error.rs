use crate::MemberId;

/// Bytes of a peer or of the disk that say nothing sensible.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// They end too early.
    #[error("truncated")]
    Truncated,
    /// A length is over the limit.
    #[error("longer than allowed")]
    TooLong,
    /// More bytes follow than belong to it.
    #[error("bytes follow the end")]
    Trailing,
    /// Written by a version that is not known here.
    #[error("version {0} is unknown")]
    Version(u8),
    /// A field holds a value that it cannot have.
    #[error("invalid {what}")]
    Invalid {
        /// The field.
        what: &'static str,
    },
}

/// Why an input was refused. Nothing changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The peer's bytes are not a message.
    #[error("not a message: {0}")]
    Malformed(#[from] DecodeError),
    /// The message is for another member.
    #[error("a message for member {to}")]
    NotForUs {
        /// Whom it names.
        to: MemberId,
    },
    /// The sender was removed; it was told so.
    #[error("member {from} has been removed")]
    FromRemoved {
        /// Who sent it.
        from: MemberId,
    },
    /// The sender is not a member.
    #[error("{from} is not a member")]
    FromStranger {
        /// Who sent it.
        from: MemberId,
    },
    /// The message contradicts what is known, e.g. commits what is not there.
    #[error("a message of member {from} that cannot be true")]
    Absurd {
        /// Who sent it.
        from: MemberId,
    },
    /// This member has been removed or has failed and takes no part any more.
    #[error("this member takes no part any more")]
    Retired,
}

/// Why a proposal will not be carried out by this member.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Another member leads, or nobody.
    #[error("not the leader")]
    NotLeader {
        /// Who leads as far as is known.
        leader: Option<MemberId>,
    },
    /// Leadership was lost on the way: it may or may not be committed later.
    #[error("leadership was lost before the proposal was committed; it may still happen")]
    LostLeadership,
    /// Too much is waiting to be committed, or leadership is being handed over.
    #[error("too much is waiting to be committed")]
    Busy,
    /// A number that was removed is never added again.
    #[error("member {id} has been removed before")]
    Removed {
        /// The number.
        id: MemberId,
    },
    /// There is no such member to remove.
    #[error("{id} is not a member")]
    NoSuchMember {
        /// The number.
        id: MemberId,
    },
    /// The members that remain and answer would be no majority.
    #[error("without member {id} only {reachable} of {remaining} members would answer")]
    WouldLoseQuorum {
        /// Who was to be removed.
        id: MemberId,
        /// How many of those that remain answer.
        reachable: usize,
        /// How many remain.
        remaining: usize,
    },
    /// Nobody answered in time; reads only.
    #[error("no majority answered in time")]
    Unconfirmed,
}

/// What is stored cannot be the state of a member.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// The entries, the snapshot and the hard state do not fit together.
    #[error("the stored log is inconsistent: {what}")]
    Inconsistent {
        /// What does not fit.
        what: &'static str,
    },
    /// A time or count of the configuration makes no sense.
    #[error("invalid configuration: {reason}")]
    Config {
        /// What is wrong with it.
        reason: String,
    },
}
