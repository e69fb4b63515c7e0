//! Rounds of gossip: what is new goes to a few members at a time.

use std::time::{Duration, Instant};

use super::Membership;
use crate::wire::packet;

impl Membership {
    pub(super) fn run_gossip(&mut self, now: Instant) {
        if now < self.next_gossip || !self.has_gossip() {
            return;
        }
        self.next_gossip = now + self.config.gossip_interval;
        self.last_gossip = now;
        let (to_the_dead, count) = (self.config.gossip_to_the_dead, self.config.gossip_nodes);
        let tick = self.members.tick(now);
        let targets = self.members.pick(&mut self.rng, count, |k| k.hears_gossip(tick, to_the_dead));
        let room = self.config.packet_size.saturating_sub(self.envelope.overhead() + 2);
        for name in targets {
            let messages = self.take_gossip(room);
            let Some(known) = self.members.get(name.as_str()) else { continue };
            let (to, crc) = (known.member.addr, known.member.vsn.protocol_max >= 5);
            if messages.is_empty() {
                return;
            }
            self.transmit(to, &packet::compound(&messages), crc);
        }
    }

    /// Has the next round earlier: there are news that cannot wait.
    pub(super) fn hurry(&mut self, now: Instant) {
        let soonest = self.last_gossip + self.config.gossip_interval / 4;
        self.next_gossip = self.next_gossip.min(soonest.max(now));
    }

    /// How long it takes to send each waiting message once.
    pub(super) fn backlog(&self) -> Duration {
        let round = self.config.packet_size.saturating_mul(self.config.gossip_nodes).max(1);
        self.config.gossip_interval * u32::try_from(self.broadcasts.bytes() / round).unwrap_or(u32::MAX)
    }

    /// How often each message is sent.
    pub(super) fn retransmit_limit(&self) -> u32 {
        self.config.retransmit_mult * digits(self.members.up())
    }
}

/// `ceil(log10(n + 1))`, at least 1.
pub(crate) fn digits(n: usize) -> u32 {
    n.checked_ilog10().map_or(1, |log| log + 1)
}
