//! The messages themselves: borrowed when read, appended to a buffer when written.

mod claim;
mod ip;
mod ping;

pub use self::claim::{Alive, Claim};
pub(crate) use self::ip::{IpBytes, ip_from_bytes};
pub use self::ping::{Ack, IndirectPing, Ping, Source};

use self::claim::{parse_alive, parse_claim};
use self::ping::{parse_ack, parse_indirect_ping, parse_ping};
use super::{Reader, WireError, Writer, tag};

/// One message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Message<'a> {
    /// "Are you there?"
    Ping(Ping<'a>),
    /// "Ask for me whether it is there."
    IndirectPing(IndirectPing<'a>),
    /// "I am."
    Ack(Ack<'a>),
    /// "I asked, and got no answer."
    Nack {
        /// The number of the question.
        seq: u32,
    },
    /// "It does not answer."
    Suspect(Claim<'a>),
    /// "It is alive", said by itself.
    Alive(Alive<'a>),
    /// "It is dead"; said by itself: "I leave".
    Dead(Claim<'a>),
    /// What users of the membership send.
    User(&'a [u8]),
    /// Why a request over a stream failed.
    Error(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Reads one message. Trailing bytes are ignored, as memberlist does.
    ///
    /// # Errors
    ///
    /// [`WireError`] when it is none, or of a type that is not known here.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let (&kind, body) = bytes.split_first().ok_or(WireError::Truncated)?;
        let mut reader = Reader(body);
        match kind {
            tag::PING => parse_ping(&mut reader).map(Self::Ping),
            tag::INDIRECT_PING => parse_indirect_ping(&mut reader).map(Self::IndirectPing),
            tag::ACK => parse_ack(&mut reader).map(Self::Ack),
            tag::NACK => parse_ack(&mut reader).map(|ack| Self::Nack { seq: ack.seq }),
            tag::SUSPECT => parse_claim(&mut reader).map(Self::Suspect),
            tag::DEAD => parse_claim(&mut reader).map(Self::Dead),
            tag::ALIVE => parse_alive(&mut reader).map(Self::Alive),
            tag::USER => Ok(Self::User(body)),
            tag::ERROR => parse_error(&mut reader).map(Self::Error),
            other => Err(WireError::Unknown(other)),
        }
    }

    /// Appends the message.
    pub fn emit(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ping(ping) => ping.emit(out),
            Self::IndirectPing(ping) => ping.emit(out),
            Self::Ack(ack) => ack.emit(out),
            Self::Nack { seq } => {
                out.push(tag::NACK);
                let mut w = Writer(out);
                w.map(1);
                w.key("SeqNo").uint(u64::from(*seq));
            }
            Self::Suspect(claim) => claim.emit(tag::SUSPECT, out),
            Self::Dead(claim) => claim.emit(tag::DEAD, out),
            Self::Alive(alive) => alive.emit(out),
            Self::User(body) => {
                out.push(tag::USER);
                out.extend_from_slice(body);
            }
            Self::Error(text) => {
                out.push(tag::ERROR);
                let mut w = Writer(out);
                w.map(1);
                w.key("Error").raw(text);
            }
        }
    }

    /// The message as bytes.
    #[must_use]
    pub fn to_vec(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        self.emit(&mut out);
        out
    }
}

fn parse_error<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], WireError> {
    let mut text: &[u8] = &[];
    r.map(|key, r| {
        if key != b"Error" {
            return Ok(false);
        }
        text = r.raw()?;
        Ok(true)
    })?;
    Ok(text)
}
