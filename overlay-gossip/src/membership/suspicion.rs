//! A suspect's time to object: long at first, shorter with each member that agrees, shortest when its host says that
//! nobody listens.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Membership;
use crate::wire::message::{Claim, Message};
use crate::{Config, Evidence, NodeName};

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
    /// Whose connections were refused.
    refused: BTreeSet<NodeName>,
    /// Who asked the suspect, by UDP and TCP, in vain.
    witnesses: BTreeSet<NodeName>,
    deadline: Instant,
    /// How often this node asked the suspect when the time was over.
    pub(super) looked: u32,
}

/// What it takes to cut the time short.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proof {
    refusals: usize,
    refused_timeout: Duration,
    witnesses: usize,
    witnessed_timeout: Duration,
}

impl Suspicion {
    pub(crate) fn new(now: Instant, by: NodeName, members: usize, config: &Config) -> Self {
        let (wanted, min, max) = bounds(members, config);
        let (confirmed, refused, witnesses) = Default::default();
        let deadline = now + max;
        Self { started: now, min, max, wanted, by, confirmed, refused, witnesses, deadline, looked: 0 }
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// When it ends if nobody supports it.
    pub(crate) fn latest(&self) -> Instant {
        self.started + self.max
    }

    /// Why the suspect is declared dead now.
    pub(crate) fn evidence(&self, proof: &Proof) -> Evidence {
        if self.refused.len() >= proof.refusals {
            Evidence::Refused { reports: self.refused.len() }
        } else {
            Evidence::Silence { suspected_by: self.confirmed.len() + 1, asked_by: self.witnesses.len() }
        }
    }

    /// Takes a member's word, who was `refused` or has `probed` in vain; says whether it was news.
    pub(crate) fn support(
        &mut self,
        now: Instant,
        by: &NodeName,
        (refused, probed): (bool, bool),
        proof: &Proof,
    ) -> bool {
        let refused = refused && self.refuse(now, by, proof);
        let probed = (probed || refused) && self.witness(now, by, proof);
        let confirmed = self.confirm(by);
        refused || probed || confirmed
    }

    /// Whether [`support`](Self::support) would change nothing.
    pub(crate) fn is_old_news(&self, by: &str, (refused, probed): (bool, bool), proof: &Proof) -> bool {
        let has = |set: &BTreeSet<NodeName>, most: usize| set.len() >= most || set.contains(by);
        let Proof { refusals, refused_timeout, witnesses, witnessed_timeout } = *proof;
        let refused = refused && !refused_timeout.is_zero() && !has(&self.refused, refusals);
        let deaf = witnessed_timeout.is_zero() || witnesses < 2 || has(&self.witnesses, witnesses);
        let confirmed = self.by.as_str() == by || has(&self.confirmed, self.wanted);
        !refused && (!probed || deaf) && confirmed
    }

    fn confirm(&mut self, by: &NodeName) -> bool {
        if *by == self.by || self.confirmed.len() >= self.wanted || !self.confirmed.insert(by.clone()) {
            return false;
        }
        self.deadline = self.deadline.min(self.started + self.timeout());
        true
    }

    fn refuse(&mut self, now: Instant, by: &NodeName, proof: &Proof) -> bool {
        let Proof { refusals, refused_timeout, .. } = *proof;
        if refused_timeout.is_zero() || self.refused.len() >= refusals || !self.refused.insert(by.clone()) {
            return false;
        }
        if self.refused.len() >= refusals {
            let least = now + refused_timeout / 4;
            self.deadline = self.deadline.min((self.started + refused_timeout).max(least));
        }
        true
    }

    fn witness(&mut self, now: Instant, by: &NodeName, proof: &Proof) -> bool {
        let Proof { witnesses, witnessed_timeout, .. } = *proof;
        let enough = self.witnesses.len() >= witnesses;
        if witnessed_timeout.is_zero() || witnesses < 2 || enough || !self.witnesses.insert(by.clone()) {
            return false;
        }
        if self.witnesses.len() >= witnesses {
            let least = now + witnessed_timeout / 4;
            self.deadline = self.deadline.min((self.started + witnessed_timeout).max(least));
        }
        true
    }

    fn timeout(&self) -> Duration {
        let share = ln(self.confirmed.len() + 1) / ln(self.wanted + 1);
        let left = self.max.saturating_sub(self.max.saturating_sub(self.min).mul_f64(share.clamp(0.0, 1.0)));
        left.max(self.min)
    }
}

/// How many confirmations are wanted in a cluster of so many members, and the shortest and longest time to object.
pub(crate) fn bounds(members: usize, config: &Config) -> (usize, Duration, Duration) {
    let confirmations = usize::try_from(config.confirmations).unwrap_or(usize::MAX);
    let wanted = if members.saturating_sub(2) < confirmations { 0 } else { confirmations };
    let factor = f64::from(config.suspicion_mult) * f64::max(1.0, log10(members));
    let min = config.probe_interval.mul_f64(factor);
    let max = if wanted == 0 { min } else { min * config.suspicion_max_mult.max(1) };
    (wanted, min, max)
}

impl Membership {
    /// How much evidence counts as proof: fewer reports where there are fewer members.
    pub(super) fn proof(&self) -> Proof {
        let others = self.members.up().saturating_sub(1);
        Proof {
            refusals: self.config.refused_reports.min(others).max(1),
            refused_timeout: self.config.refused_timeout,
            witnesses: self.config.witnesses.min(others),
            // Who has reason to doubt its own ears gives others more time.
            witnessed_timeout: self.config.witnessed_timeout * self.awareness.factor(),
        }
    }

