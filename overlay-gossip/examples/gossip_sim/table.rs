//! Figures of several runs: for people, and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use overlay_gossip::sim::script::Outcome;

/// Rows in the order of their first appearance.
#[derive(Debug)]
pub(crate) struct Table {
    script: String,
    rounds: u64,
    order: Vec<&'static str>,
    rows: BTreeMap<&'static str, (&'static str, Vec<f64>)>,
}

impl Table {
    pub(crate) fn new(script: String, rounds: u64) -> Self {
        Self { script, rounds, order: Vec::new(), rows: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, outcome: &Outcome, wall: Duration) {
        for figure in &outcome.figures {
            self.put(figure.what, figure.unit, figure.value);
        }
        self.put("wall_time", "s", wall.as_secs_f64());
    }

    fn put(&mut self, what: &'static str, unit: &'static str, value: f64) {
        if !self.rows.contains_key(what) {
            self.order.push(what);
        }
        let (_, values) = self.rows.entry(what).or_insert_with(|| (unit, Vec::new()));
        values.push(value);
        values.sort_by(f64::total_cmp);
    }

    /// What, unit, median, least, most.
    fn rows(&self) -> impl Iterator<Item = (&'static str, &'static str, [f64; 3])> {
        self.order.iter().filter_map(|what| {
            let (unit, values) = self.rows.get(what)?;
            let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
            Some((*what, *unit, [at(values.len() / 2), at(0), at(values.len() - 1)]))
        })
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        let rows: Vec<_> = self
            .rows()
            .map(|(what, unit, [median, min, max])| {
                let what = format!("{}/{what}", self.script);
                serde_json::json!({"what": what, "median": median, "min": min, "max": max, "unit": unit})
            })
            .collect();
        serde_json::json!({"benchmark": "gossip-sim", "rounds": self.rounds, "rows": rows})
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({} runs)", self.script, self.rounds)?;
        writeln!(f, "  {:<28}{:>12}{:>12}{:>12}", "", "median", "least", "most")?;
        for (what, unit, [median, min, max]) in self.rows() {
            writeln!(f, "  {what:<28}{median:>12.3}{min:>12.3}{max:>12.3}  {unit}")?;
        }
        Ok(())
    }
}
