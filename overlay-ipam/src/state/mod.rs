//! The state machine: who holds what, and how commands change it.
//!
//! ```text
//!   ipam ── create, grow, acquire, delegate, pools: plan, then commit; free; acks: who has forgotten what
//!     │
//!     ├── leases   56 bytes each, found by owner through two indices of numbers
//!     └── network, space    per subnet: pool (free or not), slots (whose)
//!
//!   snapshot, codec: bytes ◀─▶ state      audit: proof      query, explain: words
//! ```

mod acks;
mod acquire;
pub(crate) mod audit;
mod codec;
mod create;
mod delegate;
pub(crate) mod explain;
mod free;
mod grow;
mod index;
pub(crate) mod ipam;
mod leases;
mod network;
mod pools;
mod query;
mod slots;
pub(crate) mod snapshot;
mod space;
mod texts;
