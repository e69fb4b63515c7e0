use std::{fmt, hint, num::ParseIntError, str::FromStr, time::Duration};

use ring::aead;

use crate::Vni;

/// How datagrams are encrypted and authenticated. All have a tag of 16 bytes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Algorithm {
    /// AES-GCM with a key of 16 bytes, as Docker's encrypted networks; the fastest where the CPU has AES.
    Aes128Gcm,
    /// AES-GCM with a key of 32 bytes.
    Aes256Gcm,
    /// ChaCha20-Poly1305 with a key of 32 bytes, for CPUs without AES.
    ChaCha20Poly1305,
}

/// A text that names no [`Algorithm`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown algorithm {name:?} (choose aes-128-gcm, aes-256-gcm or chacha20-poly1305)")]
#[expect(missing_docs, reason = "the message names the field")]
pub struct AlgorithmError {
    pub name: String,
}

/// The number of a key within its network. Receivers find the key by it, so that it can change under load.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyId(u16);

/// One run of a sender.
///
/// It takes part in the derivation of keys, so **no two runs of any host may share it** while they share a network's
/// key: they would encrypt different frames with the same nonce. A host's later run has a larger one; receivers refuse
/// a run that began before the newest one they have seen from the same address.
///
/// ```
/// use std::time::Duration;
/// use overlay_core::seal::Session;
///
/// let first = Session::at(Duration::from_secs(1_700_000_000), 0x1234_5678);
/// let again = Session::at(Duration::from_secs(1_700_000_001), 0x0000_0001);
/// assert!(again > first);
/// // The clock went back meanwhile: whoever remembers the last session is still newer.
/// assert!(Session::at(Duration::from_secs(5), 9).newer_than(again) > again);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Session(u64);

/// The key of a network, the same on all of its hosts. `Debug` does not show it; it is overwritten when dropped.
#[derive(Clone)]
pub struct SealKey {
    algorithm: Algorithm,
    bytes: [u8; MAX_KEY_LEN],
}

/// Why keys cannot be used as wanted. Nothing changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum KeyError {
    /// The bytes are not a key of the algorithm.
    #[error("a key of {algorithm} takes {} bytes, not {len}", algorithm.key_len())]
    Length { algorithm: Algorithm, len: usize },
    /// The network has no keys at all.
    #[error("network {vni} has no keys")]
    UnknownNetwork { vni: Vni },
    /// The network has keys, but not this one.
    #[error("network {vni} has no key {id}")]
    UnknownKey { vni: Vni, id: KeyId },
    /// The number belongs to another key already.
    #[error("network {vni} has another key {id}")]
    Taken { vni: Vni, id: KeyId },
    /// The key seals datagrams. Activate another one first.
    #[error("key {id} of network {vni} is in use")]
    Active { vni: Vni, id: KeyId },
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 3] = [Self::Aes128Gcm, Self::Aes256Gcm, Self::ChaCha20Poly1305];

    /// Bytes of a key.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Aes128Gcm => "aes-128-gcm",
            Self::Aes256Gcm => "aes-256-gcm",
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
        }
    }

    /// The number that takes part in the derivation.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Aes128Gcm => 1,
            Self::Aes256Gcm => 2,
            Self::ChaCha20Poly1305 => 3,
        }
    }

    pub(super) const fn aead(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes128Gcm => &aead::AES_128_GCM,
            Self::Aes256Gcm => &aead::AES_256_GCM,
            Self::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = AlgorithmError;

    fn from_str(text: &str) -> Result<Self, AlgorithmError> {
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.name() == text);
        found.ok_or_else(|| AlgorithmError { name: text.to_owned() })
    }
}

crate::text::serde_through_text!(Algorithm);

impl KeyId {
    /// Every number is valid.
    #[must_use]
    pub const fn new(id: u16) -> Self {
        Self(id)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl From<KeyId> for u16 {
    fn from(id: KeyId) -> Self {
        id.0
    }
}

impl From<u16> for KeyId {
    fn from(id: u16) -> Self {
        Self(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for KeyId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

crate::text::serde_through_text!(KeyId);

impl Session {
    /// Takes the number as it is. It must be unique among the runs of all hosts that share a key.
    #[must_use]
    pub const fn new(session: u64) -> Self {
        Self(session)
    }

    /// A session from the time of the start and 26 bits of chance (the lower ones of `random`).
    ///
    /// The upper 38 bits count 64ths of a second since 1970, which last until 2106. Two runs collide only if they begin
    /// within the same 16 ms and draw the same number of 67 million.
    #[must_use]
    pub fn at(since_1970: Duration, random: u32) -> Self {
        let ticks =
            since_1970.as_secs() << TICKS_BITS | u64::from(since_1970.subsec_nanos() / NANOS_PER_TICK);
        Self(ticks << RANDOM_BITS | u64::from(random) & RANDOM_MASK)
    }

    /// This session, or one right after `previous` if that is not older: for clocks that went back.
    #[must_use]
    pub const fn newer_than(self, previous: Self) -> Self {
        if self.0 > previous.0 {
            return self;
        }
        let next = (previous.0 >> RANDOM_BITS).saturating_add(1);
        Self(next << RANDOM_BITS | self.0 & RANDOM_MASK)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl From<Session> for u64 {
    fn from(session: Session) -> Self {
        session.0
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Session {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

crate::text::serde_through_text!(Session);

impl SealKey {
    /// Takes the bytes of a key, which must be random and as many as the algorithm wants.
    ///
    /// # Errors
    /// [`KeyError::Length`].
    pub fn new(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() != algorithm.key_len() {
            return Err(KeyError::Length { algorithm, len: bytes.len() });
        }
        let mut key = Self { algorithm, bytes: [0; MAX_KEY_LEN] };
        key.bytes.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Ok(key)
    }

    /// What the key is for.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.algorithm.key_len()).unwrap_or_default()
    }
}

impl PartialEq for SealKey {
    /// Takes the same time wherever the keys differ.
    fn eq(&self, other: &Self) -> bool {
        let different = self.bytes.iter().zip(&other.bytes).fold(0, |all, (a, b)| all | (a ^ b));
        self.algorithm == other.algorithm && hint::black_box(different) == 0
    }
}

impl Eq for SealKey {}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Drop for SealKey {
    fn drop(&mut self) {
        self.bytes.fill(0);
        // Otherwise the compiler may see that no one reads the zeros.
        hint::black_box(&mut self.bytes);
    }
}

const MAX_KEY_LEN: usize = 32;
const TICKS_BITS: u32 = 6;
const NANOS_PER_TICK: u32 = 1_000_000_000 >> TICKS_BITS;
const RANDOM_BITS: u32 = 26;
const RANDOM_MASK: u64 = (1 << RANDOM_BITS) - 1;
