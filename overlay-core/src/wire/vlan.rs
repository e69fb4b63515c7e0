use core::{fmt, num::ParseIntError, str::FromStr};

use super::EtherType;

/// What an 802.1Q tag says, and what it stands in front of (IEEE 802.1Q §9.6).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | PCP |D|         VLAN          |           EtherType           |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct VlanHeader {
    /// Priority code point; three bits.
    pub priority: u8,
    /// The first to be dropped where there is no room.
    pub drop_eligible: bool,
    /// The virtual LAN that the frame belongs to.
    pub vlan: VlanId,
    /// What the payload is.
    pub ethertype: EtherType,
}

/// A 12-bit VLAN identifier (IEEE 802.1Q §9.6).
///
/// ```
/// use overlay_core::wire::VlanId;
///
/// assert_eq!(VlanId::new(100)?.to_string().parse(), Ok(VlanId::new(100)?));
/// assert!(VlanId::new(4096).is_err());
/// # Ok::<(), overlay_core::wire::VlanIdError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct VlanId(u16);

/// A tag and what it stands in front of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VlanFrame<'a> {
    /// What the tag says.
    pub header: VlanHeader,
    /// Everything behind the tag.
    pub payload: &'a [u8],
}

/// Why bytes are not an 802.1Q tag: there are too few.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an 802.1Q tag takes 4 bytes, not {len}")]
pub struct VlanError {
    /// How many there are.
    pub len: usize,
}

/// Why a number or a text is not a [`VlanId`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum VlanIdError {
    /// The number does not fit into 12 bits.
    #[error("{value} is not a VLAN: the largest is {}", VlanId::MAX)]
    TooLarge { value: u16 },
    /// The text is not a decimal number of 16 bits.
    #[error("not a VLAN: {0}")]
    NotANumber(#[from] ParseIntError),
}

impl VlanHeader {
    /// Bytes of a tag, counted from behind the EtherType [`EtherType::VLAN`].
    pub const LEN: usize = 4;

    /// Writes the tag; a priority is cut to three bits.
    #[inline]
    pub const fn emit(&self, buffer: &mut [u8; Self::LEN]) {
        let drop_eligible = if self.drop_eligible { 1 << 12 } else { 0 };
        let [a, b] = (((self.priority as u16) & 7) << 13 | drop_eligible | self.vlan.0).to_be_bytes();
        let [t0, t1] = self.ethertype.to_be_bytes();
        *buffer = [a, b, t0, t1];
    }
}

impl VlanId {
    /// The largest identifier, 2¹² − 1.
    pub const MAX: Self = Self(0x0fff);

    /// Checks that `value` fits into 12 bits.
    ///
    /// # Errors
    /// [`VlanIdError::TooLarge`] from 4096 on.
    pub const fn new(value: u16) -> Result<Self, VlanIdError> {
        if value > Self::MAX.0 { Err(VlanIdError::TooLarge { value }) } else { Ok(Self(value)) }
    }
}

impl From<VlanId> for u16 {
    fn from(vlan: VlanId) -> Self {
        vlan.0
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for VlanId {
    type Err = VlanIdError;

    fn from_str(text: &str) -> Result<Self, VlanIdError> {
        Self::new(text.parse()?)
    }
}

impl<'a> VlanFrame<'a> {
    /// Reads the payload of an Ethernet frame whose EtherType is [`EtherType::VLAN`].
    ///
    /// # Errors
    /// [`VlanError`] if it is too short.
    #[inline]
    pub const fn parse(bytes: &'a [u8]) -> Result<Self, VlanError> {
        let Some((header, payload)) = bytes.split_first_chunk::<{ VlanHeader::LEN }>() else {
            return Err(VlanError { len: bytes.len() });
        };
        let [a, b, t0, t1] = *header;
        let header = VlanHeader {
            priority: a >> 5,
            drop_eligible: a & 0x10 != 0,
            vlan: VlanId(u16::from_be_bytes([a & 0x0f, b])),
            ethertype: EtherType::from_be_bytes([t0, t1]),
        };
        Ok(Self { header, payload })
    }
}
