//! Streams: one message each way, and how to see where it ends.

use bytes::Bytes;
use rand::RngCore;

use super::message::Message;
use super::packet::{self, Envelope};
use super::{Reader, WireError, Writer, decoder, lzw, tag};
use crate::{MemberState, Vsn};

/// Finds the end of a message in the bytes of a TCP stream, without keys. One per stream and direction.
///
/// ```
/// use overlay_gossip::Frame;
///
/// let mut frame = Frame::new(1 << 20);
/// assert_eq!(frame.end(&[0x0b, 0x81, 0xa5])?, None); // more to come
/// assert_eq!(frame.end(b"\x0b\x81\xa5SeqNo\x07")?, Some(9));
/// # Ok::<(), overlay_gossip::WireError>(())
/// ```
#[derive(Debug)]
pub struct Frame {
    limit: usize,
    at: usize,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Label,
    Kind,
    Nodes { left: u64, user: usize },
    End(usize),
}

impl Frame {
    /// A message of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, at: 0, stage: Stage::Label }
    }

    /// The length of the message at the start of `buf`, or `None` until more bytes are there. `buf` must start with
    /// the bytes of the previous call.
    ///
    /// # Errors
    ///
    /// [`WireError::Limit`] as soon as the message must become too long; others when it is no message.
    pub fn end(&mut self, buf: &[u8]) -> Result<Option<usize>, WireError> {
        match self.advance(buf) {
            Err(WireError::Truncated) if buf.len() <= self.limit => Ok(None),
            Err(WireError::Truncated) => Err(WireError::Limit),
            other => other,
        }
    }

    fn advance(&mut self, buf: &[u8]) -> Result<Option<usize>, WireError> {
        loop {
            let rest = buf.get(self.at..).ok_or(WireError::Truncated)?;
            match self.stage {
                Stage::Label => {
                    match *rest {
                        [] | [tag::LABEL] => return Err(WireError::Truncated),
                        [tag::LABEL, len, ..] => self.at += 2 + usize::from(len),
                        _ => {}
                    }
                    self.stage = Stage::Kind;
                }
                Stage::Kind => self.kind(rest)?,
                Stage::Nodes { left: 0, user } => self.stage = Stage::End(self.at + user),
                Stage::Nodes { left, user } => {
                    let mut reader = Reader(rest);
                    reader.skip()?;
                    self.at += rest.len() - reader.0.len();
                    self.stage = Stage::Nodes { left: left - 1, user };
                }
                Stage::End(end) if end > self.limit => return Err(WireError::Limit),
                Stage::End(end) if buf.len() >= end => return Ok(Some(end)),
                Stage::End(_) => return Ok(None),
            }
        }
    }

    fn kind(&mut self, rest: &[u8]) -> Result<(), WireError> {
        let (&kind, body) = rest.split_first().ok_or(WireError::Truncated)?;
        let mut reader = Reader(body);
        let after = |reader: &Reader<'_>| self.at + rest.len() - reader.0.len();
        self.stage = match kind {
            tag::ENCRYPT => {
                let len = body.first_chunk::<4>().ok_or(WireError::Truncated)?;
                let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| WireError::Limit)?;
                Stage::End(self.at.saturating_add(5).saturating_add(len))
            }
            tag::PUSH_PULL => {
                let header = Header::parse(&mut reader)?;
                let at = after(&reader);
                self.at = at;
                Stage::Nodes { left: header.nodes, user: header.user }
            }
            tag::USER => {
                let len = user_header(&mut reader)?;
                Stage::End(after(&reader).saturating_add(len))
            }
            tag::COMPRESS | tag::PING | tag::ACK | tag::ERROR | tag::NACK => {
                reader.skip()?;
                Stage::End(after(&reader))
            }
            other => return Err(WireError::Unknown(other)),
        };
        Ok(())
    }
}

