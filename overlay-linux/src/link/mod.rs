//! Interfaces, addresses, routes, rules, neighbours and forwarding entries of one namespace.
//!
//! ```text
//!   Netlink::observe(Scope) ─▶ Observed ─┐
//!                                        ├─ diff ─▶ [Op] ─▶ Netlink::apply ─▶ Report
//!   you ─────────────────────▶ Desired ──┘
//! ```
//!
//! [`diff`] is a pure function; [`Netlink::converge`] is all three steps. Repeat it every few seconds: a second run does
//! nothing, and what somebody else broke comes back.

mod apply;
mod decode;
mod desired;
mod device;
mod encode;
mod error;
mod far;
mod name;
mod netlink;
mod observe;
mod observed;
mod op;
mod plan;
mod query;
mod same;
mod sysctl;

pub use apply::Report;
pub use desired::{Desired, Family, FdbEntry, Mark, NeighbourKey, Route, Rule};
pub use device::{Link, LinkKind, Macvlan, Peer, Vxlan};
pub use error::LinkError;
pub use name::{LinkName, LinkNameError};
pub use netlink::Netlink;
pub use observed::{Observed, ObservedKind, ObservedLink, ObservedPeer, ObservedVxlan, Scope, Stray};
pub use op::{Change, Op, Place};
pub use plan::diff;
pub use query::{Interface, RouteTo};
