//! Overlay networks without the kernel's VXLAN device: one thread between the tasks' interfaces and a UDP socket.
//!
//! ```text
//!   task's eth0 ─veth─▶ AF_PACKET ┐                                              ┌─▶ UDP 4789, UDP_SEGMENT
//!   task's eth0 ──────▶ TAP ──────┴─▶ Vtep::handle_frame ─▶ split ─▶ Seal::seal ─┘    (a pool of source ports)
//!
//!   task's eth0 ◀────── TAP ──────┬── Coalescer ◀─ Vtep::handle_datagram ◀────────── UDP 4789, UDP_GRO
//!   task's eth0 ◀─veth─ AF_PACKET ┘                Vtep::handle_opened ◀─ Seal::open
//! ```
//!
//! Frames of up to 64 KiB travel as the task's kernel made them: they are cut just before the UDP socket, by the kernel,
//! and put together again behind it, so that most work is done once for dozens of packets. The same wire format as the
//! kernel's VXLAN ([RFC 7348]), so both planes may be the two ends of one network; a sealed network is encrypted and
//! needs this plane on every host.
//!
//! A packet socket needs no `/dev/net/tun` and works in a user namespace. The near end of its veth pair is seen by
//! this namespace's own network stack too: give it no address, switch IPv6 off on it and set `arp_ignore` to 8.
//!
//! Give the task's interface a `gso_max_size` by [`limit_gso`]: then each of its super-frames leaves in one call.
//!
//! [RFC 7348]: https://www.rfc-editor.org/rfc/rfc7348

mod attachment;
mod config;
mod control;
mod error;
mod gso;
mod outbox;
mod patience;
mod plane;
mod port;
mod stats;
mod sys;
mod uncut;
mod underlay;
mod worker;

pub use attachment::{Attachment, PacketSocket, Tap};
pub use config::{Integrity, PlaneConfig, Priority};
pub use error::PlaneError;
pub use gso::{GSO_MAX_SIZE, limit_gso};
pub use plane::UserPlane;
pub use stats::{PlaneStats, PortStats, UnderlayStats};
