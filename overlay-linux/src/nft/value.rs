//! Typed constants and the bytes that they have in a kernel register.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use overlay_core::{MacAddr, Vni};

/// The type of one component of a key or value.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Type {
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A MAC address.
    Ether,
    /// A TCP or UDP port.
    Port,
    /// A transport protocol, such as 6 for TCP.
    Protocol,
    /// A packet or connection mark.
    Mark,
    /// The index of a device.
    Device,
    /// The name of a device.
    DeviceName,
    /// An EtherType, such as 0x0800.
    EtherType,
    /// The flags of a TCP header.
    TcpFlags,
    /// The state bits of a connection.
    CtState,
    /// The status bits of a connection.
    CtStatus,
    /// The direction of a packet in its connection: 0 original, 1 reply.
    CtDirection,
    /// The type of a route, such as 2 for local.
    RouteType,
    /// A protocol family: 2 for IPv4, 10 for IPv6.
    NfProtocol,
    /// The hardware type of a device: 1 for Ethernet.
    HardwareType,
    /// A TCP segment size.
    SegmentSize,
    /// A VXLAN network identifier: 24 bits.
    Vni,
    /// The flags of a VXLAN header.
    VxlanFlags,
    /// An Internet checksum.
    Checksum,
    /// A 32-bit number: the output of a hash or of a number generator.
    Integer,
}

impl Type {
    /// Bytes of a value of this type.
    pub const fn len(self) -> usize {
        match self {
            Self::Protocol | Self::TcpFlags | Self::CtDirection | Self::NfProtocol | Self::VxlanFlags => 1,
            Self::Port | Self::EtherType | Self::HardwareType | Self::SegmentSize | Self::Checksum => 2,
            Self::Vni => 3,
            Self::Ipv4
            | Self::Mark
            | Self::Device
            | Self::CtState
            | Self::CtStatus
            | Self::RouteType
            | Self::Integer => 4,
            Self::Ether => 6,
            Self::Ipv6 | Self::DeviceName => 16,
        }
    }

    /// Always false: every type has at least one byte.
    pub const fn is_empty(self) -> bool {
        false
    }

    /// Whether a register holds it in the byte order of the host.
    pub(super) const fn is_host_order(self) -> bool {
        match self {
            Self::Mark
            | Self::Device
            | Self::CtState
            | Self::CtStatus
            | Self::RouteType
            | Self::HardwareType
            | Self::DeviceName
            | Self::Integer => true,
            Self::Ipv4
            | Self::Ipv6
            | Self::Ether
            | Self::Port
            | Self::Protocol
            | Self::EtherType
            | Self::TcpFlags
            | Self::CtDirection
            | Self::NfProtocol
            | Self::SegmentSize
            | Self::Vni
            | Self::VxlanFlags
            | Self::Checksum => false,
        }
    }

    /// The number by which `nft` knows the type; the kernel only stores it.
    pub(super) const fn number(self) -> u32 {
        match self {
            Self::NfProtocol => 2,
            Self::Integer | Self::SegmentSize | Self::Vni | Self::VxlanFlags | Self::Checksum => 4,
            Self::Ipv4 => 7,
            Self::Ipv6 => 8,
            Self::Ether => 9,
            Self::EtherType => 10,
            Self::Protocol => 12,
            Self::Port => 13,
            Self::TcpFlags => 15,
            Self::Mark => 19,
            Self::Device => 20,
            Self::HardwareType => 21,
            Self::CtState => 26,
            Self::CtDirection => 27,
            Self::CtStatus => 28,
            Self::RouteType => 38,
            Self::DeviceName => 41,
        }
    }
}

/// A constant. What bytes it has depends on the [`Type`] it is used as.
///
/// ```
/// use std::net::Ipv4Addr;
/// use overlay_linux::nft::Value;
///
/// let backend = Value::concat([Value::from(Ipv4Addr::new(172, 18, 3, 2)), Value::from(80_u16)]);
/// assert_eq!(backend.to_string(), "172.18.3.2 . 80");
/// ```
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Value {
    /// A port, mark, protocol, flag set, index, slot: any number.
    Number(u32),
    /// An address.
    Ip(IpAddr),
    /// A MAC address.
    Ether(MacAddr),
    /// The name of a device.
    Name(String),
    /// Several components.
    Concat(Vec<Self>),
}

impl Value {
    /// Joins components: `addr . port`.
    pub fn concat(parts: impl Into<Vec<Self>>) -> Self {
        Self::Concat(parts.into())
    }

