//! Whether this node hears the others well enough to judge them.
//!
//! Who hears from nobody has most likely a problem of its own: it was stopped, or its network was. It neither accuses
//! others nor lets their time run out until it has heard from the cluster for a while without a gap; only when the
//! silence lasts longer than the longest suspicion, the others are given up after all.

use std::time::{Duration, Instant};

use super::members::Known;
use super::{Membership, suspicion};
use crate::NodeName;

/// When this node heard from anybody.
#[derive(Debug)]
pub(super) struct Hearing {
    last: Instant,
    /// Since when there was no gap.
    since: Instant,
}

impl Hearing {
    pub(super) fn new(now: Instant) -> Self {
        Self { last: now, since: now }
    }
}

impl Membership {
    /// A datagram of the cluster arrived.
    pub(super) fn hear(&mut self, now: Instant) {
        let gap = now.saturating_duration_since(self.hearing.last) > self.longest_gap();
        self.hearing.last = now;
        if gap {
            self.hearing.since = now;
            self.ask_suspects(now);
        }
    }

    /// Whether there has been no gap for a while.
    pub(super) fn hears_well(&self, now: Instant) -> bool {
        let (gap, Hearing { last, since }) = (self.longest_gap(), &self.hearing);
        !self.config.self_doubt
            || (now.saturating_duration_since(*last) <= gap && now.saturating_duration_since(*since) >= gap)
    }

    /// Whether this node should not yet declare a suspect dead whose time is over; if so, how long it waits.
    pub(super) fn doubt(&mut self, now: Instant, name: &NodeName) -> Option<Duration> {
        if !self.config.self_doubt {
            return None;
        }
        // Who hears from nobody is in no position to judge; nor who hears from the suspect.
        let interval = self.config.probe_interval;
        let heard = self.members.get(name.as_str()).and_then(Known::heard);
        let lately = heard.is_some_and(|at| self.members.tick(now).since(at) < interval);
        if lately || !self.hears_well(now) {
            self.members.suspicion_mut(name.as_str())?.looked = 0;
            return Some(interval / 2);
        }
        // Who has reason to doubt its ears looks again.
        let suspicion = self.members.suspicion_mut(name.as_str())?;
        if suspicion.looked >= MOST_LOOKS || self.awareness.score() == 0 {
            return None;
        }
        suspicion.looked += 1;
        self.check_on_soon(now, name);
        Some(interval * 3 / 4 * self.awareness.factor())
    }

    /// Whether nobody was heard since then, but not yet for so long that it must be the others.
    pub(super) fn deaf_since(&self, now: Instant, then: Instant) -> bool {
        let (_, _, patience) = suspicion::bounds(self.members.up(), &self.config);
        self.config.self_doubt
            && self.members.up() > 2
            && self.hearing.last <= then
            && now.saturating_duration_since(self.hearing.last) < patience
    }

    /// After a silence, those who are suspected get a chance to object before anything else.
    fn ask_suspects(&mut self, now: Instant) {
        if self.config.self_doubt {
            let suspects: Vec<NodeName> = self.members.suspects().take(MOST_ASKED).cloned().collect();
            suspects.iter().for_each(|name| self.check_on(now, name));
        }
    }

    fn longest_gap(&self) -> Duration {
        self.config.probe_interval * 2
    }
}

const MOST_ASKED: usize = 16;

/// How often a suspect is asked whose time is over.
const MOST_LOOKS: u32 = 2;
