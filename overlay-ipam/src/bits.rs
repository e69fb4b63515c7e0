//! Addresses as numbers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::Family;

pub(crate) fn of(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address with this number; numbers beyond IPv4 saturate.
pub(crate) fn addr(family: Family, bits: u128) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)).into(),
        Family::V6 => Ipv6Addr::from_bits(bits).into(),
    }
}

/// The prefix of `len` bits that contains the number; `len` saturates.
pub(crate) fn net(family: Family, bits: u128, len: u8) -> IpNet {
    let addr = addr(family, bits);
    let net = IpNet::new(addr, len).unwrap_or_else(|_| IpNet::from(addr));
    net.trunc()
}

pub(crate) fn first(net: IpNet) -> u128 {
    of(net.network())
}

pub(crate) fn last(net: IpNet) -> u128 {
    of(net.broadcast())
}

/// How many numbers follow the first one: 255 for a /24.
pub(crate) fn span(net: IpNet) -> u128 {
    last(net) - first(net)
}

pub(crate) fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}

pub(crate) fn family(addr: IpAddr) -> Family {
    match addr {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

/// For messages: counts of IPv6 do not fit.
pub(crate) fn saturate(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
