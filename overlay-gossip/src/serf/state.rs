//! What a node remembers for serf's sake.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::events::{Events, check_event};
use super::query::{MAX_MESSAGE, MAX_RUNNING, MAX_TIMEOUT, Running};
use super::wire::{self, Event, Intent, Message, Response};
use super::{AnswerError, EventError, Options, Query, QueryError, QueryId, Question, UserEvent, filter};
use crate::NodeName;
use crate::lamport::Lamport;
use crate::wire::WireError;

/// serf's clocks, the status of members by them, and recent events and queries.
#[derive(Debug)]
pub(crate) struct Serf {
    me: NodeName,
    options: Options,
    pub(super) clock: Lamport,
    pub(super) query_clock: Lamport,
    status: BTreeMap<NodeName, Status>,
    /// When strangers were last forgotten for want of room.
    swept: Option<Instant>,
    pub(super) events: Events,
    queries: BTreeSet<QueryId>,
    /// Of questions before this time it is not known whether they were heard.
    query_min: u64,
    running: Running,
    /// Questions that wait for the truth to come out.
    postponed: BTreeMap<(Instant, QueryId), Box<Question>>,
}

/// What the membership knows about this node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Me<'a> {
    /// It is about to go.
    pub(crate) leaving: bool,
    /// What it says about itself.
    pub(crate) meta: &'a [u8],
}

/// What it takes to ask a question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking<'a> {
    pub(crate) me: Me<'a>,
    /// Where answers shall go to.
    pub(crate) addr: SocketAddr,
    /// A number by chance.
    pub(crate) id: u32,
    /// How long to wait, if the question does not say it.
    pub(crate) timeout: Duration,
    /// How many members there are.
    pub(crate) members: usize,
}

/// The last word of a member about its coming and going.
#[derive(Clone, Copy, Debug, Default)]
struct Status {
    ltime: u64,
    leaving: bool,
}

/// What a message asks for.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Others should hear it, too.
    Relay,
    /// All shall hear this.
    Broadcast(Vec<u8>),
    /// Tell the user.
    Tell(crate::Event),
    /// A member said goodbye; if it is taken for dead, it is gone in peace, and with `prune` forgotten.
    Gone { name: NodeName, prune: bool },
    /// Send this to a member.
    Forward(SocketAddr, Vec<u8>),
    /// Send this to who asked the question, in all ways that it wants.
    Reply(Box<Question>, Vec<u8>),
    /// A question of serf's own: answer it.
    Internal(Box<Question>),
    /// A question about a name that two nodes claim has waited long enough.
    Resolve(Box<Question>),
}

impl Serf {
    pub(crate) fn new(me: NodeName, options: Options) -> Self {
        Self {
            me,
            options,
            clock: Lamport::starting_at(1),
            query_clock: Lamport::starting_at(1),
            status: BTreeMap::new(),
            swept: None,
            events: Events::new(),
            queries: BTreeSet::new(),
            query_min: 0,
            running: Running::default(),
            postponed: BTreeMap::new(),
        }
    }

