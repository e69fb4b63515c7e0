use core::net::Ipv6Addr;

use super::{Checksum, Ipv6Header, Ipv6Packet, protocol};
use crate::MacAddr;

/// The IPv6 question "who has this address?" ([RFC 4861 §4.3]).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  Type = 135   |   Code = 0    |           Checksum            |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                           Reserved                            |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                   Target Address (128 bits)                   |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |   Options ...
/// +-+-+-+-+-+-+-+-+-+-+-+-
/// ```
///
/// [RFC 4861 §4.3]: https://www.rfc-editor.org/rfc/rfc4861#section-4.3
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct NeighbourSolicitation {
    /// Who asks; unspecified while it checks whether the address is free.
    pub source: Ipv6Addr,
    /// The address that is asked for.
    pub target: Ipv6Addr,
}

/// The answer "this MAC has it" with its IPv6 header ([RFC 4861 §4.4]).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  Type = 136   |   Code = 0    |           Checksum            |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |R|S|O|                     Reserved                            |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                   Target Address (128 bits)                   |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |   Type = 2    |  Length = 1   |     Target MAC address        |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+                               +
/// |                                                               |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
///
/// [RFC 4861 §4.4]: https://www.rfc-editor.org/rfc/rfc4861#section-4.4
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct NeighbourAdvertisement {
    /// Who receives the answer.
    pub destination: Ipv6Addr,
    /// The address that was asked for; it also speaks.
    pub target: Ipv6Addr,
    /// Who has it.
    pub mac: MacAddr,
}

/// Why a packet is not a neighbour solicitation.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum NdpError {
    /// Another protocol or another message.
    #[error("not a neighbour solicitation")]
    OtherMessage,
    /// Shorter than a message.
    #[error("a neighbour solicitation takes 24 bytes, not {len}")]
    Truncated { len: usize },
    /// A router has touched it, so it comes from outside of the link ([RFC 4861 §7.1.1]).
    ///
    /// [RFC 4861 §7.1.1]: https://www.rfc-editor.org/rfc/rfc4861#section-7.1.1
    #[error("a neighbour solicitation with hop limit {hop_limit}, not 255, is from elsewhere")]
    HopLimit { hop_limit: u8 },
    /// Nobody can have a group's address.
    #[error("{target} is a group, not a neighbour")]
    Target { target: Ipv6Addr },
    /// The message was damaged.
    #[error("the ICMPv6 checksum is wrong")]
    Checksum,
}

impl NeighbourSolicitation {
    /// Reads an IPv6 packet; options are not looked at.
    ///
    /// # Errors
    /// [`NdpError::OtherMessage`] for everything else that IPv6 carries, another one if the message is wrong.
    pub fn parse(packet: &Ipv6Packet<'_>) -> Result<Self, NdpError> {
        let message = Self::parse_unfinished(packet)?;
        let (source, destination) = (packet.header.source.into(), packet.header.destination.into());
        let sum = Checksum::new()
            .add_pseudo_header(source, destination, protocol::ICMPV6, packet.header.payload_len)
            .add_bytes(packet.payload);
        if sum.is_intact() { Ok(message) } else { Err(NdpError::Checksum) }
    }

    /// Reads an IPv6 packet whose checksum the kernel has not finished, so that it cannot be checked.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_unfinished(packet: &Ipv6Packet<'_>) -> Result<Self, NdpError> {
        let header = packet.header;
        if header.next_header != protocol::ICMPV6 || packet.payload.first() != Some(&135) {
            return Err(NdpError::OtherMessage);
        }
        let truncated = NdpError::Truncated { len: packet.payload.len() };
        let (fixed, rest) = packet.payload.split_first_chunk::<8>().ok_or(truncated)?;
        let (target, _) = rest.split_first_chunk::<16>().ok_or(truncated)?;
        let [_, code, ..] = *fixed;
        if code != 0 {
            return Err(NdpError::OtherMessage);
        }
        if header.hop_limit != 255 {
            return Err(NdpError::HopLimit { hop_limit: header.hop_limit });
        }
        let target = Ipv6Addr::from(*target);
        if target.is_multicast() {
            return Err(NdpError::Target { target });
        }
        Ok(Self { source: header.source, target })
    }

    /// The answer that says that `mac` has the address; to everyone if the one who asks has no address yet.
    #[must_use]
    pub const fn answered_by(&self, mac: MacAddr) -> NeighbourAdvertisement {
        let destination = if self.source.is_unspecified() { ALL_NODES } else { self.source };
        NeighbourAdvertisement { destination, target: self.target, mac }
    }
}

impl NeighbourAdvertisement {
    /// Bytes of the message with its IPv6 header.
    pub const LEN: usize = Ipv6Header::LEN + 32;

    /// Writes the message with its IPv6 header and checksum.
    pub fn emit(&self, buffer: &mut [u8; Self::LEN]) {
        let header = Ipv6Header {
            traffic_class: 0,
            flow_label: 0,
            payload_len: 32,
            next_header: protocol::ICMPV6,
            hop_limit: 255,
            source: self.target,
            destination: self.destination,
        };
        // Solicited only if a single node asked; override, so that a moved station is found at once.
        let flags = if self.destination.is_multicast() { OVERRIDE } else { SOLICITED | OVERRIDE };
        let message = |[c0, c1]: [u8; 2]| {
            let mut message = [0; 32];
            let (fixed, rest) = message.split_at_mut(8);
            fixed.copy_from_slice(&[136, 0, c0, c1, flags, 0, 0, 0]);
            let (target, option) = rest.split_at_mut(16);
            target.copy_from_slice(&self.target.octets());
            let [m0, m1, m2, m3, m4, m5] = self.mac.octets();
            option.copy_from_slice(&[2, 1, m0, m1, m2, m3, m4, m5]);
            message
        };
        let checksum = Checksum::new()
            .add_pseudo_header(self.target.into(), self.destination.into(), protocol::ICMPV6, 32)
            .add_bytes(&message([0, 0]))
            .finish();
        if let Some((first, rest)) = buffer.split_first_chunk_mut::<{ Ipv6Header::LEN }>() {
            header.emit(first);
            rest.copy_from_slice(&message(checksum.to_be_bytes()));
        }
    }
}

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
