use std::collections::BTreeMap;

use crate::Config;
use crate::output::ProposalId;

/// Reads that wait for a majority to confirm the leader; all that wait together share one round.
#[derive(Debug)]
pub(crate) struct Reads {
    waiting: Vec<(ProposalId, u64)>,
    rounds: BTreeMap<u64, Round>,
    next: u64,
    salt: u64,
}

#[derive(Debug)]
struct Round {
    reads: Vec<(ProposalId, u64)>,
    asked: u64,
}

impl Reads {
    /// The salt keeps answers to an earlier life of this member apart.
    pub(crate) fn new(salt: u64) -> Self {
        Self { waiting: Vec::new(), rounds: BTreeMap::new(), next: 1, salt }
    }

    pub(crate) fn ask(&mut self, id: ProposalId, now: u64) {
        self.waiting.push((id, now));
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Puts all that wait into one round; what to hand to the engine.
    pub(crate) fn begin(&mut self, member: u64, now: u64) -> Vec<u8> {
        let number = self.next;
        self.next += 1;
        self.rounds.insert(number, Round { reads: std::mem::take(&mut self.waiting), asked: now });
        [member.to_be_bytes(), self.salt.to_be_bytes(), number.to_be_bytes()].concat()
    }

    /// The reads of the round that this context names.
    pub(crate) fn confirm(&mut self, member: u64, context: &[u8]) -> Vec<ProposalId> {
        let Some((head, number)) = context.split_last_chunk::<8>() else { return Vec::new() };
        if head != [member.to_be_bytes(), self.salt.to_be_bytes()].concat() {
            return Vec::new();
        }
        let round = self.rounds.remove(&u64::from_be_bytes(*number));
        round.map(|r| r.reads.into_iter().map(|(id, _)| id).collect()).unwrap_or_default()
    }

    /// Asks again where an answer was lost; gives up on the oldest ones, which are returned.
    pub(crate) fn tick(&mut self, now: u64, config: &Config) -> Vec<ProposalId> {
        let again = u64::from(config.heartbeat_ticks) * 3;
        let limit = u64::from(config.election_ticks) * 5;
        let stale: Vec<u64> =
            self.rounds.iter().filter(|(_, r)| now - r.asked >= again).map(|(n, _)| *n).collect();
        for number in stale {
            let round = self.rounds.remove(&number);
            self.waiting.extend(round.into_iter().flat_map(|r| r.reads));
        }
        let (expired, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(_, at)| now - at >= limit);
        self.waiting = waiting;
        let expired: Vec<(ProposalId, u64)> = expired;
        expired.into_iter().map(|(id, _)| id).collect()
    }
}
