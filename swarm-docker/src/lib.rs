//! The Docker Engine API of a swarm node: what the `docker` command talks to.
//!
//! ```text
//!   docker ── unix socket ──▶ server ──▶ version ──▶ routes
//!                            (serve)   (/v1.NN, headers) │
//!        ┌────────┬──────────┬──────────┬────────┬───────┴┬─────────┬──────────┐
//!     system    swarm      nodes    networks  services  tasks    secrets   elsewhere
//!     events                                    logs             configs   (containers, images: not here)
//!        └────────┴──────────┴──────────┴────────┴────────┴─────────┘
//!                    │ read, propose                   │ State → JSON
//!              swarm_node::Node                      view
//! ```
//!
//! Handlers translate: a request becomes an action that the node proposes, or a question to its state, whose answer
//! [`view`] renders. What this daemon does not do (containers, images, volumes) is refused with the reason.
#![forbid(unsafe_code)]

mod app;
mod clock;
mod configs;
mod elsewhere;
mod error;
mod events;
mod extract;
mod filters;
mod ipam;
mod logs;
mod networks;
mod nodes;
mod routes;
mod secrets;
mod server;
mod services;
mod swarm;
mod system;
mod tasks;
mod version;
pub mod view;

pub use server::{router, serve};
pub use version::{MAX_API_VERSION, MIN_API_VERSION};
