//! Why the demo could not be shown, or did not hold.

use std::io;

use overlay_linux::link::LinkError;
use overlay_linux::userns::UserNsError;

use crate::api::ApiError;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// Neither root nor allowed to become it in a user namespace.
    #[error("{0}\n`swarm-bin doctor` tries everything that the demo needs")]
    UserNamespace(#[from] UserNsError),
    #[error("cannot {action}: {source}\n`swarm-bin doctor` tries everything that the demo needs")]
    System { action: &'static str, source: io::Error },
    #[error("the network between the nodes: {0}\n`swarm-bin doctor` tries everything that the demo needs")]
    Link(#[from] LinkError),
    #[error("the network between the nodes is not as it should be: {report}")]
    Segment { report: String },
    #[error("{path} is too long for the sockets of the nodes; set TMPDIR to a shorter directory")]
    LongPath { path: String },
    #[error("{step}: {source}")]
    Api { step: &'static str, source: ApiError },
    #[error("{step}: not within {seconds} s; {seen}")]
    TooSlow { step: &'static str, seconds: u64, seen: String },
    #[error("{step}: {seen}")]
    Wrong { step: &'static str, seen: String },
    #[error("not finished within {seconds} s; give more time with --timeout SECONDS")]
    Timeout { seconds: u64 },
    #[error("{dir} is no directory of a demo that runs (there is no file `supervisor` in it)")]
    NoDemo { dir: String },
    #[error("interrupted")]
    Interrupted,
    #[error("the supervisor was killed, and everything with it")]
    NoResult,
}

impl DemoError {
    pub(super) const fn system(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { action, source }
    }
}
