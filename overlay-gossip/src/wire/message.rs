//! The messages themselves: borrowed when read, appended to a buffer when written.

use std::net::{IpAddr, SocketAddr};

use super::{Reader, WireError, Writer, tag};
use crate::Vsn;

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

/// "Are you there?"
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ping<'a> {
    /// Answered by the same number.
    pub seq: u32,
    /// The name of the node it is about.
    pub node: &'a str,
    /// Who asks.
    pub source: Source<'a>,
    /// What the sender believes about the whole cluster, in 8 bytes. Ours alone.
    pub digest: Option<u64>,
    /// The same in parts of 4 bytes each. Ours alone.
    pub parts: Option<&'a [u8]>,
    /// Over a stream: do not answer, but keep the stream open. Ours alone.
    pub watch: bool,
}

/// "Ask for me whether it is there."
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IndirectPing<'a> {
    /// Answered by the same number.
    pub seq: u32,
    /// The address to try, 4 or 16 bytes.
    pub target: &'a [u8],
    /// The port there; 0 for the usual one.
    pub port: u16,
    /// The name of the node it is about.
    pub node: &'a str,
    /// Whether the asker wants to hear of a failure, too.
    pub nack: bool,
    /// Who asks.
    pub source: Source<'a>,
}

/// "I am."
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ack<'a> {
    /// Answered by the same number.
    pub seq: u32,
    /// What users of the membership add; serf: its coordinates.
    pub payload: Option<&'a [u8]>,
    /// What the sender believes about the whole cluster, in 8 bytes. Ours alone.
    pub digest: Option<u64>,
    /// The same in parts of 4 bytes each. Ours alone.
    pub parts: Option<&'a [u8]>,
    /// For a node of this kind: without a payload, there is no word of one.
    pub(crate) ours: bool,
}

/// Who asks, so that the answer need not go where the datagram came from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Source<'a> {
    /// The address, 4 or 16 bytes.
    pub addr: &'a [u8],
    /// The port there; 0 for the usual one.
    pub port: u16,
    /// Its name.
    pub node: &'a str,
}

/// "It is suspect", "it is dead".
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Claim<'a> {
    /// The member's incarnation that is spoken of.
    pub incarnation: u32,
    /// The name of the node it is about.
    pub node: &'a str,
    /// Who says so.
    pub from: &'a str,
    /// The sender's connection was refused by the node's host. Ours alone.
    pub refused: bool,
    /// The sender has asked the node itself, by UDP and TCP, and got no answer. Ours alone.
    pub probed: bool,
}

/// "It is alive."
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Alive<'a> {
    /// The member's incarnation that is spoken of.
    pub incarnation: u32,
    /// The name of the node it is about.
    pub node: &'a str,
    /// The address, 4 or 16 bytes.
    pub addr: &'a [u8],
    /// The port there; 0 for the usual one.
    pub port: u16,
    /// What the member says about itself.
    pub meta: Option<&'a [u8]>,
    /// The versions it speaks.
    pub vsn: Option<Vsn>,
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

impl<'a> Ping<'a> {
    /// A ping as memberlist sends it.
    pub fn new(seq: u32, node: &'a str, source: Source<'a>) -> Self {
        Self { seq, node, source, digest: None, parts: None, watch: false }
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.push(tag::PING);
        let mut w = Writer(out);
        let ours = [self.digest.is_some(), self.parts.is_some(), self.watch];
        w.map(2 + self.source.fields() + ours.into_iter().map(u8::from).sum::<u8>());
        if let Some(parts) = self.parts {
            w.key("Db").raw(parts);
        }
        if let Some(digest) = self.digest {
            w.key("Dg").uint(digest);
        }
        w.key("Node").raw(self.node.as_bytes());
        w.key("SeqNo").uint(u64::from(self.seq));
        self.source.emit(&mut w);
        if self.watch {
            w.key("Watch").bool(true);
        }
    }
}

impl IndirectPing<'_> {
    fn emit(&self, out: &mut Vec<u8>) {
        out.push(tag::INDIRECT_PING);
        let mut w = Writer(out);
        w.map(5 + self.source.fields());
        w.key("Nack").bool(self.nack);
        w.key("Node").raw(self.node.as_bytes());
        w.key("Port").uint(u64::from(self.port));
        w.key("SeqNo").uint(u64::from(self.seq));
        self.source.emit(&mut w);
        w.key("Target").raw(self.target);
    }
}

impl Ack<'_> {
    /// An ack that says no more than that.
    pub fn new(seq: u32) -> Self {
        Self { seq, payload: None, digest: None, parts: None, ours: false }
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.push(tag::ACK);
        let mut w = Writer(out);
        let payload = self.payload.is_some() || !self.ours;
        w.map(1 + u8::from(payload) + u8::from(self.digest.is_some()) + u8::from(self.parts.is_some()));
        if let Some(parts) = self.parts {
            w.key("Db").raw(parts);
        }
        if let Some(digest) = self.digest {
            w.key("Dg").uint(digest);
        }
        if payload {
            w.key("Payload").optional(self.payload);
        }
        w.key("SeqNo").uint(u64::from(self.seq));
    }
}

impl Source<'_> {
    /// Where to answer, if the source says so.
    #[must_use]
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        (self.port != 0).then(|| ip_from_bytes(self.addr)).flatten().map(|ip| SocketAddr::new(ip, self.port))
    }

    fn fields(&self) -> u8 {
        u8::from(!self.addr.is_empty()) + u8::from(self.port != 0) + u8::from(!self.node.is_empty())
    }

    fn emit(&self, w: &mut Writer<'_>) {
        if !self.addr.is_empty() {
            w.key("SourceAddr").raw(self.addr);
        }
        if !self.node.is_empty() {
            w.key("SourceNode").raw(self.node.as_bytes());
        }
        if self.port != 0 {
            w.key("SourcePort").uint(u64::from(self.port));
        }
    }
}

