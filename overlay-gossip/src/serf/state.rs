//! What a node remembers for serf's sake.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::events::{Events, check_event};
use super::wire::{Event, Intent, Message, PUSH_PULL, Query, Response};
use super::{EventError, Options, UserEvent};
use crate::wire::{Reader, WireError, Writer};
use crate::{Member, MemberState, NodeName};

/// serf's clocks, the status of members by them, and recent events and queries.
#[derive(Debug)]
pub(crate) struct Serf {
    me: NodeName,
    options: Options,
    clock: u64,
    query_clock: u64,
    status: BTreeMap<NodeName, Status>,
    events: Events,
    queries: BTreeSet<(u64, u32)>,
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
    /// Tell the user.
    Event(UserEvent),
    /// Somebody believes that this node is leaving: say that it is not.
    Rejoin(Vec<u8>),
    /// A member said goodbye; if it is taken for dead, it is gone in peace.
    Gone(NodeName),
    /// Send this there.
    Answer(SocketAddr, Vec<u8>),
    /// Do what the question says, and send the answer that `respond` makes of the result.
    Keys { to: SocketAddr, name: String, payload: Vec<u8>, query: (u64, u32) },
}

impl Serf {
    pub(crate) fn new(me: NodeName, options: Options) -> Self {
        let mut events = Events::default();
        events.clock = 1;
        Self {
            me,
            options,
            clock: 1,
            query_clock: 1,
            status: BTreeMap::new(),
            events,
            queries: BTreeSet::new(),
        }
    }

