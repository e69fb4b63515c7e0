//! What a node says about itself: keys and values, in the metadata of its membership.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use crate::membership::MAX_META;
use crate::wire::{Reader, WireError, Writer};

/// The tags of a node, as `serf members` shows them.
///
/// ```
/// use overlay_gossip::serf::Tags;
///
/// let mut tags = Tags::new();
/// tags.insert("role", "web")?;
/// assert_eq!(Tags::parse(&tags.to_meta()), tags);
/// assert!(tags.insert("long", "x".repeat(600)).is_err());
/// # Ok::<(), overlay_gossip::serf::TagsError>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tags(BTreeMap<String, String>);

/// Why a tag was not taken. Nothing has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum TagsError {
    /// All tags of a node share its metadata.
    #[error("the tags would take {len} bytes, more than {max}")]
    TooLong { len: usize, max: usize },
}

impl Tags {
    /// No tags.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a tag.
    ///
    /// # Errors
    ///
    /// [`TagsError::TooLong`] when all of them would not fit into the 512 bytes of a member's metadata.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<String>) -> Result<(), TagsError> {
        let key = key.into();
        let old = self.0.insert(key.clone(), value.into());
        let len = self.to_meta().len();
        if len <= MAX_META {
            return Ok(());
        }
        match old {
            Some(old) => self.0.insert(key, old),
            None => self.0.remove(&key),
        };
        Err(TagsError::TooLong { len, max: MAX_META })
    }

    /// Removes a tag.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    /// The value of a tag.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// All of them, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// As the metadata of a member has them.
    #[must_use]
    pub fn to_meta(&self) -> Bytes {
        let mut out = vec![MAGIC];
        let mut w = Writer(&mut out);
        w.long_map(self.0.len());
        for (key, value) in &self.0 {
            w.key(key).raw(value.as_bytes());
        }
        out.into()
    }

    /// Reads the metadata of a member. What is no map of tags is a role, as in the first versions of serf; what is
    /// broken is nothing.
    #[must_use]
    pub fn parse(meta: &[u8]) -> Self {
        match meta {
            [] => Self::default(),
            [MAGIC, rest @ ..] => Self::parse_map(rest).unwrap_or_default(),
            role => Self(BTreeMap::from([("role".into(), String::from_utf8_lossy(role).into_owned())])),
        }
    }

    fn parse_map(map: &[u8]) -> Result<Self, WireError> {
        let mut tags = BTreeMap::new();
        Reader(map).map(|key, r| {
            let value = r.raw()?;
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            tags.insert(text(key), text(value));
            Ok(true)
        })?;
        Ok(Self(tags))
    }
}

impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (key, value)) in self.0.iter().enumerate() {
            write!(f, "{}{key}={value}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

const MAGIC: u8 = 0xff;