    /// Takes a message.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        body: &[u8],
        me: Me<'_>,
    ) -> Result<Vec<Outcome>, WireError> {
        let mut outcomes = Vec::new();
        match Message::parse(body)? {
            Message::Join(intent) => {
                if self.on_join(intent) {
                    outcomes.push(Outcome::Relay);
                }
            }
            Message::Leave(intent) => self.on_leave(intent, me.leaving, &mut outcomes),
            Message::Event(event) => {
                if self.events.note(&event) {
                    outcomes.push(Outcome::Relay);
                    outcomes.extend(self.deliver(now, &event).map(Outcome::Tell));
                }
            }
            Message::Query(query) => self.on_query(now, &query, me, &mut outcomes),
            Message::Response(response) => {
                outcomes.extend(self.running.take(now, &response).map(Outcome::Tell));
            }
            Message::Relayed(relayed) => {
                outcomes.push(Outcome::Forward(relayed.to, relayed.response.to_vec()));
            }
            Message::Other => {}
        }
        Ok(outcomes)
    }

    /// An event of this node's own, as a message for all; it is delivered here, too.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        (name, payload): (&str, &[u8]),
        coalesce: bool,
    ) -> Result<Vec<Outcome>, EventError> {
        check_event(name, payload)?;
        let event = Event { ltime: self.events.clock.now(), name, payload, coalesce };
        self.events.note(&event);
        let mut outcomes = vec![Outcome::Broadcast(event.to_vec())];
        outcomes.extend(self.deliver(now, &event).map(Outcome::Tell));
        Ok(outcomes)
    }

    /// A question of this node's own. It is asked, too, if it is one of those that are.
    pub(crate) fn ask(
        &mut self,
        now: Instant,
        query: &Query,
        asking: Asking<'_>,
    ) -> Result<(QueryId, Vec<Outcome>), QueryError> {
        let filters = query.filters()?;
        let name = self.me.clone();
        let asked = wire::Query {
            ltime: self.query_clock.now(),
            id: asking.id,
            from: Some(asking.addr),
            asker: name.as_str(),
            flags: if query.ack { wire::Query::ACK } else { 0 },
            relay: query.relay,
            timeout: query.timeout.unwrap_or(asking.timeout).min(MAX_TIMEOUT),
            name: &query.name,
            payload: &query.payload,
            filters: &filters,
        };
        let message = asked.to_vec();
        if message.len() > MAX_MESSAGE {
            return Err(QueryError::TooLong { len: message.len(), max: MAX_MESSAGE });
        }
        let running = self.running.len();
        if running >= MAX_RUNNING {
            return Err(QueryError::Busy { running });
        }
        let id = QueryId { ltime: asked.ltime, id: asked.id };
        self.running.begin(id, now + asked.timeout, query.ack, asking.members);
        let mut outcomes = vec![Outcome::Broadcast(message)];
        self.on_query(now, &asked, asking.me, &mut outcomes);
        outcomes.retain(|outcome| !matches!(outcome, Outcome::Relay));
        Ok((id, outcomes))
    }

    /// What this node says to a question.
    pub(crate) fn answer(
        &mut self,
        now: Instant,
        question: &Question,
        payload: &[u8],
    ) -> Result<Option<Outcome>, AnswerError> {
        if now > question.deadline {
            return Err(AnswerError::Late);
        }
        let QueryId { ltime, id } = question.id;
        let me = self.me.clone();
        let response = Response { ltime, id, from: me.as_str(), payload: Some(payload) };
        let message = response.to_vec();
        if message.len() > MAX_MESSAGE {
            return Err(AnswerError::TooLong { len: message.len(), max: MAX_MESSAGE });
        }
        Ok(self.reply(now, question, &response, message))
    }

    /// Hands a response to who asked, which may be this node.
    fn reply(
        &mut self,
        now: Instant,
        question: &Question,
        response: &Response<'_>,
        message: Vec<u8>,
    ) -> Option<Outcome> {
        if self.running.contains(question.id) {
            return self.running.take(now, response).map(Outcome::Tell);
        }
        Some(Outcome::Reply(Box::new(question.clone()), message))
    }

    /// "I have joined."
    pub(crate) fn join_intent(&mut self) -> Vec<u8> {
        let ltime = self.clock.now();
        self.clock.tick();
        self.status.insert(self.me.clone(), Status { ltime, leaving: false });
        Intent { ltime, node: self.me.as_str(), prune: false }.join()
    }

    /// "I am about to leave."
    pub(crate) fn leave_intent(&mut self) -> Vec<u8> {
        let ltime = self.clock.now();
        self.clock.tick();
        self.status.insert(self.me.clone(), Status { ltime, leaving: true });
        Intent { ltime, node: self.me.as_str(), prune: false }.leave()
    }

    /// Whether a member announced its goodbye.
    pub(crate) fn is_leaving(&self, name: &NodeName) -> bool {
        self.status.get(name).is_some_and(|status| status.leaving)
    }

    pub(super) fn has_left(&self, name: &str) -> bool {
        NodeName::new(name).is_ok_and(|name| self.is_leaving(&name))
    }

    pub(super) fn status_time(&self, name: &NodeName) -> u64 {
        self.status.get(name).map_or(0, |status| status.ltime)
    }

    /// A member is new, or back: what it meant to do before is over.
    pub(crate) fn member_came(&mut self, name: &NodeName) {
        if let Some(status) = self.status.get_mut(name) {
            status.leaving = false;
        }
    }

    /// If there is no room for the status of another member, forgets those who are none.
    pub(crate) fn make_room(&mut self, now: Instant, is_member: impl Fn(&NodeName) -> bool) {
        let recent = self.swept.is_some_and(|at| now.saturating_duration_since(at) < SWEEP);
        if self.status.len() >= MAX_STATUS && !recent {
            self.swept = Some(now);
            self.status.retain(|name, _| is_member(name));
        }
    }

    /// Has a question come back at a later time.
    pub(crate) fn postpone(&mut self, until: Instant, question: Box<Question>) {
        if self.postponed.len() < MAX_POSTPONED {
            self.postponed.insert((until, question.id), question);
        }
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        let postponed = self.postponed.first_key_value().map(|((at, _), _)| *at);
        let events = self.events.due(&self.options);
        [events, self.running.due(), postponed].into_iter().flatten().min()
    }

    /// What time brings: events that have waited for newer ones, the end of questions, and postponed ones.
    pub(crate) fn release(&mut self, now: Instant) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while let Some(first) = self.postponed.first_entry().filter(|first| first.key().0 <= now) {
            outcomes.push(Outcome::Resolve(first.remove()));
        }
        let events = self.events.release(now, &self.options);
        outcomes.extend(events.into_iter().map(crate::Event::UserEvent).map(Outcome::Tell));
        outcomes.extend(self.running.end(now).into_iter().map(Outcome::Tell));
        outcomes
    }

    pub(super) fn on_join(&mut self, intent: Intent<'_>) -> bool {
        if !self.clock.witness(intent.ltime) {
            return false;
        }
        let Some(status) = self.status_of(intent) else { return false };
        *status = Status { ltime: intent.ltime, leaving: false };
        true
    }

    pub(super) fn on_leave(&mut self, intent: Intent<'_>, leaving: bool, outcomes: &mut Vec<Outcome>) {
        if !self.clock.witness(intent.ltime) {
            return;
        }
        let mine = intent.node == self.me.as_str();
        let clock = self.clock.now();
        let Some(status) = self.status_of(intent) else { return };
        if mine {
            if !leaving {
                *status = Status { ltime: clock, leaving: false };
                outcomes.push(Outcome::Broadcast(self.join_intent()));
            }
            return;
        }
        *status = Status { ltime: intent.ltime, leaving: true };
        outcomes.push(Outcome::Relay);
        let gone = |name| Outcome::Gone { name, prune: intent.prune };
        outcomes.extend(NodeName::new(intent.node).ok().map(gone));
    }

    /// The status that an intent changes, if it is news.
    fn status_of(&mut self, intent: Intent<'_>) -> Option<&mut Status> {
        let name = NodeName::new(intent.node).ok()?;
        if self.status.len() >= MAX_STATUS && !self.status.contains_key(&name) {
            return None;
        }
        let fresh = !self.status.contains_key(&name);
        let status = self.status.entry(name).or_default();
        (fresh || intent.ltime > status.ltime).then_some(status)
    }

    /// Questions are passed on; who is asked acknowledges them if that is wanted, and answers.
    fn on_query(&mut self, now: Instant, query: &wire::Query<'_>, me: Me<'_>, outcomes: &mut Vec<Outcome>) {
        if !self.query_clock.witness(query.ltime) {
            return;
        }
        let id = QueryId { ltime: query.ltime, id: query.id };
        let oldest = self.query_clock.now().saturating_sub(MAX_QUERY_AGE).max(self.query_min);
        if query.ltime < oldest || !self.queries.insert(id) {
            return;
        }
        while self.queries.len() > MAX_QUERIES {
            let Some(forgotten) = self.queries.pop_first() else { break };
            self.query_min = forgotten.ltime.saturating_add(1);
        }
        if !query.is_private() {
            outcomes.push(Outcome::Relay);
        }
        let addressed = |_: &SocketAddr| filter::is_for(query.filters, self.me.as_str(), me.meta);
        let Some(to) = query.from.filter(addressed) else { return };
        let question = Question::new(now, query, to);
        if query.wants_ack() {
            let name = self.me.clone();
            let ack = Response { ltime: id.ltime, id: id.id, from: name.as_str(), payload: None };
            outcomes.extend(self.reply(now, &question, &ack, ack.to_vec()));
        }
        outcomes.push(match question.internal() {
            Some(_) => Outcome::Internal(Box::new(question)),
            None => Outcome::Tell(crate::Event::Query(question)),
        });
    }

    pub(super) fn deliver(&mut self, now: Instant, event: &Event<'_>) -> Option<crate::Event> {
        let event = UserEvent {
            ltime: event.ltime,
            name: event.name.to_owned(),
            payload: Bytes::copy_from_slice(event.payload),
            coalesce: event.coalesce,
        };
        self.events.deliver(now, event, &self.options).map(crate::Event::UserEvent)
    }
}

/// Names to remember a status for.
pub(super) const MAX_STATUS: usize = 65_536;
/// Time between two attempts to make room. There may be so many members.
const SWEEP: Duration = Duration::from_secs(10);
const MAX_QUERIES: usize = 4096;
const MAX_POSTPONED: usize = 64;
const MAX_QUERY_AGE: u64 = 512;

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests need a moment to start from")]
mod tests {
    use super::*;

    #[test]
    fn names_that_nobody_has_do_not_keep_out_those_of_members() {
        let (now, me) = (Instant::now(), NodeName::new("me").unwrap());
        let mut serf = Serf::new(me, Options::default());
        let members = [NodeName::new("a").unwrap(), NodeName::new("b").unwrap()];
        serf.on_join(Intent { ltime: 1, node: "a", prune: false });
        for i in 0..2 * MAX_STATUS {
            serf.on_join(Intent { ltime: 2, node: &format!("made-up-{i}"), prune: false });
        }
        assert!(serf.status.len() <= MAX_STATUS);
        serf.make_room(now, |name| members.contains(name));
        assert!(serf.on_join(Intent { ltime: 3, node: "b", prune: false }));
        assert_eq!((serf.status_time(&members[0]), serf.status_time(&members[1])), (1, 3));
    }
}
