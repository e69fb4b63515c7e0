use std::io;

use nix::errno::Errno;
use overlay_core::Vni;

use super::LinkName;

/// Why the kernel could not be asked, or did not do it.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum LinkError {
    /// The kernel refused. `hint` is its own explanation, often empty.
    #[error("{what}: {errno:?} ({}){}{hint}", errno.desc(), if hint.is_empty() { "" } else { ": " })]
    Refused { what: String, errno: Errno, hint: String },
    /// Another tunnel of this namespace has the same VNI and port, and it is not ours to remove.
    #[error("{what}: {holder:?} has vni {vni} on port {port} already")]
    VniTaken { what: String, vni: Vni, port: u16, holder: LinkName },
    /// There is no interface of this name.
    #[error("{what}: no link {name:?}")]
    NoLink { what: String, name: LinkName },
    /// The socket, the namespace or the file failed.
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    /// The kernel answered something that makes no sense.
    #[error("{what}: unexpected answer of the kernel")]
    Unexpected { what: String },
}

impl LinkError {
    /// The kernel's error number, if it gave one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::VniTaken { .. } => Some(Errno::EEXIST),
            Self::NoLink { .. } => Some(Errno::ENODEV),
            Self::Io { source, .. } => source.raw_os_error().map(Errno::from_raw),
            Self::Unexpected { .. } => None,
        }
    }

    pub(super) fn io(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io { what: what.into(), source: source.into() }
    }
}
