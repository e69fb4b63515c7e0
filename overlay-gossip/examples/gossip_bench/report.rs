//! Figures of all rounds beside the goals: for people, and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use crate::args::Peer;

/// What is measured, in the order of the table.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Row {
    StormP50,
    StormP99,
    StormLast,
    StormBytes,
    StormProcessor,
    IdleRss,
    IdlePss,
    IdleProcessor,
    IdleBytes,
    IdlePackets,
    IdleSuspicions,
    KillFirst,
    KillLast,
    EventLast,
    LeaveLast,
    FalseDeaths,
    Load,
}

/// A limit for the median and one for the worst.
#[derive(Clone, Copy, Debug)]
struct Limits {
    median: Option<f64>,
    most: Option<f64>,
}

/// What must be, and what is wanted.
#[derive(Clone, Copy, Debug)]
struct Goal {
    must: Limits,
    aim: Limits,
}

#[derive(Debug)]
pub(crate) struct Report {
    nodes: usize,
    rounds: u16,
    values: BTreeMap<Row, BTreeMap<Peer, Vec<f64>>>,
    /// Kinds that are not installed.
    pub(crate) absent: Vec<&'static str>,
    /// What did not come to an end.
    pub(crate) failures: Vec<String>,
}

impl Row {
    /// Name in JSON, text in the table, unit.
    fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::StormP50 => ("storm_p50", "all join at once: half of all pairs know each other", "s"),
            Self::StormP99 => ("storm_p99", "all join at once: 99 of 100 pairs", "s"),
            Self::StormLast => ("storm_last", "all join at once: the last pair", "s"),
            Self::StormBytes => ("storm_kilobytes", "all join at once: received per node", "kB"),
            Self::StormProcessor => ("storm_processor", "all join at once: processor time per node", "ms"),
            Self::IdleRss => ("idle_rss", "idle: resident memory", "MiB"),
            Self::IdlePss => ("idle_pss", "idle: with shared pages in part", "MiB"),
            Self::IdleProcessor => ("idle_processor", "idle: processor, of a core", "%"),
            Self::IdleBytes => ("idle_bytes", "idle: received per node, with headers", "B/s"),
            Self::IdlePackets => ("idle_packets", "idle: received per node", "packets/s"),
            Self::IdleSuspicions => ("idle_suspicions", "idle: false suspicions, by all observers", ""),
            Self::KillFirst => ("kill_first", "killed: the first survivor knows", "s"),
            Self::KillLast => ("kill_last", "killed: the last survivor knows", "s"),
            Self::EventLast => ("event_last", "user event: the last one has it", "s"),
            Self::LeaveLast => ("leave_last", "graceful leave: the last one knows", "s"),
            Self::FalseDeaths => ("false_deaths", "false deaths, by all observers", ""),
            Self::Load => ("load", "the machine: load average", ""),
        }
    }

    fn goal(self) -> Option<Goal> {
        let most = |limit| Limits { median: None, most: Some(limit) };
        let median = |limit| Limits { median: Some(limit), most: None };
        let both = |median, most| Limits { median: Some(median), most: Some(most) };
        let (must, aim) = match self {
            Self::StormLast => (most(3.0), most(1.5)),
            Self::IdleRss => (median(6.0), median(3.0)),
            Self::IdleProcessor => (median(0.1), median(0.03)),
            Self::IdleBytes => (median(250.0), median(120.0)),
            Self::KillLast => (both(3.0, 5.0), both(1.0, 2.0)),
            Self::FalseDeaths => (most(0.0), most(0.0)),
            Self::StormP50
            | Self::StormP99
            | Self::StormBytes
            | Self::StormProcessor
            | Self::IdlePss
            | Self::IdlePackets
            | Self::IdleSuspicions
            | Self::KillFirst
            | Self::EventLast
            | Self::LeaveLast
            | Self::Load => return None,
        };
        Some(Goal { must, aim })
    }

    /// A cluster of two kinds says nothing about one of them.
    fn goal_of(self, peer: Peer) -> Option<Goal> {
        self.goal().filter(|_| peer != Peer::Mixed || self == Self::FalseDeaths)
    }
}

impl Report {
    pub(crate) fn new(nodes: usize, rounds: u16) -> Self {
        Self { nodes, rounds, values: BTreeMap::new(), absent: Vec::new(), failures: Vec::new() }
    }

    pub(crate) fn add(&mut self, peer: Peer, row: Row, value: f64) {
        let values = self.values.entry(row).or_default().entry(peer).or_default();
        values.push(value);
        values.sort_by(f64::total_cmp);
    }

    pub(crate) fn json(&self) -> Value {
        let mut rows = Vec::new();
        for (row, peers) in &self.values {
            let (name, _, unit) = row.names();
            for (peer, values) in peers {
                let [median, min, max] = summary(values);
                let what = format!("{}/n{}/{name}", peer.name(), self.nodes);
                let mut fields = json!({
                    "what": what, "median": median, "min": min, "max": max, "samples": values.len(), "unit": unit });
                if let (Some(goal), Some(fields)) = (row.goal_of(*peer), fields.as_object_mut()) {
                    fields.insert("goal".into(), goal.to_string().into());
                    fields.insert("met".into(), goal.judge([median, max]).into());
                }
                rows.push(fields);
            }
        }
        json!({
            "benchmark": "gossip-real", "rounds": self.rounds, "rows": rows, "absent": self.absent,
            "failures": self.failures })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} real agents, {} rounds", self.nodes, self.rounds)?;
        writeln!(f, "  {:<10}{:>10}{:>10}{:>10}", "", "median", "least", "most")?;
        for (row, peers) in &self.values {
            let (_, text, unit) = row.names();
            let unit = if unit.is_empty() { String::new() } else { format!(", {unit}") };
            let goal = row.goal().map(|goal| format!("   [{goal}]")).unwrap_or_default();
            writeln!(f, "{text}{unit}{goal}")?;
            for (peer, values) in peers {
                let [median, least, most] = summary(values);
                let digits = if median.abs() < 10.0 { 3 } else { 1 };
                let met = row.goal_of(*peer).map(|goal| goal.judge([median, most])).unwrap_or_default();
                let name = peer.name();
                let line =
                    format!("  {name:<10}{median:>10.digits$}{least:>10.digits$}{most:>10.digits$}   {met}");
                writeln!(f, "{}", line.trim_end())?;
            }
        }
        self.absent.iter().try_for_each(|name| writeln!(f, "absent: {name}"))?;
        self.failures.iter().try_for_each(|failure| writeln!(f, "failed: {failure}"))
    }
}

impl Goal {
    fn judge(self, [median, most]: [f64; 2]) -> &'static str {
        let within = |limits: Limits| {
            limits.median.is_none_or(|limit| median <= limit) && limits.most.is_none_or(|limit| most <= limit)
        };
        match (within(self.must), within(self.aim)) {
            (true, true) => "aim met",
            (true, false) => "met",
            (false, _) => "missed",
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "must: {}; aim: {}", self.must, self.aim)
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.median, self.most) {
            (Some(median), Some(most)) => write!(f, "median ≤ {median}, most ≤ {most}"),
            (Some(median), None) => write!(f, "median ≤ {median}"),
            (None, Some(most)) => write!(f, "most ≤ {most}"),
            (None, None) => Ok(()),
        }
    }
}

/// Median, least, most of what is sorted.
fn summary(values: &[f64]) -> [f64; 3] {
    let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
    [at(values.len() / 2), at(0), at(values.len().saturating_sub(1))]
}
