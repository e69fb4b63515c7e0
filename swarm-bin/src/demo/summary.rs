//! The figures of a demo, beside Docker's.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::tally::Tally;
use crate::table::Table;

/// What was measured. Times are in seconds, memory in KiB.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Figures {
    /// How many nodes.
    pub(super) nodes: usize,
    /// From the start to all daemons answering.
    pub(super) ready_s: f64,
    /// `swarm init` with what the docker command asks afterwards.
    pub(super) init_s: f64,
    /// The slowest `swarm join`.
    pub(super) join_s: f64,
    /// From the last join to all nodes `Ready`.
    pub(super) nodes_ready_s: f64,
    /// From `service create` to two tasks running.
    pub(super) create_to_running_s: f64,
    /// From there to an answer through every node.
    pub(super) running_to_served_s: f64,
    /// Requests while all is well.
    pub(super) requests: Tally,
    /// The power cut.
    pub(super) kill: Cut,
    /// The resident memory of each daemon.
    pub(super) daemon_kib: BTreeMap<String, u64>,
    /// The resident memory of all processes of each node; the program that they share counts once.
    pub(super) node_kib: BTreeMap<String, u64>,
    /// The whole demo.
    pub(super) total_s: f64,
    /// Rows of the table whose goal was missed.
    pub(super) goals_missed: Vec<String>,
}

/// The power cut.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Cut {
    /// Whose.
    pub(super) node: String,
    /// Until the manager showed the node as down.
    pub(super) detected_s: f64,
    /// Until the tasks that it ran were running elsewhere.
    pub(super) replaced_s: f64,
    /// How many of the requests failed that were sent after the node was down for the manager.
    pub(super) failed_after_detection: usize,
    /// Requests through the other nodes meanwhile, at an even pace, whether answers came or not.
    pub(super) requests: Tally,
}

/// A row: what, ours, Docker's, the goal, and whether it was missed.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    what: &'static str,
    ours: String,
    dockers: &'static str,
    goal: &'static str,
    missed: bool,
}

impl Figures {
    /// Fills in which goals were missed.
    pub(super) fn judged(mut self) -> Self {
        let missed = self.rows().into_iter().filter(|row| row.missed);
        self.goals_missed = missed.map(|row| row.what.to_owned()).collect();
        self
    }

    /// The table for people.
    pub(super) fn table(&self) -> String {
        let mut table = Table::new(["", "HERE", "DOCKER", "GOAL", ""]);
        for row in self.rows() {
            let mark = if row.missed { "missed" } else { "" };
            table.row([
                row.what.to_owned(),
                row.ours,
                row.dockers.to_owned(),
                row.goal.to_owned(),
                mark.to_owned(),
            ]);
        }
        table.render()
    }

    fn rows(&self) -> Vec<Row> {
        let row = |what, ours, dockers, goal, missed| Row { what, ours, dockers, goal, missed };
        let (calm, cut) = (&self.requests, &self.kill.requests);
        let answered = |tally: &Tally| format!("{} of {}", tally.answered, tally.sent);
        let (least, most) = calm.shares().unwrap_or_default();
        let daemon = self.daemon_kib.values().max().copied().unwrap_or_default();
        let node = self.node_kib.values().max().copied().unwrap_or_default();
        let timed = |what, ours: f64, dockers, goal: &'static str, limit: f64| {
            row(what, format!("{ours:.2} s"), dockers, goal, ours > limit)
        };
        vec![
            timed("all daemons ready", self.ready_s, "~1 s", "", f64::INFINITY),
            timed("swarm init", self.init_s, "0.57 s", "<= 0.57 s", 0.57),
            timed("swarm join, slowest", self.join_s, "0.2 s", "<= 0.2 s", 0.2),
            timed("create -> 2 tasks running", self.create_to_running_s, "0.92 s", "<= 0.92 s", 0.92),
            timed("running -> served by every node", self.running_to_served_s, "-", "", f64::INFINITY),
            row("requests answered", answered(calm), "none without IPVS", "all", calm.answered < calm.sent),
            row(
                "client's own address seen",
                format!("{} of {}", calm.client_address_seen, calm.sent),
                "never",
                "all",
                calm.client_address_seen < calm.sent,
            ),
            row(
                "share of each task",
                format!("{least} to {most} %"),
                "-",
                "40 to 60 %",
                least < 40 || most > 60,
            ),
            row("answer, median", format!("{:.2} ms", calm.median_ms), "-", "", false),
            timed("power cut -> node is Down", self.kill.detected_s, "11.4 to 13.2 s", "<= 5 s", 5.0),
            timed("power cut -> tasks run elsewhere", self.kill.replaced_s, "17.4 to 19.1 s", "<= 8 s", 8.0),
            row("requests answered meanwhile", answered(cut), "none without IPVS", "", false),
            row(
                "failed of those sent after Down",
                self.kill.failed_after_detection.to_string(),
                "-",
                "none",
                self.kill.failed_after_detection > 0,
            ),
            row("slowest of them", format!("{:.0} ms", cut.slowest_ms), "-", "", false),
            row("memory of a daemon, largest", megabytes(daemon), "88 to 104 MB", "", false),
            row(
                "memory of a node, largest",
                megabytes(node),
                "120 to 185 MB",
                "<= 40 MB",
                node > MAX_NODE_KIB,
            ),
            timed("the whole demo", self.total_s, "-", "<= 45 s", 45.0),
        ]
    }
}

/// Seconds with three digits behind the point.
pub(super) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

fn megabytes(kib: u64) -> String {
    let tenths = kib * 1024 / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

/// 40 MB.
const MAX_NODE_KIB: u64 = 40_000_000 / 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Figures {
        let requests = Tally {
            sent: 180,
            answered: 180,
            client_address_seen: 180,
            by_task: BTreeMap::from([("one".into(), 90), ("two".into(), 90)]),
            ..Tally::default()
        };
        Figures {
            nodes: 3,
            init_s: 0.2,
            join_s: 0.1,
            create_to_running_s: 0.3,
            requests,
            daemon_kib: BTreeMap::from([("master".into(), 21_000)]),
            ..Figures::default()
        }
    }

    #[test]
    fn goals_that_are_met_are_not_marked() {
        assert_eq!(good().judged().goals_missed, Vec::<String>::new());
        assert!(!good().table().contains("missed"));
        assert!(good().table().contains("21.5 MB"));
    }

    #[test]
    fn goals_that_are_missed_are_named() {
        let mut figures = good();
        figures.kill.detected_s = 5.5;
        figures.requests.answered = 179;
        let figures = figures.judged();
        assert_eq!(figures.goals_missed, ["requests answered", "power cut -> node is Down"]);
        assert_eq!(figures.table().matches("missed").count(), 2);
        let json = serde_json::to_value(&figures).unwrap();
        assert_eq!(json["kill"]["detected_s"], 5.5);
    }

    #[test]
    fn seconds_are_rounded() {
        assert!((seconds(Duration::from_micros(1_234_567)) - 1.235).abs() < 1e-9);
    }
}
