//! Enumerations that travel as lower-case words.

/// The word is none of the allowed ones.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{word:?} is not one of {allowed}")]
pub struct WordError {
    /// What was given, cut after 64 characters.
    pub word: String,
    /// The words that are allowed.
    pub allowed: &'static str,
}

/// Declares an enumeration with its words. The first variant is the default and is what `""` means.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word that the API uses.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                const FIRST: &[$name] = $name::ALL;
                match FIRST { [first, ..] => *first, [] => unreachable!("an enumeration has a variant") }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::spec::WordError;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    "" => Ok(Self::default()),
                    $($word => Ok(Self::$variant),)*
                    _ => Err($crate::spec::WordError {
                        word: word.chars().take(64).collect(),
                        allowed: concat!($($word, " "),*).trim_ascii_end(),
                    }),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                word.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

pub(crate) use words;
