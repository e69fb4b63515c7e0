//! What can go wrong between us and the kernel.

use std::io;

use nix::libc;

use crate::nft::channel::ChannelError;

/// Why connection tracking could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum ConntrackError {
    /// The kernel has no ctnetlink. Whoever only wants stale entries gone may go on: nothing can be done about them.
    #[error("this kernel gives no access to connection tracking (module nf_conntrack_netlink): {source}")]
    Unsupported { source: io::Error },
    /// The socket failed.
    #[error("connection tracking socket: {action}: {source}")]
    Socket { action: &'static str, source: io::Error },
    /// The kernel refused a step: `EPERM` without `CAP_NET_ADMIN` in that namespace.
    #[error("{step}: {source}{}", detail.as_deref().map(|detail| format!(" ({detail})")).unwrap_or_default())]
    Refused { step: String, source: io::Error, detail: Option<String> },
    /// The kernel could not list all entries because they changed meanwhile.
    #[error("{step}: the entries changed meanwhile")]
    Interrupted { step: &'static str },
    /// The kernel's answer makes no sense.
    #[error("{step}: malformed answer from the kernel")]
    Malformed { step: &'static str },
}

impl ConntrackError {
    /// Of making the socket.
    pub(super) fn opening(error: ChannelError) -> Self {
        let ChannelError::Socket { action, source } = error else { return error.into() };
        if is(&source, &[libc::EPROTONOSUPPORT, libc::EAFNOSUPPORT]) {
            return Self::Unsupported { source };
        }
        Self::Socket { action, source }
    }

    /// Of a list without a filter: nothing in it can be invalid but the subsystem itself.
    pub(super) fn listing(error: ChannelError) -> Self {
        let ChannelError::Refused { op, source, detail } = error else { return error.into() };
        if is(&source, &[libc::EINVAL, libc::EOPNOTSUPP]) {
            return Self::Unsupported { source };
        }
        Self::Refused { step: op, source, detail }
    }
}

impl From<ChannelError> for ConntrackError {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::Socket { action, source } => Self::Socket { action, source },
            ChannelError::Refused { op, source, detail } => Self::Refused { step: op, source, detail },
            ChannelError::Busy { doing } => Self::Interrupted { step: doing },
            ChannelError::Malformed { doing } => Self::Malformed { step: doing },
            ChannelError::TooLong { op } => {
                Self::Refused { step: op, source: io::ErrorKind::InvalidInput.into(), detail: None }
            }
        }
    }
}

fn is(error: &io::Error, numbers: &[i32]) -> bool {
    error.raw_os_error().is_some_and(|number| numbers.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_ctnetlink_is_told_from_other_trouble() {
        let refused = |errno| ChannelError::Refused {
            op: "list".to_owned(),
            source: io::Error::from_raw_os_error(errno),
            detail: None,
        };
        let opened =
            |errno| ChannelError::Socket { action: "open", source: io::Error::from_raw_os_error(errno) };
        let unsupported = |error| matches!(error, ConntrackError::Unsupported { .. });
        assert!(unsupported(ConntrackError::listing(refused(libc::EINVAL))));
        assert!(unsupported(ConntrackError::opening(opened(libc::EPROTONOSUPPORT))));
        assert!(!unsupported(ConntrackError::listing(refused(libc::EPERM))));
        assert!(!unsupported(ConntrackError::opening(opened(libc::EMFILE))));
        assert!(!unsupported(ConntrackError::from(refused(libc::EINVAL))));
    }
}
