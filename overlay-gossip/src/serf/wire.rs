//! serf's messages: the bodies of memberlist's user messages, a type byte and a MessagePack map.

use std::net::SocketAddr;

use crate::wire::message::ip_from_bytes;
use crate::wire::{Reader, WireError, Writer};

/// One message of serf's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Message<'a> {
    Leave(Intent<'a>),
    Join(Intent<'a>),
    Event(Event<'a>),
    Query(Query<'a>),
    /// Something that is not for us.
    Other,
}

/// "I leave", "I joined", at a time of serf's own clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Intent<'a> {
    pub(super) ltime: u64,
    pub(super) node: &'a str,
}

/// Something that a user wants all to know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Event<'a> {
    pub(super) ltime: u64,
    pub(super) name: &'a str,
    pub(super) payload: &'a [u8],
    pub(super) coalesce: bool,
}

/// A question to all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Query<'a> {
    pub(super) ltime: u64,
    pub(super) id: u32,
    pub(super) from: Option<SocketAddr>,
    pub(super) flags: u64,
    pub(super) name: &'a str,
    pub(super) payload: &'a [u8],
    /// The filters, unread.
    filters: &'a [u8],
}

/// An answer to a [`Query`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Response<'a> {
    pub(super) query: Query<'a>,
    pub(super) from: &'a str,
    /// Nothing: it only says that the question arrived.
    pub(super) payload: Option<&'a [u8]>,
}

impl<'a> Message<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, WireError> {
        let (&kind, rest) = body.split_first().ok_or(WireError::Truncated)?;
        let mut r = Reader(rest);
        match kind {
            LEAVE => Intent::parse(&mut r).map(Self::Leave),
            JOIN => Intent::parse(&mut r).map(Self::Join),
            EVENT => Event::parse(&mut r).map(Self::Event),
            QUERY => Query::parse(&mut r).map(Self::Query),
            PUSH_PULL | RESPONSE | CONFLICT | KEY_REQUEST | KEY_RESPONSE | RELAY => Ok(Self::Other),
            other => Err(WireError::Unknown(other)),
        }
    }
}

impl<'a> Intent<'a> {
    fn parse(r: &mut Reader<'a>) -> Result<Self, WireError> {
        let mut intent = Self { ltime: 0, node: "" };
        r.map(|key, r| {
            match key {
                b"LTime" => intent.ltime = r.uint()?,
                b"Node" => intent.node = r.text()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(intent)
    }

    pub(super) fn leave(self) -> Vec<u8> {
        let mut out = vec![LEAVE];
        let mut w = Writer(&mut out);
        w.map(3);
        w.key("LTime").uint(self.ltime);
        w.key("Node").raw(self.node.as_bytes());
        w.key("Prune").bool(false);
        out
    }

    pub(super) fn join(self) -> Vec<u8> {
        let mut out = vec![JOIN];
        let mut w = Writer(&mut out);
        w.map(2);
        w.key("LTime").uint(self.ltime);
        w.key("Node").raw(self.node.as_bytes());
        out
    }
}

impl<'a> Event<'a> {
    fn parse(r: &mut Reader<'a>) -> Result<Self, WireError> {
        let mut event = Self { ltime: 0, name: "", payload: &[], coalesce: false };
        r.map(|key, r| {
            match key {
                b"LTime" => event.ltime = r.uint()?,
                b"Name" => event.name = r.text()?,
                b"Payload" => event.payload = r.optional()?.unwrap_or_default(),
                b"CC" => event.coalesce = r.bool()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(event)
    }

    pub(super) fn to_vec(self) -> Vec<u8> {
        let mut out = vec![EVENT];
        let mut w = Writer(&mut out);
        w.map(4);
        w.key("CC").bool(self.coalesce);
        w.key("LTime").uint(self.ltime);
        w.key("Name").raw(self.name.as_bytes());
        w.key("Payload").raw(self.payload);
        out
    }
}

impl<'a> Query<'a> {
    /// The asker wants to know who got the question.
    const ACK: u64 = 1;
    /// The question is for this node alone.
    const NO_BROADCAST: u64 = 2;

    fn parse(r: &mut Reader<'a>) -> Result<Self, WireError> {
        let mut query = Self { ltime: 0, id: 0, from: None, flags: 0, name: "", payload: &[], filters: &[] };
        let (mut addr, mut port): (&[u8], u16) = (&[], 0);
        r.map(|key, r| {
            match key {
                b"LTime" => query.ltime = r.uint()?,
                b"ID" => query.id = r.u32()?,
                b"Addr" => addr = r.optional()?.unwrap_or_default(),
                b"Port" => port = r.u16()?,
                b"Flags" => query.flags = r.uint()?,
                b"Name" => query.name = r.text()?,
                b"Payload" => query.payload = r.optional()?.unwrap_or_default(),
                b"Filters" => {
                    let before = r.0;
                    r.skip()?;
                    query.filters = before.get(..before.len() - r.0.len()).unwrap_or_default();
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        query.from = ip_from_bytes(addr).map(|ip| SocketAddr::new(ip, port));
        Ok(query)
    }

    /// Enough of a query to answer it.
    pub(super) fn named(ltime: u64, id: u32) -> Self {
        Self { ltime, id, from: None, flags: 0, name: "", payload: &[], filters: &[] }
    }

    pub(super) fn wants_ack(&self) -> bool {
        self.flags & Self::ACK != 0
    }

    pub(super) fn is_private(&self) -> bool {
        self.flags & Self::NO_BROADCAST != 0
    }

    /// Whether a node of this name is asked. Filters by tag need regular expressions; we do not feel addressed.
    pub(super) fn is_for(&self, name: &str) -> bool {
        self.check_filters(name).unwrap_or(false)
    }

    fn check_filters(&self, name: &str) -> Result<bool, WireError> {
        if self.filters.is_empty() {
            return Ok(true);
        }
        let mut r = Reader(self.filters);
        for _ in 0..r.array()? {
            let Some((&NODE_FILTER, names)) = r.raw()?.split_first() else { return Ok(false) };
            let mut names = Reader(names);
            let mut listed = false;
            for _ in 0..names.array()? {
                listed |= names.raw()? == name.as_bytes();
            }
            if !listed {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Response<'_> {
    pub(super) fn to_vec(self) -> Vec<u8> {
        let mut out = vec![RESPONSE];
        let mut w = Writer(&mut out);
        w.map(5);
        w.key("Flags").uint(if self.payload.is_none() { Query::ACK } else { 0 });
        w.key("From").raw(self.from.as_bytes());
        w.key("ID").uint(u64::from(self.query.id));
        w.key("LTime").uint(self.query.ltime);
        w.key("Payload").optional(self.payload);
        out
    }
}

const LEAVE: u8 = 0;
const JOIN: u8 = 1;
pub(super) const PUSH_PULL: u8 = 2;
const EVENT: u8 = 3;
const QUERY: u8 = 4;
const RESPONSE: u8 = 5;
const CONFLICT: u8 = 6;
pub(super) const KEY_REQUEST: u8 = 7;
pub(super) const KEY_RESPONSE: u8 = 8;
const RELAY: u8 = 9;

const NODE_FILTER: u8 = 0;
