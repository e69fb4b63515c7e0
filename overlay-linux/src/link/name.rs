use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// The name of a network interface: 1 to 15 bytes, no `/`, `:` or white space, neither `.` nor `..`.
///
/// ```
/// use overlay_linux::link::LinkName;
///
/// assert_eq!(LinkName::new("ov001001")?.as_str(), "ov001001");
/// assert!(LinkName::new("a name that is too long").is_err());
/// # Ok::<(), overlay_linux::link::LinkNameError>(())
/// ```
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LinkName(String);

impl LinkName {
    /// The longest name that the kernel takes, in bytes.
    pub const MAX_LEN: usize = 15;

    /// Checks a name.
    ///
    /// # Errors
    ///
    /// [`LinkNameError`] if the kernel would refuse it.
    pub fn new(name: impl Into<String>) -> Result<Self, LinkNameError> {
        let name = name.into();
        let bad = |c: char| c == '/' || c == ':' || c == '\0' || c.is_whitespace();
        if name.is_empty() || name.len() > Self::MAX_LEN || name == "." || name == ".." || name.contains(bad)
        {
            return Err(LinkNameError { name });
        }
        Ok(Self(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The kernel would refuse this name for an interface.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{name:?} is not a name for an interface (1 to 15 bytes without '/', ':' and white space)")]
pub struct LinkNameError {
    /// What was given.
    pub name: String,
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for LinkName {
    type Err = LinkNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl TryFrom<&str> for LinkName {
    type Error = LinkNameError;

    fn try_from(name: &str) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl From<LinkName> for String {
    fn from(name: LinkName) -> Self {
        name.0
    }
}

impl AsRef<str> for LinkName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for LinkName {
    fn borrow(&self) -> &str {
        &self.0
    }
}
