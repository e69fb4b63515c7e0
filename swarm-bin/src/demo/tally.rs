//! Counting what became of many requests.

use std::collections::BTreeMap;

use serde::Serialize;

use super::client::Outcome;

/// What became of some requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Tally {
    /// How many were sent.
    pub(super) sent: usize,
    /// How many were answered.
    pub(super) answered: usize,
    /// How many were not.
    pub(super) failed: usize,
    /// How many answers showed the client's own address.
    pub(super) client_address_seen: usize,
    /// How many each task answered.
    pub(super) by_task: BTreeMap<String, usize>,
    /// How many were answered through each node.
    pub(super) by_target: BTreeMap<String, usize>,
    /// How many failed for each reason.
    pub(super) errors: BTreeMap<String, usize>,
    /// Half of the answers were faster, in milliseconds.
    pub(super) median_ms: f64,
    /// The slowest answer, in milliseconds.
    pub(super) slowest_ms: f64,
}

impl Tally {
    /// Counts.
    pub(super) fn of(outcomes: &[Outcome], client: &str) -> Self {
        let mut tally = Self { sent: outcomes.len(), ..Self::default() };
        let mut times = Vec::new();
        for outcome in outcomes {
            if let Some(error) = &outcome.error {
                tally.failed += 1;
                *tally.errors.entry(error.clone()).or_default() += 1;
                continue;
            }
            tally.answered += 1;
            tally.client_address_seen += usize::from(outcome.client == client);
            *tally.by_task.entry(outcome.task.clone()).or_default() += 1;
            *tally.by_target.entry(outcome.target.clone()).or_default() += 1;
            times.push(outcome.ms);
        }
        times.sort_by(f64::total_cmp);
        tally.median_ms = round(times.get(times.len() / 2).copied().unwrap_or_default());
        tally.slowest_ms = round(times.last().copied().unwrap_or_default());
        tally
    }

    /// The smallest and the largest part of the answers that a task gave, in percent.
    pub(super) fn shares(&self) -> Option<(usize, usize)> {
        let percent = |count: &usize| (count * 100 + self.answered / 2) / self.answered.max(1);
        let shares = || self.by_task.values().map(percent);
        Some((shares().min()?, shares().max()?))
    }

    /// Whether every request was answered and showed the client's own address.
    pub(super) const fn is_perfect(&self) -> bool {
        self.answered == self.sent && self.client_address_seen == self.sent
    }

    /// The reasons of failures, with their counts.
    pub(super) fn reasons(&self) -> String {
        let reasons = self.errors.iter().map(|(error, count)| format!("{count} × {error}"));
        reasons.collect::<Vec<_>>().join(", ")
    }
}

/// Two digits behind the point are enough.
fn round(ms: f64) -> f64 {
    (ms * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_failures_are_counted() {
        let answer = |task: &str, ms: f64, client: &str| Outcome {
            target: "a".into(),
            task: task.into(),
            client: client.into(),
            ms,
            ..Outcome::default()
        };
        let failure = Outcome { target: "b".into(), error: Some("timed out".into()), ..Outcome::default() };
        let outcomes = [answer("one", 1.0, "c"), answer("two", 3.005, "c"), answer("one", 2.0, "x"), failure];
        let tally = Tally::of(&outcomes, "c");
        assert_eq!((tally.sent, tally.answered, tally.failed, tally.client_address_seen), (4, 3, 1, 2));
        assert_eq!(tally.shares(), Some((33, 67)));
        assert_eq!((tally.median_ms, tally.slowest_ms), (2.0, 3.01));
        assert_eq!(tally.reasons(), "1 × timed out");
        assert!(!tally.is_perfect());
        assert!(Tally::of(&outcomes[..2], "c").is_perfect());
        assert_eq!(Tally::default().shares(), None);
    }
}
