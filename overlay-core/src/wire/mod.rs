//! Headers as bytes: a view to read, a representation to write.
//!
//! `parse` checks everything that the header promises; after it no accessor can fail. `emit` fills exactly `LEN` bytes.
//! What lies behind a header stays where it is: views borrow, nothing is copied.
//!
//! ```
//! use overlay_core::{Vni, wire::{VxlanHeader, VxlanPacket}};
//!
//! let header = VxlanHeader { vni: Vni::new(4097)? };
//! let mut datagram = vec![0; VxlanHeader::LEN];
//! header.emit(datagram.first_chunk_mut().unwrap());
//! datagram.extend_from_slice(b"frame");
//!
//! let packet = VxlanPacket::parse(&datagram)?;
//! assert_eq!((packet.header, packet.frame), (header, &b"frame"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arp;
mod checksum;
mod ethernet;
mod icmpv4;
mod icmpv6;
mod igmp;
mod ipv4;
mod ipv6;
mod layout;
mod mld;
mod ndp;
mod tcp;
mod udp;
mod vlan;
mod vxlan;

pub use arp::{ArpError, ArpOperation, ArpPacket};
pub use checksum::Checksum;
pub use ethernet::{EtherType, EthernetError, EthernetFrame, EthernetHeader};
pub use icmpv4::{FragmentationNeeded, Icmpv4Error};
pub use icmpv6::{Icmpv6Error, PacketTooBig};
pub use igmp::{GroupRecord, IgmpError, IgmpMessage, IgmpQuery, IgmpRecords};
pub use ipv4::{Ipv4Error, Ipv4Header, Ipv4Packet};
pub use ipv6::{Ipv6Error, Ipv6Header, Ipv6Packet};
pub use layout::{IpVersion, Layout, LayoutError, Part};
pub use mld::{MldError, MldMessage, MldQuery, MldRecords};
pub use ndp::{NdpError, NeighbourAdvertisement, NeighbourSolicitation};
pub use tcp::{TcpError, TcpFlags, TcpHeader, TcpOption, TcpOptions, TcpSegment};
pub use udp::{UdpDatagram, UdpError, UdpHeader};
pub use vlan::{VlanError, VlanFrame, VlanHeader, VlanId, VlanIdError};
pub use vxlan::{VXLAN_PORT, VxlanError, VxlanHeader, VxlanPacket};

/// The protocol numbers of the packet path ([IANA]).
///
/// [IANA]: https://www.iana.org/assignments/protocol-numbers
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// Internet Group Management Protocol, which says who is a member of which group.
    pub const IGMP: u8 = 2;
    /// Transmission Control Protocol.
    pub const TCP: u8 = 6;
    /// User Datagram Protocol.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6, which carries neighbour discovery.
    pub const ICMPV6: u8 = 58;
    /// Protocol Independent Multicast, which routers of groups speak.
    pub const PIM: u8 = 103;
    /// Stream Control Transmission Protocol.
    pub const SCTP: u8 = 132;
}
