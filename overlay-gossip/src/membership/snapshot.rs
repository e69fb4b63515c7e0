//! A node's view as a whole: to read it, to start with it, to share it between many nodes of one process.

use std::sync::Arc;
use std::time::Instant;

use super::Membership;
use crate::Member;
#[cfg(feature = "sim")]
use crate::MemberState;

impl Membership {
    /// Everybody known, this node included, by name; does not change afterwards, and costs no copies.
    #[must_use]
    pub fn snapshot(&self) -> Arc<[Arc<Member>]> {
        let mut all: Vec<Arc<Member>> = self.members.iter().map(|known| Arc::clone(&known.member)).collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all.into()
    }

    /// Takes over what was known about a cluster, from a [`snapshot`](Self::snapshot) of this or another node. No
    /// events; what is out of date will be found out.
    pub fn restore(&mut self, now: Instant, snapshot: &[Arc<Member>]) {
        self.members.reserve(snapshot.len().min(self.config.max_members));
        for member in snapshot {
            let room = self.members.len() < self.config.max_members;
            if room && self.members.get(member.name.as_str()).is_none() {
                self.members.update(now, Arc::clone(member), &mut self.rng);
            }
        }
        self.members_changed = true;
        self.find_neighbours();
    }

    /// Shares the description of a member with whoever holds an equal one, so that many nodes in one process need
    /// little memory.
    pub fn share(&mut self, member: &Arc<Member>) {
        self.members.share(member);
        self.broadcasts.share(member);
    }
}

/// What the simulator's checks look at.
#[cfg(feature = "sim")]
impl Membership {
    /// How many membership messages wait.
    pub(crate) fn queue_len(&self) -> usize {
        self.broadcasts.len()
    }

    /// Whether different things about the state of one member wait.
    pub(crate) fn queue_contradicts(&self) -> bool {
        self.broadcasts.contradicts_itself()
    }

    /// How many members are known.
    pub(crate) fn members_len(&self) -> usize {
        self.members.len()
    }

    /// What this node says about itself.
    pub(crate) fn own_state(&self) -> (u32, MemberState) {
        let me = self.members.myself();
        me.map_or((0, MemberState::Dead), |known| (known.member.incarnation, known.member.state))
    }
}
