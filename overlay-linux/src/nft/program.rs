//! A rule as the kernel runs it, and why there may be none.

use std::collections::BTreeSet;

use super::expr::Instruction;
use super::fingerprint::Fingerprint;
use super::model::{Family, SetData};
use super::rule::Verdict;
use super::value::{Type, Value, ValueError};

/// Why a rule or set cannot be expressed. Nothing was sent to the kernel.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum LowerError {
    /// A constant was used as a type that it is not.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// An expression has another type than its place.
    #[error("{found:?} used where {wanted:?} is wanted")]
    Type { found: Vec<Type>, wanted: Vec<Type> },
    /// A constant stands where nothing says its type.
    #[error("nothing says what type {value} has")]
    Untyped { value: Value },
    /// The table never sees packets with this field.
    #[error("{field} does not exist in a table of family {family}")]
    Family { field: String, family: Family },
    /// No set of that name is in the table.
    #[error("no set {set} in the table")]
    NoSet { set: String },
    /// The set is not of the kind that its use needs.
    #[error("set {set} is not {wanted}")]
    SetKind { set: String, wanted: &'static str },
    /// A chain that a verdict names is not in the table.
    #[error("no chain {chain} in the table")]
    NoChain { chain: String },
    /// A choice among no values, a number modulo zero, an empty set.
    #[error("nothing to choose from")]
    Empty,
    /// The statement needs more than the 64 bytes of registers that a packet has.
    #[error("a statement needs more than 64 bytes of registers")]
    Registers,
    /// A name, comment or number is longer than the kernel takes.
    #[error("{what} is too long")]
    TooLong { what: String },
}

/// A rule as the kernel runs it.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) instructions: Vec<Instruction>,
    pub(super) anonymous: Vec<Anonymous>,
    /// The named sets that it refers to.
    pub(super) sets: BTreeSet<String>,
    pub(super) fingerprint: Fingerprint,
    pub(super) comment: Option<String>,
}

/// A set that belongs to one rule.
#[derive(Clone, Debug)]
pub(super) struct Anonymous {
    pub(super) key: Vec<Type>,
    pub(super) data: SetData,
    pub(super) elements: Vec<Element>,
}

/// One element of a set as the kernel has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Element {
    pub(super) key: Vec<u8>,
    pub(super) data: ElementData,
}

/// What an element leads to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum ElementData {
    Nothing,
    Value(Vec<u8>),
    Verdict(Verdict),
}