/// What a stream carries.
#[derive(Debug)]
pub enum StreamMessage<'a> {
    /// All that a node knows.
    PushPull(PushPull<'a>),
    /// A ping, an ack or an error.
    Message(Message<'a>),
    /// What users of the membership send.
    User(&'a [u8]),
}

/// All that a node knows, for another one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PushPull<'a> {
    /// The sender wants to be let in.
    pub join: bool,
    /// The members.
    pub nodes: Vec<NodeState<'a>>,
    /// What users of the membership add.
    pub user: &'a [u8],
}

/// One member in a [`PushPull`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeState<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its address, 4 or 16 bytes.
    pub addr: &'a [u8],
    /// Its port.
    pub port: u16,
    /// What it says about itself.
    pub meta: Option<&'a [u8]>,
    /// Its incarnation.
    pub incarnation: u32,
    /// What the sender believes about it.
    pub state: MemberState,
    /// The versions it speaks.
    pub vsn: Option<Vsn>,
}

impl Envelope {
    /// Wraps one message for a stream. The label goes first from the side that connects (`first`), and is only part
    /// of the seal on the way back.
    pub(crate) fn wrap_stream(&self, message: &[u8], first: bool, rng: &mut impl RngCore) -> Bytes {
        let packed = self.compress.then(|| packet::compressed(message)).flatten();
        let message = packed.as_deref().unwrap_or(message);
        let mut out = if first { packet::label_header(&self.label) } else { Vec::new() };
        if self.seals() {
            let len = u32::try_from(message.len() + crate::key::OVERHEAD).unwrap_or(u32::MAX);
            let mut header = vec![tag::ENCRYPT];
            header.extend_from_slice(&len.to_be_bytes());
            let aad = [&*header, &*self.label].concat();
            if let Some(sealed) = self.keyring.seal(message, &aad, rng) {
                out.append(&mut header);
                out.extend_from_slice(&sealed);
                return out.into();
            }
        }
        out.extend_from_slice(message);
        out.into()
    }

    /// Takes off the layers of a whole stream message; the first one of a stream has the label.
    ///
    /// # Errors
    ///
    /// [`WireError`] when a layer is wrong, or the message would be longer than `limit`.
    pub fn unwrap_stream(&self, bytes: &[u8], first: bool, limit: usize) -> Result<Vec<u8>, WireError> {
        let body = if first || bytes.first() == Some(&tag::LABEL) {
            packet::peel_label(bytes, &self.label)?
        } else {
            bytes
        };
        let mut plain = match body {
            [tag::ENCRYPT, a, b, c, d, sealed @ ..] => {
                if self.keyring.is_empty() {
                    return Err(WireError::Sealed);
                }
                let header = [tag::ENCRYPT, *a, *b, *c, *d];
                let aad = [&header, &*self.label].concat();
                self.keyring.open(sealed, &aad)?
            }
            _ if !self.keyring.is_empty() && self.verify_incoming => return Err(WireError::Sealed),
            _ => body.to_vec(),
        };
        if let Some((&tag::COMPRESS, packed)) = plain.split_first() {
            plain = lzw::decompress(decoder::packed(packed)?, limit, &mut lzw::Table::default())?;
        }
        Ok(plain)
    }
}

impl<'a> StreamMessage<'a> {
    /// Reads a message without its layers, with at most `max_nodes` members in it.
    ///
    /// # Errors
    ///
    /// [`WireError`] when it is none.
    pub fn parse(plain: &'a [u8], max_nodes: usize) -> Result<Self, WireError> {
        let (&kind, body) = plain.split_first().ok_or(WireError::Truncated)?;
        let mut reader = Reader(body);
        match kind {
            tag::PUSH_PULL => PushPull::parse(&mut reader, max_nodes).map(Self::PushPull),
            tag::USER => {
                let len = user_header(&mut reader)?;
                reader.0.get(..len).map(Self::User).ok_or(WireError::Truncated)
            }
            tag::PING | tag::ACK | tag::ERROR => Message::parse(plain).map(Self::Message),
            other => Err(WireError::Unknown(other)),
        }
    }
}

