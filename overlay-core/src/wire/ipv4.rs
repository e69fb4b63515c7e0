use core::net::Ipv4Addr;

use super::Checksum;

/// What an IPv4 header says ([RFC 791 §3.1]); options are not kept.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |Version|  IHL  |    DSCP   |ECN|          Total Length         |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |         Identification        |Flags|      Fragment Offset    |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  Time to Live |    Protocol   |         Header Checksum       |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                       Source Address                          |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                    Destination Address                        |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                    Options                    |    Padding    |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
///
/// [RFC 791 §3.1]: https://www.rfc-editor.org/rfc/rfc791#section-3.1
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Ipv4Header {
    /// DSCP in the upper six bits, ECN in the lower two.
    pub traffic_class: u8,
    /// Bytes behind header and options; at most [`Ipv4Header::MAX_PAYLOAD`].
    pub payload_len: u16,
    /// Groups the fragments of one packet.
    pub identification: u16,
    /// Routers must not fragment.
    pub dont_fragment: bool,
    /// This is not the last fragment.
    pub more_fragments: bool,
    /// Where this fragment begins, in units of eight bytes; 13 bits.
    pub fragment_offset: u16,
    /// Hops that are left.
    pub ttl: u8,
    /// What the payload is: see [`protocol`](super::protocol).
    pub protocol: u8,
    /// Who claims to have sent it.
    pub source: Ipv4Addr,
    /// Who shall receive it.
    pub destination: Ipv4Addr,
}

/// An IPv4 header and what it carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ipv4Packet<'a> {
    /// What the header says.
    pub header: Ipv4Header,
    /// The options as they travel; a multiple of four bytes.
    pub options: &'a [u8],
    /// Exactly `header.payload_len` bytes; Ethernet padding is cut off.
    pub payload: &'a [u8],
}

/// Why bytes are not an IPv4 packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum Ipv4Error {
    /// Shorter than a header, its options or its own length field.
    #[error("an IPv4 packet of {want} bytes has only {len}")]
    Truncated { want: usize, len: usize },
    /// Not version 4.
    #[error("IP version {version} is not 4")]
    Version { version: u8 },
    /// The header length is below five words or beyond the total length.
    #[error("an IPv4 header of {header_len} bytes does not fit a packet of {total_len}")]
    HeaderLength { header_len: usize, total_len: usize },
    /// The header was damaged.
    #[error("the IPv4 header checksum is wrong")]
    Checksum,
}

impl Ipv4Header {
    /// Bytes of a header without options.
    pub const LEN: usize = 20;
    /// The most that fits behind a header without options.
    pub const MAX_PAYLOAD: u16 = u16::MAX - 20;

    /// Writes a header without options, its checksum filled in.
    ///
    /// A payload length beyond the maximum is cut to it, a fragment offset to 13 bits.
    #[inline]
    pub fn emit(&self, buffer: &mut [u8; Self::LEN]) {
        let [l0, l1] = (self.payload_len.min(Self::MAX_PAYLOAD) + 20).to_be_bytes();
        let [i0, i1] = self.identification.to_be_bytes();
        let flags = u16::from(self.dont_fragment) << 14 | u16::from(self.more_fragments) << 13;
        let [f0, f1] = (flags | self.fragment_offset & OFFSET).to_be_bytes();
        let [sa, sb, sc, sd] = self.source.octets();
        let [da, db, dc, dd] = self.destination.octets();
        let with_checksum = |[c0, c1]: [u8; 2]| {
            #[rustfmt::skip]
            let header = [0x45, self.traffic_class, l0, l1, i0, i1, f0, f1,
                self.ttl, self.protocol, c0, c1, sa, sb, sc, sd, da, db, dc, dd];
            header
        };
        let checksum = Checksum::new().add_bytes(&with_checksum([0, 0])).finish();
        *buffer = with_checksum(checksum.to_be_bytes());
    }

    /// Whether the payload is only a piece of a packet.
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }
}

impl<'a> Ipv4Packet<'a> {
    /// Reads a packet and checks its header's checksum.
    ///
    /// # Errors
    /// [`Ipv4Error`] if a length does not fit, the version is another one, or the header is damaged.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Ipv4Error> {
        let Some((header, _)) = bytes.split_first_chunk::<{ Ipv4Header::LEN }>() else {
            return Err(Ipv4Error::Truncated { want: Ipv4Header::LEN, len: bytes.len() });
        };
        #[rustfmt::skip]
        let [first, traffic_class, l0, l1, i0, i1, f0, f1,
            ttl, protocol, _, _, sa, sb, sc, sd, da, db, dc, dd] = *header;
        if first >> 4 != 4 {
            return Err(Ipv4Error::Version { version: first >> 4 });
        }
        let header_len = usize::from(first & 0x0f) * 4;
        let total = u16::from_be_bytes([l0, l1]);
        let total_len = usize::from(total);
        if header_len < Ipv4Header::LEN || header_len > total_len {
            return Err(Ipv4Error::HeaderLength { header_len, total_len });
        }
        let Some((whole_header, payload)) =
            bytes.get(..total_len).and_then(|packet| packet.split_at_checked(header_len))
        else {
            return Err(Ipv4Error::Truncated { want: total_len, len: bytes.len() });
        };
        let options = whole_header.get(Ipv4Header::LEN..).unwrap_or_default();
        let sum = Checksum::new().add_bytes(header);
        if !(if options.is_empty() { sum } else { sum.add_bytes(options) }).is_intact() {
            return Err(Ipv4Error::Checksum);
        }
        let fragment = u16::from_be_bytes([f0, f1]);
        let header = Ipv4Header {
            traffic_class,
            payload_len: total - u16::from(first & 0x0f) * 4,
            identification: u16::from_be_bytes([i0, i1]),
            dont_fragment: fragment & 1 << 14 != 0,
            more_fragments: fragment & 1 << 13 != 0,
            fragment_offset: fragment & OFFSET,
            ttl,
            protocol,
            source: Ipv4Addr::new(sa, sb, sc, sd),
            destination: Ipv4Addr::new(da, db, dc, dd),
        };
        Ok(Self { header, options, payload })
    }
}

const OFFSET: u16 = 0x1fff;
