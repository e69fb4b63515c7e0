//! What others than the membership itself want to have gossiped: a bounded queue with a share of each datagram.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;

use super::Membership;
use crate::NodeName;
use crate::wire::{WireError, tag};

/// The side of a node that serves users of the membership.
#[derive(Debug, Default)]
pub(super) struct User {
    pub(super) queue: UserQueue,
    #[cfg(feature = "serf")]
    pub(super) serf: Option<Box<crate::serf::Serf>>,
}

/// User messages that wait to be gossiped: the least sent first, of those this node's own, then the oldest.
#[derive(Debug, Default)]
pub(super) struct UserQueue {
    order: BTreeMap<Rank, Bytes>,
    bytes: usize,
    next: u64,
}

/// How often it was sent, whether it is another node's, and its age.
type Rank = (u32, bool, u64);

impl UserQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// How many bytes wait, with `overhead` for each message.
    fn pending(&self, overhead: usize) -> usize {
        self.bytes + self.order.len() * overhead
    }

    /// Queues a whole message, of this node's or of another one's. Over the limit, what was sent most goes first.
    pub(super) fn push(&mut self, message: Bytes, relay: bool) {
        self.next += 1;
        self.bytes += message.len();
        self.order.insert((0, relay, self.next), message);
        while self.order.len() > MAX_QUEUE || self.bytes > MAX_QUEUE_BYTES {
            let Some((_, dropped)) = self.order.pop_last() else { return };
            self.bytes -= dropped.len();
        }
    }

    /// Takes messages for one datagram: at most `free` bytes, each with `overhead` more, and counts them as sent.
    fn take(&mut self, mut free: usize, overhead: usize, limit: u32) -> Vec<Bytes> {
        let mut taken = Vec::new();
        for (&rank, message) in &self.order {
            let size = message.len() + overhead;
            if size <= free {
                free -= size;
                taken.push((rank, message.clone()));
            }
            if free <= overhead {
                break;
            }
        }
        for (rank, message) in &taken {
            let (sent, relay, age) = *rank;
            self.order.remove(rank);
            if sent + 1 < limit {
                self.order.insert((sent + 1, relay, age), message.clone());
            } else {
                self.bytes -= message.len();
            }
        }
        taken.into_iter().map(|(_, message)| message).collect()
    }
}

impl Membership {
    /// Whether there is anything to gossip.
    pub(super) fn has_gossip(&self) -> bool {
        !self.broadcasts.is_empty() || !self.user.queue.is_empty()
    }

    /// Messages for `room` bytes of one datagram. Up to a third of it is for user messages, and more if the
    /// membership has little to say.
    pub(super) fn take_gossip(&mut self, room: usize) -> Vec<Bytes> {
        let limit = self.retransmit_limit();
        let reserved = self.user.queue.pending(2).min(room / 3);
        let mut messages = self.broadcasts.take(room - reserved, 2, limit);
        if !self.user.queue.is_empty() {
            let used: usize = messages.iter().map(|m| m.len() + 2).sum();
            // A message that gossip misses comes with a full exchange; where views are repaired instead, it is sent more often.
            let limit = if self.config.repair { limit + MORE } else { limit };
            messages.append(&mut self.user.queue.take(room - used, 2, limit));
        }
        messages
    }

    /// A user message arrived.
    pub(super) fn on_user(&mut self, now: Instant, body: &[u8]) {
        #[cfg(feature = "serf")]
        if self.user.serf.is_some() && !crate::table::is_ours(body) {
            self.on_serf(now, body);
            return;
        }
        self.stats.table_messages_in += 1;
        match self.tables.handle_message(now, body, &self.members) {
            Ok(()) => {}
            Err(WireError::Unknown(_)) => self.stats.ignored += 1,
            Err(error) => self.stats.count(error),
        }
    }

    /// What a full exchange carries for users: serf's state if we speak it, then that of the tables if the other
    /// side may understand it.
    pub(super) fn user_state(&self, tables: bool) -> Vec<u8> {
        let mut state = Vec::new();
        #[cfg(feature = "serf")]
        if let Some(serf) = &self.user.serf {
            state = serf.state(self.members.iter().map(|k| &*k.member));
        }
        state.append(&mut self.tables.state(tables));
        state
    }

    /// Whether the other side's [`user_state`](Self::user_state) is one with tables.
    pub(super) fn shares_tables(&self, state: &[u8]) -> bool {
        #[cfg(feature = "serf")]
        let state = self.user.serf.as_ref().map_or(state, |_| crate::serf::after_state(state));
        crate::table::is_ours(state)
    }

