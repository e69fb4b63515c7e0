use core::net::Ipv4Addr;

use super::{Checksum, Ipv4Header, Ipv4Packet, protocol};

/// "This packet is too large, and it must not be fragmented" with its IPv4 header ([RFC 792], [RFC 1191 §4]).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |   Type = 3    |   Code = 4    |           Checksum            |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |           unused = 0          |         Next-Hop MTU          |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |      The packet, as much as fits into 576 bytes with this     |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
///
/// [RFC 792]: https://www.rfc-editor.org/rfc/rfc792
/// [RFC 1191 §4]: https://www.rfc-editor.org/rfc/rfc1191#section-4
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FragmentationNeeded {
    /// Who speaks.
    pub source: Ipv4Addr,
    /// Who sent the packet.
    pub destination: Ipv4Addr,
    /// The largest packet that fits.
    pub mtu: u16,
}

/// Why a packet is not [`FragmentationNeeded`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum Icmpv4Error {
    /// Another protocol or another message.
    #[error("not a message that fragmentation is needed")]
    OtherMessage,
    /// Shorter than a message.
    #[error("an ICMP message takes 8 bytes, not {len}")]
    Truncated { len: usize },
    /// The message was damaged.
    #[error("the ICMP checksum is wrong")]
    Checksum,
}

impl FragmentationNeeded {
    /// Bytes of the longest message with its IPv4 header: what every host can receive.
    pub const MAX_LEN: usize = 576;
    /// Bytes in front of the packet that is quoted.
    pub const HEADER_LEN: usize = Ipv4Header::LEN + 8;

    /// Reads an IPv4 packet; also gives what it quotes of the packet that was too large.
    ///
    /// # Errors
    /// [`Icmpv4Error::OtherMessage`] for everything else that IPv4 carries, another one if the message is wrong.
    pub fn parse<'a>(packet: &Ipv4Packet<'a>) -> Result<(Self, &'a [u8]), Icmpv4Error> {
        if packet.header.protocol != protocol::ICMP || packet.header.is_fragment() {
            return Err(Icmpv4Error::OtherMessage);
        }
        let truncated = Icmpv4Error::Truncated { len: packet.payload.len() };
        let ([kind, code, _, _, _, _, m0, m1], quoted) =
            packet.payload.split_first_chunk::<8>().ok_or(truncated)?;
        if (*kind, *code) != (3, 4) {
            return Err(Icmpv4Error::OtherMessage);
        }
        if !Checksum::new().add_bytes(packet.payload).is_intact() {
            return Err(Icmpv4Error::Checksum);
        }
        let (source, destination) = (packet.header.source, packet.header.destination);
        Ok((Self { source, destination, mtu: u16::from_be_bytes([*m0, *m1]) }, quoted))
    }

    /// Writes the message with its IPv4 header about `packet`, which is cut, and says how many bytes that took.
    pub fn emit(&self, packet: &[u8], buffer: &mut [u8; Self::MAX_LEN]) -> usize {
        let quoted = packet.get(..Self::MAX_LEN - Self::HEADER_LEN).unwrap_or(packet);
        let header = Ipv4Header {
            // Internetwork control, as RFC 1812 §4.3.2.5 wants.
            traffic_class: 0xc0,
            payload_len: u16::try_from(quoted.len() + 8).unwrap_or(Ipv4Header::MAX_PAYLOAD),
            identification: 0,
            dont_fragment: false,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            protocol: protocol::ICMP,
            source: self.source,
            destination: self.destination,
        };
        let [m0, m1] = self.mtu.to_be_bytes();
        let message = |[c0, c1]: [u8; 2]| [3, 4, c0, c1, 0, 0, m0, m1];
        let checksum = Checksum::new().add_bytes(&message([0, 0])).add_bytes(quoted).finish();
        if let Some((first, rest)) = buffer.split_first_chunk_mut::<{ Ipv4Header::LEN }>() {
            header.emit(first);
            let bytes = message(checksum.to_be_bytes());
            rest.iter_mut().zip(bytes.iter().chain(quoted)).for_each(|(to, from)| *to = *from);
        }
        Self::HEADER_LEN + quoted.len()
    }
}
