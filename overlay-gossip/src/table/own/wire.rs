//! Table messages: the body of memberlist user messages between nodes of this crate.
//!
//! ```text
//!   c7 'o' 'g' version=1 kind from:text …
//!   1 rows      { network:text owner:text epoch:int count:int { table:text key:text version:int phase:u8 value:bytes } }
//!   2 summary   { network:text hash:u64 }
//!   3 digest    ask:u8 { network:text count:int { owner:text epoch:int hash:u64 } }
//!   text, bytes: length:int …      int: LEB128      { }: until the end
//! ```

use bytes::Bytes;

use super::Phase;
use crate::wire::WireError;
use crate::{NetworkId, NodeName};

/// One table message.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum TableMessage {
    Rows(Vec<Group>),
    Summary(Vec<(NetworkId, u64)>),
    Digest { ask: bool, networks: Vec<NetworkDigest> },
}

/// Rows of one owner in one network.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Group {
    pub(crate) network: NetworkId,
    pub(crate) owner: NodeName,
    pub(crate) epoch: u64,
    pub(crate) rows: Vec<WireRow>,
}

/// A row on its way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct WireRow {
    pub(crate) table: String,
    pub(crate) key: String,
    pub(crate) version: u64,
    pub(crate) phase: Phase,
    pub(crate) value: Bytes,
}

/// What a node holds of a network, by owner.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct NetworkDigest {
    pub(crate) network: NetworkId,
    pub(crate) owners: Vec<(NodeName, u64, u64)>,
}

/// Whether a user message is one of ours at all.
pub(crate) fn is_ours(body: &[u8]) -> bool {
    body.starts_with(MAGIC)
}

/// Reads a message and who it is from.
pub(crate) fn parse(body: &[u8]) -> Result<(NodeName, TableMessage), WireError> {
    if body.len() > MAX_BODY {
        return Err(WireError::Limit);
    }
    let rest = body.strip_prefix(MAGIC).ok_or(WireError::Unknown(0))?;
    let mut r = Reader(rest);
    let version = r.byte()?;
    if version != VERSION {
        return Err(WireError::Unknown(version));
    }
    let kind = r.byte()?;
    let from = r.name()?;
    let message = match kind {
        ROWS => {
            let mut groups = Vec::new();
            while !r.0.is_empty() {
                groups.push(r.group()?);
            }
            TableMessage::Rows(groups)
        }
        SUMMARY => {
            let mut networks = Vec::new();
            while !r.0.is_empty() {
                networks.push((r.network()?, r.u64()?));
            }
            TableMessage::Summary(networks)
        }
        DIGEST => {
            let ask = r.byte()? != 0;
            let mut networks = Vec::new();
            while !r.0.is_empty() {
                networks.push(r.digest()?);
            }
            TableMessage::Digest { ask, networks }
        }
        other => return Err(WireError::Unknown(other)),
    };
    Ok((from, message))
}

pub(crate) fn emit_summary<'a>(
    from: &NodeName,
    networks: impl Iterator<Item = (&'a NetworkId, u64)>,
) -> Vec<u8> {
    let mut out = start(SUMMARY, from);
    for (network, hash) in networks {
        put_bytes(&mut out, network.as_str().as_bytes());
        out.extend_from_slice(&hash.to_be_bytes());
    }
    out
}

pub(crate) fn emit_digest(from: &NodeName, ask: bool, networks: &[NetworkDigest]) -> Vec<u8> {
    let mut out = start(DIGEST, from);
    out.push(u8::from(ask));
    for digest in networks {
        put_bytes(&mut out, digest.network.as_str().as_bytes());
        put_int(&mut out, digest.owners.len() as u64);
        for (owner, epoch, hash) in &digest.owners {
            put_bytes(&mut out, owner.as_str().as_bytes());
            put_int(&mut out, *epoch);
            out.extend_from_slice(&hash.to_be_bytes());
        }
    }
    out
}

/// Packs rows into as few messages as fit into `limit` bytes each.
#[derive(Debug)]
pub(crate) struct RowPacker<'a> {
    from: &'a NodeName,
    limit: usize,
    done: Vec<Bytes>,
    head: Option<(NetworkId, NodeName, u64)>,
    body: Vec<u8>,
    rows: Vec<u8>,
    count: u64,
}

impl<'a> RowPacker<'a> {
    pub(crate) fn new(from: &'a NodeName, limit: usize) -> Self {
        let body = start(ROWS, from);
        Self { from, limit, done: Vec::new(), head: None, body, rows: Vec::new(), count: 0 }
    }

    pub(crate) fn push(&mut self, network: &NetworkId, owner: &NodeName, epoch: u64, row: &RowRef<'_>) {
        let mut bytes = Vec::with_capacity(row.value.len() + row.key.len() + row.table.len() + 24);
        put_bytes(&mut bytes, row.table.as_bytes());
        put_bytes(&mut bytes, row.key.as_bytes());
        put_int(&mut bytes, row.version);
        bytes.push(row.phase.to_wire());
        put_bytes(&mut bytes, row.value);
        let same = self.head.as_ref().is_some_and(|(n, o, e)| n == network && o == owner && *e == epoch);
        let head = network.as_str().len() + owner.as_str().len() + 24;
        let full = self.body.len() + self.rows.len() + bytes.len() + head > self.limit;
        if !same || full {
            self.end_group();
        }
        if full && self.body.len() > MAGIC.len() + 3 + self.from.as_str().len() + 1 {
            let next = start(ROWS, self.from);
            self.done.push(std::mem::replace(&mut self.body, next).into());
        }
        if self.head.is_none() {
            self.head = Some((network.clone(), owner.clone(), epoch));
        }
        self.rows.append(&mut bytes);
        self.count += 1;
    }

