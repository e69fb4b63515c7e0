//! Whose turn it is to be asked, and who is forgotten.

use std::time::Instant;

use crate::membership::Membership;
use crate::{MemberState, NodeName};

impl Membership {
    /// Whose turn it is. After each round the order changes and the long gone are forgotten.
    pub(super) fn next_target(&mut self, now: Instant) -> Option<NodeName> {
        for _ in 0..=self.members.len() {
            let Some(known) = self.members.at(self.probes.place) else {
                self.probes.place = 0;
                self.forget_the_gone(now);
                self.members.shuffle(&mut self.rng);
                self.members.at(0)?;
                continue;
            };
            self.probes.place += 1;
            if known.member.state.is_up() {
                return Some(known.member.name.clone());
            }
        }
        None
    }

    fn forget_the_gone(&mut self, now: Instant) {
        let tick = self.members.tick(now);
        let gone: Vec<NodeName> = self
            .members
            .iter()
            .filter(|k| {
                let keep = match k.member.state {
                    MemberState::Alive | MemberState::Suspect => return false,
                    MemberState::Dead => self.config.dead_forget,
                    MemberState::Left => self.config.tombstone.max(self.config.gossip_to_the_dead),
                };
                tick.since(k.changed()) > keep && k.member.name != self.config.name
            })
            .map(|k| k.member.name.clone())
            .collect();
        for name in gone {
            self.members.remove(&name);
            self.members_changed = true;
            self.tables.forget_owner(&name);
        }
    }
}
