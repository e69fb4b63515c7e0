//! What can go wrong between us and the kernel.

use std::io;

use super::channel::ChannelError;
use super::plan::PlanError;

/// Why nf_tables could not be read or written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum NftError {
    /// The socket failed.
    #[error("nf_tables socket: {action}: {source}")]
    Socket { action: &'static str, source: io::Error },
    /// The desired state cannot be expressed.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The kernel refused an operation; nothing of its batch was applied.
    #[error("{op}: {source}{}", detail.as_deref().map(|detail| format!(" ({detail})")).unwrap_or_default())]
    Refused { op: String, source: io::Error, detail: Option<String> },
    /// Somebody else changed the rules again and again while we read or wrote them.
    #[error("the rules kept changing while we {doing} them")]
    Busy { doing: &'static str },
    /// The kernel's answer makes no sense.
    #[error("malformed answer from the kernel while we {doing}")]
    Malformed { doing: &'static str },
    /// An operation has an attribute that is longer than netlink allows.
    #[error("{op}: too long for netlink")]
    TooLong { op: String },
}

impl From<ChannelError> for NftError {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::Socket { action, source } => Self::Socket { action, source },
            ChannelError::Refused { op, source, detail } => Self::Refused { op, source, detail },
            ChannelError::Busy { doing } => Self::Busy { doing },
            ChannelError::Malformed { doing } => Self::Malformed { doing },
            ChannelError::TooLong { op } => Self::TooLong { op },
        }
    }
}
