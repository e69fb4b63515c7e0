//! nf_tables from Rust: desired tables in, one atomic transaction out. No `nft` binary.
//!
//! ```text
//!   Ruleset (desired) ───────────────┐
//!                                    ▼
//!   kernel ── observe ──▶ Observed ─ plan ─▶ Batch ── apply ──▶ kernel
//!                                    │         all of it, or nothing and the operation that failed
//!                                    └ pure: lower (types, registers, protocol checks), then the difference
//! ```
//!
//! Every table that we make carries its owner's name, every set and rule a fingerprint, so the state in the
//! kernel is all that a restarted process needs. Tables of others are never touched.
//!
//! | here | in `nft`'s language |
//! |---|---|
//! | `.when(Field::TcpDestination, 80_u16)` | `tcp dport 80` |
//! | `.when_any(Field::CtState, Field::NEW)` | `ct state new` |
//! | `.set(Target::Mark, Expr::spread(Spread::hash(..), ..))` | `meta mark set jhash … map {…}` |
//! | `Stmt::Update { set, key, value, .. }` | `update @set { key : value }` |
//! | `Stmt::DestinationNat(NatTo::sockets(..))` | `dnat ip addr . port to numgen inc mod … map {…}` |
//! | `Stmt::Forward { device }` | `fwd to device` |
//! | `.when(Field::VxlanVni, 4097_u32)` | `udp … @th,96,24 4097` |
//! | `.set(Target::UdpDestination, 4790_u16)` | `udp checksum != 0 udp dport set 4790` |

mod batch;
pub(crate) mod channel;
mod error;
mod expr;
mod field;
mod fingerprint;
mod load;
mod lower;
mod model;
mod observe;
mod operand;
mod plan;
mod program;
mod rule;
mod socket;
#[cfg(test)]
mod tests;
mod value;
pub(crate) mod wire;

pub use batch::{Batch, Op};
pub use error::NftError;
pub use field::{Field, Target};
pub use model::{
    BaseChain, Chain, ChainKind, Elem, Family, Hook, Policy, Ruleset, Set, SetData, Table, TableKey,
};
pub use observe::Observed;
pub use operand::{Expr, Spread, ValueMap};
pub use plan::{PlanError, plan};
pub use program::LowerError;
pub use rule::{Compare, KeySet, NatTo, Reject, Rule, Stmt, UpdateOp, Verdict, VerdictMap};
pub use socket::{Nft, Report};
pub use value::{Type, Value, ValueError};
