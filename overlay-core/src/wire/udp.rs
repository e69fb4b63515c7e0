use core::net::IpAddr;

use super::{Checksum, protocol};

/// What a UDP header says ([RFC 768]).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |          Source Port          |        Destination Port       |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |            Length             |            Checksum           |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
///
/// [RFC 768]: https://www.rfc-editor.org/rfc/rfc768
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct UdpHeader {
    /// Where an answer goes; a tunnel puts the inner flow's hash here ([RFC 7348 §5]).
    ///
    /// [RFC 7348 §5]: https://www.rfc-editor.org/rfc/rfc7348#section-5
    pub source_port: u16,
    /// Where the datagram goes.
    pub destination_port: u16,
    /// Bytes behind the header; at most [`UdpHeader::MAX_PAYLOAD`].
    pub payload_len: u16,
    /// Zero: not computed.
    pub checksum: u16,
}

/// A UDP header and what it carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UdpDatagram<'a> {
    /// What the header says.
    pub header: UdpHeader,
    /// Exactly `header.payload_len` bytes.
    pub payload: &'a [u8],
}

/// Why bytes are not a UDP datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum UdpError {
    /// Shorter than a header or its own length field.
    #[error("a UDP datagram of {want} bytes has only {len}")]
    Truncated { want: usize, len: usize },
    /// The length does not even cover the header.
    #[error("a UDP length of {len} is below 8")]
    Length { len: u16 },
}

impl UdpHeader {
    /// Bytes of a header.
    pub const LEN: usize = 8;
    /// The most that the length field can say.
    pub const MAX_PAYLOAD: u16 = u16::MAX - 8;
    /// What stands in [`checksum`](Self::checksum) if it was not computed.
    pub const NO_CHECKSUM: u16 = 0;

    /// Writes the header; a payload length beyond the maximum is cut to it.
    pub const fn emit(&self, buffer: &mut [u8; Self::LEN]) {
        let [s0, s1] = self.source_port.to_be_bytes();
        let [d0, d1] = self.destination_port.to_be_bytes();
        let payload_len =
            if self.payload_len > Self::MAX_PAYLOAD { Self::MAX_PAYLOAD } else { self.payload_len };
        let [l0, l1] = (payload_len + 8).to_be_bytes();
        let [c0, c1] = self.checksum.to_be_bytes();
        *buffer = [s0, s1, d0, d1, l0, l1, c0, c1];
    }

    /// The checksum that belongs into this header over `payload` between two addresses; never zero.
    #[must_use]
    #[inline]
    pub fn checksum_of(&self, source: IpAddr, destination: IpAddr, payload: &[u8]) -> u16 {
        let mut header = [0; Self::LEN];
        Self { checksum: 0, ..*self }.emit(&mut header);
        let len = self.payload_len.saturating_add(8);
        let sum = Checksum::new()
            .add_pseudo_header(source, destination, protocol::UDP, len)
            .add_bytes(&header)
            .add_bytes(payload)
            .finish();
        Self::some_checksum(sum)
    }

    /// Zero would say that nothing was computed; all ones say the same as a sum.
    #[inline]
    pub(crate) const fn some_checksum(sum: u16) -> u16 {
        if sum == Self::NO_CHECKSUM { u16::MAX } else { sum }
    }
}

impl<'a> UdpDatagram<'a> {
    /// Reads a datagram; the checksum needs the addresses and is left to [`UdpDatagram::is_intact`].
    ///
    /// # Errors
    /// [`UdpError`] if a length does not fit.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, UdpError> {
        let Some((header, rest)) = bytes.split_first_chunk::<{ UdpHeader::LEN }>() else {
            return Err(UdpError::Truncated { want: UdpHeader::LEN, len: bytes.len() });
        };
        let [s0, s1, d0, d1, l0, l1, c0, c1] = *header;
        let len = u16::from_be_bytes([l0, l1]);
        let Some(payload_len) = len.checked_sub(8) else {
            return Err(UdpError::Length { len });
        };
        let Some(payload) = rest.get(..usize::from(payload_len)) else {
            return Err(UdpError::Truncated { want: usize::from(len), len: bytes.len() });
        };
        let header = UdpHeader {
            source_port: u16::from_be_bytes([s0, s1]),
            destination_port: u16::from_be_bytes([d0, d1]),
            payload_len,
            checksum: u16::from_be_bytes([c0, c1]),
        };
        Ok(Self { header, payload })
    }

    /// Whether the checksum fits, or was not computed.
    #[must_use]
    #[inline]
    pub fn is_intact(&self, source: IpAddr, destination: IpAddr) -> bool {
        self.header.checksum == 0
            || self.header.checksum == self.header.checksum_of(source, destination, self.payload)
    }
}
