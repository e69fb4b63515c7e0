use core::net::{IpAddr, SocketAddr};

use super::packet::Packet;
use crate::{
    offload::Offload,
    wire::{IpVersion, Layout, LayoutError},
};

/// New addresses and ports for a packet; what is `None` stays as it is.
///
/// ```
/// use overlay_core::rewrite::Ends;
///
/// let ends = Ends::to("10.0.0.7:8080".parse()?);
/// assert_eq!((ends.source_addr, ends.destination_port), (None, Some(8080)));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Ends {
    /// Who shall seem to have sent it.
    pub source_addr: Option<IpAddr>,
    /// From which port of TCP or UDP.
    pub source_port: Option<u16>,
    /// Who shall receive it.
    pub destination_addr: Option<IpAddr>,
    /// At which port of TCP or UDP.
    pub destination_port: Option<u16>,
}

/// Why a packet was not rewritten. It is unchanged.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum RewriteError {
    /// A header is damaged, or there is no IP packet in the frame.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// An address of the other family.
    #[error("{addr} cannot stand in a header of IP{version:?}")]
    Family { addr: IpAddr, version: IpVersion },
    /// Neither TCP, UDP nor ICMP. SCTP's checksum cannot be updated, that of others is not known.
    #[error("packets of protocol {protocol} are not rewritten")]
    Protocol { protocol: u8 },
    /// Ports were given for a packet of ICMP, or for a fragment but the first.
    #[error("the packet of protocol {protocol} has no ports")]
    NoPorts { protocol: u8 },
    /// Not an ICMP error, so it quotes no packet.
    #[error("ICMP type {kind} quotes no packet")]
    NoQuote { kind: u8 },
    /// What an ICMP error quotes is not the beginning of a packet.
    #[error("the quoted packet is damaged")]
    Quote,
}

impl Ends {
    /// Another destination.
    #[must_use]
    pub const fn to(destination: SocketAddr) -> Self {
        Self {
            source_addr: None,
            source_port: None,
            destination_addr: Some(destination.ip()),
            destination_port: Some(destination.port()),
        }
    }

    /// Another source.
    #[must_use]
    pub const fn from(source: SocketAddr) -> Self {
        Self {
            source_addr: Some(source.ip()),
            source_port: Some(source.port()),
            destination_addr: None,
            destination_port: None,
        }
    }

    /// The ends of a packet that goes the other way: source and destination exchanged.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            source_addr: self.destination_addr,
            source_port: self.destination_port,
            destination_addr: self.source_addr,
            destination_port: self.source_port,
        }
    }
}

/// Gives the packet in a frame new ends. `offload` is that of the frame: an unfinished checksum stays unfinished.
///
/// Packets of TCP and UDP, of ICMP and ICMPv6 (addresses only) and fragments of them are rewritten; a UDP checksum that
/// was not computed stays so. MAC addresses stay.
///
/// ```
/// use overlay_core::{offload::Offload, rewrite::{Ends, readdress}};
/// use overlay_core::wire::{EtherType, EthernetHeader, Ipv4Header, Ipv4Packet};
///
/// let mut frame = [0; 14 + 20 + 8];
/// let station = [2, 0, 0, 0, 0, 1].into();
/// let (ethernet, rest) = frame.split_first_chunk_mut().unwrap();
/// EthernetHeader { destination: station, source: station, ethertype: EtherType::IPV4 }.emit(ethernet);
/// let (ip, udp) = rest.split_first_chunk_mut().unwrap();
/// udp.copy_from_slice(&[0x9c, 0x40, 0, 53, 0, 8, 0, 0]);
/// let header = Ipv4Header {
///     traffic_class: 0, payload_len: 8, identification: 0, dont_fragment: true, more_fragments: false,
///     fragment_offset: 0, ttl: 64, protocol: 17, source: [10, 0, 0, 9].into(), destination: [10, 0, 0, 2].into(),
/// };
/// header.emit(ip);
///
/// readdress(&mut frame, &Ends::to("10.0.0.7:5353".parse()?), Offload::NONE)?;
/// let packet = Ipv4Packet::parse(&frame[14..])?; // the checksum of its header fits
/// assert_eq!((packet.header.destination, &packet.payload[2..4]), ([10, 0, 0, 7].into(), &5353u16.to_be_bytes()[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`RewriteError`]; the frame is unchanged.
#[inline]
pub fn readdress(frame: &mut [u8], ends: &Ends, offload: Offload) -> Result<(), RewriteError> {
    let layout = Layout::parse(frame)?;
    let is_partial = offload.checksum.is_some_and(|partial| usize::from(partial.start) == layout.transport);
    Packet::of(&layout, is_partial).readdress(frame, ends)
}
