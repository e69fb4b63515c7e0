//! Which frames go where, and which go nowhere.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::too_many_arguments,
    unreachable_pub,
    reason = "tests"
)]

mod forwarding;
mod groups;
mod guards;
mod learning;
mod messages;
#[cfg(feature = "seal")]
mod sealed;
mod sizes;
mod world;
