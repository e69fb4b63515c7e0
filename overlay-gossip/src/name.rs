//! Names of nodes and networks.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of a member, unique in its cluster: 1 to 255 bytes, no control characters.
///
/// Cloning is cheap: the text is shared.
///
/// ```
/// use overlay_gossip::NodeName;
///
/// let name = NodeName::new("worker-1")?;
/// assert_eq!(name.to_string(), "worker-1");
/// assert!(NodeName::new("").is_err());
/// # Ok::<(), overlay_gossip::NameError>(())
/// ```
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NodeName(Arc<str>);

/// The identifier of a network whose tables are replicated: 1 to 255 bytes, no control characters.
///
/// Cloning is cheap: the text is shared.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NetworkId(Arc<str>);

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Empty, or longer than the wire format allows.
    #[error("a name has 1 to {MAX_NAME} bytes, not {len}")]
    #[expect(missing_docs, reason = "the message names the field")]
    Length { len: usize },
    /// Control characters would make logs lie.
    #[error("a name has no control characters")]
    Control,
}

/// Longest name in bytes.
pub(crate) const MAX_NAME: usize = 255;

macro_rules! name {
    ($name:ident) => {
        impl $name {
            /// Checks and takes over a name.
            ///
            /// # Errors
            ///
            /// [`NameError`] when the text is empty, too long, or contains control characters.
            pub fn new(name: impl AsRef<str>) -> Result<Self, NameError> {
                let name = name.as_ref();
                if name.is_empty() || name.len() > MAX_NAME {
                    return Err(NameError::Length { len: name.len() });
                }
                if name.chars().any(char::is_control) {
                    return Err(NameError::Control);
                }
                Ok(Self(Arc::from(name)))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(s: &str) -> Result<Self, NameError> {
                Self::new(s)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(NodeName);
name!(NetworkId);

impl NetworkId {
    /// The network that every node belongs to; it carries presence and attachments. Has no public name.
    pub(crate) fn cluster() -> Self {
        Self(Arc::from(""))
    }
}
