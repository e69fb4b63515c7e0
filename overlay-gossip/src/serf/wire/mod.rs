//! serf's messages: the bodies of memberlist's user messages, a type byte and a MessagePack map.

mod query;

pub(super) use self::query::{Query, Relayed, Response};
pub(crate) use self::query::{conflict_answer, relayed};

use crate::wire::{Reader, WireError, Writer};

/// One message of serf's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Message<'a> {
    Leave(Intent<'a>),
    Join(Intent<'a>),
    Event(Event<'a>),
    Query(Query<'a>),
    Response(Response<'a>),
    Relayed(Relayed<'a>),
    /// Something that is not for us.
    Other,
}

/// "I leave", "I joined", at a time of serf's own clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Intent<'a> {
    pub(super) ltime: u64,
    pub(super) node: &'a str,
    /// It shall be forgotten at once (of leaves only).
    pub(super) prune: bool,
}

/// Something that a user wants all to know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Event<'a> {
    pub(super) ltime: u64,
    pub(super) name: &'a str,
    pub(super) payload: &'a [u8],
    pub(super) coalesce: bool,
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
            RESPONSE => Response::parse(&mut r).map(Self::Response),
            RELAY => Relayed::parse(r).map(Self::Relayed),
            PUSH_PULL | CONFLICT | KEY_REQUEST | KEY_RESPONSE => Ok(Self::Other),
            other => Err(WireError::Unknown(other)),
        }
    }
}

impl<'a> Intent<'a> {
    fn parse(r: &mut Reader<'a>) -> Result<Self, WireError> {
        let mut intent = Self { ltime: 0, node: "", prune: false };
        r.map(|key, r| {
            match key {
                b"LTime" => intent.ltime = r.uint()?,
                b"Node" => intent.node = r.text()?,
                b"Prune" => intent.prune = r.bool()?,
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
        w.key("Prune").bool(self.prune);
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
