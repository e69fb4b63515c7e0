//! Object ids: 25 characters of base 36, as Docker prints them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 25 characters of `0-9a-z`. Copied freely; compares and sorts as its text does.
///
/// ```
/// use swarm_state::Id;
///
/// let id = Id::from_random([7; 16]);
/// assert_eq!(id.as_str().len(), Id::LEN);
/// assert_eq!(id.as_str().parse::<Id>(), Ok(id));
/// assert!("short".parse::<Id>().is_err());
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Id([u8; Self::LEN]);

impl Id {
    /// Characters in an id.
    pub const LEN: usize = 25;

    /// Writes 128 random bits as a number of base 36. The proposer of a command draws the bits, never `apply`.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        let mut rest = u128::from_be_bytes(bytes);
        let mut text = [b'0'; Self::LEN];
        for place in text.iter_mut().rev() {
            *place = digit(rest % 36);
            rest /= 36;
        }
        Self(text)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default() // always ASCII, see the constructors
    }
}

/// The text is not 25 characters of `0-9a-z`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?} is not an id of 25 characters 0-9, a-z")]
pub struct IdError {
    /// What was given, cut after 64 characters.
    pub text: String,
}

impl FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError { text: text.chars().take(64).collect() };
        let bytes: [u8; Self::LEN] = text.as_bytes().try_into().map_err(|_| wrong())?;
        if bytes.iter().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()) {
            Ok(Self(bytes))
        } else {
            Err(wrong())
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn digit(value: u128) -> u8 {
    let value = u8::try_from(value).unwrap_or(0);
    if value < 10 { b'0'.saturating_add(value) } else { b'a'.saturating_add(value.saturating_sub(10)) }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Id);

        impl $name {
            /// Wraps an id.
            pub const fn new(id: Id) -> Self {
                Self(id)
            }

            /// See [`Id::from_random`].
            pub fn from_random(bytes: [u8; 16]) -> Self {
                Self(Id::from_random(bytes))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.parse().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$name> for Id {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    )*};
}

ids! {
    /// Names a node.
    NodeId;
    /// Names a service.
    ServiceId;
    /// Names a task.
    TaskId;
    /// Names a network.
    NetworkId;
    /// Names the cluster.
    ClusterId;
    /// Names a secret.
    SecretId;
    /// Names a config.
    ConfigId;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_number_fits() {
        assert_eq!(Id::from_random([255; 16]).as_str(), "f5lxx1zz5pnorynqglhzmsp33");
        assert_eq!(Id::from_random([0; 16]).as_str(), "0000000000000000000000000");
    }
}
