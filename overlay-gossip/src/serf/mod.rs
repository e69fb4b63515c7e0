//! serf on top of the membership: intents, tags, user events and queries, so that `serf members` shows
//! this node as what it is and a cluster may be of both kinds.
//!
//! ```text
//!   user message ──▶ clock ─┬─ join, leave ──▶ status of members (left, not failed)
//!                           ├─ event ────────▶ once, coalesced ──▶ Event::UserEvent
//!                           └─ query ────────▶ passed on; if it is for us: acknowledged, answered ──▶ Event::Query
//!   your queries ─────────▶ all, or those whose tags match ──▶ Event::QueryAck, QueryAnswer, QueryEnded
//! ```
//!
//! A node speaks it when it was made by [`Membership::with_serf`](crate::Membership::with_serf) or
//! [`Agent::bind_serf`](crate::tokio::Agent::bind_serf).

mod events;
mod filter;
mod keys;
mod pattern;
mod push_pull;
mod query;
mod state;
mod tags;
mod wire;

use std::time::Duration;

use bytes::Bytes;

pub use self::events::EventError;
pub use self::query::{AnswerError, Query, QueryError, QueryId, Question};
pub use self::tags::{Tags, TagsError};

#[cfg(feature = "tokio")]
pub(crate) use self::events::check_event;
pub(crate) use self::keys::answer_keys;
pub(crate) use self::push_pull::after_state;
pub(crate) use self::state::{Asking, Me, Outcome, Serf};
pub(crate) use self::wire::{conflict_answer, relayed};

/// How to speak serf.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What the node says about itself; they take the place of [`Config::meta`](crate::Config::meta).
    pub tags: Tags,
    /// How long a user event that may be coalesced waits for a newer one of its name. Zero (as serf's library): not
    /// at all. The serf agent: 1 s.
    pub quiescent: Duration,
    /// How long it waits at most while newer ones keep coming. The serf agent: 3 s.
    pub coalesce: Duration,
}

/// Something that somebody wanted all nodes to know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserEvent {
    /// When, by serf's logical clock: an event that was sent after another had been seen has a larger one.
    pub ltime: u64,
    /// What it is called.
    pub name: String,
    /// What it says.
    pub payload: Bytes,
    /// Of several of this name in a short time, the last one is enough.
    pub coalesce: bool,
}
