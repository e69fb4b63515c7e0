use core::net::Ipv4Addr;

use crate::MacAddr;

/// An ARP packet for IPv4 over Ethernet ([RFC 826]).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |      Hardware type = 1        |    Protocol type = 0x0800     |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | HW length = 6 | Proto len = 4 |           Operation           |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                      Sender MAC address                       |
/// +                               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                               |      Sender IPv4 address      |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  Sender IPv4 address (cont.)  |      Target MAC address       |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+                               +
/// |                                                               |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                      Target IPv4 address                      |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
///
/// [RFC 826]: https://www.rfc-editor.org/rfc/rfc826
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ArpPacket {
    /// Question or answer.
    pub operation: ArpOperation,
    /// Who speaks.
    pub sender_mac: MacAddr,
    /// The address that the sender speaks for; unspecified in a probe ([RFC 5227]).
    ///
    /// [RFC 5227]: https://www.rfc-editor.org/rfc/rfc5227
    pub sender_ip: Ipv4Addr,
    /// Zero in a question.
    pub target_mac: MacAddr,
    /// The address that is asked for.
    pub target_ip: Ipv4Addr,
}

/// What an ARP packet wants.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ArpOperation {
    /// Who has the target's address?
    Request,
    /// The sender has it.
    Reply,
}

/// Why bytes are not an ARP packet that this crate understands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum ArpError {
    /// Shorter than a packet.
    #[error("an ARP packet takes 28 bytes, not {len}")]
    Truncated { len: usize },
    /// Not IPv4 over Ethernet.
    #[error("ARP for hardware {hardware} and protocol {protocol:#06x} is not IPv4 over Ethernet")]
    OtherNetwork { hardware: u16, protocol: u16 },
    /// The lengths are not those of a MAC and an IPv4 address.
    #[error("ARP address lengths {hardware_len} and {protocol_len} are not 6 and 4")]
    Lengths { hardware_len: u8, protocol_len: u8 },
    /// Neither request nor reply.
    #[error("ARP operation {operation} is neither request nor reply")]
    Operation { operation: u16 },
}

impl ArpPacket {
    /// Bytes of a packet.
    pub const LEN: usize = 28;

    /// Reads the payload of an Ethernet frame; padding behind the packet is ignored.
    ///
    /// # Errors
    /// [`ArpError`] if it is too short or not a request or reply for IPv4 over Ethernet.
    pub const fn parse(payload: &[u8]) -> Result<Self, ArpError> {
        let Some((packet, _)) = payload.split_first_chunk::<{ Self::LEN }>() else {
            return Err(ArpError::Truncated { len: payload.len() });
        };
        #[rustfmt::skip]
        let [h0, h1, p0, p1, hardware_len, protocol_len, o0, o1,
            s0, s1, s2, s3, s4, s5, sa, sb, sc, sd,
            t0, t1, t2, t3, t4, t5, ta, tb, tc, td] = *packet;
        let (hardware, protocol) = (u16::from_be_bytes([h0, h1]), u16::from_be_bytes([p0, p1]));
        if hardware != ETHERNET || protocol != IPV4 {
            return Err(ArpError::OtherNetwork { hardware, protocol });
        }
        if hardware_len != 6 || protocol_len != 4 {
            return Err(ArpError::Lengths { hardware_len, protocol_len });
        }
        let operation = match u16::from_be_bytes([o0, o1]) {
            1 => ArpOperation::Request,
            2 => ArpOperation::Reply,
            operation => return Err(ArpError::Operation { operation }),
        };
        Ok(Self {
            operation,
            sender_mac: MacAddr::new([s0, s1, s2, s3, s4, s5]),
            sender_ip: Ipv4Addr::new(sa, sb, sc, sd),
            target_mac: MacAddr::new([t0, t1, t2, t3, t4, t5]),
            target_ip: Ipv4Addr::new(ta, tb, tc, td),
        })
    }

    /// Writes the packet.
    pub const fn emit(&self, buffer: &mut [u8; Self::LEN]) {
        let [h0, h1] = ETHERNET.to_be_bytes();
        let [p0, p1] = IPV4.to_be_bytes();
        let operation = match self.operation {
            ArpOperation::Request => 1,
            ArpOperation::Reply => 2,
        };
        let [s0, s1, s2, s3, s4, s5] = self.sender_mac.octets();
        let [sa, sb, sc, sd] = self.sender_ip.octets();
        let [t0, t1, t2, t3, t4, t5] = self.target_mac.octets();
        let [ta, tb, tc, td] = self.target_ip.octets();
        #[rustfmt::skip]
        let packet = [h0, h1, p0, p1, 6, 4, 0, operation,
            s0, s1, s2, s3, s4, s5, sa, sb, sc, sd,
            t0, t1, t2, t3, t4, t5, ta, tb, tc, td];
        *buffer = packet;
    }

    /// The reply that says that `mac` has the address this packet asks for.
    #[must_use]
    pub const fn answered_by(&self, mac: MacAddr) -> Self {
        Self {
            operation: ArpOperation::Reply,
            sender_mac: mac,
            sender_ip: self.target_ip,
            target_mac: self.sender_mac,
            target_ip: self.sender_ip,
        }
    }
}

const ETHERNET: u16 = 1;
const IPV4: u16 = 0x0800;
