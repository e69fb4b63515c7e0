//! Connections to and between managers: TLS 1.3, frames, one purpose per connection.
//!
//! ```text
//!   Connection::dial ── handshake ──▶ Listener::accept ──▶ Accepted { connection, hello }
//!        │                               counts and drops what is no peer
//!        ├── first frame: Hello (what this connection is for)
//!        └── then frames of that purpose: u32 length, big-endian, and JSON (or raw bytes)
//! ```
//!
//! A frame holds at most 64 KiB before the peer has shown a certificate of the cluster, and 16 MiB afterwards.
//! JSON and not a positional format: a field may be added while a cluster runs two versions.

mod connection;
mod frames;
mod listener;
pub mod messages;

pub use connection::{Connection, DialError};
pub use frames::{FrameError, FrameReader, FrameWriter, Frames};
pub use listener::{Accepted, Listener, ListenerHandle, ListenerStats};
