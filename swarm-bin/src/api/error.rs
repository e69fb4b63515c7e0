//! Why a daemon gave no useful answer.

use crate::host::Host;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// Nobody listens, or we may not talk to it.
    #[error(
        "cannot reach a daemon at {host}: {source}\n\
         start one with `swarm-bin daemon --host {host} --data-dir DIR`, or name another with -H or DOCKER_HOST"
    )]
    Unreachable { host: Host, source: std::io::Error },
    /// The daemon says no. The prefix is the docker command's.
    #[error("Error response from daemon: {message}")]
    Refused { status: u16, message: String },
    /// The connection broke.
    #[error("{what}: the connection to {host} broke: {source}")]
    Broken { what: String, host: Host, source: hyper::Error },
    /// Whatever listens there speaks something else.
    #[error("{what}: {host} does not answer as a docker daemon does: {why}")]
    Malformed { what: String, host: Host, why: String },
}

impl ApiError {
    /// Whether the daemon knows no such thing.
    pub(crate) const fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}
