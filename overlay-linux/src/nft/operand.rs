//! Values that are made while a packet passes.

use std::collections::BTreeMap;

use super::field::Field;
use super::value::Value;

/// A value that is made while a packet passes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Expr {
    /// A constant; its type follows from where it is used.
    Value(Value),
    /// A field of the packet or of what the kernel knows about it.
    Field(Field),
    /// The bits of a one-component value that the mask has.
    Masked(Box<Self>, u32),
    /// Several components.
    Concat(Vec<Self>),
    /// Jenkins hash, modulo, plus offset.
    Hash {
        /// What is hashed.
        over: Box<Self>,
        /// How many results there are; at least 1.
        modulus: u32,
        /// The seed.
        seed: u32,
        /// Added to the result.
        offset: u32,
    },
    /// The next number below `modulus`, plus offset.
    Number {
        /// Random instead of one after the other.
        random: bool,
        /// How many results there are; at least 1.
        modulus: u32,
        /// Added to the result.
        offset: u32,
    },
    /// What a map has for the key; the rule ends without one.
    Lookup {
        /// The key.
        key: Box<Self>,
        /// The map.
        map: ValueMap,
    },
    /// One of the values, chosen per flow or packet.
    Spread {
        /// How it is chosen.
        by: Spread,
        /// The values; one that appears twice is chosen twice as often.
        over: Vec<Value>,
    },
}

impl Expr {
    /// The bits of this value that the mask has.
    #[must_use]
    pub fn masked(self, mask: u32) -> Self {
        Self::Masked(Box::new(self), mask)
    }

    /// Joins components: `ip saddr . tcp sport`.
    pub fn concat<E: Into<Self>>(parts: impl IntoIterator<Item = E>) -> Self {
        Self::Concat(parts.into_iter().map(Into::into).collect())
    }

    /// What the named map has for this key.
    #[must_use]
    pub fn lookup(self, map: impl Into<String>) -> Self {
        Self::Lookup { key: Box::new(self), map: ValueMap::Named(map.into()) }
    }

    /// What these pairs have for this key.
    #[must_use]
    pub fn map<K: Into<Value>, V: Into<Value>>(self, pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let pairs = pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Self::Lookup { key: Box::new(self), map: ValueMap::Inline(pairs) }
    }

    /// One of these values.
    pub fn spread<V: Into<Value>>(by: Spread, over: impl IntoIterator<Item = V>) -> Self {
        Self::Spread { by, over: over.into_iter().map(Into::into).collect() }
    }
}

impl From<Field> for Expr {
    fn from(field: Field) -> Self {
        Self::Field(field)
    }
}

impl<V: Into<Value>> From<V> for Expr {
    fn from(value: V) -> Self {
        Self::Value(value.into())
    }
}

/// How one of several values is chosen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Spread {
    /// By the hash of these fields: always the same for one flow.
    Hash {
        /// The fields.
        over: Vec<Field>,
        /// The seed.
        seed: u32,
    },
    /// One after the other.
    RoundRobin,
    /// By chance.
    Random,
}

impl Spread {
    /// By the hash of these fields.
    pub fn hash(over: impl Into<Vec<Field>>, seed: u32) -> Self {
        Self::Hash { over: over.into(), seed }
    }
}

/// The map of an [`Expr::Lookup`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ValueMap {
    /// A map of the table.
    Named(String),
    /// A map that belongs to the rule.
    Inline(BTreeMap<Value, Value>),
}
