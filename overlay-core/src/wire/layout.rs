use super::{
    Checksum, EtherType, EthernetError, EthernetFrame, EthernetHeader, Ipv4Error, Ipv4Header, Ipv4Packet,
    Ipv6Error, Ipv6Header, Ipv6Packet, TcpError, TcpHeader, TcpSegment, UdpError, UdpHeader, VlanError,
    VlanFrame, VlanHeader, protocol,
};

/// Where the headers of an Ethernet frame with an IP packet lie, everything that they promise checked but the sums of
/// TCP and UDP.
///
/// ```text
///   0          network      transport     payload                end
///   │ Ethernet │ tag │ IPv4 or IPv6 │ TCP or UDP │ …                │ padding
/// ```
///
/// Of other protocols, and of fragments but the first, only the place of the IP payload is known: there
/// `payload == transport`.
///
/// ```
/// use overlay_core::wire::{EtherType, EthernetHeader, Layout, LayoutError};
///
/// let mut frame = [0; 60];
/// let station = [2, 0, 0, 0, 0, 1].into();
/// EthernetHeader { destination: station, source: station, ethertype: EtherType::ARP }
///     .emit(frame.first_chunk_mut().unwrap());
/// assert_eq!(Layout::parse(&frame), Err(LayoutError::NotIp { ethertype: EtherType::ARP }));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Layout {
    /// Where the IP header begins: 14, or 18 behind an 802.1Q tag.
    pub network: usize,
    /// Where the IP header and its options or extension headers end.
    pub transport: usize,
    /// Where the header of TCP or UDP ends.
    pub payload: usize,
    /// Where the IP packet ends; what follows is Ethernet's padding.
    pub end: usize,
    /// IPv4 or IPv6.
    pub version: IpVersion,
    /// What begins at `transport`: see [`protocol`].
    pub protocol: u8,
    /// Which part of an IP packet this is.
    pub part: Part,
}

/// A version of the Internet Protocol.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum IpVersion {
    /// 32-bit addresses.
    V4,
    /// 128-bit addresses.
    V6,
}

/// Which part of an IP packet a frame carries.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The first fragment, which has the transport header.
    First,
    /// A fragment without a transport header.
    Later,
}