    /// Takes a message. `leaving`: this node is about to go.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        body: &[u8],
        leaving: bool,
    ) -> Result<Vec<Outcome>, WireError> {
        let mut outcomes = Vec::new();
        match Message::parse(body)? {
            Message::Join(intent) => {
                if self.on_join(intent) {
                    outcomes.push(Outcome::Relay);
                }
            }
            Message::Leave(intent) => self.on_leave(intent, leaving, &mut outcomes),
            Message::Event(event) => {
                if self.events.note(&event) {
                    outcomes.push(Outcome::Relay);
                    outcomes.extend(self.deliver(now, &event).map(Outcome::Event));
                }
            }
            Message::Query(query) => self.on_query(query, &mut outcomes),
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
    ) -> Result<(Vec<u8>, Option<UserEvent>), EventError> {
        check_event(name, payload)?;
        let event = Event { ltime: self.events.clock, name, payload, coalesce };
        self.events.note(&event);
        let delivered = self.deliver(now, &event);
        Ok((event.to_vec(), delivered))
    }

    /// "I have joined."
    pub(crate) fn join_intent(&mut self) -> Vec<u8> {
        let ltime = self.clock;
        self.witness(ltime);
        self.status.insert(self.me.clone(), Status { ltime, leaving: false });
        Intent { ltime, node: self.me.as_str() }.join()
    }

    /// "I am about to leave."
    pub(crate) fn leave_intent(&mut self) -> Vec<u8> {
        let ltime = self.clock;
        self.witness(ltime);
        self.status.insert(self.me.clone(), Status { ltime, leaving: true });
        Intent { ltime, node: self.me.as_str() }.leave()
    }

    /// Whether a member announced its goodbye.
    pub(crate) fn is_leaving(&self, name: &NodeName) -> bool {
        self.status.get(name).is_some_and(|status| status.leaving)
    }

    /// A member is new, or back: what it meant to do before is over.
    pub(crate) fn member_came(&mut self, name: &NodeName) {
        if let Some(status) = self.status.get_mut(name) {
            status.leaving = false;
        }
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.events.due(&self.options)
    }

    pub(crate) fn release(&mut self, now: Instant) -> Vec<UserEvent> {
        self.events.release(now, &self.options)
    }

    /// The state for a full exchange.
    pub(crate) fn state<'a>(&self, members: impl Iterator<Item = &'a Member>) -> Vec<u8> {
        let members: Vec<&Member> = members.collect();
        let left: Vec<&&Member> = members.iter().filter(|m| m.state == MemberState::Left).collect();
        let mut out = vec![PUSH_PULL];
        let mut w = Writer(&mut out);
        w.map(6);
        w.key("EventLTime").uint(self.events.clock);
        self.events.emit(w.key("Events"));
        w.key("LTime").uint(self.clock);
        w.key("LeftMembers").array(left.len());
        for member in left {
            w.raw(member.name.as_str().as_bytes());
        }
        w.key("QueryLTime").uint(self.query_clock);
        w.key("StatusLTimes").long_map(members.len());
        for member in members {
            let ltime = self.status.get(&member.name).map_or(0, |status| status.ltime);
            w.key(member.name.as_str()).uint(ltime);
        }
        out
    }

    /// Takes the state of another node. `joining`: it let us in, and what was before does not concern us.
    pub(crate) fn merge(
        &mut self,
        now: Instant,
        state: &[u8],
        joining: bool,
    ) -> Result<Vec<Outcome>, WireError> {
        let theirs = State::parse(state)?;
        let mut outcomes = Vec::new();
        self.witness(theirs.clock.saturating_sub(1));
        self.events.clock = self.events.clock.max(theirs.event_clock);
        self.query_clock = self.query_clock.max(theirs.query_clock);
        for name in &theirs.left {
            let ltime = theirs.times.get(name).copied().unwrap_or(0);
            self.on_leave(Intent { ltime, node: name }, false, &mut outcomes);
        }
        for (name, ltime) in theirs.times.iter().filter(|(name, _)| !theirs.left.contains(*name)) {
            self.on_join(Intent { ltime: *ltime, node: name });
        }
        if joining {
            self.events.min = self.events.min.max(theirs.event_clock);
        }
        for event in &theirs.events {
            if self.events.note(event) {
                outcomes.extend(self.deliver(now, event).map(Outcome::Event));
            }
        }
        outcomes.retain(|outcome| !matches!(outcome, Outcome::Relay));
        Ok(outcomes)
    }

    /// The answer to a question, from this node.
    pub(crate) fn response(&self, (ltime, id): (u64, u32), payload: &[u8]) -> Vec<u8> {
        let query = Query::named(ltime, id);
        Response { query, from: self.me.as_str(), payload: Some(payload) }.to_vec()
    }

    fn on_join(&mut self, intent: Intent<'_>) -> bool {
        self.witness(intent.ltime);
        let Some(status) = self.status_of(intent) else { return false };
        *status = Status { ltime: intent.ltime, leaving: false };
        true
    }

    fn on_leave(&mut self, intent: Intent<'_>, leaving: bool, outcomes: &mut Vec<Outcome>) {
        self.witness(intent.ltime);
        let mine = intent.node == self.me.as_str();
        let clock = self.clock;
        let Some(status) = self.status_of(intent) else { return };
        if mine {
            if !leaving {
                *status = Status { ltime: clock, leaving: false };
                outcomes.push(Outcome::Rejoin(self.join_intent()));
            }
            return;
        }
        *status = Status { ltime: intent.ltime, leaving: true };
        outcomes.push(Outcome::Relay);
        outcomes.extend(NodeName::new(intent.node).ok().map(Outcome::Gone));
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

    /// Questions are passed on and acknowledged; those about keys are answered.
    fn on_query(&mut self, query: Query<'_>, outcomes: &mut Vec<Outcome>) {
        self.query_clock = self.query_clock.max(query.ltime.saturating_add(1));
        if query.ltime.saturating_add(MAX_QUERY_AGE) < self.query_clock
            || !self.queries.insert((query.ltime, query.id))
        {
            return;
        }
        while self.queries.len() > MAX_QUERIES {
            self.queries.pop_first();
        }
        if !query.is_private() {
            outcomes.push(Outcome::Relay);
        }
        let Some(to) = query.from.filter(|_| query.is_for(self.me.as_str())) else { return };
        if query.wants_ack() {
            let ack = Response { query, from: self.me.as_str(), payload: None };
            outcomes.push(Outcome::Answer(to, ack.to_vec()));
        }
        if let Some(name) = query.name.strip_prefix("_serf_") {
            let (name, payload) = (name.to_owned(), query.payload.to_vec());
            outcomes.push(Outcome::Keys { to, name, payload, query: (query.ltime, query.id) });
        }
    }

    fn deliver(&mut self, now: Instant, event: &Event<'_>) -> Option<UserEvent> {
        let event = UserEvent {
            ltime: event.ltime,
            name: event.name.to_owned(),
            payload: Bytes::copy_from_slice(event.payload),
            coalesce: event.coalesce,
        };
        self.events.deliver(now, event, &self.options)
    }

    fn witness(&mut self, ltime: u64) {
        self.clock = self.clock.max(ltime.saturating_add(1));
    }
}

