use core::net::Ipv6Addr;

/// What an IPv6 header says ([RFC 8200 §3]); extension headers belong to the payload.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |Version| Traffic Class |           Flow Label                  |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |         Payload Length        |  Next Header  |   Hop Limit   |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                     Source Address (128 bits)                 |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                  Destination Address (128 bits)               |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
///
/// [RFC 8200 §3]: https://www.rfc-editor.org/rfc/rfc8200#section-3
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Ipv6Header {
    /// DSCP in the upper six bits, ECN in the lower two.
    pub traffic_class: u8,
    /// Names the flow; 20 bits.
    pub flow_label: u32,
    /// Bytes behind this header.
    pub payload_len: u16,
    /// What the payload is: see [`protocol`](super::protocol).
    pub next_header: u8,
    /// Hops that are left.
    pub hop_limit: u8,
    /// Who claims to have sent it.
    pub source: Ipv6Addr,
    /// Who shall receive it.
    pub destination: Ipv6Addr,
}

/// An IPv6 header and what it carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ipv6Packet<'a> {
    /// What the header says.
    pub header: Ipv6Header,
    /// Exactly `header.payload_len` bytes; Ethernet padding is cut off.
    pub payload: &'a [u8],
}

/// Why bytes are not an IPv6 packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum Ipv6Error {
    /// Shorter than a header or its own length field.
    #[error("an IPv6 packet of {want} bytes has only {len}")]
    Truncated { want: usize, len: usize },
    /// Not version 6.
    #[error("IP version {version} is not 6")]
    Version { version: u8 },
}

impl Ipv6Header {
    /// Bytes of a header.
    pub const LEN: usize = 40;

    /// Writes the header; a flow label is cut to 20 bits.
    #[inline]
    pub fn emit(&self, buffer: &mut [u8; Self::LEN]) {
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & FLOW_LABEL;
        let [l0, l1] = self.payload_len.to_be_bytes();
        let [a, b, c, d] = first.to_be_bytes();
        let (fixed, addresses) = buffer.split_at_mut(8);
        fixed.copy_from_slice(&[a, b, c, d, l0, l1, self.next_header, self.hop_limit]);
        let (source, destination) = addresses.split_at_mut(16);
        source.copy_from_slice(&self.source.octets());
        destination.copy_from_slice(&self.destination.octets());
    }
}

impl<'a> Ipv6Packet<'a> {
    /// Reads a packet. A jumbogram's length of zero means that nothing follows.
    ///
    /// # Errors
    /// [`Ipv6Error`] if a length does not fit or the version is another one.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Ipv6Error> {
        let truncated = |want| Ipv6Error::Truncated { want, len: bytes.len() };
        let (fixed, rest) = bytes.split_first_chunk::<8>().ok_or(truncated(Ipv6Header::LEN))?;
        let (source, rest) = rest.split_first_chunk::<16>().ok_or(truncated(Ipv6Header::LEN))?;
        let (destination, rest) = rest.split_first_chunk::<16>().ok_or(truncated(Ipv6Header::LEN))?;
        let [a, b, c, d, l0, l1, next_header, hop_limit] = *fixed;
        if a >> 4 != 6 {
            return Err(Ipv6Error::Version { version: a >> 4 });
        }
        let payload_len = u16::from_be_bytes([l0, l1]);
        let len = usize::from(payload_len);
        let payload = rest.get(..len).ok_or(truncated(Ipv6Header::LEN + len))?;
        let header = Ipv6Header {
            traffic_class: a << 4 | b >> 4,
            flow_label: u32::from_be_bytes([a, b, c, d]) & FLOW_LABEL,
            payload_len,
            next_header,
            hop_limit,
            source: Ipv6Addr::from(*source),
            destination: Ipv6Addr::from(*destination),
        };
        Ok(Self { header, payload })
    }
}

const FLOW_LABEL: u32 = 0x000f_ffff;