    /// The bytes of this value in a key, register or map.
    ///
    /// # Errors
    /// When the value is not one of these types.
    pub(super) fn encode(&self, types: &[Type]) -> Result<Vec<u8>, ValueError> {
        let mismatch = || ValueError { value: self.clone(), types: types.to_vec() };
        match (self, types) {
            (Self::Concat(parts), _) if parts.len() == types.len() && types.len() > 1 => {
                let mut bytes = Vec::new();
                for (part, ty) in parts.iter().zip(types) {
                    bytes.extend(part.encode_one(*ty).ok_or_else(mismatch)?);
                    bytes.resize(bytes.len().next_multiple_of(4), 0);
                }
                Ok(bytes)
            }
            (value, [ty]) => value.encode_one(*ty).ok_or_else(mismatch),
            _ => Err(mismatch()),
        }
    }

    fn encode_one(&self, ty: Type) -> Option<Vec<u8>> {
        match (self, ty) {
            (Self::Ip(IpAddr::V4(addr)), Type::Ipv4) => Some(addr.octets().to_vec()),
            (Self::Ip(IpAddr::V6(addr)), Type::Ipv6) => Some(addr.octets().to_vec()),
            (Self::Ether(mac), Type::Ether) => Some(mac.octets().to_vec()),
            (Self::Name(name), Type::DeviceName) if name.len() < ty.len() && !name.is_empty() => {
                let mut bytes = name.clone().into_bytes();
                bytes.resize(ty.len(), 0);
                Some(bytes)
            }
            (Self::Number(number), _) => encode_number(*number, ty),
            _ => None,
        }
    }
}

fn encode_number(number: u32, ty: Type) -> Option<Vec<u8>> {
    if matches!(ty, Type::Ipv4 | Type::Ipv6 | Type::Ether | Type::DeviceName) {
        return None;
    }
    match ty.len() {
        1 => Some(vec![u8::try_from(number).ok()?]),
        2 => {
            let half = u16::try_from(number).ok()?;
            Some(if ty.is_host_order() { half.to_ne_bytes() } else { half.to_be_bytes() }.to_vec())
        }
        3 => match number.to_be_bytes() {
            [0, rest @ ..] => Some(rest.to_vec()),
            _ => None,
        },
        4 => Some(if ty.is_host_order() { number.to_ne_bytes() } else { number.to_be_bytes() }.to_vec()),
        _ => None,
    }
}

/// Bytes of a key or value of these components: each is padded to 4 when there are several.
pub(super) fn width(types: &[Type]) -> usize {
    match types {
        [ty] => ty.len(),
        types => types.iter().map(|ty| ty.len().next_multiple_of(4)).sum(),
    }
}

/// A value used as a type that it is not.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{value} is not {types:?}")]
#[expect(missing_docs, reason = "the message names the fields")]
pub struct ValueError {
    pub value: Value,
    pub types: Vec<Type>,
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Ip(addr) => write!(f, "{addr}"),
            Self::Ether(mac) => write!(f, "{mac}"),
            Self::Name(name) => write!(f, "\"{name}\""),
            Self::Concat(parts) => {
                for (at, part) in parts.iter().enumerate() {
                    if at > 0 {
                        f.write_str(" . ")?;
                    }
                    write!(f, "{part}")?;
                }
                Ok(())
            }
        }
    }
}

impl From<u8> for Value {
    fn from(number: u8) -> Self {
        Self::Number(number.into())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number)
    }
}

impl From<IpAddr> for Value {
    fn from(addr: IpAddr) -> Self {
        Self::Ip(addr)
    }
}

impl From<Ipv4Addr> for Value {
    fn from(addr: Ipv4Addr) -> Self {
        Self::Ip(addr.into())
    }
}

impl From<Ipv6Addr> for Value {
    fn from(addr: Ipv6Addr) -> Self {
        Self::Ip(addr.into())
    }
}

impl From<std::net::SocketAddr> for Value {
    /// The concatenation `addr . port`.
    fn from(socket: std::net::SocketAddr) -> Self {
        Self::concat([socket.ip().into(), socket.port().into()])
    }
}

impl From<Vni> for Value {
    fn from(vni: Vni) -> Self {
        Self::Number(vni.get())
    }
}

impl From<MacAddr> for Value {
    fn from(mac: MacAddr) -> Self {
        Self::Ether(mac)
    }
}

impl From<&str> for Value {
    /// A device's name.
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<String> for Value {
    /// A device's name.
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}
