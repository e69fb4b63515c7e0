//! How a network's frames are forwarded and protected.

use std::{borrow::Cow, collections::BTreeMap, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::Timestamp;

/// Who forwards a network's frames on every node: `--opt plane=…`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlaneChoice {
    /// The kernel where that is possible, else the node's own process; sealed networks need the latter.
    #[default]
    Auto,
    /// The kernel's VXLAN device.
    Kernel,
    /// The node's own process.
    User,
}

/// The cipher of a sealed network: the value of `--opt encrypted=…`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub enum SealAlgorithm {
    /// AES-128 in Galois/counter mode, as Docker's encrypted networks.
    #[default]
    #[serde(rename = "aes-128-gcm")]
    Aes128Gcm,
    /// AES-256 in Galois/counter mode.
    #[serde(rename = "aes-256-gcm")]
    Aes256Gcm,
    /// ChaCha20-Poly1305, for machines without AES instructions.
    #[serde(rename = "chacha20-poly1305")]
    ChaCha20Poly1305,
}

/// The keys of a sealed network, as a node needs them.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct NetworkSeal {
    /// The cipher.
    pub algorithm: SealAlgorithm,
    /// The key that datagrams are sealed with.
    pub active: u16,
    /// All keys that open datagrams, by id.
    pub keys: BTreeMap<u16, SealSecret>,
}

/// The bytes of a key; hexadecimal in JSON. Its `Debug` hides them.
#[derive(Clone, Eq, PartialEq)]
pub struct SealSecret(pub Vec<u8>);

/// The keys of a sealed network, and how far their replacement is.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct NetworkKeys {
    /// What nodes need.
    pub seal: NetworkSeal,
    /// Where their rotation stands.
    pub rotation: Rotation,
}

/// How far the replacement of keys is.
///
/// ```text
///             install          use             retire
///   ──────────────┼───────────────┼───────────────┼──────────────▶
///   resting: 1    │ installed: 1,2│ used: 2,1     │ resting: 2        the first one is used, all are accepted
///                 ╰──── grace ────╯╰──── grace ───╯
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Rotation {
    /// The last step that was taken.
    pub step: RotationStep,
    /// When it was taken.
    pub since: Timestamp,
    /// When the next one is due.
    pub due: Timestamp,
    /// Time for all nodes to learn of a step.
    pub grace: Duration,
    /// Another one begins when this one has ended: somebody may know the key that it brings who should not any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
}

/// The steps of a rotation.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RotationStep {
    /// There is one key.
    #[default]
    Resting,
    /// There is a new key, which is accepted but not used yet.
    Installed,
    /// The new key is used, the one before still accepted.
    Used,
}

impl SealAlgorithm {
    /// Bytes of a key.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }
}

impl SealAlgorithm {
    const ALL: [Self; 3] = [Self::Aes128Gcm, Self::Aes256Gcm, Self::ChaCha20Poly1305];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Aes128Gcm => "aes-128-gcm",
            Self::Aes256Gcm => "aes-256-gcm",
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
        }
    }
}

impl fmt::Display for SealAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text names no [`SealAlgorithm`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown cipher {0:?}: use aes-128-gcm, aes-256-gcm or chacha20-poly1305")]
pub struct SealAlgorithmError(pub String);

impl FromStr for SealAlgorithm {
    type Err = SealAlgorithmError;

    fn from_str(text: &str) -> Result<Self, SealAlgorithmError> {
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text);
        found.ok_or_else(|| SealAlgorithmError(text.to_owned()))
    }
}

impl NetworkKeys {
    /// The first key of a network that is created now.
    pub(crate) fn new(algorithm: SealAlgorithm, fresh: &SealSecret, now: Timestamp) -> Option<Self> {
        let keys = BTreeMap::from([(1, fresh.cut(algorithm)?)]);
        Some(Self { seal: NetworkSeal { algorithm, active: 1, keys }, rotation: Rotation::new(now) })
    }

