//! Datagrams: the layers around messages.

use bytes::Bytes;
use rand::RngCore;

use super::{WireError, Writer, lzw, tag};
use crate::Key;
use crate::key::{self, Keyring};

/// How a cluster wraps its bytes: label, keys, compression. By default, not at all.
#[derive(Debug)]
pub struct Envelope {
    pub(crate) keyring: Keyring,
    pub(crate) label: Vec<u8>,
    pub(crate) verify_incoming: bool,
    pub(crate) verify_outgoing: bool,
    pub(crate) compress: bool,
}

impl Default for Envelope {
    fn default() -> Self {
        Self::new(&[], "")
    }
}

impl Envelope {
    /// With keys (the first seals, all open, and plain text is refused; none: all is plain) and a label (empty:
    /// none; at most 255 bytes, cut off there).
    #[must_use]
    pub fn new(keys: &[Key], label: &str) -> Self {
        let mut label = label.as_bytes().to_vec();
        label.truncate(255);
        Self {
            keyring: Keyring::new(keys),
            label,
            verify_incoming: true,
            verify_outgoing: true,
            compress: false,
        }
    }

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

    /// Opens a sealed body; `header` is what was in clear before it (the label; in streams, the five bytes of the
    /// frame and the label).
    ///
    /// # Errors
    ///
    /// [`WireError::Sealed`] when no key opens it.
    pub fn open(&self, body: &[u8], header: &[u8]) -> Result<Vec<u8>, WireError> {
        self.keyring.open(body, header)
    }

    /// Opens a sealed body into a buffer; `false` if it is plain and may be.
    pub(super) fn open_into(&self, body: &[u8], opened: &mut Vec<u8>) -> Result<bool, WireError> {
        if self.keyring.is_empty() {
            return Ok(false);
        }
        match self.keyring.open_into(body, &self.label, opened) {
            Ok(()) => Ok(true),
            Err(_) if !self.verify_incoming => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Packs messages into one compound; one alone stays as it is.
#[must_use]
pub fn compound(messages: &[Bytes]) -> Bytes {
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

const CRC_LEN: usize = 5;
