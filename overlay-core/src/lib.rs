//! A VXLAN tunnel endpoint without a socket: the names, the bytes and the decisions.
//!
//! ```text
//!   a task's interface ── handle_frame(port, frame) ──▶ ┌──────┐ ──▶ Deliver: to a port of this host
//!                                                       │ Vtep │ ──▶ Send:    to other hosts, over UDP 4789
//!   UDP 4789 ── handle_datagram(from, payload) ───────▶ │      │ ──▶ Answer:  ARP or ND, on the spot
//!                                                       └──────┘ ──▶ Drop:    with a counted reason
//!   you ── set_network(vni, Network) ─────────────────────▲
//! ```
//!
//! | module | what it knows |
//! |---|---|
//! | [`wire`] | the headers: Ethernet, ARP, IPv4, IPv6, ICMPv6 neighbour discovery, UDP, VXLAN, and checksums |
//! | [`mtu`] | how much room is left inside of the tunnel |
//! | the root | [`Vni`], [`MacAddr`], and `Vtep`, which forwards frames of many isolated networks |
//!
//! Nothing here allocates per packet, reads a clock or trusts a byte that came from a network.
#![forbid(unsafe_code)]

mod mac;
pub mod mtu;
mod vni;
pub mod wire;

pub use mac::{MacAddr, MacAddrError};
pub use vni::{Vni, VniError};

/// The UDP port that IANA assigned to VXLAN ([RFC 7348 §5]).
///
/// [RFC 7348 §5]: https://www.rfc-editor.org/rfc/rfc7348#section-5
pub const VXLAN_PORT: u16 = 4789;

/// Serialises a type as its `Display` text and reads it back with `FromStr`.
macro_rules! serde_through_text {
    ($type:ty) => {
        #[cfg(feature = "serde")]
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
use serde_through_text;
