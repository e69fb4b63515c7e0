//! What a rule can look at, and what it can write.

use super::expr::{self, Instruction};
use super::model::Family;
use super::rule::Compare;
use super::value::Type;

/// Something to look at in a packet, or in what the kernel knows about it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(missing_docs, reason = "each is named after the header and field")]
pub enum Field {
    IifName,
    OifName,
    Iif,
    Oif,
    /// The hardware type of the incoming device: 1 for Ethernet.
    IifType,
    /// The transport protocol, after IPv6 extension headers.
    L4Protocol,
    /// The EtherType.
    EtherType,
    /// The packet's mark.
    Mark,
    /// The protocol family (2 or 10) in tables that see both.
    NfProtocol,
    EtherSource,
    EtherDestination,
    IpSource,
    IpDestination,
    Ip6Source,
    Ip6Destination,
    /// The source port of any transport protocol that has one.
    TransportSource,
    /// The destination port of any transport protocol that has one.
    TransportDestination,
    TcpSource,
    TcpDestination,
    TcpFlags,
    UdpSource,
    UdpDestination,
    /// The checksum of a UDP datagram; 0 if it has none.
    UdpChecksum,
    /// The first byte of a VXLAN header; only meaningful if the ports say that there is one.
    VxlanFlags,
    /// The network identifier of a VXLAN header; only meaningful if the ports say that there is one.
    VxlanVni,
    /// The type of the route to the packet's destination: [`Field::LOCAL`] if it is this host.
    RouteOfDestination,
    /// The type of the route to the packet's source.
    RouteOfSource,
    CtState,
    CtDirection,
    CtStatus,
    CtMark,
}

impl Field {
    /// Value of [`Field::RouteOfDestination`]: the address is this host's.
    pub const LOCAL: u32 = 2;
    /// Bit of [`Field::CtState`]: belongs to no connection that could be.
    pub const INVALID: u32 = 1;
    /// Bit of [`Field::CtState`]: both directions were seen.
    pub const ESTABLISHED: u32 = 2;
    /// Bit of [`Field::CtState`]: belongs to another connection, as an ICMP error does.
    pub const RELATED: u32 = 4;
    /// Bit of [`Field::CtState`]: the first packet.
    pub const NEW: u32 = 8;
    /// Bit of [`Field::CtState`]: connection tracking was switched off.
    pub const UNTRACKED: u32 = 64;
    /// Bit of [`Field::CtStatus`]: the source is rewritten.
    pub const SNAT: u32 = 1 << 4;
    /// Bit of [`Field::CtStatus`]: the destination is rewritten.
    pub const DNAT: u32 = 1 << 5;
    /// Value of [`Field::CtDirection`]: from the side that opened the connection.
    pub const ORIGINAL: u32 = 0;
    /// Value of [`Field::CtDirection`]: from the other side.
    pub const REPLY: u32 = 1;
    /// Bit of [`Field::TcpFlags`].
    pub const FIN: u32 = 1;
    /// Bit of [`Field::TcpFlags`].
    pub const SYN: u32 = 2;
    /// Bit of [`Field::TcpFlags`].
    pub const RST: u32 = 4;
    /// Bit of [`Field::TcpFlags`].
    pub const ACK: u32 = 16;

    /// The type of its value.
    pub const fn ty(self) -> Type {
        match self {
            Self::IifName | Self::OifName => Type::DeviceName,
            Self::Iif | Self::Oif => Type::Device,
            Self::IifType => Type::HardwareType,
            Self::L4Protocol => Type::Protocol,
            Self::EtherType => Type::EtherType,
            Self::Mark | Self::CtMark => Type::Mark,
            Self::NfProtocol => Type::NfProtocol,
            Self::EtherSource | Self::EtherDestination => Type::Ether,
            Self::IpSource | Self::IpDestination => Type::Ipv4,
            Self::Ip6Source | Self::Ip6Destination => Type::Ipv6,
            Self::TransportSource
            | Self::TransportDestination
            | Self::TcpSource
            | Self::TcpDestination
            | Self::UdpSource
            | Self::UdpDestination => Type::Port,
            Self::TcpFlags => Type::TcpFlags,
            Self::UdpChecksum => Type::Checksum,
            Self::VxlanFlags => Type::VxlanFlags,
            Self::VxlanVni => Type::Vni,
            Self::RouteOfDestination | Self::RouteOfSource => Type::RouteType,
            Self::CtState => Type::CtState,
            Self::CtDirection => Type::CtDirection,
            Self::CtStatus => Type::CtStatus,
        }
    }

