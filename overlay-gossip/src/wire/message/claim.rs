//! What is said about members.

use std::net::SocketAddr;

use super::ip_from_bytes;
use crate::Vsn;
use crate::wire::{Reader, WireError, Writer, tag};

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

impl Claim<'_> {
    pub(super) fn emit(&self, kind: u8, out: &mut Vec<u8>) {
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

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
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

pub(super) fn parse_claim<'a>(r: &mut Reader<'a>) -> Result<Claim<'a>, WireError> {
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

pub(super) fn parse_alive<'a>(r: &mut Reader<'a>) -> Result<Alive<'a>, WireError> {
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
