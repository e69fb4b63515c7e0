//! Super-frames: one frame of up to 64 KiB that stands for many, cut into segments and put together again.
//!
//! ```text
//!   a task's interface ─▶ [Offload │ headers │ payload .................]   one read
//!                                      │ split: no payload byte is moved
//!                                      ▼
//!                          [headers│....][headers│....][headers│..]        one send to the other host
//!                          [headers│....][headers│....][headers│..]        one receive there
//!                                      │ Coalescer: pieces of the receive buffers
//!                                      ▼
//!   a task's interface ◀─ [Offload │ headers │ payload .................]   one write
//! ```
//!
//! Both directions write headers only; where payload goes is said as ranges of the buffers it came in. A stream that is
//! carried in super-frames costs one walk through the two network stacks for some 45 packets.

mod coalesce;
mod header;
mod split;

pub use coalesce::{Coalescer, Piece, Pushed, SuperFrame, Verify};
pub use header::{Offload, OffloadError, PartialChecksum, SegmentKind, Segmentation};
pub use split::{Checksums, Segments, SplitError, split};

/// The most bytes of headers that a frame is cut or put together with: Ethernet with a tag, the longest IPv4 header and
/// the longest TCP header, or IPv6 with extension headers instead.
pub const MAX_HEADER_LEN: usize = 192;

/// Most segments of one super-frame that is put together; older kernels take no more datagrams.
const MAX_SEGMENTS: usize = 64;
/// Where the checksum stands in a TCP header, and in that of UDP.
const TCP_CHECKSUM: u16 = 16;
const UDP_CHECKSUM: u16 = 6;

/// Writes bytes into a header. What does not fit is left out; callers have checked that it does.
#[inline]
fn put<const N: usize>(header: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(place) = header.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = bytes;
    }
}

/// Reads two bytes; zero beyond the end.
#[inline]
fn word(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u16::from_be_bytes(*word))
}