    /// What must be true of a packet that has this field.
    pub(super) const fn needs(self) -> Option<Layer> {
        match self {
            Self::EtherSource | Self::EtherDestination => Some(Layer::Ethernet),
            Self::IpSource | Self::IpDestination => Some(Layer::Ipv4),
            Self::Ip6Source | Self::Ip6Destination => Some(Layer::Ipv6),
            Self::TcpSource | Self::TcpDestination | Self::TcpFlags => Some(Layer::Tcp),
            Self::UdpSource
            | Self::UdpDestination
            | Self::UdpChecksum
            | Self::VxlanFlags
            | Self::VxlanVni => Some(Layer::Udp),
            Self::IifName
            | Self::OifName
            | Self::Iif
            | Self::Oif
            | Self::IifType
            | Self::L4Protocol
            | Self::EtherType
            | Self::Mark
            | Self::NfProtocol
            | Self::TransportSource
            | Self::TransportDestination
            | Self::RouteOfDestination
            | Self::RouteOfSource
            | Self::CtState
            | Self::CtDirection
            | Self::CtStatus
            | Self::CtMark => None,
        }
    }

    pub(super) fn load(self, dest: u32) -> Instruction {
        match self {
            Self::EtherType => expr::meta(1, dest),
            Self::Mark => expr::meta(expr::META_MARK, dest),
            Self::Iif => expr::meta(4, dest),
            Self::Oif => expr::meta(5, dest),
            Self::IifName => expr::meta(6, dest),
            Self::OifName => expr::meta(7, dest),
            Self::IifType => expr::meta(8, dest),
            Self::NfProtocol => expr::meta(15, dest),
            Self::L4Protocol => expr::meta(16, dest),
            Self::EtherDestination => expr::payload(expr::LINK, 0, 6, dest),
            Self::EtherSource => expr::payload(expr::LINK, 6, 6, dest),
            Self::IpSource => expr::payload(expr::NETWORK, 12, 4, dest),
            Self::IpDestination => expr::payload(expr::NETWORK, 16, 4, dest),
            Self::Ip6Source => expr::payload(expr::NETWORK, 8, 16, dest),
            Self::Ip6Destination => expr::payload(expr::NETWORK, 24, 16, dest),
            Self::TransportSource | Self::TcpSource | Self::UdpSource => {
                expr::payload(expr::TRANSPORT, 0, 2, dest)
            }
            Self::TransportDestination | Self::TcpDestination | Self::UdpDestination => {
                expr::payload(expr::TRANSPORT, 2, 2, dest)
            }
            Self::TcpFlags => expr::payload(expr::TRANSPORT, 13, 1, dest),
            Self::UdpChecksum => expr::payload(expr::TRANSPORT, 6, 2, dest),
            Self::VxlanFlags => expr::payload(expr::TRANSPORT, 8, 1, dest),
            Self::VxlanVni => expr::payload(expr::TRANSPORT, 12, 3, dest),
            Self::RouteOfSource => expr::fib_type(1, dest),
            Self::RouteOfDestination => expr::fib_type(2, dest),
            Self::CtState => expr::ct(0, dest),
            Self::CtDirection => expr::ct(1, dest),
            Self::CtStatus => expr::ct(2, dest),
            Self::CtMark => expr::ct(expr::CT_MARK, dest),
        }
    }
}

/// Something that a rule can write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target {
    /// The packet's mark.
    Mark,
    /// The mark of the packet's connection.
    CtMark,
    /// The source MAC address of the frame.
    EtherSource,
    /// The destination MAC address of the frame.
    EtherDestination,
    /// The segment size that a SYN offers; packets without the option end the rule.
    TcpSegmentSize,
    /// The destination port of a UDP datagram that has a checksum, which is corrected; others end the rule.
    ///
    /// Of datagrams that are still joined (UDP segmentation offload) it is the port of each.
    UdpDestination,
    /// The destination port of a UDP datagram that has no checksum; others end the rule.
    UnsummedUdpDestination,
}

