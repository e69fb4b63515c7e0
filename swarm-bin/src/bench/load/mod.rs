//! Traffic: the two ends of each test, as processes of their own inside of the containers.
//!
//! ```text
//!   client                 server             what is counted
//!   pour ── TCP bytes ───▶ sink               bytes per second, at the sink
//!   flood ─ UDP 64 B ────▶ count              datagrams per second that arrive
//!   ping ── 1 byte ──────▶ echo ── 1 byte ──▶ time of each round trip
//! ```
//!
//! A server prints `ready` when it listens; whoever measured prints one line of JSON.

mod bulk;
mod datagrams;
mod turns;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::{Args, Subcommand};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::error::BenchError;
use crate::out;

/// One end of a test (internal)
#[derive(Clone, Debug, Args)]
pub(crate) struct LoadArgs {
    #[command(subcommand)]
    role: Role,
}

#[derive(Clone, Debug, Subcommand)]
enum Role {
    /// Takes the bytes of some connections
    Sink {
        at: SocketAddr,
        #[arg(long, default_value_t = 1)]
        streams: u16,
    },
    /// Sends as many bytes as fit
    Pour {
        to: SocketAddr,
        #[arg(long)]
        seconds: f64,
        #[arg(long, default_value_t = 1)]
        streams: u16,
    },
    /// Counts datagrams
    Count {
        at: SocketAddr,
        #[arg(long)]
        seconds: f64,
    },
    /// Sends datagrams as fast as they leave
    Flood {
        to: SocketAddr,
        #[arg(long)]
        seconds: f64,
    },
    /// Sends back what it reads
    Echo {
        at: SocketAddr,
        /// Stays on this processor
        #[arg(long)]
        processor: Option<usize>,
    },
    /// Sends one byte and waits for one
    Ping {
        to: SocketAddr,
        #[arg(long)]
        seconds: f64,
        /// Stays on this processor
        #[arg(long)]
        processor: Option<usize>,
    },
}

/// What arrived, and in which time.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Arrived {
    /// Bytes of a stream, or datagrams.
    pub(super) count: u64,
    /// From the first to the last.
    pub(super) seconds: f64,
}

/// Round trips.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Trips {
    /// How many.
    pub(super) count: usize,
    /// Half of them took less, in microseconds.
    pub(super) p50_us: f64,
    /// One in a hundred took more, in microseconds.
    pub(super) p99_us: f64,
}

impl Arrived {
    /// How much in a second.
    pub(super) fn rate(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "15 digits are enough")]
        let count = self.count as f64;
        if self.seconds > 0.0 { count / self.seconds } else { 0.0 }
    }
}

impl LoadArgs {
    /// Plays its part to the end.
    ///
    /// # Errors
    ///
    /// The network failed.
    pub(crate) fn run(self) -> Result<(), BenchError> {
        let done = match self.role {
            Role::Sink { at, streams } => bulk::sink(at, streams).map(|told| say(&told)),
            Role::Pour { to, seconds, streams } => bulk::pour(to, span(seconds), streams),
            Role::Count { at, seconds } => datagrams::count(at, span(seconds)).map(|told| say(&told)),
            Role::Flood { to, seconds } => datagrams::flood(to, span(seconds)),
            Role::Echo { at, processor } => stay(processor).and_then(|()| turns::echo(at)),
            Role::Ping { to, seconds, processor } => {
                stay(processor).and_then(|()| turns::ping(to, span(seconds))).map(|told| say(&told))
            }
        };
        done.map_err(BenchError::system("carry the load"))
    }
}

/// The port that a test uses.
pub(super) fn address(ip: Ipv4Addr) -> SocketAddr {
    (ip, PORT).into()
}

/// Keeps this process on one processor.
fn stay(processor: Option<usize>) -> io::Result<()> {
    let Some(processor) = processor else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(processor)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

fn ready() {
    out::line(READY);
}

fn say(told: &impl Serialize) {
    out::line(serde_json::to_string(told).unwrap_or_default());
}

/// Not for ever, whatever is asked for.
fn span(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default().min(Duration::from_secs(3600))
}

/// What a server prints when it listens.
pub(super) const READY: &str = "ready";

const PORT: u16 = 5201;

/// How long a network may take to carry the first packet: tunnels shake hands before.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
