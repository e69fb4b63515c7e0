use core::fmt;

use crate::MacAddr;

/// What an Ethernet II header says (IEEE 802.3, without tag and checksum).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                    Destination MAC address                    |
/// +                               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                               |                               |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+      Source MAC address       +
/// |                                                               |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |           EtherType           |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct EthernetHeader {
    /// The station or group that shall receive the frame.
    pub destination: MacAddr,
    /// The station that claims to have sent it.
    pub source: MacAddr,
    /// What the payload is.
    pub ethertype: EtherType,
}

/// What an Ethernet frame carries ([IANA]); values below 1536 are lengths of old 802.3 frames.
///
/// [IANA]: https://www.iana.org/assignments/ieee-802-numbers
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EtherType(u16);

/// An Ethernet header and what it carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EthernetFrame<'a> {
    /// What the header says.
    pub header: EthernetHeader,
    /// Everything behind the header, padding included.
    pub payload: &'a [u8],
}

/// Why bytes are not an Ethernet frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum EthernetError {
    /// Shorter than a header.
    #[error("an Ethernet header takes 14 bytes, not {len}")]
    Truncated { len: usize },
    /// A group cannot send.
    #[error("{source_mac} is no station and sends nothing")]
    Source { source_mac: MacAddr },
}

impl EtherType {
    /// Internet Protocol, version 4.
    pub const IPV4: Self = Self(0x0800);
    /// Address Resolution Protocol.
    pub const ARP: Self = Self(0x0806);
    /// An 802.1Q tag follows.
    pub const VLAN: Self = Self(0x8100);
    /// Internet Protocol, version 6.
    pub const IPV6: Self = Self(0x86dd);

    /// Wraps the number; every value is allowed.
    #[must_use]
    pub const fn new(value: u16) -> Self {
        Self(value)
    }

    /// The two bytes that travel.
    #[must_use]
    pub const fn to_be_bytes(self) -> [u8; 2] {
        self.0.to_be_bytes()
    }

    /// Reads the two bytes of a header.
    #[must_use]
    pub const fn from_be_bytes(bytes: [u8; 2]) -> Self {
        Self(u16::from_be_bytes(bytes))
    }
}

impl From<EtherType> for u16 {
    fn from(ethertype: EtherType) -> Self {
        ethertype.0
    }
}

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

impl EthernetHeader {
    /// Bytes of a header.
    pub const LEN: usize = 14;

    /// Writes the header.
    #[inline]
    pub const fn emit(&self, buffer: &mut [u8; Self::LEN]) {
        let [d0, d1, d2, d3, d4, d5] = self.destination.octets();
        let [s0, s1, s2, s3, s4, s5] = self.source.octets();
        let [t0, t1] = self.ethertype.to_be_bytes();
        *buffer = [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1];
    }
}

impl<'a> EthernetFrame<'a> {
    /// Reads a frame without its checksum.
    ///
    /// # Errors
    /// [`EthernetError`] if it is too short, or its source is a group or all zeroes.
    #[inline]
    pub const fn parse(frame: &'a [u8]) -> Result<Self, EthernetError> {
        let Some((header, payload)) = frame.split_first_chunk::<{ EthernetHeader::LEN }>() else {
            return Err(EthernetError::Truncated { len: frame.len() });
        };
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *header;
        let source = MacAddr::new([s0, s1, s2, s3, s4, s5]);
        if !source.is_unicast() {
            return Err(EthernetError::Source { source_mac: source });
        }
        let destination = MacAddr::new([d0, d1, d2, d3, d4, d5]);
        let ethertype = EtherType::from_be_bytes([t0, t1]);
        Ok(Self { header: EthernetHeader { destination, source, ethertype }, payload })
    }
}