impl<'a> PushPull<'a> {
    fn parse(r: &mut Reader<'a>, max_nodes: usize) -> Result<Self, WireError> {
        let header = Header::parse(r)?;
        let count = usize::try_from(header.nodes).map_err(|_| WireError::Limit)?;
        if count > max_nodes {
            return Err(WireError::Limit);
        }
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(NodeState::parse(r)?);
        }
        let user = r.0.get(..header.user).ok_or(WireError::Truncated)?;
        Ok(Self { join: header.join, nodes, user })
    }

    /// The message as bytes, without layers.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = vec![tag::PUSH_PULL];
        let mut w = Writer(&mut out);
        w.map(3);
        w.key("Join").bool(self.join);
        w.key("Nodes").uint(u64::try_from(self.nodes.len()).unwrap_or(u64::MAX));
        w.key("UserStateLen").uint(u64::try_from(self.user.len()).unwrap_or(u64::MAX));
        for node in &self.nodes {
            node.emit(&mut w);
        }
        out.extend_from_slice(self.user);
        out
    }
}

impl<'a> NodeState<'a> {
    fn parse(r: &mut Reader<'a>) -> Result<Self, WireError> {
        let mut node = Self {
            name: "",
            addr: &[],
            port: 0,
            meta: None,
            incarnation: 0,
            state: MemberState::Dead,
            vsn: None,
        };
        r.map(|key, r| {
            match key {
                b"Name" => node.name = r.text()?,
                b"Addr" => node.addr = r.optional()?.unwrap_or_default(),
                b"Port" => node.port = r.u16()?,
                b"Meta" => node.meta = r.optional()?,
                b"Incarnation" => node.incarnation = r.u32()?,
                b"State" => node.state = MemberState::from_wire(r.uint()?).ok_or(WireError::Malformed)?,
                b"Vsn" => node.vsn = r.optional()?.and_then(Vsn::from_bytes),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        // A few bytes must not become a whole member.
        if node.name.is_empty() || node.addr.is_empty() {
            return Err(WireError::Malformed);
        }
        Ok(node)
    }

    fn emit(&self, w: &mut Writer<'_>) {
        w.map(7);
        w.key("Addr").raw(self.addr);
        w.key("Incarnation").uint(u64::from(self.incarnation));
        w.key("Meta").optional(self.meta);
        w.key("Name").raw(self.name.as_bytes());
        w.key("Port").uint(u64::from(self.port));
        w.key("State").uint(u64::from(self.state.to_wire()));
        w.key("Vsn").optional(self.vsn.map(Vsn::to_bytes).as_ref().map(<[u8; 6]>::as_slice));
    }
}

/// A user message for a stream.
pub(crate) fn user_message(body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag::USER];
    let mut w = Writer(&mut out);
    w.map(1);
    w.key("UserMsgLen").uint(u64::try_from(body.len()).unwrap_or(u64::MAX));
    out.extend_from_slice(body);
    out
}

struct Header {
    join: bool,
    nodes: u64,
    user: usize,
}

impl Header {
    fn parse(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut header = Self { join: false, nodes: 0, user: 0 };
        r.map(|key, r| {
            match key {
                b"Join" => header.join = r.bool()?,
                b"Nodes" => header.nodes = r.uint()?,
                b"UserStateLen" => header.user = length(r)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(header)
    }
}

fn user_header(r: &mut Reader<'_>) -> Result<usize, WireError> {
    let mut len = 0;
    r.map(|key, r| {
        if key != b"UserMsgLen" {
            return Ok(false);
        }
        len = length(r)?;
        Ok(true)
    })?;
    Ok(len)
}

fn length(r: &mut Reader<'_>) -> Result<usize, WireError> {
    match usize::try_from(r.uint()?) {
        Ok(len) if len <= MAX_STREAM => Ok(len),
        _ => Err(WireError::Limit),
    }
}

/// memberlist's own limit.
const MAX_STREAM: usize = 20 << 20;
