//! Rules: what is looked at in a packet and what is done with it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::field::{Field, Target};
use super::operand::{Expr, Spread};
use super::value::{Type, Value};

/// A rule: statements from left to right; the first match that fails ends it.
///
/// What a field needs is checked by itself: `TcpDestination` matches only TCP.
///
/// ```
/// use overlay_linux::nft::{Expr, Field, Rule, Spread, Target};
///
/// // iifname "eth0" tcp dport 8080 meta mark set jhash ip saddr . tcp sport mod 2 seed 0xfeed map {0: 258, 1: 259}
/// let flow = [Field::IpSource, Field::TcpSource];
/// let spray = Rule::new()
///     .when(Field::IifName, "eth0")
///     .when(Field::TcpDestination, 8080_u16)
///     .set(Target::Mark, Expr::spread(Spread::hash(flow, 0xfeed), [0x102_u32, 0x103]));
/// assert_eq!(spray.statements.len(), 3);
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rule {
    /// The statements in order.
    pub statements: Vec<Stmt>,
    /// Shown by `nft list`; at most 127 bytes.
    pub comment: Option<String>,
}

impl Rule {
    /// A rule without statements.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends any statement.
    #[must_use]
    pub fn then(mut self, statement: Stmt) -> Self {
        self.statements.push(statement);
        self
    }

    /// Goes on if the field has that value.
    #[must_use]
    pub fn when(self, left: impl Into<Expr>, value: impl Into<Value>) -> Self {
        self.then(Stmt::Match { left: left.into(), op: Compare::Eq, right: value.into() })
    }

    /// Goes on if the field has another value.
    #[must_use]
    pub fn unless(self, left: impl Into<Expr>, value: impl Into<Value>) -> Self {
        self.then(Stmt::Match { left: left.into(), op: Compare::Ne, right: value.into() })
    }

    /// Goes on if one of these bits is set: `ct state new`.
    #[must_use]
    pub fn when_any(self, field: Field, bits: u32) -> Self {
        self.unless(Expr::from(field).masked(bits), 0_u32)
    }

    /// Goes on if the field has one of these values.
    #[must_use]
    pub fn when_in<V: Into<Value>>(self, left: impl Into<Expr>, values: impl IntoIterator<Item = V>) -> Self {
        let set = KeySet::Inline(values.into_iter().map(Into::into).collect());
        self.then(Stmt::In { left: left.into(), set, negate: false })
    }

    /// Goes on if the named set has the field's value.
    #[must_use]
    pub fn when_in_set(self, left: impl Into<Expr>, set: impl Into<String>) -> Self {
        self.then(Stmt::In { left: left.into(), set: KeySet::Named(set.into()), negate: false })
    }

    /// Goes on if the field is between two values, both included.
    #[must_use]
    pub fn when_between(self, left: impl Into<Expr>, from: impl Into<Value>, to: impl Into<Value>) -> Self {
        self.then(Stmt::Between { left: left.into(), from: from.into(), to: to.into(), negate: false })
    }

    /// Writes a field of the packet, its mark or its connection's mark.
    #[must_use]
    pub fn set(self, target: Target, to: impl Into<Expr>) -> Self {
        self.then(Stmt::Set { target, to: to.into() })
    }

    /// Ends the rule with a verdict.
    #[must_use]
    pub fn verdict(self, verdict: Verdict) -> Self {
        self.then(Stmt::Verdict(verdict))
    }

    /// Calls a chain.
    #[must_use]
    pub fn jump(self, chain: impl Into<String>) -> Self {
        self.verdict(Verdict::Jump(chain.into()))
    }

    /// Goes to a chain for good.
    #[must_use]
    pub fn goto(self, chain: impl Into<String>) -> Self {
        self.verdict(Verdict::Goto(chain.into()))
    }

    /// Says what `nft list` shows beside the rule.
    #[must_use]
    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(comment.into());
        self
    }
}

