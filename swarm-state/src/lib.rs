//! What a swarm is: nodes, networks, services and tasks, and the pure functions that move them.
//!
//! ```text
//!   user, nodes ── Command ──▶ the log ──▶ State::apply(index, command) ──▶ Reply | Rejection
//!                                 ▲                 │
//!                                 │                 ├──▶ assignment(state, node): what one worker does
//!                      Plan ──────┘                 ├──▶ queries: lookups, counts
//!                        ▲                          │
//!                        └── reconcile::plan(state, now, ids) ◀──┘
//! ```
//!
//! Every manager folds the same log and gets the same [`State`]: `apply` reads no clock and draws no random number.
//! The leader runs [`reconcile::plan`] on it and proposes what comes out, until nothing comes out any more.
//! Addresses, VNIs and ports are granted inside `apply`, so a refusal reaches whoever asked. What is freed rests for 30 s
//! (virtual addresses, subnets and VNIs for 60 s), or until all nodes that are ready have said that they forgot it.
//!
//! | module | |
//! |---|---|
//! | [`spec`] | what users ask for: the JSON shapes of the Docker Engine API |
//! | [`object`] | what there is |
//! | [`Command`], [`Action`], [`TaskOp`] | what can be done |
//! | [`State`] | the fold |
//! | [`reconcile`] | what should be done next |
//! | [`Assignment`] | what one node should do |
#![forbid(unsafe_code)]

mod apply;
mod assignment;
mod audit;
mod command;
mod id;
pub mod object;
mod query;
pub mod reconcile;
mod reply;
mod resting;
pub mod spec;
mod state;
mod time;
mod usage;

pub use assignment::{AssignedNetwork, AssignedService, AssignedTask, Assignment, Peer, assignment};
pub use command::{
    Action, AttachContainer, Command, CreateTask, NewNode, NodeStatusUpdate, TaskOp, TaskStatusUpdate,
};
pub use id::{ClusterId, ConfigId, Id, IdError, NetworkId, NodeId, SecretId, ServiceId, TaskId};
pub use query::{NetworkUser, ServiceCounts};
pub use reply::{Change, ChangeEvent, ObjectKind, Rejection, RejectionKind, Reply, Value};
pub use resting::{LeftNetwork, RestingAddress};
pub use state::State;
pub use time::{Timestamp, TimestampError};
pub use usage::SubnetUsage;
