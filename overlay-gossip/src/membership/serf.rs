//! Where serf meets the membership.

use std::net::SocketAddr;
use std::time::Instant;

use rand::Rng;

use super::user::user_message;
use super::{Leaving, Membership, digits};
use crate::key::Keyring;
use crate::serf::{
    AnswerError, Asking, EventError, Me, Options, Outcome, Query, QueryError, QueryId, Question, Serf, Tags,
    after_state, answer_keys, conflict_answer, relayed,
};
use crate::wire::message::Claim;
use crate::{Config, Event, MemberState, NodeName, TableFormat, Vsn};

impl Membership {
    /// A node that is alone and speaks serf: as [`new`](Self::new), with [`Vsn::SERF`] and the tags as metadata.
    ///
    /// With [`TableFormat::NetworkDb`] it is what [`new`](Self::new) makes and does not speak serf: both would take
    /// the same messages for their own. [`Agent::bind_serf`](crate::tokio::Agent::bind_serf) refuses that.
    #[must_use]
    pub fn with_serf(mut config: Config, options: Options, now: Instant, seed: u64) -> Self {
        if config.table_format == TableFormat::NetworkDb {
            return Self::new(config, now, seed);
        }
        config.vsn = Vsn::SERF;
        config.meta = options.tags.to_meta();
        let me = config.name.clone();
        let mut node = Self::new(config, now, seed);
        node.user.serf = Some(Box::new(Serf::new(me, options)));
        node
    }

    /// Tells all members something, this node included: [`Event::UserEvent`]. With `coalesce`, of several of this
    /// name in a short time the last one is enough.
    ///
    /// # Errors
    ///
    /// [`EventError`] when name and payload take more than 512 bytes, or this node does not speak serf.
    pub fn send_event(
        &mut self,
        now: Instant,
        name: &str,
        payload: &[u8],
        coalesce: bool,
    ) -> Result<(), EventError> {
        let serf = self.user.serf.as_mut().ok_or(EventError::NoSerf)?;
        let outcomes = serf.send(now, (name, payload), coalesce)?;
        self.next_gossip = self.next_gossip.min(now);
        self.follow(now, outcomes, &[]);
        Ok(())
    }

    /// Asks all members something, or those that the query names, this node included. What they say follows as
    /// [`Event::QueryAck`] and [`Event::QueryAnswer`], and [`Event::QueryEnded`] when the time for it is over.
    ///
    /// # Errors
    ///
    /// [`QueryError`] when nobody could understand it, too many are running, or this node does not speak serf.
    pub fn query(&mut self, now: Instant, query: &Query) -> Result<QueryId, QueryError> {
        let members = self.members.up();
        let asking = Asking {
            me: Me { leaving: self.leaving != Leaving::No, meta: &self.config.meta },
            addr: self.config.advertise,
            id: self.rng.random::<u32>() >> 1,
            timeout: self.config.gossip_interval * 16 * digits(members),
            members,
        };
        let serf = self.user.serf.as_mut().ok_or(QueryError::NoSerf)?;
        let (id, outcomes) = serf.ask(now, query, asking)?;
        self.next_gossip = self.next_gossip.min(now);
        self.follow(now, outcomes, &[]);
        Ok(id)
    }

    /// Answers a question: [`Event::Query`]. Of several answers the asker sees the first.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] when the answer is too long or too late, or this node does not speak serf.
    pub fn answer_query(
        &mut self,
        now: Instant,
        question: &Question,
        payload: &[u8],
    ) -> Result<(), AnswerError> {
        let serf = self.user.serf.as_mut().ok_or(AnswerError::NoSerf)?;
        let outcome = serf.answer(now, question, payload)?;
        self.follow(now, outcome.into_iter().collect(), &[]);
        Ok(())
    }

    /// Changes what this node says about itself.
    pub fn set_tags(&mut self, now: Instant, tags: &Tags) {
        self.set_meta(now, tags.to_meta());
    }

    /// A message of serf's arrived.
    pub(super) fn on_serf(&mut self, now: Instant, body: &[u8]) {
        let me = Me { leaving: self.leaving != Leaving::No, meta: &self.config.meta };
        let Some(serf) = self.user.serf.as_mut() else { return };
        let members = &self.members;
        serf.make_room(now, |name| members.get(name.as_str()).is_some());
        match serf.handle(now, body, me) {
            Ok(outcomes) => self.follow(now, outcomes, body),
            Err(error) => self.stats.count(error),
        }
    }

