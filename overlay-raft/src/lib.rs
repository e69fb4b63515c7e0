//! A replicated, durable log: the same commands, in the same order, on every member.
//!
//! ```text
//!                              ┌───────────┐ ── Transmit ──▶ other members
//!  peers ─── Input::Message ─▶ │           │ ── Persist ───▶ LogStore ── Input::Persisted ─┐
//!  you ───── Input::Proposal ▶ │ Consensus │ ── Apply ─────▶ StateMachine                  │
//!  clock ─── handle_timeout ─▶ │           │ ── Event ─────▶ you                           │
//!                              └───────────┘ ◀───────────────────────────────────────────┘
//! ```
//!
//! [`Consensus`] is one member's part as a machine without I/O: one seed replays a whole cluster.
//! Nothing is acknowledged before a majority has it on disk. The feature `tokio` adds the driver
//! `overlay_raft::tokio` with `propose().await`.
//!
//! The engine inside is `raft`, TiKV's port of etcd's; none of its types are part of this API.
#![forbid(unsafe_code)]

mod codec;
mod config;
mod consensus;
mod convert;
mod election;
mod error;
mod id;
mod log;
mod machine;
mod output;
mod reads;
mod ready;
mod redb_log;
mod store;
mod tail;
#[cfg(feature = "tokio")]
pub mod tokio;
mod wire;

pub use config::Config;
pub use consensus::Consensus;
pub use error::{DecodeError, InputError, Refusal, ResumeError};
pub use id::{MemberId, MemberIdError};
pub use log::{
    Entry, HardState, MAX_COMMAND, MAX_CONTEXT, MAX_SNAPSHOT, MemberChange, Membership, Payload, Saved,
    Snapshot,
};
pub use machine::{RestoreError, StateMachine};
pub use output::{
    Action, Event, Input, Output, Persist, PersistId, ProposalId, Role, Stats, Status, Transmit,
};
pub use redb_log::RedbLog;
pub use store::{LogStore, MemoryLog, StoreError};
