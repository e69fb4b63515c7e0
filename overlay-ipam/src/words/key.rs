//! The names under which things are held.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Names a network. Cheap to clone.
///
/// ```
/// assert_eq!(overlay_ipam::NetworkKey::new("web").to_string(), "web");
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct NetworkKey(Arc<str>);

impl NetworkKey {
    /// Takes any text; two keys are the same if their texts are.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NetworkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names whatever holds an address: a task, a service, a node. Cheap to clone.
///
/// An id of the usual form (25 digits of base 36, 128 bits) is kept as a number and needs no memory of its own;
/// any other text is kept as it is.
///
/// ```
/// use overlay_ipam::OwnerKey;
///
/// for text in ["web.1", "7l14vsnzz24sttqdagfmjpx83"] {
///     assert_eq!(OwnerKey::new(text).to_string(), text);
/// }
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct OwnerKey(pub(crate) Name);

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Name {
    /// Upper and lower half.
    Id([u64; 2]),
    Text(Arc<str>),
}

impl OwnerKey {
    /// Takes any text; two keys are the same if their texts are.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self(packed(&text).map_or_else(|| Name::Text(text.into()), Name::Id))
    }
}

impl fmt::Display for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Name::Text(text) => f.write_str(text),
            Name::Id([high, low]) => {
                let mut rest = u128::from(*high) << 64 | u128::from(*low);
                let mut text = [b'0'; DIGITS];
                for digit in text.iter_mut().rev() {
                    let value = u8::try_from(rest % 36).unwrap_or(0);
                    *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
                    rest /= 36;
                }
                text.iter().try_for_each(|digit| fmt::Write::write_char(f, char::from(*digit)))
            }
        }
    }
}

/// 25 digits of base 36 as a number, if it has no more than 128 bits.
fn packed(text: &str) -> Option<[u64; 2]> {
    let bytes: &[u8; DIGITS] = text.as_bytes().try_into().ok()?;
    let value = |digits: &[u8]| {
        digits.iter().try_fold(0_u64, |value, digit| match digit {
            b'0'..=b'9' => Some(value * 36 + u64::from(digit - b'0')),
            b'a'..=b'z' => Some(value * 36 + u64::from(digit - b'a') + 10),
            _ => None,
        })
    };
    // twelve digits fit into 64 bits
    let (high, rest) = bytes.split_at(12);
    let (middle, low) = rest.split_at(12);
    let upper = u128::from(value(high)?) * 36_u128.pow(12) + u128::from(value(middle)?);
    let whole = upper.checked_mul(36)?.checked_add(value(low)?.into())?;
    Some([u64::try_from(whole >> 64).unwrap_or(0), u64::try_from(whole & u128::from(u64::MAX)).unwrap_or(0)])
}

impl From<String> for OwnerKey {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for OwnerKey {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<OwnerKey> for String {
    fn from(key: OwnerKey) -> Self {
        key.to_string()
    }
}

impl From<String> for NetworkKey {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for NetworkKey {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<NetworkKey> for String {
    fn from(key: NetworkKey) -> Self {
        key.as_str().to_owned()
    }
}

const DIGITS: usize = 25;
