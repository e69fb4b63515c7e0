//! How much room is left inside of the tunnel.
//!
//! ```text
//! ├ IPv4 20 │ IPv6 40 ┼ UDP 8 ┼ VXLAN 8 ┼ inner Ethernet 14 ┼ inner packet … ┤
//! ╰──────────── underlay MTU: 1500 ───────────────────────────────────────────╯
//! ```

use crate::wire::{EthernetHeader, Ipv4Header, Ipv6Header, UdpHeader, VxlanHeader};

/// Bytes that the tunnel takes from an underlay's MTU: 50 over IPv4, 70 over IPv6.
#[must_use]
pub const fn overhead(outer_is_v6: bool) -> u16 {
    let ip = if outer_is_v6 { Ipv6Header::LEN } else { Ipv4Header::LEN };
    let all = ip + UdpHeader::LEN + VxlanHeader::LEN + EthernetHeader::LEN;
    // A sum of five header lengths, 70 at most.
    #[expect(clippy::cast_possible_truncation, reason = "70 at most")]
    {
        all as u16
    }
}

/// The MTU of an interface whose frames travel through an underlay of MTU `underlay`.
///
/// Zero if the underlay is too small to carry a tunnel at all.
///
/// ```
/// assert_eq!(overlay_core::mtu::inner(1500, false), 1450);
/// assert_eq!(overlay_core::mtu::inner(1500, true), 1430);
/// ```
#[must_use]
pub const fn inner(underlay: u16, outer_is_v6: bool) -> u16 {
    underlay.saturating_sub(overhead(outer_is_v6))
}

/// The MTU of an interface of an encrypted network (module `seal`), which takes 32 bytes more.
///
/// Zero if the underlay is too small to carry a tunnel at all.
///
/// ```
/// assert_eq!(overlay_core::mtu::inner_sealed(1500, false), 1418);
/// assert_eq!(overlay_core::mtu::inner_sealed(1500, true), 1398);
/// ```
#[must_use]
pub const fn inner_sealed(underlay: u16, outer_is_v6: bool) -> u16 {
    inner(underlay, outer_is_v6).saturating_sub(SEAL_OVERHEAD)
}

/// Header and tag of a sealed datagram, less the VXLAN header that they replace.
const SEAL_OVERHEAD: u16 = 24 + 16 - 8;