impl Target {
    /// The type of what it takes.
    pub const fn ty(self) -> Type {
        match self {
            Self::Mark | Self::CtMark => Type::Mark,
            Self::EtherSource | Self::EtherDestination => Type::Ether,
            Self::TcpSegmentSize => Type::SegmentSize,
            Self::UdpDestination | Self::UnsummedUdpDestination => Type::Port,
        }
    }

    pub(super) const fn needs(self) -> Option<Layer> {
        match self {
            Self::Mark | Self::CtMark => None,
            Self::EtherSource | Self::EtherDestination => Some(Layer::Ethernet),
            Self::TcpSegmentSize => Some(Layer::Tcp),
            Self::UdpDestination => Some(Layer::SummedUdp),
            Self::UnsummedUdpDestination => Some(Layer::UnsummedUdp),
        }
    }

    pub(super) fn store(self, source: u32) -> Instruction {
        match self {
            Self::Mark => expr::meta_set(expr::META_MARK, source),
            Self::CtMark => expr::ct_set(expr::CT_MARK, source),
            Self::EtherDestination => expr::payload_write(expr::LINK, 0, 6, source),
            Self::EtherSource => expr::payload_write(expr::LINK, 6, 6, source),
            Self::TcpSegmentSize => expr::tcp_option_write(2, 2, 2, source),
            Self::UdpDestination => expr::payload_write_summed((expr::TRANSPORT, 6), 2, 2, source),
            Self::UnsummedUdpDestination => expr::payload_write(expr::TRANSPORT, 2, 2, source),
        }
    }
}

/// A property of a packet that gives its bytes a meaning.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Layer {
    Ethernet,
    Ipv4,
    Ipv6,
    Tcp,
    Udp,
    /// UDP with a checksum.
    SummedUdp,
    /// UDP without a checksum.
    UnsummedUdp,
}

impl Layer {
    /// What must hold before it can be checked.
    pub(super) const fn needs(self) -> Option<Self> {
        match self {
            Self::SummedUdp | Self::UnsummedUdp => Some(Self::Udp),
            Self::Ethernet | Self::Ipv4 | Self::Ipv6 | Self::Tcp | Self::Udp => None,
        }
    }

    /// The comparison that establishes it in a table of that family; `Ok(None)` where it always holds.
    ///
    /// # Errors
    /// Where it never holds.
    pub(super) const fn check(self, family: Family) -> Result<Option<(Field, Compare, u32)>, ()> {
        let equal = match (self, family) {
            (Self::SummedUdp, _) => return Ok(Some((Field::UdpChecksum, Compare::Ne, 0))),
            (Self::UnsummedUdp, _) => Some((Field::UdpChecksum, 0)),
            (Self::Tcp, _) => Some((Field::L4Protocol, 6)),
            (Self::Udp, _) => Some((Field::L4Protocol, 17)),
            (Self::Ipv4, Family::Ip) | (Self::Ipv6, Family::Ip6) | (Self::Ethernet, Family::Bridge) => None,
            (Self::Ethernet, Family::Ip | Family::Ip6 | Family::Inet | Family::Netdev) => {
                Some((Field::IifType, 1))
            }
            (Self::Ipv4, Family::Inet) => Some((Field::NfProtocol, 2)),
            (Self::Ipv6, Family::Inet) => Some((Field::NfProtocol, 10)),
            (Self::Ipv4, Family::Netdev | Family::Bridge) => Some((Field::EtherType, 0x0800)),
            (Self::Ipv6, Family::Netdev | Family::Bridge) => Some((Field::EtherType, 0x86dd)),
            (Self::Ipv4, Family::Ip6) | (Self::Ipv6, Family::Ip) => return Err(()),
        };
        Ok(match equal {
            Some((field, value)) => Some((field, Compare::Eq, value)),
            None => None,
        })
    }
}
