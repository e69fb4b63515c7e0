//! From samples to rows, for people and for scripts.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::goals::{Goal, Met};
use super::layout::Layout;
use super::measure::{Measure, digits};
use crate::table::Table;

/// All that was measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    rounds: u32,
    seconds: f64,
    load: &'static str,
    /// By layout and measure, by round.
    samples: BTreeMap<(&'static str, Measure), BTreeMap<u32, f64>>,
    /// Costs that have nothing to do with layouts: what, unit, values.
    costs: Vec<(String, &'static str, Vec<f64>)>,
    left: Vec<(Left, &'static str, String)>,
}

/// Why a layout is not among the figures.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Left {
    /// A program that it needs is not installed.
    Absent,
    /// It did not work.
    Failed,
}

/// Some values, in a few numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

struct Row {
    what: String,
    spread: Spread,
    unit: &'static str,
}

impl Report {
    /// Nothing yet.
    pub(super) fn new(rounds: u32, seconds: f64, iperf3: bool) -> Self {
        let load = if iperf3 { "iperf3" } else { "own" };
        Self { rounds, seconds, load, ..Self::default() }
    }

    /// Adds a value of a layout.
    pub(super) fn sample(&mut self, layout: &'static str, measure: Measure, round: u32, value: f64) {
        self.samples.entry((layout, measure)).or_default().insert(round, value);
    }

    /// Adds a cost, measured several times.
    pub(super) fn cost(&mut self, what: impl Into<String>, unit: &'static str, values: Vec<f64>) {
        self.costs.push((what.into(), unit, values));
    }

    /// Names a layout that is not among the figures, or no longer.
    pub(super) fn leave_out(&mut self, left: Left, layout: &'static str, why: String) {
        self.left.push((left, layout, why));
    }

    /// Whether something did not work that should.
    pub(super) fn failed(&self) -> bool {
        self.left.iter().any(|(left, ..)| *left == Left::Failed)
    }

    /// The object for scripts.
    pub(super) fn json(&self) -> Value {
        let rows = self.ratios().into_iter().chain(self.absolute()).chain(self.cost_rows());
        let row = |row: Row| {
            let Spread { median, min, max } = row.spread;
            let mut value = json!({
                "what": row.what,
                "median": rounded(median),
                "min": rounded(min),
                "max": rounded(max),
                "unit": row.unit,
            });
            if let (Some(goal), Some(fields)) = (Goal::of(&row.what), value.as_object_mut()) {
                fields.insert("must".to_owned(), goal.must.into());
                fields.insert("aim".to_owned(), goal.aim.into());
                fields.insert("met".to_owned(), (goal.judge(median) != Met::Missed).into());
            }
            value
        };
        let left = |kind: Left| {
            let of_kind = self.left.iter().filter(|(left, ..)| *left == kind);
            of_kind.map(|(_, layout, why)| json!({"what": layout, "why": why})).collect::<Vec<_>>()
        };
        json!({
            "benchmark": "dataplane",
            "rounds": self.rounds,
            "seconds": self.seconds,
            "load": self.load,
            "build": if cfg!(debug_assertions) { "debug" } else { "release" },
            "cores": cores(),
            "kernel": kernel(),
            "rows": rows.map(row).collect::<Vec<_>>(),
            "absent": left(Left::Absent),
            "failed": left(Left::Failed),
        })
    }

    /// The tables for people.
    pub(super) fn text(&self) -> String {
        let mut parts = vec![format!(
            "\n{} rounds of {} s, TCP streams by {}, {} cores, Linux {}\n\
             median (least–most) of the rounds, × Docker's on the same underlay within each round",
            self.rounds,
            self.seconds,
            if self.load == "own" { "this program" } else { self.load },
            cores(),
            kernel(),
        )];
        parts.push(self.layouts());
        parts.push(self.goals());
        let mut costs = Table::new(["COST", "NANOSECONDS", "LEAST TO MOST"]);
        for Row { what, spread, .. } in self.cost_rows() {
            let Spread { median, min, max } = spread;
            costs.row([what, digits(median), format!("{} to {}", digits(min), digits(max))]);
        }
        parts.push(costs.render());
        for (left, layout, why) in &self.left {
            let word = if *left == Left::Absent { "absent" } else { "failed" };
            parts.push(format!("{word}: {layout}: {why}"));
        }
        parts.join("\n\n")
    }

    /// What each layout carries.
    fn layouts(&self) -> String {
        let heads = [
            "TCP, Gbit/s",
            "4 STREAMS",
            "UDP 64 B, kpps",
            "TCP RR P50, us",
            "P99, us",
            "ONE CPU",
            "CORES (TCP)",
        ];
        let [a, b, c, d, e, f, g] = heads;
        let mut table = Table::new(["LAYOUT", a, b, c, d, e, f, g]);
        let ratios = self.ratios();
        for layout in Layout::ALL {
            let cell = |measure: Measure| {
                let Spread { median, min, max } = self.spread(layout.name, measure)?;
                let row = format!("{}/{}/vs_docker", layout.name, measure.name());
                let ratio = ratios.iter().find(|ratio| ratio.what == row);
                let ratio = ratio.map_or(String::new(), |ratio| format!(" {}×", digits(ratio.spread.median)));
                Some(format!("{} ({}–{}){ratio}", digits(median), digits(min), digits(max)))
            };
            let cells = Measure::ALL.map(|measure| cell(measure).unwrap_or_else(|| "-".to_owned()));
            if cells.iter().any(|cell| cell != "-") {
                let [a, b, c, d, e, f, g] = cells;
                table.row([layout.name.to_owned(), a, b, c, d, e, f, g]);
            }
        }
        table.render()
    }

    /// Rows that have a goal.
    fn goals(&self) -> String {
        let mut table = Table::new(["GOAL", "MEDIAN", "LEAST TO MOST", "MUST", "AIM", ""]);
        let rows: Vec<_> = self.ratios().into_iter().chain(self.cost_rows()).collect();
        for goal in Goal::ALL {
            let Some(Row { what, spread, unit }) = rows.iter().find(|row| row.what == goal.row) else {
                continue;
            };
            let sign = if goal.is_floor() { ">=" } else { "<=" };
            let unit = if *unit == RATIO { String::new() } else { format!(" {unit}") };
            table.row([
                what.clone(),
                format!("{}{unit}", digits(spread.median)),
                format!("{} to {}", digits(spread.min), digits(spread.max)),
                format!("{sign} {}", goal.must),
                format!("{sign} {}", goal.aim),
                goal.judge(spread.median).mark().to_owned(),
            ]);
        }
        table.render()
    }

    /// Every layout against every other that it is to be compared with, round by round.
    fn ratios(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for layout in Layout::ALL {
            for against in layout.against {
                for measure in Measure::ALL.into_iter().filter(|measure| measure.is_headline()) {
                    let ours = self.samples.get(&(layout.name, measure));
                    let theirs = self.samples.get(&(against.layout, measure));
                    let (Some(ours), Some(theirs)) = (ours, theirs) else { continue };
                    let ratio = |(round, ours): (&u32, &f64)| Some(ours / theirs.get(round)?);
                    let ratios: Vec<f64> = ours.iter().filter_map(ratio).filter(|r| r.is_finite()).collect();
                    let what = format!("{}/{}/{}", layout.name, measure.name(), against.label);
                    rows.extend(spread(&ratios).map(|spread| Row { what, spread, unit: RATIO }));
                }
            }
        }
        rows
    }

    fn absolute(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for layout in Layout::ALL {
            for measure in Measure::ALL {
                let what = format!("{}/{}", layout.name, measure.name());
                let spread = self.spread(layout.name, measure);
                rows.extend(spread.map(|spread| Row { what, spread, unit: measure.unit() }));
            }
        }
        rows
    }

    fn cost_rows(&self) -> Vec<Row> {
        let row = |(what, unit, values): &(String, &'static str, Vec<f64>)| {
            Some(Row { what: what.clone(), spread: spread(values)?, unit })
        };
        self.costs.iter().filter_map(row).collect()
    }

    fn spread(&self, layout: &'static str, measure: Measure) -> Option<Spread> {
        let values: Vec<f64> = self.samples.get(&(layout, measure))?.values().copied().collect();
        spread(&values)
    }
}

fn spread(values: &[f64]) -> Option<Spread> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(Spread { median: f64::midpoint(lower, upper), min, max })
}

