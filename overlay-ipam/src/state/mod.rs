//! The state machine: who holds what, and how commands change it.
//!
//! ```text
//!   ipam ── create, grow, acquire, delegate, pools: plan, then commit
//!     │
//!     ├── leases   56 bytes each, found by owner through two indices of numbers
//!     └── space    per subnet: pool (free or not), slots (whose)
//!
//!   snapshot, codec: bytes ◀─▶ state      audit: proof      explain: words
//! ```

mod acquire;
pub(crate) mod audit;
mod codec;
mod create;
mod delegate;
pub(crate) mod explain;
mod grow;
mod index;
pub(crate) mod ipam;
mod leases;
mod pools;
mod slots;
pub(crate) mod snapshot;
mod space;