impl<'a> Source<'a> {
    fn field(&mut self, key: &[u8], r: &mut Reader<'a>) -> Result<bool, WireError> {
        match key {
            b"SourceAddr" => self.addr = r.optional()?.unwrap_or_default(),
            b"SourcePort" => self.port = r.u16()?,
            b"SourceNode" => self.node = r.text()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Claim<'_> {
    fn emit(&self, kind: u8, out: &mut Vec<u8>) {
        out.push(kind);
        let mut w = Writer(out);
        w.map(3 + u8::from(self.refused) + u8::from(self.probed));
        w.key("From").raw(self.from.as_bytes());
        w.key("Incarnation").uint(u64::from(self.incarnation));
        w.key("Node").raw(self.node.as_bytes());
        if self.probed {
            w.key("Pb").bool(true);
        }
        if self.refused {
            w.key("Rf").bool(true);
        }
    }
}

impl Alive<'_> {
    /// The address it claims, if it is one.
    #[must_use]
    pub fn socket_addr(&self, default_port: u16) -> Option<SocketAddr> {
        let port = if self.port == 0 { default_port } else { self.port };
        ip_from_bytes(self.addr).map(|ip| SocketAddr::new(ip, port))
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.push(tag::ALIVE);
        let mut w = Writer(out);
        w.map(6);
        w.key("Addr").raw(self.addr);
        w.key("Incarnation").uint(u64::from(self.incarnation));
        w.key("Meta").optional(self.meta);
        w.key("Node").raw(self.node.as_bytes());
        w.key("Port").uint(u64::from(self.port));
        w.key("Vsn").optional(self.vsn.map(Vsn::to_bytes).as_ref().map(<[u8; 6]>::as_slice));
    }
}

fn parse_ping<'a>(r: &mut Reader<'a>) -> Result<Ping<'a>, WireError> {
    let mut ping = Ping::new(0, "", Source::default());
    r.map(|key, r| {
        match key {
            b"SeqNo" => ping.seq = r.u32()?,
            b"Node" => ping.node = r.text()?,
            b"Dg" => ping.digest = Some(r.uint()?),
            b"Db" => ping.parts = r.optional()?,
            b"Watch" => ping.watch = r.bool()?,
            _ => return ping.source.field(key, r),
        }
        Ok(true)
    })?;
    Ok(ping)
}

fn parse_indirect_ping<'a>(r: &mut Reader<'a>) -> Result<IndirectPing<'a>, WireError> {
    let mut ping =
        IndirectPing { seq: 0, target: &[], port: 0, node: "", nack: false, source: Source::default() };
    r.map(|key, r| {
        match key {
            b"SeqNo" => ping.seq = r.u32()?,
            b"Target" => ping.target = r.raw()?,
            b"Port" => ping.port = r.u16()?,
            b"Node" => ping.node = r.text()?,
            b"Nack" => ping.nack = r.bool()?,
            _ => return ping.source.field(key, r),
        }
        Ok(true)
    })?;
    Ok(ping)
}

fn parse_ack<'a>(r: &mut Reader<'a>) -> Result<Ack<'a>, WireError> {
    let mut ack = Ack { ours: true, ..Ack::new(0) };
    r.map(|key, r| {
        match key {
            b"SeqNo" => ack.seq = r.u32()?,
            b"Payload" => {
                ack.payload = r.optional()?;
                ack.ours = false;
            }
            b"Dg" => ack.digest = Some(r.uint()?),
            b"Db" => ack.parts = r.optional()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(ack)
}

fn parse_claim<'a>(r: &mut Reader<'a>) -> Result<Claim<'a>, WireError> {
    let mut claim = Claim::default();
    r.map(|key, r| {
        match key {
            b"Incarnation" => claim.incarnation = r.u32()?,
            b"Node" => claim.node = r.text()?,
            b"From" => claim.from = r.text()?,
            b"Rf" => claim.refused = r.bool()?,
            b"Pb" => claim.probed = r.bool()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(claim)
}

fn parse_alive<'a>(r: &mut Reader<'a>) -> Result<Alive<'a>, WireError> {
    let mut alive = Alive { incarnation: 0, node: "", addr: &[], port: 0, meta: None, vsn: None };
    r.map(|key, r| {
        match key {
            b"Incarnation" => alive.incarnation = r.u32()?,
            b"Node" => alive.node = r.text()?,
            b"Addr" => alive.addr = r.optional()?.unwrap_or_default(),
            b"Port" => alive.port = r.u16()?,
            b"Meta" => alive.meta = r.optional()?,
            b"Vsn" => alive.vsn = r.optional()?.and_then(Vsn::from_bytes),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(alive)
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

/// 4 or 16 bytes to an address; 16 bytes that hold an IPv4 address become one.
pub(crate) fn ip_from_bytes(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(four));
    }
    let ip = IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?);
    Some(ip.to_canonical())
}

/// An address as the wire has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IpBytes([u8; 16], usize);

impl IpBytes {
    pub(crate) fn new(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                Self([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 4)
            }
            IpAddr::V6(v6) => Self(v6.octets(), 16),
        }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.0.get(..self.1).unwrap_or_default()
    }
}
