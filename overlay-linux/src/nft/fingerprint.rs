//! A hash by which we recognise in the kernel what we wrote there, and the tags that carry it.
//!
//! Tags live in the user data of tables, sets and rules, in the type-length-value form that `nft` uses for its
//! own notes; our types are ones that `nft` skips.

use std::collections::BTreeSet;

use super::expr::{self, Instruction};
use super::lower::Scope;
use super::model::{Set, SetData};
use super::program::{Anonymous, ElementData, LowerError};
use super::rule::Rule;
use super::value::Type;

/// 128 bits of FNV-1a: stable across runs, builds and machines of one byte order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Fingerprint(u128);

impl Fingerprint {
    pub(super) const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(u128::from_be_bytes(bytes)))
    }
}

#[derive(Debug)]
pub(super) struct Hasher(u128);

impl Default for Hasher {
    fn default() -> Self {
        let mut hasher = Self(OFFSET_BASIS);
        hasher.field(&[FORMAT]);
        hasher
    }
}

impl Hasher {
    /// Mixes in one field; fields do not run into each other.
    pub(super) fn field(&mut self, bytes: &[u8]) -> &mut Self {
        for byte in (bytes.len() as u64).to_be_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
        self
    }

    pub(super) const fn finish(&self) -> Fingerprint {
        Fingerprint(self.0)
    }
}

/// The fingerprint of a set's definition, without its elements.
pub(super) fn definition(set: &Set) -> Fingerprint {
    let Set { key, data, dynamic, timeout, size, elements: _ } = set;
    let mut hasher = Hasher::default();
    let text = format!("{dynamic} {:?} {size:?}", timeout.map(|timeout| timeout.as_millis()));
    hash_types(&mut hasher, key, data).field(text.as_bytes()).finish()
}

/// Mixes in the types of a set.
pub(super) fn hash_types<'h>(hasher: &'h mut Hasher, key: &[Type], data: &SetData) -> &'h mut Hasher {
    let numbers = |types: &[Type]| types.iter().flat_map(|ty| ty.number().to_be_bytes()).collect::<Vec<_>>();
    hasher.field(&numbers(key));
    match data {
        SetData::Nothing => hasher.field(b"set"),
        SetData::Values(types) => hasher.field(b"map").field(&numbers(types)),
        SetData::Verdicts => hasher.field(b"vmap"),
    }
}

/// The fingerprint of a rule: its program and the definitions of the sets that it refers to.
pub(super) fn fingerprint_of_rule(
    instructions: &[Instruction],
    anonymous: &[Anonymous],
    rule: &Rule,
    sets: &BTreeSet<String>,
    scope: Scope<'_>,
) -> Result<Fingerprint, LowerError> {
    let mut hasher = Hasher::default();
    for instruction in instructions {
        let (name, attrs) = match instruction {
            Instruction::Plain { name, attrs } => (*name, attrs),
            Instruction::LookupAnonymous { attrs, .. } => ("lookup anonymous", attrs),
        };
        let attrs = attrs.finish().ok_or_else(|| LowerError::TooLong { what: "rule".to_owned() })?;
        hasher.field(name.as_bytes()).field(attrs);
    }
    for set in anonymous {
        hash_types(&mut hasher, &set.key, &set.data);
        for element in &set.elements {
            hasher.field(&element.key);
            match &element.data {
                ElementData::Nothing => hasher.field(&[]),
                ElementData::Value(value) => hasher.field(value),
                ElementData::Verdict(verdict) => {
                    let (code, chain) = expr::verdict_code(verdict);
                    hasher.field(&code.to_be_bytes()).field(chain.unwrap_or_default().as_bytes())
                }
            };
        }
    }
    hasher.field(rule.comment.as_deref().unwrap_or_default().as_bytes());
    for set in sets {
        hasher.field(set.as_bytes());
        if let Some(definition) = scope.sets.get(set) {
            hasher.field(&self::definition(definition).to_bytes());
        }
    }
    Ok(hasher.finish())
}

/// Appends one tag to user data. Values longer than 255 bytes are cut.
pub(super) fn put_tag(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    let value = value.get(..usize::from(u8::MAX)).unwrap_or(value);
    out.push(kind);
    out.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
    out.extend(value);
}

/// The value of the first tag of that type in user data.
pub(super) fn find_tag(mut data: &[u8], kind: u8) -> Option<&[u8]> {
    loop {
        let ([found, len], rest) = data.split_first_chunk::<2>()?;
        let (value, rest) = rest.split_at_checked(usize::from(*len))?;
        if *found == kind {
            return Some(value);
        }
        data = rest;
    }
}

/// What `nft` shows beside a table or rule.
pub(super) const TAG_COMMENT: u8 = 0;
/// Byte order of a set's key, for `nft list`.
pub(super) const TAG_KEY_ORDER: u8 = 0;
/// Byte order of a map's data, for `nft list`.
pub(super) const TAG_DATA_ORDER: u8 = 1;
/// Ours: who owns a table.
pub(super) const TAG_OWNER: u8 = 0xe0;
/// Ours: the fingerprint of a set's definition or of a rule.
pub(super) const TAG_FINGERPRINT: u8 = 0xe1;

/// Changes with every change of what a fingerprint covers.
const FORMAT: u8 = 1;
const OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
