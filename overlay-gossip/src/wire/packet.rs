//! Datagrams: the layers around messages.

use bytes::Bytes;
use rand::RngCore;

use super::{Reader, Writer};
use super::{WireError, lzw, tag};
use crate::key::{self, Keyring};

/// How the cluster wraps its bytes.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) keyring: Keyring,
    pub(crate) label: Vec<u8>,
    pub(crate) verify_incoming: bool,
    pub(crate) verify_outgoing: bool,
    pub(crate) compress: bool,
}

impl Envelope {
    /// How many bytes the outer layers may add to a message.
    pub(crate) fn overhead(&self) -> usize {
        let label = if self.label.is_empty() { 0 } else { self.label.len() + 2 };
        let seal = if self.seals() { key::OVERHEAD } else { 0 };
        label + seal + CRC_LEN
    }

    pub(crate) fn seals(&self) -> bool {
        self.verify_outgoing && !self.keyring.is_empty()
    }

    /// Wraps one message (or compound) for the way; with a checksum if the receiver knows those.
    pub(crate) fn wrap(&self, message: &[u8], crc: bool, rng: &mut impl RngCore) -> Bytes {
        let packed = self.compress.then(|| compressed(message)).flatten();
        let message = packed.as_deref().filter(|p| p.len() < message.len()).unwrap_or(message);
        let mut body = Vec::with_capacity(message.len() + CRC_LEN);
        if crc {
            body.push(tag::CRC);
            body.extend_from_slice(&crc32fast::hash(message).to_be_bytes());
        }
        body.extend_from_slice(message);
        let sealed = if self.seals() { self.keyring.seal(&body, &self.label, rng) } else { None };
        let body = sealed.unwrap_or(body);
        if self.label.is_empty() {
            return body.into();
        }
        let mut labelled = label_header(&self.label);
        labelled.extend_from_slice(&body);
        labelled.into()
    }

    /// Takes a datagram apart into its messages, at most [`MAX_DEPTH`] layers deep and [`MAX_UNPACKED`] bytes in all.
    pub(crate) fn unwrap(&self, payload: &[u8]) -> Result<Vec<Bytes>, WireError> {
        let body = peel_label(payload, &self.label)?;
        let plain = self.open(body, &self.label)?;
        let mut plain = plain.map_or_else(|| Bytes::copy_from_slice(body), Bytes::from);
        if let [tag::CRC, a, b, c, d, rest @ ..] = &*plain {
            if crc32fast::hash(rest) != u32::from_be_bytes([*a, *b, *c, *d]) {
                return Err(WireError::Checksum);
            }
            plain = plain.slice(CRC_LEN..);
        }
        unfold(plain)
    }

    /// Opens a sealed body; `None` if it is plain and may be.
    pub(crate) fn open(&self, body: &[u8], aad: &[u8]) -> Result<Option<Vec<u8>>, WireError> {
        if self.keyring.is_empty() {
            return Ok(None);
        }
        match self.keyring.open(body, aad) {
            Ok(plain) => Ok(Some(plain)),
            Err(_) if !self.verify_incoming => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Packs messages into one compound; one alone stays as it is.
pub(crate) fn compound(messages: &[Bytes]) -> Bytes {
    if let [one] = messages {
        return one.clone();
    }
    let mut out = vec![tag::COMPOUND, 0];
    let mut bodies = Vec::new();
    let mut count = 0u8;
    for message in messages {
        let Ok(len) = u16::try_from(message.len()) else { continue };
        if count == u8::MAX {
            break;
        }
        count += 1;
        out.extend_from_slice(&len.to_be_bytes());
        bodies.extend_from_slice(message);
    }
    if let Some(slot) = out.get_mut(1) {
        *slot = count;
    }
    out.append(&mut bodies);
    out.into()
}

/// The compress message around a message.
pub(crate) fn compressed(message: &[u8]) -> Option<Vec<u8>> {
    let packed = lzw::compress(message)?;
    let mut out = vec![tag::COMPRESS];
    let mut w = Writer(&mut out);
    w.map(2);
    w.key("Algo").uint(0);
    w.key("Buf").raw(&packed);
    Some(out)
}

/// Reads what follows the type byte of a compress message.
pub(crate) fn decompress(body: &[u8], limit: usize) -> Result<Vec<u8>, WireError> {
    let (mut algo, mut packed): (u64, &[u8]) = (0, &[]);
    Reader(body).map(|key, r| {
        match key {
            b"Algo" => algo = r.uint()?,
            b"Buf" => packed = r.raw()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if algo != 0 {
        return Err(WireError::Malformed);
    }
    lzw::decompress(packed, limit)
}

pub(crate) fn label_header(label: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(label.len() + 2);
    if let Ok(len @ 1..) = u8::try_from(label.len()) {
        out.extend_from_slice(&[tag::LABEL, len]);
        out.extend_from_slice(label);
    }
    out
}

/// Takes off the label, which must be the expected one.
pub(crate) fn peel_label<'a>(payload: &'a [u8], label: &[u8]) -> Result<&'a [u8], WireError> {
    let (found, body): (&[u8], _) = match payload {
        [tag::LABEL, len, rest @ ..] => {
            if *len == 0 {
                return Err(WireError::Malformed);
            }
            rest.split_at_checked(usize::from(*len)).ok_or(WireError::Truncated)?
        }
        _ => (&[], payload),
    };
    if found == label { Ok(body) } else { Err(WireError::Label) }
}

/// Unfolds compounds and compressed messages in order, with a stack of our own.
fn unfold(plain: Bytes) -> Result<Vec<Bytes>, WireError> {
    let mut leaves = Vec::new();
    let mut budget = MAX_UNPACKED;
    let mut stack = vec![(plain, 0usize)];
    while let Some((bytes, depth)) = stack.pop() {
        let Some((&kind, body)) = bytes.split_first() else { continue };
        match kind {
            tag::COMPOUND | tag::COMPRESS if depth >= MAX_DEPTH => return Err(WireError::Limit),
            tag::COMPOUND => {
                let start = stack.len();
                for part in parts(body)? {
                    let range = part.start + 1..part.end + 1;
                    stack.push((bytes.slice(range), depth + 1));
                }
                if let Some(new) = stack.get_mut(start..) {
                    new.reverse();
                }
            }
            tag::COMPRESS => {
                let inner = decompress(body, budget)?;
                budget -= inner.len();
                stack.push((inner.into(), depth + 1));
            }
            _ => leaves.push(bytes),
        }
    }
    Ok(leaves)
}

/// Where the parts of a compound lie; a cut tail is dropped.
fn parts(body: &[u8]) -> Result<Vec<std::ops::Range<usize>>, WireError> {
    let (&count, rest) = body.split_first().ok_or(WireError::Truncated)?;
    let table = usize::from(count) * 2;
    let lens = rest.get(..table).ok_or(WireError::Truncated)?;
    let mut at = 1 + table;
    let mut found = Vec::with_capacity(usize::from(count));
    for len in lens.chunks_exact(2) {
        let &[high, low] = len else { break };
        let end = at + usize::from(u16::from_be_bytes([high, low]));
        if end > body.len() {
            break;
        }
        found.push(at..end);
        at = end;
    }
    Ok(found)
}

const CRC_LEN: usize = 5;

/// How deep compounds and compressed messages may nest.
pub(crate) const MAX_DEPTH: usize = 4;

/// How many bytes one datagram may unpack to.
pub(crate) const MAX_UNPACKED: usize = 128 << 10;
