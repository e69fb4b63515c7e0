//! The reference binary: a daemon that the `docker` command drives, the same verbs as a client, and a demo.
//!
//! ```text
//!   swarm-bin daemon ── serves the Engine API of one node
//!   swarm-bin swarm | node | network | service | info | version ── asks a daemon, as `docker` would
//!   swarm-bin ipam ── proves that no address is used twice, explains one
//!   swarm-bin demo ── a whole swarm on this machine: namespaces, daemons, the story, the figures
//!   swarm-bin doctor ── what this machine offers
//!   swarm-bin bench dataplane ── how fast it is, against Docker's and others
//! ```
#![forbid(unsafe_code)]

mod api;
mod args;
mod bench;
mod cli;
mod clock;
mod daemon;
mod demo;
mod doctor;
mod host;
mod out;
mod signals;
mod table;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // Tasks are this program under another name; they are told apart before any thread is there.
    swarm_node::runtime::reenter();
    signals::accept_all();
    match args::Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            out::note(error);
            ExitCode::FAILURE
        }
    }
}
