//! What comes back from a command.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A command has been done.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// What the caller wants to know.
    pub value: Value,
    /// The objects that are different now, in order.
    pub changes: Vec<Change>,
}

/// What the caller wants to know.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// It is done.
    #[default]
    Done,
    /// It is done; this was corrected in the request (empty: nothing).
    Warning(String),
    /// So many steps of a plan were skipped because they did not fit any more.
    Skipped(usize),
}

/// An object is different now.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// What it is.
    pub kind: ObjectKind,
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What happened.
    pub event: ChangeEvent,
    /// Attributes such as (`state`, `ready`, `down`): what, before, after.
    #[serde(default)]
    pub details: Vec<(String, String, String)>,
}

/// What an object is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ObjectKind {
    Cluster,
    Node,
    Network,
    Service,
    Task,
    Secret,
    Config,
}

impl ObjectKind {
    /// The word that the API uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Node => "node",
            Self::Network => "network",
            Self::Service => "service",
            Self::Task => "task",
            Self::Secret => "secret",
            Self::Config => "config",
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ChangeEvent {
    Created,
    Updated,
    Removed,
}

impl ChangeEvent {
    /// The word that `docker events` prints.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "create",
            Self::Updated => "update",
            Self::Removed => "remove",
        }
    }
}

/// A command was refused; the objects are unchanged. Displays as the text that Docker answers.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// The class, which decides the HTTP status.
    pub kind: RejectionKind,
    /// The complete text.
    pub message: String,
}

impl Rejection {
    /// A text as it stands.
    pub fn plain(kind: RejectionKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// A text behind `rpc error: code = … desc = `, as Docker's manager answers.
    pub fn rpc(kind: RejectionKind, text: impl fmt::Display) -> Self {
        Self { kind, message: format!("rpc error: code = {} desc = {text}", kind.code()) }
    }
}

/// Why a command was refused.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum RejectionKind {
    /// The request is wrong. 400.
    InvalidArgument,
    /// The request does not fit the state. 400.
    FailedPrecondition,
    /// 404.
    NotFound,
    /// 409.
    AlreadyExists,
    /// 403.
    PermissionDenied,
    /// The object has changed since it was read. 500, as Docker.
    OutOfSequence,
    /// Not now. 503.
    Unavailable,
    /// Nothing is left. 400.
    ResourceExhausted,
    /// Docker does not do this either. 501.
    Unimplemented,
    /// 500.
    Internal,
}

impl RejectionKind {
    /// The gRPC code's name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidArgument => "InvalidArgument",
            Self::FailedPrecondition => "FailedPrecondition",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::PermissionDenied => "PermissionDenied",
            Self::OutOfSequence => "Unknown",
            Self::Unavailable => "Unavailable",
            Self::ResourceExhausted => "ResourceExhausted",
            Self::Unimplemented => "Unimplemented",
            Self::Internal => "Internal",
        }
    }

    /// The status that the Engine API answers.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::InvalidArgument | Self::FailedPrecondition | Self::ResourceExhausted => 400,
            Self::PermissionDenied => 403,
            Self::NotFound => 404,
            Self::AlreadyExists => 409,
            Self::OutOfSequence | Self::Internal => 500,
            Self::Unimplemented => 501,
            Self::Unavailable => 503,
        }
    }
}
