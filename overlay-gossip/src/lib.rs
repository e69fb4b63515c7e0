//! SWIM membership that speaks HashiCorp memberlist on the wire, and replicated per-network tables.
//!
//! ```text
//!   sockets ── handle_input(now, Input) ──▶ ┌─────────────────────┐
//!   clock ──── handle_timeout(now) ───────▶ │ Membership          │ ── poll_output ──▶ Transmit, Event, Action
//!   you ────── join, publish, leave ──────▶ │  probe → suspicion  │ ── poll_timeout ─▶ next deadline
//!                                           │  broadcast, tables  │ ── members, records, peers
//!                                           └─────────────────────┘
//! ```
//!
//! [`Membership`] owns no socket, clock or thread; with one seed it does the same things again. The feature `tokio`
//! adds `tokio::Agent`, which gives it real ones; the feature `serf` makes it a member that serf's tools understand.
//!
//! | module | concern |
//! |---|---|
//! | [`wire`] | bytes: MessagePack, compounds, LZW, AES-GCM, streams; Docker's NetworkDB |
//! | `membership` | who is here: SWIM with Lifeguard, evidence of refused connections, full exchanges |
//! | `table` | who says what: records of one owner each, spread in a network, in a format of our own or Docker's |
//! | `sim` | thousands of nodes on a virtual clock (feature `sim`) |
//! | `serf` | intents, tags, user events and questions about keys, as serf has them |
//! | `tokio` | sockets and time |
#![forbid(unsafe_code)]

mod config;
mod key;
mod lamport;
mod member;
mod membership;
mod name;
mod output;
#[cfg(feature = "serf")]
pub mod serf;
#[cfg(feature = "sim")]
pub mod sim;
mod stats;
mod table;
#[cfg(feature = "tokio")]
pub mod tokio;
pub mod wire;

pub use config::{Config, Profile, TableFormat};
pub use key::{Key, KeyError};
pub use member::{Member, MemberState, Vsn};
pub use membership::{InputError, Membership, Publish};
pub use name::{NameError, NetworkId, NodeName};
pub use output::{Action, DialFailure, DialId, Event, Evidence, Input, Output, StreamId, Transmit};
pub use stats::Stats;
pub use table::{Changes, Phase, PhaseError, PublishError, Record, RecordChange, Watch};
pub use wire::WireError;
pub use wire::stream::Frame;
