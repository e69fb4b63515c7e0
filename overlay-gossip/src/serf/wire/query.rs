//! Questions and what is said to them.

use std::net::SocketAddr;
use std::time::Duration;

use super::{CONFLICT, QUERY, RELAY, RESPONSE};
use crate::serf::Tags;
use crate::serf::query::MAX_MESSAGE;
use crate::wire::message::{IpBytes, ip_from_bytes};
use crate::wire::{Reader, WireError, Writer};
use crate::{Member, MemberState};

/// A question to all, or to those that its filters name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::serf) struct Query<'a> {
    pub(in crate::serf) ltime: u64,
    pub(in crate::serf) id: u32,
    /// Where answers go to.
    pub(in crate::serf) from: Option<SocketAddr>,
    /// Who asks; old nodes do not say it.
    pub(in crate::serf) asker: &'a str,
    pub(in crate::serf) flags: u64,
    /// How many others shall carry each answer, too.
    pub(in crate::serf) relay: u8,
    pub(in crate::serf) timeout: Duration,
    pub(in crate::serf) name: &'a str,
    pub(in crate::serf) payload: &'a [u8],
    /// An array of filters, as MessagePack; empty: none.
    pub(in crate::serf) filters: &'a [u8],
}

/// What a node says to a [`Query`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::serf) struct Response<'a> {
    pub(in crate::serf) ltime: u64,
    pub(in crate::serf) id: u32,
    pub(in crate::serf) from: &'a str,
    /// Nothing: it only says that the question arrived.
    pub(in crate::serf) payload: Option<&'a [u8]>,
}

/// A response that is to be passed on to the asker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::serf) struct Relayed<'a> {
    pub(in crate::serf) to: SocketAddr,
    /// The whole response.
    pub(in crate::serf) response: &'a [u8],
}

impl<'a> Query<'a> {
    /// The asker wants to know who got the question.
    pub(in crate::serf) const ACK: u64 = 1;
    /// The question is for this node alone.
    const NO_BROADCAST: u64 = 2;

