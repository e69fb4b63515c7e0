//! The desired state: tables, chains, sets and their elements, as plain data.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::rule::{Rule, Verdict};
use super::value::{Type, Value};

/// Everything that we want nf_tables to hold in one network namespace.
///
/// Tables that we own and that are not listed are deleted by a [`plan`](super::plan()).
///
/// ```
/// use overlay_linux::nft::{BaseChain, Chain, Field, Hook, Rule, Ruleset, TableKey, Verdict};
///
/// let mut ruleset = Ruleset::default();
/// let guard = ruleset.table(TableKey::ip("guard"));
/// guard.chains.insert(
///     "inp".into(),
///     Chain::base(BaseChain::filter(Hook::Input, 0))
///         .rule(Rule::new().when(Field::TcpDestination, 8080_u16).verdict(Verdict::Drop)),
/// );
/// assert_eq!(ruleset.tables.len(), 1);
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ruleset {
    /// The tables by family and name.
    pub tables: BTreeMap<TableKey, Table>,
}

impl Ruleset {
    /// The table of that key, created empty if it is not there.
    pub fn table(&mut self, key: TableKey) -> &mut Table {
        self.tables.entry(key).or_default()
    }
}

/// The packets that a table sees.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// IPv4 and IPv6.
    Inet,
    /// Every frame of a device, at its ingress or egress.
    Netdev,
    /// Frames that cross a bridge.
    Bridge,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
            Self::Netdev => "netdev",
            Self::Bridge => "bridge",
        })
    }
}

impl Family {
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ip => 2,
            Self::Netdev => 5,
            Self::Bridge => 7,
            Self::Ip6 => 10,
        }
    }

    pub(super) const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Inet,
            2 => Self::Ip,
            5 => Self::Netdev,
            7 => Self::Bridge,
            10 => Self::Ip6,
            _ => return None,
        })
    }
}

/// The name of a table; names are per family.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TableKey {
    /// The packets it sees.
    pub family: Family,
    /// Its name: 1 to 255 bytes.
    pub name: String,
}

impl TableKey {
    /// A table of that family.
    pub fn new(family: Family, name: impl Into<String>) -> Self {
        Self { family, name: name.into() }
    }

    /// A table for IPv4.
    pub fn ip(name: impl Into<String>) -> Self {
        Self::new(Family::Ip, name)
    }

    /// A table for IPv6.
    pub fn ip6(name: impl Into<String>) -> Self {
        Self::new(Family::Ip6, name)
    }

    /// A table for IPv4 and IPv6.
    pub fn inet(name: impl Into<String>) -> Self {
        Self::new(Family::Inet, name)
    }

    /// A table of device hooks.
    pub fn netdev(name: impl Into<String>) -> Self {
        Self::new(Family::Netdev, name)
    }
}

impl fmt::Display for TableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

/// The chains and sets of one table.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Table {
    /// The chains by name (1 to 255 bytes).
    pub chains: BTreeMap<String, Chain>,
    /// The named sets and maps by name (1 to 255 bytes).
    pub sets: BTreeMap<String, Set>,
}

impl Table {
    /// Adds or replaces a chain.
    pub fn chain(&mut self, name: impl Into<String>, chain: Chain) -> &mut Self {
        self.chains.insert(name.into(), chain);
        self
    }

    /// Adds or replaces a set or map.
    pub fn set(&mut self, name: impl Into<String>, set: Set) -> &mut Self {
        self.sets.insert(name.into(), set);
        self
    }
}

/// Rules in the order in which they are tried.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Chain {
    /// Where the kernel enters the chain; `None` for a chain that others jump to.
    pub base: Option<BaseChain>,
    /// The rules.
    pub rules: Vec<Rule>,
}

impl Chain {
    /// An empty chain that other chains jump to.
    pub fn regular() -> Self {
        Self::default()
    }

    /// An empty chain at a hook.
    pub fn base(base: BaseChain) -> Self {
        Self { base: Some(base), rules: Vec::new() }
    }

    /// Appends a rule.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }
}

/// Where and when the kernel enters a chain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BaseChain {
    /// What the chain is for.
    pub kind: ChainKind,
    /// The place on the packet's way.
    pub hook: Hook,
    /// Order among the chains of one hook, lowest first: raw is -300, mangle -150, dstnat -100, filter 0.
    pub priority: i32,
    /// What happens to a packet that no rule decided on.
    pub policy: Policy,
}

impl BaseChain {
    /// A filter chain whose policy is accept.
    pub const fn filter(hook: Hook, priority: i32) -> Self {
        Self { kind: ChainKind::Filter, hook, priority, policy: Policy::Accept }
    }

    /// A NAT chain whose policy is accept.
    pub const fn nat(hook: Hook, priority: i32) -> Self {
        Self { kind: ChainKind::Nat, hook, priority, policy: Policy::Accept }
    }
}