    /// Takes serf's state from a full exchange; what follows it is returned.
    pub(super) fn on_serf_state<'a>(&mut self, now: Instant, state: &'a [u8], joining: bool) -> &'a [u8] {
        let Some(serf) = self.user.serf.as_mut() else { return state };
        let rest = after_state(state);
        if rest.len() < state.len() {
            match serf.merge(now, state, joining) {
                Ok(outcomes) => self.follow(now, outcomes, &[]),
                Err(error) => self.stats.count(error),
            }
        }
        rest
    }

    pub(super) fn send_join_intent(&mut self, now: Instant) {
        if let Some(serf) = self.user.serf.as_mut() {
            let intent = serf.join_intent();
            self.broadcast_user(&intent, false);
            self.next_gossip = self.next_gossip.min(now + self.config.gossip_interval);
        }
    }

    pub(super) fn say_leave_intent(&mut self, now: Instant) -> bool {
        let Some(serf) = self.user.serf.as_mut() else { return false };
        let intent = serf.leave_intent();
        self.broadcast_user(&intent, false);
        self.next_gossip = now;
        true
    }

    /// Delivers user events that have waited long enough for newer ones, answers what had to wait, and ends queries.
    pub(super) fn run_serf(&mut self, now: Instant) {
        let due = self.user.serf.as_mut().map(|serf| serf.release(now)).unwrap_or_default();
        self.follow(now, due, &[]);
    }

    fn follow(&mut self, now: Instant, outcomes: Vec<Outcome>, body: &[u8]) {
        for outcome in outcomes {
            match outcome {
                Outcome::Relay => self.broadcast_user(body, true),
                Outcome::Broadcast(body) => self.broadcast_user(&body, false),
                Outcome::Tell(event) => self.event(event),
                Outcome::Gone { name, prune } => self.gone_in_peace(now, &name, prune),
                Outcome::Forward(to, body) => self.send_serf(to, &body),
                Outcome::Reply(question, body) => self.reply(&question, &body),
                Outcome::Internal(question) => self.answer_internal(now, question),
                Outcome::Resolve(question) => self.answer_conflict(now, &question),
            }
        }
    }

    /// Sends to members, and to those that claim the names of members: a stranger could have things sent to anybody.
    fn send_serf(&mut self, to: SocketAddr, body: &[u8]) {
        if self.is_member_addr(to) || self.moved.is_claimant(to) {
            self.transmit(to, &user_message(body), false);
        } else {
            self.stats.ignored += 1;
        }
    }

    /// Sends a response to who asked, and through others if that is wanted.
    fn reply(&mut self, question: &Question, body: &[u8]) {
        let (to, relay, asker) = question.way_back();
        self.send_serf(to, body);
        let relay = usize::from(relay);
        if relay == 0 || self.members.len() <= relay || !self.is_member_addr(to) {
            return;
        }
        let Some(wrapped) = relayed(to, asker, body) else { return };
        let carriers = self.members.pick(&mut self.rng, relay, |known| {
            let member = &known.member;
            member.state == MemberState::Alive && member.vsn.protocol_max >= 5 && member.addr != to
        });
        for name in carriers {
            if let Some(addr) = self.members.get(name.as_str()).map(|known| known.member.addr) {
                self.send_serf(addr, &wrapped);
            }
        }
    }

    /// Answers a question of serf's own.
    fn answer_internal(&mut self, now: Instant, question: Box<Question>) {
        let name = question.internal().unwrap_or_default();
        if name == "conflict" {
            let (asker, ..) = question.way_back();
            let later = now + question.deadline.saturating_duration_since(now) * 3 / 4;
            match self.user.serf.as_mut() {
                // Until then it is known whether the name has moved to where the question comes from.
                Some(serf) if self.moved.is_claimant(asker) => serf.postpone(later, question),
                _ => self.answer_conflict(now, &question),
            }
            return;
        }
        let (name, payload) = (name.to_owned(), question.payload.clone());
        if let Some(answer) = self.answer_keys(&name, &payload) {
            self.answer_or_not(now, &question, &answer);
        }
    }

    /// Two nodes claim a name, and one of them asks where others believe that it is. It is not for the other one to
    /// say.
    fn answer_conflict(&mut self, now: Instant, question: &Question) {
        let name = std::str::from_utf8(&question.payload).ok();
        let Some(name) = name.filter(|name| *name != self.config.name.as_str()) else { return };
        let known = self.members.get(name).map(|known| &*known.member);
        let leaving = known.is_some_and(|member| self.means_to_leave(&member.name));
        self.answer_or_not(now, question, &conflict_answer(known, leaving));
    }

    /// What is too long, or too late, is not sent.
    fn answer_or_not(&mut self, now: Instant, question: &Question, answer: &[u8]) {
        let _ = self.answer_query(now, question, answer);
    }

    fn answer_keys(&mut self, name: &str, payload: &[u8]) -> Option<Vec<u8>> {
        // Who may speak without a key must not change keys.
        let mut none = Vec::new();
        let keys = if self.config.verify_incoming { &mut self.config.keys } else { &mut none };
        let (answer, changed) = answer_keys(name, payload, keys)?;
        if changed {
            self.envelope.keyring = Keyring::new(&self.config.keys);
            let keys = self.config.keys.clone();
            self.event(Event::KeysChanged { keys });
        }
        Some(answer)
    }

    /// Somebody asks to count a dead member as one that left, or even to forget it.
    fn gone_in_peace(&mut self, now: Instant, name: &NodeName, prune: bool) {
        let Some(known) = self.members.get(name.as_str()) else { return };
        if known.member.state == MemberState::Dead {
            let incarnation = known.member.incarnation;
            let claim = Claim { incarnation, node: name.as_str(), from: name.as_str(), ..Claim::default() };
            self.on_dead(now, &claim);
        }
        if prune && self.members.get(name.as_str()).is_some_and(|known| !known.member.state.is_up()) {
            self.members.remove(name);
            self.members_changed = true;
            self.tables.forget_owner(name);
        }
    }
}
