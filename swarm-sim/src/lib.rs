//! Many nodes on one virtual clock: whole clusters that replay from a seed.
//!
//! ```text
//!            ┌─────────── Machine n1 ───────────┐
//!   users ──▶│ Manager: Consensus ▶ State       │◀── Raft ──┐
//!            │     │ while it leads: reconcile  │           │
//!            │     ▼ Assignment      ▲ Statuses │        ┌──┴───────────────────────────┐
//!            │ Worker: tasks as processes       │◀──────▶│ Net: latency, loss, copies,  │◀──▶ n2, n3, …
//!            │     │ Phase of each endpoint     │        │ reordering, cuts of one or   │
//!            │     ▼                            │        │ both directions              │
//!            │ Membership: members and tables   │◀──────▶└──────────────────────────────┘
//!            └──────────────┬───────────────────┘
//!                           ▼
//!     after each step: Violation?        after calm: Unsettled?        always: Trace
//! ```
//!
//! The machines of `overlay-gossip`, `overlay-raft` and `swarm-state` are the real ones, byte for byte. What `swarm-node`
//! does with sockets, disks and processes is played here on a virtual clock: streams as sequences whose gaps end a
//! session, disks that lose in a power cut what they had not confirmed, tasks as processes that take time and fail.
//! One seed decides everything.
//!
//! | module | concern |
//! |---|---|
//! | `world` | [`World`]: the clock, the power, what users ask for |
//! | `manager`, `worker` | the two halves of a node |
//! | `net` | what arrives, and when |
//! | `check` | [`Violation`]: never; [`Unsettled`]: not for long |
//! | `trouble` | [`Trouble`]: random faults |
#![forbid(unsafe_code)]

mod check;
mod config;
mod machine;
mod manager;
mod message;
mod net;
mod node;
mod trace;
mod trouble;
mod worker;
mod world;

pub use check::{Unsettled, Violation};
pub use config::{Config, Link, Mutation, Processes};
pub use machine::Machine;
pub use trace::Trace;
pub use trouble::Trouble;
pub use world::{Failure, Ticket, World};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct ReadMe;
