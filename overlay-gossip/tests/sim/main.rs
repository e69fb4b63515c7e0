//! Clusters on a virtual clock.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    dead_code,
    reason = "tests"
)]

mod deaths;
mod lives;
mod records;
#[path = "../world/mod.rs"]
mod world;
