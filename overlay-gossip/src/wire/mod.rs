//! The memberlist wire format, protocol 2.
//!
//! ```text
//!   datagram   label │ seal │ crc │ compress │ compound │ message     packet.rs, message.rs
//!   stream     label │ seal │ compress │ message                      stream.rs
//!   message    type byte │ msgpack map                                message.rs, msgpack.rs
//! ```
//!
//! [`Decoder`] takes datagrams apart without allocating; [`Message`] borrows from them. [`Frame`](crate::Frame) finds
//! the end of a message in a stream.

mod decoder;
pub(crate) mod lzw;
pub(crate) mod message;
mod msgpack;
pub mod networkdb;
pub(crate) mod packet;
pub(crate) mod stream;
#[cfg(test)]
mod vectors;

pub use self::decoder::{Decoder, MAX_DEPTH, MAX_UNPACKED, Messages};
pub use self::message::{Ack, Alive, Claim, IndirectPing, Message, Ping, Source};
pub use self::msgpack::{Reader, Token};
pub use self::packet::{Envelope, compound};
pub use self::stream::{NodeState, PushPull, StreamMessage};

pub(crate) use self::msgpack::Writer;

/// Why received bytes were dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes end too early.
    #[error("cut short")]
    Truncated,
    /// The bytes break the format.
    #[error("malformed")]
    Malformed,
    /// The checksum does not match.
    #[error("wrong checksum")]
    Checksum,
    /// No key opens it, or it is plain where that is not allowed.
    #[error("not sealed with a key of this cluster")]
    Sealed,
    /// It carries the label of another cluster.
    #[error("the label of another cluster")]
    Label,
    /// Unpacking it would exceed a limit.
    #[error("over a limit")]
    Limit,
    /// A message type that is not known here.
    #[error("unknown message type {0}")]
    Unknown(u8),
}

/// Unpacks LZW as in a compress message (type 9), at most `limit` bytes.
///
/// # Errors
///
/// [`WireError::Limit`] when it would be more; others when it is no LZW.
pub fn decompress(packed: &[u8], limit: usize) -> Result<Vec<u8>, WireError> {
    lzw::decompress(packed, limit, &mut lzw::Table::default())
}

/// First byte of each message.
pub(crate) mod tag {
    pub(crate) const PING: u8 = 0;
    pub(crate) const INDIRECT_PING: u8 = 1;
    pub(crate) const ACK: u8 = 2;
    pub(crate) const SUSPECT: u8 = 3;
    pub(crate) const ALIVE: u8 = 4;
    pub(crate) const DEAD: u8 = 5;
    pub(crate) const PUSH_PULL: u8 = 6;
    pub(crate) const COMPOUND: u8 = 7;
    pub(crate) const USER: u8 = 8;
    pub(crate) const COMPRESS: u8 = 9;
    pub(crate) const ENCRYPT: u8 = 10;
    pub(crate) const NACK: u8 = 11;
    pub(crate) const CRC: u8 = 12;
    pub(crate) const ERROR: u8 = 13;
    pub(crate) const LABEL: u8 = 244;
}
