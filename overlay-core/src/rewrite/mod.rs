//! Rewrites inside of a frame: addresses, ports and segment sizes, checksums included.
//!
//! ```text
//!   client ─▶ [10.0.0.9:40000 → 10.0.0.2:80]  ── readdress ──▶  [10.0.0.9:40000 → 10.0.0.7:8080] ─▶ backend
//!   client ◀─ [10.0.0.2:80 → 10.0.0.9:40000]  ◀── readdress ──  [10.0.0.7:8080 → 10.0.0.9:40000] ◀─ backend
//!   client ◀─ [ICMP error about the first]    ◀─ readdress_quoted ─ [ICMP error about the second] ◀─ a router
//! ```
//!
//! Checksums are updated, not computed anew ([RFC 1624]): what was damaged stays damaged, and the work does not grow with
//! the payload. Which packet gets which addresses is decided elsewhere.
//!
//! [RFC 1624]: https://www.rfc-editor.org/rfc/rfc1624

mod ends;
mod mss;
mod packet;
mod quoted;

pub use ends::{Ends, RewriteError, readdress};
pub use mss::clamp_mss;
pub use quoted::readdress_quoted;
