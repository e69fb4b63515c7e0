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
//! | [`wire`] | the headers: Ethernet, 802.1Q, ARP, IPv4, IPv6, ICMP, TCP, UDP, VXLAN, and checksums |
//! | [`offload`] | super-frames: one frame that stands for 45, cut and put together |
//! | [`rewrite`] | new addresses, ports and segment sizes for a frame |
//! | [`mtu`] | how much room is left inside of the tunnel |
//! | `seal` (a feature) | datagrams of encrypted networks, sealed and opened |
//! | `tokio` (a feature) | a driver on one UDP socket |
//! | the root | [`Vni`], [`MacAddr`], and [`Vtep`], which forwards frames of many isolated networks |
//!
//! Nothing here allocates per packet, reads a clock or trusts a byte that came from a network.
//!
//! Without the feature `std` everything but [`Vtep`] and sealing is there, for programs that have only `core` and `alloc`.
//! It is on by default because the endpoint keeps hash tables and [`Instant`](std::time::Instant)s, and is what most
//! come for.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod mac;
pub mod mtu;
pub mod offload;
pub mod rewrite;
#[cfg(feature = "seal")]
pub mod seal;
mod text;
#[cfg(feature = "tokio")]
pub mod tokio;
mod vni;
#[cfg(feature = "std")]
mod vtep;
pub mod wire;

pub use mac::{MacAddr, MacAddrError};
pub use vni::{Vni, VniError};
#[cfg(feature = "std")]
pub use vtep::{
    Discard, Encap, Learning, Location, Network, NetworkError, Occupancy, PortId, Ports, Reply, Snooping,
    Stats, Verdict, Vtep,
};
pub use wire::VXLAN_PORT;