/// Four digits behind the point are more than enough.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

const RATIO: &str = "ratio";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut report = Report::new(3, 1.0, false);
        // A machine that is half as fast in the second round, and a peer that fell out before the third.
        for (round, docker, nebula) in [(1, 20.0, Some(1.0)), (2, 10.0, Some(0.5)), (3, 20.0, None)] {
            report.sample("docker", Measure::TcpBulk, round, docker);
            nebula.into_iter().for_each(|value| report.sample("nebula", Measure::TcpBulk, round, value));
        }
        report.cost("codec/parse", "ns", vec![9.5, 8.0, 30.0]);
        report.leave_out(Left::Absent, "tinc", "apt install tinc".to_owned());
        let json = report.json();
        let row = |what: &str| {
            let rows = json["rows"].as_array().unwrap();
            rows.iter().find(|row| row["what"] == what).unwrap_or_else(|| panic!("{what} in {json}")).clone()
        };
        let ratio = row("nebula/tcp_bulk/vs_docker");
        assert_eq!(
            (&ratio["median"], &ratio["min"], &ratio["max"]),
            (&json!(0.05), &json!(0.05), &json!(0.05))
        );
        assert_eq!(row("docker/tcp_bulk")["unit"], "Gbit/s");
        assert_eq!(
            (row("codec/parse")["median"].clone(), row("codec/parse")["met"].clone()),
            (json!(9.5), json!(true))
        );
        assert_eq!(json["absent"][0]["why"], "apt install tinc");
        assert!(!report.failed());
        let text = report.text();
        assert!(
            text.contains("20.0 (10.0–20.0)") && text.contains("absent: tinc: apt install tinc"),
            "{text}"
        );
    }

    #[test]
    fn the_median_of_an_even_number_lies_in_the_middle() {
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn every_layout_is_compared_with_one_that_is_there() {
        let names: Vec<_> = Layout::ALL.iter().map(|layout| layout.name).collect();
        for against in Layout::ALL.iter().flat_map(|layout| layout.against) {
            assert!(names.contains(&against.layout), "{}", against.layout);
        }
    }
}
