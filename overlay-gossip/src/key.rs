//! Keys of a cluster and what they do to bytes: AES-GCM as memberlist uses it.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as STANDARD;
use rand::RngCore;
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::wire::WireError;

/// A secret that all members share: 16 bytes (AES-128) or 32 (AES-256). Does not show itself in `Debug`.
#[derive(Clone, Eq, PartialEq)]
pub struct Key(Vec<u8>);

/// Why bytes are not a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// AES-128 and AES-256 it is; memberlist's rarely used AES-192 is not implemented.
    #[error("a key has 16 or 32 bytes, not {len}")]
    #[expect(missing_docs, reason = "the message names the field")]
    Length { len: usize },
    /// Not even text that stands for bytes.
    #[error("not base64")]
    Base64,
}

impl Key {
    /// Takes over a key.
    ///
    /// # Errors
    ///
    /// [`KeyError::Length`] unless there are 16 or 32 bytes. (24 bytes would mean AES-192, which `ring` does not
    /// offer.)
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let bytes = bytes.as_ref();
        match bytes.len() {
            16 | 32 => Ok(Self(bytes.to_vec())),
            len => Err(KeyError::Length { len }),
        }
    }

    /// Reads what [`to_base64`](Self::to_base64) and `serf keygen` write.
    ///
    /// # Errors
    ///
    /// [`KeyError::Base64`] or [`KeyError::Length`].
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        Self::new(STANDARD.decode(text.trim()).map_err(|_| KeyError::Base64)?)
    }

    /// The secret as text, as serf wants it.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.0)
    }

    /// The secret.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.0.len())
    }
}

/// Keys with their schedules computed: the first seals, all open.
pub(crate) struct Keyring {
    keys: Vec<LessSafeKey>,
}

impl Keyring {
    pub(crate) fn new(keys: &[Key]) -> Self {
        let schedule = |key: &Key| {
            let algorithm = if key.0.len() == 16 { &AES_128_GCM } else { &AES_256_GCM };
            UnboundKey::new(algorithm, &key.0).ok().map(LessSafeKey::new)
        };
        Self { keys: keys.iter().filter_map(schedule).collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// `version nonce ciphertext tag`, version 1, or nothing without a key.
    pub(crate) fn seal(&self, plain: &[u8], aad: &[u8], rng: &mut impl RngCore) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        self.seal_with(plain, aad, nonce)
    }

    /// As [`seal`](Self::seal), with the nonce given.
    pub(crate) fn seal_with(&self, plain: &[u8], aad: &[u8], nonce: [u8; NONCE_LEN]) -> Option<Vec<u8>> {
        let key = self.keys.first()?;
        let mut sealed = Vec::with_capacity(plain.len() + OVERHEAD);
        sealed.push(1);
        sealed.extend_from_slice(&nonce);
        let mut body = plain.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut body).ok()?;
        sealed.append(&mut body);
        Some(sealed)
    }

    /// Opens versions 0 (padded to 16 bytes) and 1 with any key.
    pub(crate) fn open(&self, sealed: &[u8], aad: &[u8]) -> Result<Vec<u8>, WireError> {
        let mut plain = Vec::new();
        self.open_into(sealed, aad, &mut plain)?;
        Ok(plain)
    }

    /// As [`open`](Self::open), into a buffer that can be used again.
    pub(crate) fn open_into(&self, sealed: &[u8], aad: &[u8], plain: &mut Vec<u8>) -> Result<(), WireError> {
        let Some((&version, rest)) = sealed.split_first() else { return Err(WireError::Truncated) };
        let Some((nonce, body)) = rest.split_first_chunk::<NONCE_LEN>() else {
            return Err(WireError::Truncated);
        };
        if version > 1 {
            return Err(WireError::Sealed);
        }
        for key in &self.keys {
            plain.clear();
            plain.extend_from_slice(body);
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let Ok(opened) = key.open_in_place(nonce, Aad::from(aad), plain) else { continue };
            let mut len = opened.len();
            if version == 0 {
                let pad = usize::from(opened.last().copied().unwrap_or(0));
                if pad == 0 || pad > 16 || pad > len {
                    return Err(WireError::Sealed);
                }
                len -= pad;
            }
            plain.truncate(len);
            return Ok(());
        }
        Err(WireError::Sealed)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys)", self.keys.len())
    }
}

/// What sealing adds: version, nonce, tag.
pub(crate) const OVERHEAD: usize = 29;
