//! Label, seal, checksum, compression, compounds; and the messages in them.

use overlay_gossip::wire::{Envelope, Reader, Token, decompress};
use serde_json::{Map, Value, json};

use crate::networkdb;
use crate::value::{Result, address, bytes, hex, map, value};

pub(crate) struct Layers<'e> {
    pub(crate) envelope: &'e Envelope,
    pub(crate) sealed: bool,
}

impl Layers<'_> {
    /// One UDP payload, sealed or not.
    pub(crate) fn datagram(&self, payload: &[u8]) -> Result<Value> {
        let mut wrap: Vec<Value> = Vec::new();
        let (label, body) = label(payload)?;
        if !label.is_empty() {
            wrap.push(format!("label={}", String::from_utf8_lossy(label)).into());
        }
        if !self.sealed {
            return checked(body, wrap);
        }
        match self.envelope.open(body, label) {
            Ok(opened) => {
                wrap.push("aes-gcm".into());
                checked(&opened, wrap)
            }
            Err(error) => checked(body, wrap).map_err(|_| error.into()),
        }
    }

    /// One direction of one TCP stream.
    pub(crate) fn stream(&self, payload: &[u8]) -> Result<Value> {
        let mut wrap: Vec<Value> = Vec::new();
        let (label, body) = label(payload)?;
        if !label.is_empty() {
            wrap.push("label".into());
        }
        let (mut body, mut rest) = (body.to_vec(), 0);
        if let [10, a, b, c, d, sealed @ ..] = &*body {
            let len = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d]))?;
            let header = [&[10, *a, *b, *c, *d], label].concat();
            let (sealed, after) = sealed.split_at_checked(len).ok_or("cut short")?;
            rest = after.len();
            let opened = self.envelope.open(sealed, &header)?;
            wrap.push(format!("encrypt len={len}").into());
            body = opened;
        }
        if let [9, packed @ ..] = &*body {
            let mut r = Reader(packed);
            let packed = field(&mut r, "Buf")?;
            let inner = decompress(packed, MAX_STREAM)?;
            rest = r.0.len();
            wrap.push(format!("compress {}->{}", packed.len(), inner.len()).into());
            body = inner;
        }
        let (&kind, content) = body.split_first().ok_or("empty")?;
        let mut r = Reader(content);
        match kind {
            6 => Ok(json!({ "wrap": wrap, "pushPull": push_pull(&mut r)?, "rest": rest })),
            8 => {
                let header = map(&mut r, |_, _| None)?;
                let len = count(&header, "UserMsgLen")?;
                Ok(json!({ "userStream": user(r.0.get(..len).ok_or("cut short")?)? }))
            }
            _ => {
                let mut all = Map::new();
                all.insert("wrap".into(), wrap.into());
                all.insert(name(kind)?.into(), value(&mut r)?);
                all.insert("rest".into(), (rest + r.0.len()).into());
                Ok(all.into())
            }
        }
    }
}

/// What was in the seal, if there was one: with a checksum or without.
fn checked(mut body: &[u8], mut wrap: Vec<Value>) -> Result<Value> {
    if let [12, a, b, c, d, rest @ ..] = body {
        if crc32fast::hash(rest) != u32::from_be_bytes([*a, *b, *c, *d]) {
            return Err("wrong checksum".into());
        }
        body = rest;
        wrap.push("crc32".into());
    }
    Ok(json!({ "wrap": wrap, "msg": message(body, 0)? }))
}

fn push_pull(r: &mut Reader<'_>) -> Result<Value> {
    let header = map(r, |_, _| None)?;
    let mut nodes = Vec::new();
    for _ in 0..count(&header, "Nodes")? {
        nodes.push(fields(r, 6)?);
    }
    let state = r.0.get(..count(&header, "UserStateLen")?).ok_or("cut short")?;
    let user = if state.is_empty() { Value::Null } else { user(state)? };
    Ok(json!({ "header": header, "nodes": nodes, "user": user }))
}