/// One statement of a rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stmt {
    /// Goes on if the comparison holds.
    Match {
        /// What is looked at.
        left: Expr,
        /// How.
        op: Compare,
        /// The constant.
        right: Value,
    },
    /// Goes on if the value is in a range, both ends included.
    Between {
        /// What is looked at: one component.
        left: Expr,
        /// The lowest.
        from: Value,
        /// The highest.
        to: Value,
        /// Goes on if it is *not* in the range.
        negate: bool,
    },
    /// Goes on if the set has the key.
    In {
        /// The key.
        left: Expr,
        /// The set.
        set: KeySet,
        /// Goes on if the set does *not* have it.
        negate: bool,
    },
    /// Writes; ends the rule if the value cannot be had (a map without the key).
    Set {
        /// What is written.
        target: Target,
        /// The value.
        to: Expr,
    },
    /// Writes an element of a dynamic set or map from the packet path.
    Update {
        /// The name of the set.
        set: String,
        /// What if the element is there already.
        op: UpdateOp,
        /// The key.
        key: Expr,
        /// The value, for a map.
        value: Option<Expr>,
        /// Life of this element; `None` for the set's own.
        timeout: Option<Duration>,
    },
    /// Ends the rule.
    Verdict(Verdict),
    /// Ends the rule with the verdict that a map has for the key, goes on without one.
    VerdictMap {
        /// The key.
        key: Expr,
        /// The map.
        map: VerdictMap,
    },
    /// Rewrites the destination of the connection.
    DestinationNat(NatTo),
    /// Rewrites the source of the connection.
    SourceNat(NatTo),
    /// Rewrites the source of the connection to the address of the outgoing device.
    Masquerade,
    /// Rewrites the destination to this host.
    Redirect {
        /// To that port; `None` keeps it.
        port: Option<u16>,
    },
    /// The packet gets no connection tracking.
    NoTrack,
    /// Drops with an answer.
    Reject(Reject),
    /// Counts packets and bytes.
    Counter,
    /// Sends the frame out of a device (family netdev).
    Forward {
        /// The device's index: a value, or a map's.
        device: Expr,
    },
    /// Goes on as long as the rate is not exceeded.
    Limit {
        /// Packets per `per`.
        rate: u64,
        /// The unit of time, in whole seconds.
        per: Duration,
        /// Packets beyond the rate that are let through at once.
        burst: u32,
        /// Goes on only *above* the rate.
        over: bool,
    },
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Compare {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
}

/// The set of a [`Stmt::In`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeySet {
    /// A set of the table.
    Named(String),
    /// A set that belongs to the rule.
    Inline(BTreeSet<Value>),
}

/// The map of a [`Stmt::VerdictMap`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum VerdictMap {
    /// A verdict map of the table.
    Named(String),
    /// A map that belongs to the rule.
    Inline(BTreeMap<Value, Verdict>),
}

/// What becomes of the packet.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Verdict {
    /// It leaves this base chain and goes on.
    Accept,
    /// It is gone.
    Drop,
    /// The calling chain continues.
    Return,
    /// The next rule is tried.
    Continue,
    /// The chain is called.
    Jump(String),
    /// The chain takes over.
    Goto(String),
}

/// What a dynamic set does with an element that it has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UpdateOp {
    /// Leaves it as it is.
    Add,
    /// Restarts its timeout; the value stays.
    Update,
    /// Removes it.
    Delete,
}

/// Where an address translation leads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NatTo {
    /// The new address, or the concatenation of address and port.
    pub to: Expr,
    /// The components of `to`.
    pub types: Vec<Type>,
}

impl NatTo {
    /// To an address; the port stays.
    pub fn address(addr: impl Into<IpAddr>) -> Self {
        let addr = addr.into();
        Self { to: addr.into(), types: vec![address_type(addr)] }
    }

    /// To an address and port.
    pub fn socket(socket: SocketAddr) -> Self {
        Self { to: socket.into(), types: vec![address_type(socket.ip()), Type::Port] }
    }

    /// To one of several addresses of one family; the port stays.
    pub fn addresses(by: Spread, over: &[IpAddr]) -> Self {
        let ty = over.first().map_or(Type::Ipv4, |addr| address_type(*addr));
        Self { to: Expr::spread(by, over.iter().copied()), types: vec![ty] }
    }

    /// To one of several addresses and ports of one family.
    pub fn sockets(by: Spread, over: &[SocketAddr]) -> Self {
        let ty = over.first().map_or(Type::Ipv4, |socket| address_type(socket.ip()));
        Self { to: Expr::spread(by, over.iter().copied()), types: vec![ty, Type::Port] }
    }
}

const fn address_type(addr: IpAddr) -> Type {
    match addr {
        IpAddr::V4(_) => Type::Ipv4,
        IpAddr::V6(_) => Type::Ipv6,
    }
}

/// The answer to a packet that is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reject {
    /// A TCP reset.
    TcpReset,
    /// ICMP port unreachable, of the packet's IP version.
    PortUnreachable,
    /// ICMP administratively prohibited, of the packet's IP version.
    Prohibited,
}
