//! Connections that the kernel tracks: read one by one, and forgotten.
//!
//! A NAT rule sees only the first packet of a connection; from then on the kernel's entry decides. So a datagram
//! socket that never rests goes to its first backend for ever, whatever the rules say by then:
//!
//! ```text
//!   rules: VIP → B ──── seen by the first packet only ─────┐
//!                                                          ▼
//!   client:5000 ──▶ VIP:53 ── entry: VIP:53 is A:53 ──▶ A (gone)
//!                                │
//!                                └ forget ──▶ the next datagram is a first packet again ──▶ B
//! ```
//!
//! Change the rules first and forget then, or the entry is made anew as it was.

mod entry;
mod error;
mod handle;

pub use entry::{Entry, Tuple};
pub use error::ConntrackError;
pub use handle::Conntrack;