/// What another node's state says.
#[derive(Debug, Default)]
struct State<'a> {
    clock: u64,
    event_clock: u64,
    query_clock: u64,
    times: BTreeMap<&'a str, u64>,
    left: BTreeSet<&'a str>,
    events: Vec<Event<'a>>,
}

impl<'a> State<'a> {
    fn parse(state: &'a [u8]) -> Result<Self, WireError> {
        let Some((&PUSH_PULL, rest)) = state.split_first() else { return Err(WireError::Malformed) };
        let mut theirs = Self::default();
        Reader(rest).map(|key, r| {
            match key {
                b"LTime" => theirs.clock = r.uint()?,
                b"EventLTime" => theirs.event_clock = r.uint()?,
                b"QueryLTime" => theirs.query_clock = r.uint()?,
                b"StatusLTimes" => r.map(|name, r| {
                    let name = std::str::from_utf8(name).map_err(|_| WireError::Malformed)?;
                    theirs.times.insert(name, r.uint()?);
                    Ok(true)
                })?,
                b"LeftMembers" => {
                    for _ in 0..r.array()? {
                        theirs.left.insert(r.text()?);
                    }
                }
                b"Events" => {
                    for _ in 0..r.array()? {
                        read_slot(r, &mut theirs.events)?;
                    }
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(theirs)
    }
}

/// The events of one tick, or nothing.
fn read_slot<'a>(r: &mut Reader<'a>, events: &mut Vec<Event<'a>>) -> Result<(), WireError> {
    if let [0xc0, rest @ ..] = r.0 {
        r.0 = rest;
        return Ok(());
    }
    let start = events.len();
    let mut ltime = 0;
    r.map(|key, r| {
        match key {
            b"LTime" => ltime = r.uint()?,
            b"Events" => {
                for _ in 0..r.array()? {
                    let mut event = Event { ltime: 0, name: "", payload: &[], coalesce: false };
                    r.map(|key, r| {
                        match key {
                            b"Name" => event.name = r.text()?,
                            b"Payload" => event.payload = r.optional()?.unwrap_or_default(),
                            _ => return Ok(false),
                        }
                        Ok(true)
                    })?;
                    events.push(event);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    events.iter_mut().skip(start).for_each(|event| event.ltime = ltime);
    Ok(())
}

/// What follows serf's state in that of a node that has more to say.
pub(crate) fn after_state(state: &[u8]) -> &[u8] {
    let Some((&PUSH_PULL, rest)) = state.split_first() else { return state };
    let mut r = Reader(rest);
    match r.skip() {
        Ok(()) => r.0,
        Err(_) => &[],
    }
}

/// Names to remember a status for.
const MAX_STATUS: usize = 65_536;
const MAX_QUERIES: usize = 4096;
const MAX_QUERY_AGE: u64 = 512;