/// Why a frame has no [`Layout`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum LayoutError {
    /// Neither IPv4 nor IPv6; two tags are not looked through.
    #[error("EtherType {ethertype} is not IP")]
    NotIp { ethertype: EtherType },
    /// The Ethernet header is damaged.
    #[error(transparent)]
    Ethernet(#[from] EthernetError),
    /// The tag is cut off.
    #[error(transparent)]
    Vlan(#[from] VlanError),
    /// The IPv4 header is damaged.
    #[error(transparent)]
    Ipv4(#[from] Ipv4Error),
    /// The IPv6 header is damaged.
    #[error(transparent)]
    Ipv6(#[from] Ipv6Error),
    /// An IPv6 extension header is cut off, or there are more than eight.
    #[error("extension header {next_header} does not fit into {len} bytes")]
    Extension { next_header: u8, len: usize },
    /// The TCP header is damaged.
    #[error(transparent)]
    Tcp(#[from] TcpError),
    /// The UDP header is damaged.
    #[error(transparent)]
    Udp(#[from] UdpError),
}

impl Layout {
    /// Reads the headers of a frame.
    ///
    /// # Errors
    /// [`LayoutError`] if it does not carry IP or a header is damaged.
    #[inline]
    pub fn parse(frame: &[u8]) -> Result<Self, LayoutError> {
        let ethernet = EthernetFrame::parse(frame)?;
        let (mut network, mut ethertype, mut packet) =
            (EthernetHeader::LEN, ethernet.header.ethertype, ethernet.payload);
        if ethertype == EtherType::VLAN {
            let tagged = VlanFrame::parse(packet)?;
            (network, ethertype, packet) =
                (network + VlanHeader::LEN, tagged.header.ethertype, tagged.payload);
        }
        match ethertype {
            EtherType::IPV4 => Self::of_ipv4(network, packet),
            EtherType::IPV6 => Self::of_ipv6(network, packet),
            ethertype => Err(LayoutError::NotIp { ethertype }),
        }
    }

    /// The source's and the destination's address as they stand in the IP header.
    #[inline]
    pub(crate) fn addresses<'f>(&self, frame: &'f [u8]) -> &'f [u8] {
        let range = match self.version {
            IpVersion::V4 => self.network + 12..self.network + 20,
            IpVersion::V6 => self.network + 8..self.network + 40,
        };
        frame.get(range).unwrap_or_default()
    }

    /// The sum of the pseudo header but for the length.
    #[inline]
    pub(crate) fn pseudo_header(&self, frame: &[u8]) -> Checksum {
        Checksum::new().add_bytes(self.addresses(frame)).add_word(u16::from(self.protocol))
    }

    /// Whether TCP or UDP follows right behind an IP header without options, unfragmented.
    #[inline]
    pub(crate) const fn is_plain(&self) -> bool {
        let header_len = match self.version {
            IpVersion::V4 => Ipv4Header::LEN,
            IpVersion::V6 => Ipv6Header::LEN,
        };
        matches!(self.part, Part::Whole)
            && self.payload > self.transport
            && self.transport == self.network + header_len
    }

    /// [`is_plain`](Self::is_plain), and a datagram fills its packet.
    #[inline]
    pub(crate) fn is_plain_in(&self, frame: &[u8]) -> bool {
        self.is_plain()
            && (self.protocol != protocol::UDP || {
                let len = frame.get(self.transport + 4..).and_then(<[u8]>::first_chunk);
                len.map(|len| usize::from(u16::from_be_bytes(*len))) == Some(self.end - self.transport)
            })
    }

    #[inline]
    fn of_ipv4(network: usize, bytes: &[u8]) -> Result<Self, LayoutError> {
        let packet = Ipv4Packet::parse(bytes)?;
        let (protocol, transport) =
            (packet.header.protocol, network + Ipv4Header::LEN + packet.options.len());
        let part = part(packet.header.fragment_offset, packet.header.more_fragments);
        Ok(Self {
            network,
            transport,
            payload: transport + transport_len(protocol, part, packet.payload)?,
            end: transport + packet.payload.len(),
            version: IpVersion::V4,
            protocol,
            part,
        })
    }

    #[inline]
    fn of_ipv6(network: usize, bytes: &[u8]) -> Result<Self, LayoutError> {
        let packet = Ipv6Packet::parse(bytes)?;
        let protocol = packet.header.next_header;
        if let HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION = protocol {
            return Self::of_extended(network, protocol, packet.payload);
        }
        let transport = network + Ipv6Header::LEN;
        Ok(Self {
            network,
            transport,
            payload: transport + transport_len(protocol, Part::Whole, packet.payload)?,
            end: transport + packet.payload.len(),
            version: IpVersion::V6,
            protocol,
            part: Part::Whole,
        })
    }

    /// Walks over the extension headers ([RFC 8200 §4](https://www.rfc-editor.org/rfc/rfc8200#section-4)).
    #[cold]
    fn of_extended(network: usize, mut protocol: u8, bytes: &[u8]) -> Result<Self, LayoutError> {
        let (mut rest, mut part) = (bytes, Part::Whole);
        for _ in 0..=MAX_EXTENSIONS {
            let damaged = LayoutError::Extension { next_header: protocol, len: rest.len() };
            let len = match (protocol, rest) {
                _ if part == Part::Later => None,
                (FRAGMENT, [_, _, a, b, ..]) => {
                    let word = u16::from_be_bytes([*a, *b]);
                    part = self::part(word >> 3, word & 1 != 0);
                    Some(8)
                }
                (HOP_BY_HOP | ROUTING | DESTINATION, [_, len, ..]) => Some((usize::from(*len) + 1) * 8),
                (HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION, _) => return Err(damaged),
                _ => None,
            };
            let Some(len) = len else {
                let end = network + Ipv6Header::LEN + bytes.len();
                let transport = end - rest.len();
                let payload = transport + transport_len(protocol, part, rest)?;
                return Ok(Self { network, transport, payload, end, version: IpVersion::V6, protocol, part });
            };
            let Some((extension, behind)) = rest.split_at_checked(len) else { return Err(damaged) };
            protocol = extension.first().copied().unwrap_or_default();
            rest = behind;
        }
        Err(LayoutError::Extension { next_header: protocol, len: rest.len() })
    }
}

/// Bytes of the header of TCP or UDP; zero of anything else.
#[inline]
fn transport_len(protocol: u8, part: Part, bytes: &[u8]) -> Result<usize, LayoutError> {
    match (protocol, part) {
        (protocol::TCP, Part::Whole | Part::First) => {
            let segment = TcpSegment::parse(bytes)?;
            Ok(TcpHeader::LEN + usize::from(segment.header.options_len))
        }
        (protocol::UDP, Part::Whole | Part::First) => {
            let [_, _, _, _, a, b, _, _, ..] = *bytes else {
                return Err(UdpError::Truncated { want: UdpHeader::LEN, len: bytes.len() }.into());
            };
            let len = u16::from_be_bytes([a, b]);
            let want = usize::from(len);
            if want < UdpHeader::LEN {
                return Err(UdpError::Length { len }.into());
            }
            if want > bytes.len() && matches!(part, Part::Whole) {
                return Err(UdpError::Truncated { want, len: bytes.len() }.into());
            }
            Ok(UdpHeader::LEN)
        }
        _ => Ok(0),
    }
}

#[inline]
const fn part(offset: u16, more: bool) -> Part {
    match (offset, more) {
        (0, false) => Part::Whole,
        (0, true) => Part::First,
        _ => Part::Later,
    }
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
const MAX_EXTENSIONS: usize = 8;