    pub(super) fn parse(r: &mut Reader<'a>) -> Result<Self, WireError> {
        let mut query = Self {
            ltime: 0,
            id: 0,
            from: None,
            asker: "",
            flags: 0,
            relay: 0,
            timeout: Duration::ZERO,
            name: "",
            payload: &[],
            filters: &[],
        };
        let (mut addr, mut port): (&[u8], u16) = (&[], 0);
        r.map(|key, r| {
            match key {
                b"LTime" => query.ltime = r.uint()?,
                b"ID" => query.id = r.u32()?,
                b"Addr" => addr = r.optional()?.unwrap_or_default(),
                b"Port" => port = r.u16()?,
                b"SourceNode" => query.asker = r.text()?,
                b"Flags" => query.flags = r.uint()?,
                b"RelayFactor" => query.relay = u8::try_from(r.uint()?).map_err(|_| WireError::Malformed)?,
                b"Timeout" => query.timeout = Duration::from_nanos(r.uint()?),
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

    pub(in crate::serf) fn to_vec(self) -> Vec<u8> {
        let mut out = vec![QUERY];
        let mut w = Writer(&mut out);
        w.map(11);
        w.key("Addr").optional(self.from.map(|from| IpBytes::new(from.ip())).as_ref().map(IpBytes::as_slice));
        w.key("Filters");
        if self.filters.is_empty() {
            w.optional(None);
        } else {
            w.0.extend_from_slice(self.filters);
        }
        w.key("Flags").uint(self.flags);
        w.key("ID").uint(u64::from(self.id));
        w.key("LTime").uint(self.ltime);
        w.key("Name").raw(self.name.as_bytes());
        w.key("Payload").raw(self.payload);
        w.key("Port").uint(self.from.map_or(0, |from| from.port()).into());
        w.key("RelayFactor").uint(self.relay.into());
        w.key("SourceNode").raw(self.asker.as_bytes());
        w.key("Timeout").uint(u64::try_from(self.timeout.as_nanos()).unwrap_or(u64::MAX));
        out
    }

    pub(in crate::serf) fn wants_ack(&self) -> bool {
        self.flags & Self::ACK != 0
    }

    pub(in crate::serf) fn is_private(&self) -> bool {
        self.flags & Self::NO_BROADCAST != 0
    }
}

impl<'a> Response<'a> {
    pub(super) fn parse(r: &mut Reader<'a>) -> Result<Self, WireError> {
        let mut response = Self { ltime: 0, id: 0, from: "", payload: None };
        let mut flags = 0;
        r.map(|key, r| {
            match key {
                b"LTime" => response.ltime = r.uint()?,
                b"ID" => response.id = r.u32()?,
                b"From" => response.from = r.text()?,
                b"Flags" => flags = r.uint()?,
                b"Payload" => response.payload = Some(r.optional()?.unwrap_or_default()),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        response.payload = (flags & Query::ACK == 0).then(|| response.payload.unwrap_or_default());
        Ok(response)
    }

    pub(in crate::serf) fn to_vec(self) -> Vec<u8> {
        let mut out = vec![RESPONSE];
        let mut w = Writer(&mut out);
        w.map(5);
        w.key("Flags").uint(if self.payload.is_none() { Query::ACK } else { 0 });
        w.key("From").raw(self.from.as_bytes());
        w.key("ID").uint(u64::from(self.id));
        w.key("LTime").uint(self.ltime);
        w.key("Payload").optional(self.payload);
        out
    }
}

impl<'a> Relayed<'a> {
    pub(super) fn parse(mut r: Reader<'a>) -> Result<Self, WireError> {
        let (mut ip, mut port): (&[u8], u16) = (&[], 0);
        r.map(|key, r| {
            match key {
                b"DestAddr" => r.map(|key, r| {
                    match key {
                        b"IP" => ip = r.optional()?.unwrap_or_default(),
                        b"Port" => port = r.u16()?,
                        _ => return Ok(false),
                    }
                    Ok(true)
                })?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let ip = ip_from_bytes(ip).ok_or(WireError::Malformed)?;
        // Answers are all that is ever passed on; anything else would speak with the voice of who does it.
        let [RESPONSE, ..] = r.0 else { return Err(WireError::Malformed) };
        Ok(Self { to: SocketAddr::new(ip, port), response: r.0 })
    }
}

/// A response with the request to pass it on, unless that is too long.
pub(crate) fn relayed(to: SocketAddr, name: &str, response: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![RELAY];
    let mut w = Writer(&mut out);
    w.map(2);
    w.key("DestAddr").map(3);
    w.key("IP").raw(IpBytes::new(to.ip()).as_slice());
    w.key("Port").uint(to.port().into());
    w.key("Zone").raw(&[]);
    w.key("DestName").raw(name.as_bytes());
    out.extend_from_slice(response);
    (out.len() <= MAX_MESSAGE).then_some(out)
}

/// What is known about the name that two nodes claim.
pub(crate) fn conflict_answer(known: Option<&Member>, leaving: bool) -> Vec<u8> {
    let mut out = vec![CONFLICT];
    let mut w = Writer(&mut out);
    let Some(member) = known else {
        w.optional(None);
        return out;
    };
    let tags = Tags::parse(&member.meta);
    w.map(11);
    w.key("Addr").raw(IpBytes::new(member.addr.ip()).as_slice());
    w.key("DelegateCur").uint(member.vsn.delegate.into());
    w.key("DelegateMax").uint(member.vsn.delegate_max.into());
    w.key("DelegateMin").uint(member.vsn.delegate_min.into());
    w.key("Name").raw(member.name.as_str().as_bytes());
    w.key("Port").uint(member.addr.port().into());
    w.key("ProtocolCur").uint(member.vsn.protocol.into());
    w.key("ProtocolMax").uint(member.vsn.protocol_max.into());
    w.key("ProtocolMin").uint(member.vsn.protocol_min.into());
    w.key("Status").uint(match member.state {
        MemberState::Alive | MemberState::Suspect if leaving => 2,
        MemberState::Alive | MemberState::Suspect => 1,
        MemberState::Left => 3,
        MemberState::Dead => 4,
    });
    w.key("Tags").long_map(tags.iter().count());
    for (key, value) in tags.iter() {
        w.key(key).raw(value.as_bytes());
    }
    out
}
