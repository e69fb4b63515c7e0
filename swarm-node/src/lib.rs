//! An embeddable swarm node: manager, worker and data plane composed.
//!
//! ```text
//!            Node ── init, join, leave, propose, read, logs
//!             │
//!   ┌─────────┴──────────┐  2377, mutual TLS   ┌──────────────────────────────┐
//!   │ manager            │◀──── session ──────▶│ worker                       │
//!   │  raft + state      │                     │  assignment → tasks (runtime)│
//!   │  leader: reconcile │◀──── raft ─────▶ …  │  gossip tables (7946)        │
//!   │  sessions, control │                     │  data plane, DNS, proxy      │
//!   └────────────────────┘                     └──────────────────────────────┘
//! ```
//!
//! The only place where the protocols meet. What a worker programs into the kernel is a function of two snapshots: its
//! assignment (from the managers) and the endpoint tables (from the gossip).
#![forbid(unsafe_code)]

mod clock;
mod config;
mod credentials;
mod dataplane;
mod describe;
mod dns;
mod manager;
mod node;
mod proxy;
pub mod rpc;
pub mod runtime;
pub mod security;
mod worker;

pub use config::{InitRequest, JoinRequest, NodeConfig};
pub use node::{LocalState, LocalStatus, LogOptions, ManagerHealth, Node, Peer, StartError, TaskLine};

/// What an operator should read; the daemon's standard error is its log.
pub(crate) fn notice(text: &str) {
    eprintln!("swarm-node: {text}");
}
