//! How a network's frames are forwarded and protected.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

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

/// The bytes of a key. Its `Debug` hides them.
#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealSecret(pub Vec<u8>);

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
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlaneChoiceError(pub String);

impl fmt::Display for PlaneChoiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid plane {:?}: use auto, kernel or user", self.0)
    }
}

impl std::error::Error for PlaneChoiceError {}

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
