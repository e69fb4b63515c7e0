//! What is measured, as the command line says it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use super::error::BenchError;
use super::host::Tuning;
use super::launch;
use super::layout::Layout;
use super::measure::Test;
use super::program::IPERF3;
use crate::out;
use crate::table::Table;

/// Measures this program against Docker's data plane and others
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum BenchCommand {
    Dataplane(DataplaneArgs),
}

/// How fast packets get from a container on one host to one on another, as root
///
/// For each layout two hosts with an underlay of MTU 1500 between them and a container on each are built from network
/// namespaces, all at once. Then every layout takes its turn in each round, so that a machine that slows down slows
/// all of them. A ratio is taken within a round, and the median of the rounds is shown. Nothing on the machine is
/// changed, and nothing is left behind.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Rows:
  tcp_bulk     TCP, one stream, Gbit/s            tcp_bulk4    the same with four streams (--all)
  pps64        UDP, 64 bytes, as fast as the      tcp_rr_p50   one byte there and back over TCP, half of the trips
               sender can: thousands that arrive               take less; tcp_rr_p99: one in a hundred takes more
  /vs_docker   divided by Docker's of the same round (the one with the same underlay)
  _no_tnl      the underlay's cards cut large segments, but none inside of a tunnel, as most cards in use
Client, server and both hosts share this machine's cores: a throughput tells how much work a byte takes.

Examples:
  swarm-bin bench dataplane                                      everything, about five minutes
  swarm-bin bench dataplane --list                               what would be measured, and what is absent
  swarm-bin bench dataplane --only docker,kernel_plane --rounds 9
  swarm-bin bench dataplane --only docker,user_plane --tests tcp_rr --seconds 0.3 --rounds 1
  swarm-bin bench dataplane --json > dataplane.json")]
pub(crate) struct DataplaneArgs {
    #[command(flatten)]
    plan: Plan,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
    /// Shows the layouts, and the programs of others that are missing; measures nothing, needs no root
    #[arg(long)]
    list: bool,
}

/// What to measure, and how long.
#[derive(Clone, Debug, Args)]
pub(super) struct Plan {
    /// How often each layout takes its turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) rounds: u32,
    /// How long each test takes
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    pub(super) seconds: f64,
    /// These layouts only
    #[arg(long, value_delimiter = ',', value_name = "LAYOUT,…")]
    pub(super) only: Vec<String>,
    /// These tests only: tcp_bulk, tcp_bulk4, pps64, tcp_rr
    #[arg(long, value_delimiter = ',', value_name = "TEST,…", hide_possible_values = true)]
    pub(super) tests: Vec<Test>,
    /// Also the layouts and tests that are extras
    #[arg(long)]
    pub(super) all: bool,
    /// Who sends the TCP streams; auto: iperf3 if it is installed and `--seconds` is whole
    #[arg(long, value_enum, default_value_t)]
    pub(super) load: Load,
    /// Prints the counters of the user planes at the end, on standard error
    #[arg(long)]
    pub(super) stats: bool,
    #[command(flatten)]
    pub(super) tuning: Tuning,
}

/// Who sends the TCP streams.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum Load {
    #[default]
    Auto,
    Own,
    Iperf3,
}

impl BenchCommand {
    /// Measures.
    ///
    /// # Errors
    ///
    /// It could not even be started.
    pub(crate) fn run(self) -> Result<ExitCode, BenchError> {
        let Self::Dataplane(args) = self;
        let layouts = args.plan.layouts()?;
        if args.list {
            out::line(listed(&layouts));
            return Ok(ExitCode::SUCCESS);
        }
        launch::launch(&args.plan, args.json)
    }
}