/// What a base chain is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChainKind {
    /// Any decision on packets.
    Filter,
    /// Address translation; sees only the first packet of a connection.
    Nat,
    /// Output only: routes again when a header or the mark changed.
    Route,
}

impl ChainKind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
            Self::Route => "route",
        }
    }
}

/// A place on the packet's way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Hook {
    /// After reception, before routing.
    Prerouting,
    /// To this host.
    Input,
    /// Through this host.
    Forward,
    /// From this host.
    Output,
    /// Before transmission.
    Postrouting,
    /// As early as a frame arrives on that device (families netdev and inet).
    Ingress {
        /// The device's name.
        device: String,
    },
    /// As late as a frame leaves that device (family netdev).
    Egress {
        /// The device's name.
        device: String,
    },
}

impl Hook {
    pub(super) fn number(&self, family: Family) -> u32 {
        match self {
            Self::Prerouting => 0,
            Self::Input => 1,
            Self::Forward => 2,
            Self::Output => 3,
            Self::Postrouting => 4,
            Self::Ingress { .. } if family == Family::Inet => 5,
            Self::Ingress { .. } => 0,
            Self::Egress { .. } => 1,
        }
    }

    pub(super) fn device(&self) -> Option<&str> {
        match self {
            Self::Ingress { device } | Self::Egress { device } => Some(device),
            Self::Prerouting | Self::Input | Self::Forward | Self::Output | Self::Postrouting => None,
        }
    }
}

/// What happens to a packet that no rule of a base chain decided on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Policy {
    /// It goes on.
    Accept,
    /// It is dropped.
    Drop,
}

impl Policy {
    pub(super) const fn number(self) -> u32 {
        match self {
            Self::Drop => 0,
            Self::Accept => 1,
        }
    }
}

/// A named set, map or verdict map.
///
/// The elements of a *static* set are desired: a plan adds and deletes until they are exactly these. Those of
/// a *dynamic* set are written by rules on the packet path and survive every plan that keeps its definition.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Set {
    /// The components of the key.
    pub key: Vec<Type>,
    /// What a key leads to.
    pub data: SetData,
    /// Whether rules write it ([`Stmt::Update`](super::Stmt::Update)).
    pub dynamic: bool,
    /// How long an element stays after it was added or updated.
    pub timeout: Option<Duration>,
    /// Most elements it may hold; a dynamic set without a size holds 65535.
    pub size: Option<u32>,
    /// The desired elements; ignored for a dynamic set.
    pub elements: BTreeMap<Value, Elem>,
}

impl Set {
    /// A static set of keys.
    pub fn keys(key: impl Into<Vec<Type>>) -> Self {
        Self::new(key.into(), SetData::Nothing)
    }

    /// A static map to values.
    pub fn map(key: impl Into<Vec<Type>>, value: impl Into<Vec<Type>>) -> Self {
        Self::new(key.into(), SetData::Values(value.into()))
    }

    /// A static map to verdicts.
    pub fn verdicts(key: impl Into<Vec<Type>>) -> Self {
        Self::new(key.into(), SetData::Verdicts)
    }

    /// Makes it dynamic: its elements are written by rules and end after `timeout`.
    #[must_use]
    pub const fn dynamic(mut self, timeout: Duration, size: u32) -> Self {
        self.dynamic = true;
        self.timeout = Some(timeout);
        self.size = Some(size);
        self
    }

    /// Adds a key to a set.
    #[must_use]
    pub fn member(mut self, key: impl Into<Value>) -> Self {
        self.elements.insert(key.into(), Elem::Member);
        self
    }

    /// Adds a key and its value to a map.
    #[must_use]
    pub fn entry(mut self, key: impl Into<Value>, value: impl Into<Value>) -> Self {
        self.elements.insert(key.into(), Elem::Value(value.into()));
        self
    }

    /// Adds a key and its verdict to a verdict map.
    #[must_use]
    pub fn verdict(mut self, key: impl Into<Value>, verdict: Verdict) -> Self {
        self.elements.insert(key.into(), Elem::Verdict(verdict));
        self
    }

    fn new(key: Vec<Type>, data: SetData) -> Self {
        Self { key, data, dynamic: false, timeout: None, size: None, elements: BTreeMap::new() }
    }
}

/// What the keys of a set lead to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SetData {
    /// Nothing: it is a set.
    Nothing,
    /// Values of these components: it is a map.
    Values(Vec<Type>),
    /// Verdicts: it is a verdict map.
    Verdicts,
}

/// What one key of a static set leads to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Elem {
    /// Nothing, in a set.
    Member,
    /// A value, in a map.
    Value(Value),
    /// A verdict, in a verdict map.
    Verdict(Verdict),
}
