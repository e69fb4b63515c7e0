//! Questions whether somebody is there, and answers.

use std::net::SocketAddr;

use super::ip_from_bytes;
use crate::wire::{Reader, WireError, Writer, tag};

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

impl<'a> Ping<'a> {
    /// A ping as memberlist sends it.
    pub fn new(seq: u32, node: &'a str, source: Source<'a>) -> Self {
        Self { seq, node, source, digest: None, parts: None, watch: false }
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
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
    pub(super) fn emit(&self, out: &mut Vec<u8>) {
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

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
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

pub(super) fn parse_ping<'a>(r: &mut Reader<'a>) -> Result<Ping<'a>, WireError> {
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

pub(super) fn parse_indirect_ping<'a>(r: &mut Reader<'a>) -> Result<IndirectPing<'a>, WireError> {
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

pub(super) fn parse_ack<'a>(r: &mut Reader<'a>) -> Result<Ack<'a>, WireError> {
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
