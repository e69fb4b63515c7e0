//! What serf adds, between machines without sockets: questions and answers, and messages that nobody sends by mistake.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "tests"
)]

mod cluster;
mod events;
mod hostile;
mod queries;