/// A message with its type byte.
fn message(message: &[u8], depth: usize) -> Result<Value> {
    let (&kind, body) = message.split_first().ok_or("empty")?;
    if depth > 4 {
        return Err("nested too deep".into());
    }
    let mut r = Reader(body);
    let shown = match kind {
        7 => {
            let (&count, rest) = body.split_first().ok_or("cut short")?;
            let (lens, mut bodies) = rest.split_at_checked(usize::from(count) * 2).ok_or("cut short")?;
            let mut parts = Vec::new();
            for len in lens.chunks_exact(2) {
                let len = len.iter().fold(0, |len, byte| len * 256 + usize::from(*byte));
                let (part, after) = bodies.split_at_checked(len).ok_or("cut short")?;
                bodies = after;
                parts.push(self::message(part, depth + 1)?);
            }
            parts.into()
        }
        8 => user(body)?,
        9 => {
            let packed = field(&mut r, "Buf")?;
            let inner = decompress(packed, MAX_PACKET)?;
            json!({ "in": packed.len(), "inner": self::message(&inner, depth + 1)? })
        }
        _ => fields(&mut r, kind)?,
    };
    Ok(json!({ name(kind)?: shown }))
}

/// The fields of a plain message; those with a meaning of their own by that.
fn fields(r: &mut Reader<'_>, kind: u8) -> Result<Value> {
    let shown = map(r, |key, mut r| {
        let Ok(Token::Raw(raw)) = r.token() else { return (key == "Meta" && kind == 6).then(|| "".into()) };
        match key {
            "Meta" => Some(meta(raw)),
            "Addr" | "SourceAddr" if !raw.is_empty() => Some(address(raw)),
            "Vsn" => Some(raw.to_vec().into()),
            "Payload" if kind == 2 => {
                let (version, coordinate) = raw.split_first()?;
                Some(json!({ "pingVersion": version, "coordinate": value(&mut Reader(coordinate)).ok()? }))
            }
            _ => None,
        }
    })?;
    Ok(shown.into())
}

fn meta(raw: &[u8]) -> Value {
    let tags = raw.strip_prefix(&[0xff]).and_then(|tags| value(&mut Reader(tags)).ok());
    tags.map_or_else(|| bytes(raw), |tags| json!({ "serf_tags": tags }))
}

/// What users of the membership send: serf, Docker's `NetworkDB`, or tables of this crate.
fn user(body: &[u8]) -> Result<Value> {
    let (&kind, rest) = body.split_first().ok_or("empty")?;
    if kind == 0xc7 {
        return Ok(json!({ "tables": hex(rest) }));
    }
    if kind == 8
        && let Some(message) = networkdb::message(body)
    {
        return Ok(message);
    }
    let mut r = Reader(rest);
    let body = value(&mut r)?;
    let kind = SERF.get(usize::from(kind)).map_or(Value::from(kind), |name| Value::from(*name));
    Ok(json!({ "serf": kind, "body": body, "trailing": r.0.len() }))
}

fn label(payload: &[u8]) -> Result<(&[u8], &[u8])> {
    match payload {
        [244, len, rest @ ..] => Ok(rest.split_at_checked(usize::from(*len)).ok_or("cut short")?),
        _ => Ok((&[], payload)),
    }
}

/// The bytes of one field of a map; the map is passed over.
fn field<'a>(r: &mut Reader<'a>, wanted: &str) -> Result<&'a [u8]> {
    let mut found = None;
    r.map(|key, r| {
        if key != wanted.as_bytes() {
            return Ok(false);
        }
        found = Some(r.raw()?);
        Ok(true)
    })?;
    found.ok_or_else(|| format!("no {wanted}").into())
}

fn count(header: &Map<String, Value>, key: &str) -> Result<usize> {
    let count = header.get(key).and_then(Value::as_u64).ok_or_else(|| format!("no {key}"))?;
    Ok(usize::try_from(count)?)
}

fn name(kind: u8) -> Result<&'static str> {
    MESSAGES.get(usize::from(kind)).copied().ok_or_else(|| format!("unknown message type {kind}").into())
}

const MESSAGES: [&str; 14] = [
    "ping",
    "indirectPing",
    "ackResp",
    "suspect",
    "alive",
    "dead",
    "pushPull",
    "compound",
    "user",
    "compress",
    "encrypt",
    "nackResp",
    "hasCrc",
    "err",
];
const SERF: [&str; 10] = [
    "leave",
    "join",
    "pushPull",
    "userEvent",
    "query",
    "queryResponse",
    "conflictResponse",
    "keyRequest",
    "keyResponse",
    "relay",
];
const MAX_PACKET: usize = 1 << 20;
const MAX_STREAM: usize = 64 << 20;
