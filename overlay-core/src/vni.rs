use core::{fmt, num::ParseIntError, str::FromStr};

/// A 24-bit VXLAN network identifier ([RFC 7348 §5]).
///
/// Two networks with different VNIs never see each other's frames, whatever addresses they use.
///
/// ```
/// use overlay_core::Vni;
///
/// assert_eq!(Vni::new(4097)?.to_be_bytes(), [0x00, 0x10, 0x01]);
/// assert!(Vni::new(1 << 24).is_err());
/// # Ok::<(), overlay_core::VniError>(())
/// ```
///
/// [RFC 7348 §5]: https://www.rfc-editor.org/rfc/rfc7348#section-5
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Vni(u32);

/// Why a number or a text is not a [`Vni`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum VniError {
    /// The number does not fit into 24 bits.
    #[error("{value} is not a VNI: the largest is {}", Vni::MAX)]
    TooLarge { value: u32 },
    /// The text is not a decimal number of 32 bits.
    #[error("not a VNI: {0}")]
    NotANumber(#[from] ParseIntError),
}

impl Vni {
    /// The largest identifier, 2²⁴ − 1.
    pub const MAX: Self = Self(0x00ff_ffff);

    /// Checks that `value` fits into 24 bits.
    ///
    /// # Errors
    /// [`VniError::TooLarge`] from 2²⁴ on.
    pub const fn new(value: u32) -> Result<Self, VniError> {
        if value > Self::MAX.0 { Err(VniError::TooLarge { value }) } else { Ok(Self(value)) }
    }

    /// The identifier as a number below 2²⁴.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The three bytes that travel, most significant first.
    #[must_use]
    pub const fn to_be_bytes(self) -> [u8; 3] {
        let [_, a, b, c] = self.0.to_be_bytes();
        [a, b, c]
    }

    /// Reads the three bytes of a VXLAN header; every value is valid.
    #[must_use]
    pub const fn from_be_bytes([a, b, c]: [u8; 3]) -> Self {
        Self(u32::from_be_bytes([0, a, b, c]))
    }
}

impl From<Vni> for u32 {
    fn from(vni: Vni) -> Self {
        vni.0
    }
}

impl TryFrom<u32> for Vni {
    type Error = VniError;

    fn try_from(value: u32) -> Result<Self, VniError> {
        Self::new(value)
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Vni {
    type Err = VniError;

    fn from_str(text: &str) -> Result<Self, VniError> {
        Self::new(text.parse()?)
    }
}

crate::text::serde_through_text!(Vni);
