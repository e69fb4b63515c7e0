//! A suspect's time to object: long at first, shorter with each member that agrees, shortest when its host says that
//! nobody listens.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Membership;
use crate::{Config, NodeName};

/// A running suspicion.
#[derive(Debug)]
pub(crate) struct Suspicion {
    started: Instant,
    min: Duration,
    max: Duration,
    /// How many confirmations bring the time down to `min`.
    wanted: usize,
    by: NodeName,
    confirmed: BTreeSet<NodeName>,
    refused: BTreeSet<NodeName>,
    deadline: Instant,
}

impl Suspicion {
    pub(crate) fn new(now: Instant, by: NodeName, members: usize, config: &Config) -> Self {
        let confirmations = usize::try_from(config.confirmations).unwrap_or(usize::MAX);
        let wanted = if members.saturating_sub(2) < confirmations { 0 } else { confirmations };
        let min =
            config.probe_interval.mul_f64(f64::from(config.suspicion_mult) * f64::max(1.0, log10(members)));
        let max = if wanted == 0 { min } else { min * config.suspicion_max_mult.max(1) };
        let deadline = now + max;
        Self {
            started: now,
            min,
            max,
            wanted,
            by,
            confirmed: BTreeSet::new(),
            refused: BTreeSet::new(),
            deadline,
        }
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// How many members suspect it.
    pub(crate) fn suspected_by(&self) -> usize {
        self.confirmed.len() + 1
    }

    /// How many members were refused.
    pub(crate) fn refusals(&self) -> usize {
        self.refused.len()
    }

    /// Takes another member's word; says whether it was news.
    pub(crate) fn confirm(&mut self, by: &NodeName) -> bool {
        if *by == self.by || self.confirmed.len() >= self.wanted || !self.confirmed.insert(by.clone()) {
            return false;
        }
        self.deadline = self.deadline.min(self.started + self.timeout());
        true
    }

    /// Takes the word of a member that was refused; with `enough` of them the time is `timeout`.
    pub(crate) fn refuse(&mut self, by: &NodeName, enough: usize, timeout: Duration) -> bool {
        if timeout.is_zero() || self.refused.len() >= enough || !self.refused.insert(by.clone()) {
            return false;
        }
        if self.refused.len() >= enough {
            self.deadline = self.deadline.min(self.started + timeout);
        }
        true
    }

    fn timeout(&self) -> Duration {
        let share = ln(self.confirmed.len() + 1) / ln(self.wanted + 1);
        let left = self.max.saturating_sub(self.max.saturating_sub(self.min).mul_f64(share.clamp(0.0, 1.0)));
        left.max(self.min)
    }
}

impl Membership {
    /// How many refused members count as proof: fewer where there are fewer.
    pub(super) fn enough_refusals(&self) -> usize {
        self.config.refused_reports.min(self.members.up().saturating_sub(1)).max(1)
    }

    /// Puts the deadline of a suspicion into the order of deadlines.
    pub(super) fn schedule_suspicion(&mut self, name: &NodeName, old: Option<Instant>) {
        if let Some(old) = old {
            self.suspicions.remove(&(old, name.clone()));
        }
        let suspicion = self.members.get(name.as_str()).and_then(|k| k.suspicion.as_ref());
        if let Some(deadline) = suspicion.map(Suspicion::deadline) {
            self.suspicions.insert((deadline, name.clone()));
        }
    }

    /// Gives a suspect more time because this node slept through the time that it had: an objection may lie unread.
    pub(super) fn grant_respite(&mut self, now: Instant, name: &NodeName) {
        let respite = self.config.probe_interval * 2;
        let suspicion = self.members.get_mut(name.as_str()).and_then(|k| k.suspicion.as_mut());
        let old = suspicion.map(|s| std::mem::replace(&mut s.deadline, now + respite));
        match old {
            Some(old) => self.schedule_suspicion(name, Some(old)),
            None => drop(self.suspicions.pop_first()),
        }
    }

    /// Ends a suspicion, whatever came of it.
    pub(super) fn drop_suspicion(&mut self, name: &NodeName) -> Option<Suspicion> {
        let suspicion = self.members.get_mut(name.as_str())?.suspicion.take()?;
        self.suspicions.remove(&(suspicion.deadline, name.clone()));
        Some(suspicion)
    }
}

fn log10(n: usize) -> f64 {
    f64::from(u32::try_from(n.max(1)).unwrap_or(u32::MAX)).log10()
}

fn ln(n: usize) -> f64 {
    f64::from(u32::try_from(n.max(1)).unwrap_or(u32::MAX)).ln()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests need a moment to start from")]
mod tests {
    use super::*;
    use crate::Profile;

    #[test]
    fn each_confirmation_shortens_the_time_down_to_the_minimum() {
        let now = Instant::now();
        let config = Config::new(NodeName::new("me").unwrap(), Profile::Lan);
        let name = |n: &str| NodeName::new(n).unwrap();
        let mut suspicion = Suspicion::new(now, name("a"), 10, &config);
        let mut last = suspicion.deadline();
        assert_eq!(last - now, Duration::from_secs(24));
        assert!(!suspicion.confirm(&name("a")));
        for by in ["b", "c"] {
            assert!(suspicion.confirm(&name(by)));
            assert!(suspicion.deadline() < last);
            last = suspicion.deadline();
        }
        assert_eq!(last - now, Duration::from_secs(4));
        assert!(!suspicion.confirm(&name("d")));
    }

    #[test]
    fn enough_refusals_leave_half_a_second() {
        let now = Instant::now();
        let config = Config::new(NodeName::new("me").unwrap(), Profile::Lan);
        let mut suspicion = Suspicion::new(now, NodeName::new("a").unwrap(), 10, &config);
        for by in ["a", "b", "c"] {
            assert!(suspicion.refuse(&NodeName::new(by).unwrap(), 3, Duration::from_millis(500)));
        }
        assert_eq!(suspicion.deadline() - now, Duration::from_millis(500));
    }
}
