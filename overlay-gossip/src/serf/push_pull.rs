//! What serf adds to a full exchange: clocks, who left, and recent events.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::state::{MAX_STATUS, Outcome, Serf};
use super::wire::{Event, Intent, PUSH_PULL};
use crate::wire::{Reader, WireError, Writer};
use crate::{Member, MemberState};

impl Serf {
    /// The state for a full exchange.
    pub(crate) fn state<'a>(&self, members: impl Iterator<Item = &'a Member>) -> Vec<u8> {
        let members: Vec<&Member> = members.collect();
        let left: Vec<&&Member> = members.iter().filter(|m| m.state == MemberState::Left).collect();
        let mut out = vec![PUSH_PULL];
        let mut w = Writer(&mut out);
        w.map(6);
        w.key("EventLTime").uint(self.events.clock.now());
        self.events.emit(w.key("Events"));
        w.key("LTime").uint(self.clock.now());
        w.key("LeftMembers").array(left.len());
        for member in left {
            w.raw(member.name.as_str().as_bytes());
        }
        w.key("QueryLTime").uint(self.query_clock.now());
        w.key("StatusLTimes").long_map(members.len());
        for member in members {
            w.key(member.name.as_str()).uint(self.status_time(&member.name));
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
        self.clock.witness(theirs.clock.saturating_sub(1));
        self.query_clock.witness(theirs.query_clock.saturating_sub(1));
        let plausible = self.events.clock.witness(theirs.event_clock.saturating_sub(1));
        for name in &theirs.left {
            // The time may be that of a join before; the goodbye was after it.
            let ltime = theirs.times.get(name).copied().unwrap_or(0).saturating_add(1);
            if !self.has_left(name) {
                self.on_leave(Intent { ltime, node: name, prune: false }, false, &mut outcomes);
            }
        }
        for (name, ltime) in theirs.times.iter().filter(|(name, _)| !theirs.left.contains(*name)) {
            self.on_join(Intent { ltime: *ltime, node: name, prune: false });
        }
        if joining && plausible {
            self.events.min = self.events.min.max(theirs.event_clock);
        }
        for event in &theirs.events {
            if self.events.note(event) {
                outcomes.extend(self.deliver(now, event).map(Outcome::Tell));
            }
        }
        outcomes.retain(|outcome| !matches!(outcome, Outcome::Relay));
        Ok(outcomes)
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
                    let time = r.uint()?;
                    if theirs.times.len() < MAX_STATUS {
                        theirs.times.insert(name, time);
                    }
                    Ok(true)
                })?,
                b"LeftMembers" => {
                    for _ in 0..r.array()? {
                        let name = r.text()?;
                        if theirs.left.len() < MAX_STATUS {
                            theirs.left.insert(name);
                        }
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
                    if events.len() < MAX_EVENTS {
                        events.push(event);
                    }
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

/// Most events to take from one exchange; there are 512 ticks, and seldom two events of one.
const MAX_EVENTS: usize = 4096;
