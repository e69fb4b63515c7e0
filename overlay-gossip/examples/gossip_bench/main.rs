//! Gossip with real processes and sockets: Debian's `serf` beside the example `agent`, in turns, in a namespace of
//! their own.
//!
//! ```text
//!   gossip-bench ── unshare ──▶ gossip-bench --inside ──┬── agent n0   127.0.1.1:7946
//!     stdin, held open: its end ends everything         ├── agent n1   127.0.1.2:7946
//!                                                       └── ...        pipes: commands in, events out
//! ```
//!
//! `cargo run --release -p overlay-gossip --example gossip-bench -- --help` explains.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program for people that measures time"
)]

mod args;
mod board;
mod cluster;
mod cost;
mod enclosure;
mod process;
mod report;
mod rounds;
mod rpc;

use std::process::ExitCode;

use clap::Parser;
use tokio::io::AsyncReadExt;

use crate::args::Args;

fn main() -> ExitCode {
    let args = Args::parse();
    let done = if args.inside { measure(&args) } else { enclosure::run_inside() };
    done.unwrap_or_else(|error| {
        eprintln!("gossip-bench: {error}");
        ExitCode::FAILURE
    })
}

/// All rounds. Nothing outlives this process: it is the first one of its process namespace.
fn measure(args: &Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    enclosure::raise_loopback()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        tokio::select! {
            report = rounds::run(args) => report,
            () = orphaned() => Err("interrupted".into()),
        }
    });
    // Standard input is still being waited for.
    runtime.shutdown_background();
    let report = report?;
    if args.json {
        println!("{}", report.json())
    } else {
        print!("{report}")
    }
    Ok(if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits until the program that a person started is gone.
async fn orphaned() {
    let mut rest = [0; 64];
    let mut stdin = tokio::io::stdin();
    while stdin.read(&mut rest).await.is_ok_and(|len| len > 0) {}
}