    /// The other side's [`user_state`](Self::user_state). `joining`: we asked to be let in.
    pub(super) fn on_user_state(&mut self, now: Instant, state: &[u8], joining: bool) {
        #[cfg(feature = "serf")]
        let state = self.on_serf_state(now, state, joining);
        #[cfg(not(feature = "serf"))]
        let _ = joining;
        if !state.is_empty() {
            self.on_user(now, state);
        }
    }

    /// A seed has answered.
    pub(super) fn on_joined(&mut self, now: Instant) {
        self.tables.on_joined();
        #[cfg(feature = "serf")]
        self.send_join_intent(now);
        #[cfg(not(feature = "serf"))]
        let _ = now;
    }

    /// Says that this node is about to leave, if there is a way to say it; the goodbye must wait for that.
    pub(super) fn send_leave_intent(&mut self, now: Instant) -> bool {
        if self.tables.say_leave() {
            self.flush_tables(now);
            self.next_gossip = now;
            return true;
        }
        #[cfg(feature = "serf")]
        return self.say_leave_intent(now);
        #[cfg(not(feature = "serf"))]
        false
    }

    /// When users are to be served next.
    pub(super) fn user_due(&self) -> Option<Instant> {
        #[cfg(feature = "serf")]
        return self.user.serf.as_ref().and_then(|serf| serf.due());
        #[cfg(not(feature = "serf"))]
        None
    }

    /// Serves them.
    pub(super) fn run_user(&mut self, now: Instant) {
        #[cfg(feature = "serf")]
        self.run_serf(now);
        #[cfg(not(feature = "serf"))]
        let _ = now;
    }

    /// Whether a member said that it was about to leave.
    pub(super) fn means_to_leave(&self, name: &NodeName) -> bool {
        #[cfg(feature = "serf")]
        return self.user.serf.as_ref().is_some_and(|serf| serf.is_leaving(name));
        #[cfg(not(feature = "serf"))]
        {
            let _ = name;
            false
        }
    }

    /// A member is new, or back.
    pub(super) fn member_came(&mut self, name: &NodeName) {
        #[cfg(feature = "serf")]
        if let Some(serf) = &mut self.user.serf {
            serf.member_came(name);
        }
        #[cfg(not(feature = "serf"))]
        let _ = name;
    }

    /// Queues a user message of this node's, or of another one's, for all members.
    pub(super) fn broadcast_user(&mut self, body: &[u8], relay: bool) {
        let room = self.config.packet_size.saturating_sub(self.envelope.overhead() + 4);
        if body.len() < room {
            self.user.queue.push(user_message(body), relay);
        }
    }
}

/// A user message as a datagram has it.
pub(super) fn user_message(body: &[u8]) -> Bytes {
    let mut message = Vec::with_capacity(body.len() + 1);
    message.push(tag::USER);
    message.extend_from_slice(body);
    message.into()
}

/// How much more often than what is said of members. Eight times each misses one of 98 nodes in 3 % of cases (98·e⁻⁸), twelve
/// times in 0.06 %.
const MORE: u32 = 4;

/// Most messages that wait, and most bytes.
const MAX_QUEUE: usize = 1024;
const MAX_QUEUE_BYTES: usize = 512 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_messages_are_sent_in_turn_and_a_limited_number_of_times() {
        let mut queue = UserQueue::default();
        for byte in 0..3 {
            queue.push(vec![byte; 40].into(), byte == 0);
        }
        let mut sent = [0; 3];
        for _ in 0..10 {
            let taken = queue.take(90, 2, 4);
            assert!(taken.iter().map(|m| m.len() + 2).sum::<usize>() <= 90);
            taken.iter().for_each(|m| sent[usize::from(m[0])] += 1);
        }
        assert_eq!(sent, [4; 3]);
        assert!(queue.is_empty() && queue.bytes == 0);
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut queue = UserQueue::default();
        for _ in 0..3 * MAX_QUEUE {
            queue.push(vec![0; 1000].into(), true);
        }
        assert!(queue.bytes <= MAX_QUEUE_BYTES && queue.order.len() <= MAX_QUEUE);
    }

    #[test]
    fn what_others_say_does_not_keep_back_what_this_node_says() {
        let mut queue = UserQueue::default();
        for _ in 0..3 * MAX_QUEUE {
            queue.push(vec![0; 100].into(), true);
        }
        queue.push(vec![1; 100].into(), false);
        assert_eq!(queue.take(102, 2, 4), [vec![1; 100]]);
    }
}