    /// Declares those dead whose time to object is over.
    pub(super) fn run_suspicions(&mut self, now: Instant) {
        while let Some((at, name)) = self.suspicions.first().cloned() {
            if at > now {
                return;
            }
            if self.overslept(now, at) {
                let respite = self.config.probe_interval * 2;
                self.grant_respite(&name, now + respite);
                continue;
            }
            let proof = self.proof();
            let Some(suspicion) = self.members.suspicion(name.as_str()) else {
                self.suspicions.pop_first();
                continue;
            };
            let latest = suspicion.latest();
            if let Some(respite) = self.doubt(now, &name).filter(|_| now < latest) {
                self.grant_respite(&name, latest.min(now + respite));
                continue;
            }
            let Some(suspicion) = self.members.suspicion(name.as_str()) else { continue };
            let evidence = suspicion.evidence(&proof);
            self.suspicions.pop_first();
            let incarnation = self.members.get(name.as_str()).map_or(0, |k| k.member.incarnation);
            let me = self.config.name.clone();
            let (node, from) = (name.as_str(), me.as_str());
            let claim = Claim { incarnation, node, from, ..Claim::default() };
            self.tell_the_dead(&claim);
            self.declare_dead(now, &claim, evidence);
        }
    }

    /// Lets a member know the verdict, if this node has reason to doubt its ears: it may object before all believe it.
    fn tell_the_dead(&mut self, claim: &Claim<'_>) {
        let Some(to) = self.members.get(claim.node).map(|known| known.member.addr) else { return };
        if self.config.self_doubt && self.awareness.score() > 0 {
            self.transmit(to, &Message::Dead(*claim).to_vec(), false);
        }
    }

    /// Starts or supports a suspicion in this node's own name, because a connection was refused.
    pub(super) fn suspect_refused(&mut self, now: Instant, name: &NodeName) {
        self.suspect(now, name, (true, false));
    }

    /// Starts or supports a suspicion in this node's own name, because the member was `(refused, probed)`.
    pub(super) fn suspect(&mut self, now: Instant, name: &NodeName, (refused, probed): (bool, bool)) {
        let Some(known) = self.members.get(name.as_str()) else { return };
        if *name == self.config.name {
            return;
        }
        let me = self.config.name.clone();
        let incarnation = known.member.incarnation;
        let claim = Claim { incarnation, node: name.as_str(), from: me.as_str(), refused, probed };
        self.on_suspect(now, &claim);
    }

    /// Puts the deadline of a suspicion into the order of deadlines.
    pub(super) fn schedule_suspicion(&mut self, name: &NodeName, old: Option<Instant>) {
        if let Some(old) = old {
            self.suspicions.remove(&(old, name.clone()));
        }
        if let Some(deadline) = self.members.suspicion(name.as_str()).map(Suspicion::deadline) {
            self.suspicions.insert((deadline, name.clone()));
        }
    }

    /// Gives a suspect more time, because this node slept or was deaf: an objection may lie unread.
    pub(super) fn grant_respite(&mut self, name: &NodeName, until: Instant) {
        let suspicion = self.members.suspicion_mut(name.as_str());
        let old = suspicion.map(|s| std::mem::replace(&mut s.deadline, until));
        match old {
            Some(old) => self.schedule_suspicion(name, Some(old)),
            None => drop(self.suspicions.pop_first()),
        }
    }

    /// Ends a suspicion, whatever came of it.
    pub(super) fn drop_suspicion(&mut self, name: &NodeName) -> Option<Suspicion> {
        let suspicion = self.members.set_suspicion(name, None)?;
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

    fn proof() -> Proof {
        let (refused_timeout, witnessed_timeout) = (Duration::from_millis(500), Duration::from_secs(2));
        Proof { refusals: 3, refused_timeout, witnesses: 3, witnessed_timeout }
    }

    #[test]
    fn each_confirmation_shortens_the_time_down_to_the_minimum() {
        let now = Instant::now();
        let config = Config::new(NodeName::new("me").unwrap(), Profile::Lan);
        let name = |n: &str| NodeName::new(n).unwrap();
        let mut suspicion = Suspicion::new(now, name("a"), 10, &config);
        let mut last = suspicion.deadline();
        assert_eq!(last - now, Duration::from_secs(24));
        assert!(!suspicion.support(now, &name("a"), (false, false), &proof()));
        for by in ["b", "c"] {
            assert!(suspicion.support(now, &name(by), (false, false), &proof()));
            assert!(suspicion.deadline() < last);
            last = suspicion.deadline();
        }
        assert_eq!(last - now, Duration::from_secs(4));
        assert!(!suspicion.support(now, &name("d"), (false, false), &proof()));
    }

    #[test]
    fn evidence_leaves_less_time_but_always_some() {
        let now = Instant::now();
        let config = Config::new(NodeName::new("me").unwrap(), Profile::Lan);
        for (evidence, late, expected) in [
            ((true, false), 0, 500),
            ((false, true), 0, 2000),
            ((false, true), 3000, 3500),
            ((true, true), 9000, 9125),
        ] {
            let mut suspicion = Suspicion::new(now, NodeName::new("a").unwrap(), 10, &config);
            let at = now + Duration::from_millis(late);
            for by in ["a", "b", "c"] {
                assert!(suspicion.support(at, &NodeName::new(by).unwrap(), evidence, &proof()));
            }
            let deadline = suspicion.deadline() - now;
            let least = Duration::from_secs(4); // three have confirmed it as well
            assert_eq!(deadline, Duration::from_millis(expected).min(least));
        }
    }
}