    pub(crate) fn finish(mut self) -> Vec<Bytes> {
        let had_rows = self.count > 0 || self.body.len() > start(ROWS, self.from).len();
        self.end_group();
        if had_rows {
            self.done.push(self.body.into());
        }
        self.done
    }

    fn end_group(&mut self) {
        if let Some((network, owner, epoch)) = self.head.take() {
            put_bytes(&mut self.body, network.as_str().as_bytes());
            put_bytes(&mut self.body, owner.as_str().as_bytes());
            put_int(&mut self.body, epoch);
            put_int(&mut self.body, self.count);
            self.body.append(&mut self.rows);
        }
        self.count = 0;
    }
}

/// A row to send, borrowed from the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowRef<'a> {
    pub(crate) table: &'a str,
    pub(crate) key: &'a str,
    pub(crate) version: u64,
    pub(crate) phase: Phase,
    pub(crate) value: &'a [u8],
}

fn start(kind: u8, from: &NodeName) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.push(VERSION);
    out.push(kind);
    put_bytes(&mut out, from.as_str().as_bytes());
    out
}

fn put_int(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_int(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, WireError> {
        let (&byte, rest) = self.0.split_first().ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(byte)
    }

    fn int(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Malformed)
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        let (bytes, rest) = self.0.split_first_chunk::<8>().ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*bytes))
    }

    fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let len = usize::try_from(self.int()?).map_err(|_| WireError::Truncated)?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<&'a str, WireError> {
        let text = std::str::from_utf8(self.bytes()?).map_err(|_| WireError::Malformed)?;
        if text.len() > crate::name::MAX_NAME { Err(WireError::Limit) } else { Ok(text) }
    }

    fn name(&mut self) -> Result<NodeName, WireError> {
        NodeName::new(self.text()?).map_err(|_| WireError::Malformed)
    }

    fn network(&mut self) -> Result<NetworkId, WireError> {
        match self.text()? {
            "" => Ok(NetworkId::cluster()),
            name => NetworkId::new(name).map_err(|_| WireError::Malformed),
        }
    }

    fn group(&mut self) -> Result<Group, WireError> {
        let (network, owner, epoch, count) = (self.network()?, self.name()?, self.int()?, self.int()?);
        let mut rows = Vec::new();
        for _ in 0..count {
            rows.push(WireRow {
                table: self.text()?.to_owned(),
                key: self.text()?.to_owned(),
                version: self.int()?,
                phase: Phase::from_wire(self.byte()?).ok_or(WireError::Malformed)?,
                value: Bytes::copy_from_slice(self.bytes()?),
            });
        }
        Ok(Group { network, owner, epoch, rows })
    }

    fn digest(&mut self) -> Result<NetworkDigest, WireError> {
        let (network, count) = (self.network()?, self.int()?);
        let mut owners = Vec::new();
        for _ in 0..count {
            owners.push((self.name()?, self.int()?, self.u64()?));
        }
        Ok(NetworkDigest { network, owners })
    }
}

/// Nobody sends more in one message; keeps what a message unpacks to within bounds.
const MAX_BODY: usize = 4 << 20;

/// No serf message type, and no protobuf of Docker's, starts like this.
const MAGIC: &[u8] = &[0xc7, b'o', b'g'];
const VERSION: u8 = 1;
const ROWS: u8 = 1;
const SUMMARY: u8 = 2;
const DIGEST: u8 = 3;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_come_back_from_messages_of_bounded_size() {
        let (me, n) = (NodeName::new("me").unwrap(), NetworkId::new("n1").unwrap());
        let mut packer = RowPacker::new(&me, 200);
        for i in 0..40u64 {
            let key = format!("k{i}");
            let row =
                RowRef { table: "t", key: &key, version: i << 20, phase: Phase::Ready, value: &[7; 10] };
            packer.push(&n, &me, 9, &row);
        }
        let messages = packer.finish();
        assert!(messages.len() > 2 && messages.iter().all(|m| m.len() <= 200));
        let mut keys = Vec::new();
        for message in messages {
            let (from, TableMessage::Rows(groups)) = parse(&message).unwrap() else { panic!() };
            assert_eq!(from, me);
            keys.extend(groups.into_iter().flat_map(|g| g.rows).map(|r| r.key));
        }
        assert_eq!(keys, (0..40).map(|i| format!("k{i}")).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn parse_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0u8..5) {
            let _ = parse(&bytes);
            let mut framed = MAGIC.to_vec();
            framed.extend_from_slice(&[VERSION, kind, 1, b'a']);
            framed.append(&mut bytes);
            let _ = parse(&framed);
        }
    }
}
