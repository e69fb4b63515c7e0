//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Parser, ValueEnum};
use overlay_gossip::Profile;
use overlay_gossip::sim::Stall;
use overlay_gossip::sim::script::{Plan, Script};

/// Simulates clusters that speak memberlist's gossip: the real state machines and the real bytes, on a virtual clock.
/// One seed is one history, bit for bit.
#[derive(Parser, Debug)]
#[command(name = "gossip-sim", after_long_help = HELP)]
pub(crate) struct Args {
    /// How many nodes, with those that join during the script
    #[arg(long, default_value_t = 100, value_parser = RangedU64ValueParser::<usize>::new().range(2..=1_000_000))]
    pub(crate) nodes: usize,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// How many seeds to run, one after the other; the figures are median, least and most of them
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: u64,
    /// What happens: join-storm, newcomer, crash, blackhole, slow-nodes, burst, partition, churn or idle
    #[arg(long, default_value = "join-storm")]
    pub(crate) script: Script,
    /// Timers: those of memberlist on a LAN, a WAN or one host, or ours for a fast LAN
    #[arg(long, value_enum, default_value = "lan")]
    pub(crate) profile: Timers,
    /// Leave out an improvement over memberlist, to see what it is worth; may be repeated
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) without: Vec<Improvement>,
    /// Share of datagrams that are lost, 0 to 0.99
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub(crate) loss: f64,
    /// slow-nodes: how many of the nodes stand still again and again
    #[arg(long, default_value_t = 8)]
    pub(crate) slow: usize,
    /// slow-nodes: for how many milliseconds each time (1024 in between)
    #[arg(long, default_value_t = 8192)]
    pub(crate) stall_ms: u64,
    /// slow-nodes: whether the whole process stands still, or only its traffic
    #[arg(long, value_enum, default_value = "traffic")]
    pub(crate) stall: Still,
    /// slow-nodes: each at times of its own, not all at the same time
    #[arg(long)]
    pub(crate) out_of_step: bool,
    /// churn: how many nodes join [default: a tenth of the nodes]
    #[arg(long)]
    pub(crate) joins: Option<usize>,
    /// churn: how many nodes die, by turns killed and powered off [default: a fiftieth of the nodes]
    #[arg(long)]
    pub(crate) deaths: Option<usize>,
    /// burst: how many records are created at once
    #[arg(long, default_value_t = 1000)]
    pub(crate) records: usize,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Draw the time to agreement and its cost for 10 to --nodes nodes into an SVG file, instead of running a script
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) picture: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Timers {
    Lan,
    Wan,
    Local,
    Fast,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Still {
    Process,
    Traffic,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Improvement {
    /// A suspect that several members asked in vain has less time to object
    Witnesses,
    /// Members that hear of a suspicion try the suspect themselves
    Verifiers,
    /// Refused connections are evidence of death
    Refused,
    /// TCP connections to three neighbours
    Watch,
    /// Who hears nobody accuses nobody
    SelfDoubt,
    /// Views of the cluster are compared with each ping, and repaired
    Repair,
    /// A node that joins compares its view with two more
    JoinMore,
    /// The dead are called again from time to time
    Reconnect,
    /// All of these: what is left is memberlist
    All,
}

impl Args {
    pub(crate) fn plan(&self) -> Plan {
        let profile = match self.profile {
            Timers::Lan => Profile::Lan,
            Timers::Wan => Profile::Wan,
            Timers::Local => Profile::Local,
            Timers::Fast => Profile::Fast,
        };
        let mut plan = Plan::new(self.script, self.nodes, profile);
        plan.loss = self.loss;
        plan.slow = self.slow.min(self.nodes);
        plan.stall_time = Duration::from_millis(self.stall_ms);
        plan.stall = match self.stall {
            Still::Process => Stall::Process,
            Still::Traffic => Stall::Traffic,
        };
        plan.in_step = !self.out_of_step;
        let (joins, deaths) = plan.churn;
        plan.churn = (self.joins.unwrap_or(joins), self.deaths.unwrap_or(deaths));
        plan.records = self.records;
        for improvement in &self.without {
            let c = &mut plan.config;
            match improvement {
                Improvement::Witnesses => c.witnessed_timeout = Duration::ZERO,
                Improvement::Verifiers => c.verifiers = 0,
                Improvement::Refused => c.refused_timeout = Duration::ZERO,
                Improvement::Watch => c.watch = 0,
                Improvement::SelfDoubt => c.self_doubt = false,
                Improvement::Repair => c.repair = false,
                Improvement::JoinMore => c.join_more = 0,
                Improvement::Reconnect => c.reconnect_interval = Duration::ZERO,
                Improvement::All => *c = c.clone().without_improvements(),
            }
        }
        plan
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=0.99).contains(&share) => Ok(share),
        _ => Err("not a share from 0 to 0.99".to_owned()),
    }
}

const HELP: &str = "\
Scripts:
  join-storm   all nodes are told to join the first one, at once; until all know all
  newcomer     one node joins a settled cluster; until all know it
  crash        one process is killed, its host refuses connections; until all know
  blackhole    one host falls silent; until all know
  slow-nodes   some nodes stand still most of the time for 120 s; who is declared dead
  burst        one node creates many records at once; until all have all
  partition    the cluster is cut in halves for 60 s; until all agree again
  churn        joins and deaths for 40 of 60 s; how soon all agree after the last
  idle         nothing happens; what that costs

Try:
  gossip-sim --script join-storm --nodes 100 --seeds 1000
  gossip-sim --script blackhole --nodes 100 --seeds 50
  gossip-sim --script blackhole --nodes 100 --seeds 50 --without all      as memberlist
  gossip-sim --script slow-nodes --nodes 128 --slow 32 --stall-ms 16384
  gossip-sim --script churn --nodes 1000                                  wall time is a figure, too
  gossip-sim --picture convergence.svg --nodes 5000";