impl Plan {
    /// The layouts that are asked for, in their usual order.
    ///
    /// # Errors
    ///
    /// There is none of that name.
    pub(super) fn layouts(&self) -> Result<Vec<&'static Layout>, BenchError> {
        let named: BTreeSet<&str> = self.only.iter().map(String::as_str).collect();
        let known = |name: &str| Layout::ALL.iter().any(|layout| layout.name == name);
        if let Some(name) = named.iter().find(|name| !known(name)) {
            return Err(BenchError::NoLayout { name: (*name).to_owned() });
        }
        let wanted = |layout: &&Layout| {
            if named.is_empty() { self.all || !layout.extra } else { named.contains(layout.name) }
        };
        Ok(Layout::ALL.iter().filter(wanted).collect())
    }

    /// The tests that are asked for.
    pub(super) fn tests(&self) -> Vec<Test> {
        let wanted = |test: &Test| {
            if self.tests.is_empty() { self.all || !test.is_extra() } else { self.tests.contains(test) }
        };
        Test::value_variants().iter().copied().filter(wanted).collect()
    }

    /// Whether iperf3 sends the streams.
    ///
    /// # Errors
    ///
    /// It is asked for, and absent.
    pub(super) fn iperf3(&self) -> Result<bool, BenchError> {
        let whole = self.seconds.fract() == 0.0;
        match self.load {
            Load::Own => Ok(false),
            Load::Auto => Ok(whole && IPERF3.find().is_ok()),
            Load::Iperf3 if whole => IPERF3.find().map(|_| true),
            Load::Iperf3 => Err(BenchError::program("iperf3", "counts whole seconds only (--seconds)")),
        }
    }

    /// What is about to happen.
    ///
    /// # Errors
    ///
    /// No such layout.
    pub(super) fn announced(&self) -> Result<String, BenchError> {
        let (layouts, tests, rounds) = (self.layouts()?.len(), self.tests().len(), self.rounds);
        let turns = u32::try_from(layouts * tests).unwrap_or(u32::MAX).saturating_mul(rounds);
        // Processes start and end, and layouts are built.
        let seconds = f64::from(turns) * (self.seconds + 0.15) + 10.0;
        let span =
            if seconds < 100.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) };
        let debug = if cfg!(debug_assertions) { "; a debug build, its figures mean little" } else { "" };
        Ok(format!(
            "{layouts} layouts, {tests} tests of {} s, {rounds} rounds: about {span}{debug}",
            self.seconds
        ))
    }

    /// The same on a command line.
    pub(super) fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> =
            vec!["--rounds".into(), self.rounds.to_string().into(), "--seconds".into()];
        words.push(self.seconds.to_string().into());
        for layout in &self.only {
            words.extend(["--only".into(), layout.into()]);
        }
        let named = |value: Option<clap::builder::PossibleValue>| value.map(|value| value.get_name().into());
        for test in &self.tests {
            words.push("--tests".into());
            words.extend(named(test.to_possible_value()));
        }
        words.extend(self.all.then(|| "--all".into()));
        words.extend(self.stats.then(|| "--stats".into()));
        words.push("--load".into());
        words.extend(named(self.load.to_possible_value()));
        words.extend(self.tuning.words().into_iter().map(OsString::from));
        words
    }
}

fn listed(layouts: &[&Layout]) -> String {
    let mut table = Table::new(["LAYOUT", "WHAT", ""]);
    for layout in layouts {
        let absent = layout.missing().map(|remedy| format!("absent: {remedy}"));
        table.row([layout.name.into(), layout.what.into(), absent.unwrap_or_default()]);
    }
    table.render()
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.05..=600.0).contains(&seconds) { Ok(seconds) } else { Err("0.05 to 600".to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        plan: Plan,
    }

    fn plan(line: &str) -> Plan {
        Line::parse_from(std::iter::once("x").chain(line.split_ascii_whitespace())).plan
    }

    #[test]
    fn a_plan_survives_the_command_line() {
        let plan = plan(
            "--rounds 3 --seconds 0.25 --only raw,docker --tests tcp_rr,pps64 --all --load own --stats --busy-poll 50 --nice -5",
        );
        let words = std::iter::once("x".into()).chain(plan.words());
        let again = Line::parse_from(words).plan;
        assert_eq!(format!("{plan:?}"), format!("{again:?}"));
        assert_eq!(again.tests(), [Test::Pps64, Test::TcpRr]);
    }

    #[test]
    fn what_the_kernel_would_not_take_or_would_cut_is_refused() {
        for line in
            ["--nice 20", "--nice -21", "--real-time 0", "--real-time 100", "--rounds 0", "--seconds 0"]
        {
            let words = std::iter::once("x").chain(line.split_ascii_whitespace());
            assert!(Line::try_parse_from(words).is_err(), "{line}");
        }
        for line in ["--nice -20", "--nice 19", "--real-time 1", "--real-time 99"] {
            plan(line);
        }
    }

    #[test]
    fn layouts_keep_their_order_and_extras_are_asked_for() {
        let names = |line| plan(line).layouts().unwrap().iter().map(|layout| layout.name).collect::<Vec<_>>();
        assert_eq!(names("--only docker,raw"), ["raw", "docker"]);
        assert!(names("--all").len() >= names("").len());
        assert!(plan("--only nobody").layouts().is_err());
        assert!(!plan("").tests().contains(&Test::TcpBulk4));
        assert!(plan("--all").tests().contains(&Test::TcpBulk4));
    }
}
