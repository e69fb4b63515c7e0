//! The command line.

use clap::{Parser, ValueEnum};

/// Clusters of real processes: how soon they know each other, what they cost when nothing happens, how soon they
/// notice a death. Takes the kinds of agent in turns (A B C, C B A, ...) on the same machine.
#[derive(Debug, Parser)]
#[command(name = "gossip-bench", after_help = HELP)]
pub(crate) struct Args {
    /// Agents in a cluster
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(2..=300))]
    pub(crate) nodes: u16,
    /// How often each kind takes its turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) rounds: u16,
    /// How many agents are killed each time, one after the other
    #[arg(long, default_value_t = 3)]
    pub(crate) kills: u16,
    /// Kinds of agent, each a cluster of its own
    #[arg(long, value_enum, value_delimiter = ',', default_value = "serf,fast,compat")]
    pub(crate) peers: Vec<Peer>,
    /// Seconds between the joins and the measurement of what an idle cluster costs
    #[arg(long, default_value_t = 20)]
    pub(crate) settle: u16,
    /// Seconds for that measurement; 0: none
    #[arg(long, default_value_t = 60)]
    pub(crate) idle: u16,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    #[arg(long, hide = true)]
    pub(crate) inside: bool,
}

/// Who a cluster is made of.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
pub(crate) enum Peer {
    /// `serf agent`
    Serf,
    /// `agent --serf`: memberlist's timers for a LAN and all improvements
    Fast,
    /// `agent --serf --compat`: the same timers, and nothing that memberlist does not do
    Compat,
    /// `agent --serf --profile fast`: quicker timers and all improvements
    Quick,
    /// `serf agent` and `agent --serf` by turns in one cluster
    Mixed,
}

/// What one agent is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Serf,
    Ours(&'static [&'static str]),
}

impl Args {
    pub(crate) fn nodes(&self) -> usize {
        usize::from(self.nodes)
    }
}

impl Peer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Serf => "serf",
            Self::Fast => "fast",
            Self::Compat => "compat",
            Self::Quick => "quick",
            Self::Mixed => "mixed",
        }
    }

    /// What the agent of this number is.
    pub(crate) fn kind(self, number: usize) -> Kind {
        match self {
            Self::Serf => Kind::Serf,
            Self::Fast => Kind::Ours(&[]),
            Self::Compat => Kind::Ours(&["--compat"]),
            Self::Quick => Kind::Ours(&["--profile", "fast"]),
            Self::Mixed if number.is_multiple_of(2) => Kind::Serf,
            Self::Mixed => Kind::Ours(&[]),
        }
    }

    pub(crate) fn needs_serf(self) -> bool {
        matches!(self, Self::Serf | Self::Mixed)
    }
}

const HELP: &str = "\
A turn:
  storm    all are started alone; when all answer, all are told at once to join the first; until each knows each
           (300 s at most)
  idle     after --settle seconds: processor time, memory, bytes on the wire for --idle seconds
  kill     --kills times, 3 to 5 s apart (0 to 2 s with --settle 0): kill -9 of any of them; until all others call it failed (60 s at most)
  event    one sends a user event; until all have it (160 s at most)
  leave    one leaves gracefully; until all others know

It needs `unshare` (util-linux), `ip` (iproute2), namespaces (root, or user namespaces allowed), the example `agent`
beside it, and for some kinds `serf`. What is absent is named and left out. Nothing outside is changed.

Try:
  cargo build --release -p overlay-gossip --examples
  gossip-bench                                             five rounds: half an hour
  gossip-bench --rounds 10 --idle 0 --settle 5 --kills 1 --peers fast
  gossip-bench --nodes 40 --rounds 2 --peers serf,mixed,fast --idle 20";
