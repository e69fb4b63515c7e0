//! Subnets and addresses as a deterministic state machine: nothing is handed out twice.
//!
//! ```text
//!   replicated log ── apply(at_ms, Command) ──▶ ┌──────┐ ── Ok(Granted): Subnet, Lease
//!   request handler ─ check(at_ms, Command) ──▶ │ Ipam │ ── Err(Denied): who is in the way, what is free
//!   snapshot ◀──────── Serialize, Deserialize ─ └──┬───┘
//!                                                  │ per pool                 per network
//!                                             SubnetPool ─────────────────▶ Space (cursor, quarantine)
//!                                                  └──────── AddrSet ──────────┘
//!                                            bitmap up to 65,536, ranges above
//! ```
//!
//! The same commands in the same order give the same state on every replica: no clock, no chance, no hash
//! order. A freed address stays in quarantine for [`Hold`], and a freed subnet too, so that nobody meets the
//! stale entries of its predecessor. [`AddrSet`], [`SubnetPool`] and [`IdSpace`] can be used alone.
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

mod acquire;
mod addr_set;
mod audit;
mod bitmap;
mod bits;
mod command;
mod config;
mod create;
mod denied;
mod id_space;
mod ipam;
mod key;
mod ranges;
mod snapshot;
mod space;
mod subnet_pool;

pub use addr_set::AddrSet;
pub use audit::AuditError;
pub use command::{Command, Granted, Lease, Subnet, SubnetRequest, Usage, Want};
pub use config::{Config, Family, Hold, PoolSpec};
pub use denied::Denied;
pub use id_space::{ClaimError, IdSpace};
pub use ipam::Ipam;
pub use key::{NetworkKey, Owner, OwnerKey};
pub use subnet_pool::SubnetPool;
