//! Docker's NetworkDB as the format of the tables: simulated, from captures, and with Docker's own code.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    dead_code,
    reason = "tests"
)]

mod captured;
mod hostile;
mod interop;
mod machine;
mod peer;
mod sim;
