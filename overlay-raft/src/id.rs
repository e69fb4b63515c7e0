use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// The number of one member; never given to another one, not even after its removal.
///
/// ```
/// use overlay_raft::MemberId;
///
/// let id = MemberId::new(7)?;
/// assert_eq!(id.to_string().parse(), Ok(id));
/// assert!(MemberId::new(0).is_err());
/// # Ok::<(), overlay_raft::MemberIdError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MemberId(NonZeroU64);

/// The text or number is not a member's number: a decimal from 1 to 2^64-1.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{given:?} is not a member id (1..=18446744073709551615)")]
pub struct MemberIdError {
    given: String,
}

impl MemberId {
    /// Checks that the number is not zero.
    ///
    /// # Errors
    ///
    /// Zero means "nobody" in the protocol.
    pub fn new(id: u64) -> Result<Self, MemberIdError> {
        NonZeroU64::new(id).map(Self).ok_or_else(|| MemberIdError { given: id.to_string() })
    }

    /// The bare number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The number as it travels, most significant byte first.
    #[must_use]
    pub const fn to_be_bytes(self) -> [u8; 8] {
        self.0.get().to_be_bytes()
    }

    /// Reads what [`to_be_bytes`](Self::to_be_bytes) wrote.
    ///
    /// # Errors
    ///
    /// Eight zero bytes.
    pub fn from_be_bytes(bytes: [u8; 8]) -> Result<Self, MemberIdError> {
        Self::new(u64::from_be_bytes(bytes))
    }

    /// Zero, the protocol's nobody, becomes `None`.
    pub(crate) fn from_raft(id: u64) -> Option<Self> {
        NonZeroU64::new(id).map(Self)
    }
}

impl From<MemberId> for u64 {
    fn from(id: MemberId) -> Self {
        id.get()
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for MemberId {
    type Err = MemberIdError;

    fn from_str(text: &str) -> Result<Self, MemberIdError> {
        text.parse().map(Self).map_err(|_| MemberIdError { given: text.chars().take(32).collect() })
    }
}
