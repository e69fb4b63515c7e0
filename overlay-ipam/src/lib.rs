//! Subnets and addresses as a deterministic state machine: nothing is handed out twice.
//!
//! ```text
//!   replicated log ── apply(at_ms, Command) ──▶ ┌──────┐ ── Ok(Granted): Subnet, Lease
//!   request handler ─ check(at_ms, Command) ──▶ │ Ipam │ ── Err(Denied): who is in the way, what is free
//!   bytes ◀───────────── snapshot, restore ───▶ └──┬───┘
//!                              whose               │               which
//!                 leases: 56 bytes, two indices ◀──┴──▶ SubnetPool (subnets), AddrPool (addresses)
//!                                                           └──── AddrSet ────┘
//! ```
//!
//! The same commands in the same order give the same state on every replica: no clock, no chance, no hash
//! order. What is freed rests for [`Hold`], or until every live node has acknowledged that it forgot it, so that
//! nobody meets the stale entries of a predecessor. [`AddrSet`], [`AddrPool`], [`SubnetPool`] and [`IdSpace`] can be
//! used alone.
//!
//! | structure | because |
//! |---|---|
//! | bitmaps with one bit for 64 full ones, up to 2²⁴ addresses | the next free one is at most seven words away, however full |
//! | ranges above that | an IPv6 prefix costs what is used of it |
//! | rests in queues | they end in the order in which they began |
//! | taken subnets in sorted arrays of 128 | two short binary searches instead of a cache miss for each level of a tree |
//! | leases in one slab, linked and found by number | a million in 80 MB; no text of an owner is stored twice |
//!
//! ```
//! use overlay_ipam::{Command, Config, Granted, Ipam, NetworkKey, Owner, OwnerKey, Want};
//!
//! let mut ipam = Ipam::new(Config::default());
//! let network = NetworkKey::new("web");
//! ipam.apply(0, &Command::CreateNetwork { network: network.clone(), subnets: vec![] })?;
//! let want = Want { network, owner: Owner::Task(OwnerKey::new("web.1")), prefer: None };
//! let Granted::Leases(leases) = ipam.apply(1, &Command::Acquire { wants: vec![want] })? else { unreachable!() };
//! assert_eq!(leases[0].addr.to_string(), "10.0.0.2"); // .1 is the gateway
//! # Ok::<(), overlay_ipam::Denied>(())
//! ```
#![forbid(unsafe_code)]

mod bits;
mod pool;
mod set;
mod state;
mod words;

pub use pool::addr_pool::{AddrPool, Lane};
pub use pool::clock::{Moment, Rest};
pub use pool::subnet_pool::SubnetPool;
pub use set::{
    addr_set::AddrSet,
    id_space::{ClaimError, IdSpace},
};
pub use state::explain::{Explanation, State};
pub use state::{audit::AuditError, ipam::Ipam, snapshot::RestoreError};
pub use words::command::{Command, SubnetRequest, Want};
pub use words::config::{Config, Family, Hold, PoolSpec};
pub use words::granted::{Census, Granted, Lease, Resting, Subnet, Usage};
pub use words::key::{NetworkKey, OwnerKey};
pub use words::{denied::Denied, owner::Owner};
