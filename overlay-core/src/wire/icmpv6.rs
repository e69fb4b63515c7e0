use core::net::Ipv6Addr;

use super::{Checksum, Ipv6Header, Ipv6Packet, protocol};

/// "This packet is too large" with its IPv6 header ([RFC 4443 §3.2]).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |   Type = 2    |   Code = 0    |           Checksum            |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                             MTU                               |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |     The packet, as much as fits into 1280 bytes with this     |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
///
/// [RFC 4443 §3.2]: https://www.rfc-editor.org/rfc/rfc4443#section-3.2
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PacketTooBig {
    /// Who speaks.
    pub source: Ipv6Addr,
    /// Who sent the packet.
    pub destination: Ipv6Addr,
    /// The largest packet that fits.
    pub mtu: u32,
}

/// Why a packet is not [`PacketTooBig`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum Icmpv6Error {
    /// Another protocol or another message.
    #[error("not a message that a packet is too big")]
    OtherMessage,
    /// Shorter than a message.
    #[error("an ICMPv6 message takes 8 bytes, not {len}")]
    Truncated { len: usize },
    /// The message was damaged.
    #[error("the ICMPv6 checksum is wrong")]
    Checksum,
}

impl PacketTooBig {
    /// Bytes of the longest message with its IPv6 header: the smallest MTU of IPv6.
    pub const MAX_LEN: usize = 1280;
    /// Bytes in front of the packet that is quoted.
    pub const HEADER_LEN: usize = Ipv6Header::LEN + 8;

    /// Reads an IPv6 packet; also gives what it quotes of the packet that was too large.
    ///
    /// # Errors
    /// [`Icmpv6Error::OtherMessage`] for everything else that IPv6 carries, another one if the message is wrong.
    pub fn parse<'a>(packet: &Ipv6Packet<'a>) -> Result<(Self, &'a [u8]), Icmpv6Error> {
        let header = packet.header;
        if header.next_header != protocol::ICMPV6 {
            return Err(Icmpv6Error::OtherMessage);
        }
        let truncated = Icmpv6Error::Truncated { len: packet.payload.len() };
        let ([kind, _, _, _, m0, m1, m2, m3], quoted) =
            packet.payload.split_first_chunk::<8>().ok_or(truncated)?;
        // RFC 4443 §3.2: the receiver ignores the code.
        if *kind != 2 {
            return Err(Icmpv6Error::OtherMessage);
        }
        let (source, destination) = (header.source, header.destination);
        let sum = Checksum::new()
            .add_pseudo_header(source.into(), destination.into(), protocol::ICMPV6, header.payload_len)
            .add_bytes(packet.payload);
        if !sum.is_intact() {
            return Err(Icmpv6Error::Checksum);
        }
        Ok((Self { source, destination, mtu: u32::from_be_bytes([*m0, *m1, *m2, *m3]) }, quoted))
    }

    /// Writes the message with its IPv6 header about `packet`, which is cut, and says how many bytes that took.
    pub fn emit(&self, packet: &[u8], buffer: &mut [u8; Self::MAX_LEN]) -> usize {
        let quoted = packet.get(..Self::MAX_LEN - Self::HEADER_LEN).unwrap_or(packet);
        let payload_len = u16::try_from(quoted.len() + 8).unwrap_or(u16::MAX);
        let header = Ipv6Header {
            traffic_class: 0,
            flow_label: 0,
            payload_len,
            next_header: protocol::ICMPV6,
            hop_limit: 64,
            source: self.source,
            destination: self.destination,
        };
        let [m0, m1, m2, m3] = self.mtu.to_be_bytes();
        let message = |[c0, c1]: [u8; 2]| [2, 0, c0, c1, m0, m1, m2, m3];
        let checksum = Checksum::new()
            .add_pseudo_header(self.source.into(), self.destination.into(), protocol::ICMPV6, payload_len)
            .add_bytes(&message([0, 0]))
            .add_bytes(quoted)
            .finish();
        if let Some((first, rest)) = buffer.split_first_chunk_mut::<{ Ipv6Header::LEN }>() {
            header.emit(first);
            let bytes = message(checksum.to_be_bytes());
            rest.iter_mut().zip(bytes.iter().chain(quoted)).for_each(|(to, from)| *to = *from);
        }
        Self::HEADER_LEN + quoted.len()
    }
}
