/// Why a datagram was not opened. It is dropped and counted; its sender learns nothing.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Shorter than header and tag.
    #[error("truncated")]
    Truncated,
    /// Not sealed at all.
    #[error("plain")]
    Plain,
    /// Sealed in a way that is not known here.
    #[error("unknown version")]
    Version,
    /// This host has no keys of the network.
    #[error("unknown network")]
    UnknownNetwork,
    /// The network has no such key: retired, or not installed yet.
    #[error("unknown key")]
    UnknownKey,
    /// The sender's address has begun a newer run.
    #[error("superseded")]
    Superseded,
    /// The counter was seen before.
    #[error("replayed")]
    Replayed,
    /// The counter is too far behind to tell whether it was seen before.
    #[error("stale")]
    Stale,
    /// Not made, or not left as it was, by someone who has the key.
    #[error("forged")]
    Forged,
    /// Authentic, but too many runs of senders are remembered to begin another; see the specification.
    #[error("crowded")]
    Crowded,
}

/// What was sealed and opened, in datagrams.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SealStats {
    /// Encrypted.
    pub sealed: u64,
    /// Authenticated and decrypted.
    pub opened: u64,
    /// Frames that could not be sealed and so were not sent.
    pub unsent: u64,
    refused: [u64; OpenError::ALL.len()],
}

impl OpenError {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::Truncated,
        Self::Plain,
        Self::Version,
        Self::UnknownNetwork,
        Self::UnknownKey,
        Self::Superseded,
        Self::Replayed,
        Self::Stale,
        Self::Forged,
        Self::Crowded,
    ];
}

impl SealStats {
    /// Datagrams refused for one reason.
    #[must_use]
    pub fn refused(&self, reason: OpenError) -> u64 {
        self.refused.get(reason as usize).copied().unwrap_or(0)
    }

    /// Datagrams refused, by reason; all reasons are listed.
    pub fn refusals(&self) -> impl Iterator<Item = (OpenError, u64)> {
        OpenError::ALL.into_iter().map(|reason| (reason, self.refused(reason)))
    }

    pub(super) fn refuse(&mut self, reason: OpenError) {
        if let Some(count) = self.refused.get_mut(reason as usize) {
            *count += 1;
        }
    }
}