    /// Adds a key that is accepted but not used yet. `None` if the bytes do not make one.
    pub(crate) fn install(&mut self, fresh: &SealSecret) -> Option<()> {
        let seal = &mut self.seal;
        let free = |id: &u16| !seal.keys.contains_key(id);
        let id = std::iter::successors(Some(seal.active), |id| Some(id.wrapping_add(1))).find(free)?;
        seal.keys.insert(id, fresh.cut(seal.algorithm)?);
        Some(())
    }

    /// Uses the key that was installed last; only it and the one before are kept, as those before have not been used for
    /// a grace at least.
    pub(crate) fn use_newest(&mut self) {
        let seal = &mut self.seal;
        let age = |id: &u16| id.wrapping_sub(seal.active);
        let Some(newest) = seal.keys.keys().copied().filter(|id| age(id) < u16::MAX / 2).max_by_key(age)
        else {
            return;
        };
        let before = std::mem::replace(&mut seal.active, newest);
        seal.keys.retain(|id, _| [newest, before].contains(id));
    }

    /// Keeps the key that is used.
    pub(crate) fn retire_others(&mut self) {
        let active = self.seal.active;
        self.seal.keys.retain(|id, _| *id == active);
    }
}

impl Rotation {
    /// Time between two rotations. 12 h, as SwarmKit.
    pub const EVERY: Duration = Duration::from_secs(12 * 3600);
    /// Time between two steps, if nobody says otherwise.
    pub const GRACE: Duration = Duration::from_secs(60);
    /// The longest time between two steps.
    pub const MAX_GRACE: Duration = Duration::from_secs(24 * 3600);

    /// The keys are new.
    pub(crate) fn new(now: Timestamp) -> Self {
        let step = RotationStep::Resting;
        Self { step, since: now, due: now.plus(Self::EVERY), grace: Self::GRACE, again: false }
    }

    /// Takes the next step.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        *self = match self.step {
            RotationStep::Resting => Self::installed(now, self.grace),
            RotationStep::Installed => {
                Self { step: RotationStep::Used, since: now, due: now.plus(self.grace), ..*self }
            }
            RotationStep::Used if self.again => Self { due: now, ..Self::new(now) },
            RotationStep::Used => Self::new(now),
        };
    }

    pub(crate) fn installed(now: Timestamp, grace: Duration) -> Self {
        Self { step: RotationStep::Installed, since: now, due: now.plus(grace), grace, again: false }
    }

    /// Begins at once, or once more at the end, because somebody may know the keys who should not any more.
    pub(crate) const fn hasten(&mut self, now: Timestamp) {
        match self.step {
            RotationStep::Resting => self.due = now,
            RotationStep::Installed | RotationStep::Used => self.again = true,
        }
    }
}

impl SealSecret {
    /// As many of the bytes as the cipher's key has.
    fn cut(&self, algorithm: SealAlgorithm) -> Option<Self> {
        self.0.get(..algorithm.key_len()).map(|bytes| Self(bytes.to_vec()))
    }
}

impl Serialize for SealSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
        let text: String = self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for SealSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
        let bytes = text.as_bytes().chunks(2).map(|pair| byte(pair).filter(|_| pair.len() == 2));
        let bytes: Option<Vec<u8>> = bytes.collect();
        bytes.map(Self).ok_or_else(|| D::Error::custom("a key is not hexadecimal")) // and not shown
    }
}

impl fmt::Display for PlaneChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Kernel => "kernel",
            Self::User => "user",
        })
    }
}

/// The text is none of `auto`, `kernel` and `user`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid plane {0:?}: use auto, kernel or user")]
pub struct PlaneChoiceError(pub String);

impl FromStr for PlaneChoice {
    type Err = PlaneChoiceError;

    fn from_str(text: &str) -> Result<Self, PlaneChoiceError> {
        match text {
            "auto" => Ok(Self::Auto),
            "kernel" => Ok(Self::Kernel),
            "user" => Ok(Self::User),
            other => Err(PlaneChoiceError(other.to_owned())),
        }
    }
}

impl fmt::Debug for SealSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealSecret(..)")
    }
}
