//! Keys of a cluster and what they do to bytes: AES-GCM as memberlist uses it.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as STANDARD;
use rand::RngCore;
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::wire::WireError;

/// A secret that all members share: 16 bytes (AES-128), 32 (AES-256), or, with the feature `aes192`, 24 (AES-192).
/// Does not show itself in `Debug`.
#[derive(Clone, Eq, PartialEq)]
pub struct Key(Vec<u8>);

/// Why bytes are not a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It fits none of AES-128, AES-192 and AES-256.
    #[error("a key has 16, 24 or 32 bytes, not {len}")]
    #[expect(missing_docs, reason = "the message names the field")]
    Length { len: usize },
    /// AES-192, which memberlist knows and hardly anybody uses, is left out unless the feature `aes192` is on.
    #[error("a key of 24 bytes needs the feature aes192")]
    NoAes192,
    /// Not even text that stands for bytes.
    #[error("not base64")]
    Base64,
}

impl Key {
    /// Takes over a key.
    ///
    /// # Errors
    ///
    /// [`KeyError::Length`] unless there are 16, 24 or 32 bytes; [`KeyError::NoAes192`] for 24 without the feature
    /// `aes192`.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let bytes = bytes.as_ref();
        match bytes.len() {
            16 | 32 => Ok(Self(bytes.to_vec())),
            24 if cfg!(feature = "aes192") => Ok(Self(bytes.to_vec())),
            24 => Err(KeyError::NoAes192),
            len => Err(KeyError::Length { len }),
        }
    }

    /// Reads what [`to_base64`](Self::to_base64) and `serf keygen` write.
    ///
    /// # Errors
    ///
    /// [`KeyError::Base64`], and those of [`new`](Self::new).
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
    keys: Vec<Cipher>,
}

/// A key, ready to be used.
enum Cipher {
    Ring(Box<LessSafeKey>),
    /// `ring` has none.
    #[cfg(feature = "aes192")]
    Aes192(Box<Aes192Gcm>),
}

#[cfg(feature = "aes192")]
type Aes192Gcm = aes_gcm::AesGcm<aes_gcm::aes::Aes192, aes_gcm::aead::consts::U12>;

impl Keyring {
    pub(crate) fn new(keys: &[Key]) -> Self {
        Self { keys: keys.iter().filter_map(Cipher::new).collect() }
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
        key.seal(nonce, aad, &mut body)?;
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
            let Some(mut len) = key.open(*nonce, aad, plain) else { continue };
            if version == 0 {
                let pad = usize::from(plain.get(..len).and_then(<[u8]>::last).copied().unwrap_or(0));
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

impl Cipher {
    fn new(key: &Key) -> Option<Self> {
        let algorithm = match key.0.len() {
            16 => &AES_128_GCM,
            #[cfg(feature = "aes192")]
            24 => {
                use aes_gcm::KeyInit;
                return Aes192Gcm::new_from_slice(&key.0).ok().map(|key| Self::Aes192(Box::new(key)));
            }
            _ => &AES_256_GCM,
        };
        UnboundKey::new(algorithm, &key.0).ok().map(|key| Self::Ring(Box::new(LessSafeKey::new(key))))
    }

    /// Seals in place and appends the tag.
    fn seal(&self, nonce: [u8; NONCE_LEN], aad: &[u8], body: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Ring(key) => {
                let nonce = Nonce::assume_unique_for_key(nonce);
                key.seal_in_place_append_tag(nonce, Aad::from(aad), body).ok()
            }
            #[cfg(feature = "aes192")]
            Self::Aes192(key) => {
                use aes_gcm::AeadInOut;
                key.encrypt_in_place(&nonce.into(), aad, body).ok()
            }
        }
    }

    /// Opens in place; says how many bytes of it are the plain text.
    fn open(&self, nonce: [u8; NONCE_LEN], aad: &[u8], body: &mut [u8]) -> Option<usize> {
        match self {
            Self::Ring(key) => {
                let nonce = Nonce::assume_unique_for_key(nonce);
                key.open_in_place(nonce, Aad::from(aad), body).ok().map(|plain| plain.len())
            }
            #[cfg(feature = "aes192")]
            Self::Aes192(key) => {
                use aes_gcm::AeadInOut;
                let (text, tag) = body.split_last_chunk_mut::<16>()?;
                let opened =
                    key.decrypt_inout_detached(&nonce.into(), aad, (&mut *text).into(), &(*tag).into());
                opened.ok().map(|()| text.len())
            }
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys)", self.keys.len())
    }
}

/// What sealing adds: version, nonce, tag.
pub(crate) const OVERHEAD: usize = 29;

#[cfg(test)]
mod tests {
    use super::*;

    /// Test cases 7 to 10 of the submission of GCM to NIST, as it is cited in SP 800-38D.
    #[test]
    fn aes_192_is_the_one_of_nist() {
        let key = "feffe9928665731c6d6a8f9467308308feffe9928665731c";
        let iv = "cafebabefacedbaddecaf888";
        let plain = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525\
                     b16aedf5aa0de657ba637b391aafd255";
        let sealed = "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c7d773d00c144c525ac619d18c84a3f47\
                      18e2448b2fe324d9ccda2710acade256";
        let (zero_key, zero_iv) = ("00".repeat(24), "00".repeat(12));
        let zeros = "00".repeat(16);
        let aad = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
        let cases = [
            (&*zero_key, &*zero_iv, "", "", "", "cd33b28ac773f74ba00ed1f312572435"),
            (
                &zero_key,
                &zero_iv,
                "",
                &zeros,
                "98e7247c07f0fe411c267e4384b0f600",
                "2ff58d80033927ab8ef4d4587514f0fb",
            ),
            (key, iv, "", plain, sealed, "9924a7c8587336bfb118024db8674a14"),
            (key, iv, aad, &plain[..120], &sealed[..120], "2519498e80f1478f37ba55bd6d27618c"),
        ];
        for (key, iv, aad, plain, sealed, tag) in cases {
            let ring = Keyring::new(&[Key::new([9; 16]).unwrap(), Key::new(hex(key)).unwrap()]);
            let only = Keyring::new(&[Key::new(hex(key)).unwrap()]);
            let iv: [u8; NONCE_LEN] = hex(iv).try_into().unwrap();
            let expected = [vec![1], iv.to_vec(), hex(sealed), hex(tag)].concat();
            assert_eq!(only.seal_with(&hex(plain), &hex(aad), iv).unwrap(), expected);
            assert_eq!(ring.open(&expected, &hex(aad)).unwrap(), hex(plain));
            assert_eq!(ring.open(&expected, b"other"), Err(WireError::Sealed));
            let mut broken = expected;
            *broken.last_mut().unwrap() ^= 1;
            assert_eq!(ring.open(&broken, &hex(aad)), Err(WireError::Sealed));
        }
    }

    fn hex(text: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(text.get(at..at + 2).unwrap_or_default(), 16).unwrap_or_default();
        (0..text.len()).step_by(2).map(byte).collect()
    }
}
