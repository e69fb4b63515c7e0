//! What arrives at a node, and what a node wants done.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::queue::Parcel;
use super::{Stream, World};
use crate::{
    Action, DialFailure, DialId, Event, Frame, Input, Membership, NodeName, Output, StreamId, Transmit,
};

impl World {
    pub(super) fn deliver(&mut self, parcel: Parcel) {
        match &parcel {
            Parcel::Alarm { at } => return self.ring(*at),
            Parcel::GiveUp { stream } => return self.give_up(*stream),
            Parcel::Datagram { to, .. }
            | Parcel::Request { to, .. }
            | Parcel::Reply { to, .. }
            | Parcel::Failed { to, .. } => {
                if let Some(until) = self.held_until(*to) {
                    // Behind the timers: the worst order.
                    return self.queue.push(until + Duration::from_micros(1), parcel);
                }
            }
        }
        match parcel {
            Parcel::Alarm { .. } | Parcel::GiveUp { .. } => {}
            Parcel::Datagram { from, to, payload } => {
                self.input(to, Input::Datagram { from, payload: &payload });
            }
            Parcel::Request { stream, from, to, payload } => {
                if let Some(open) = self.streams.get_mut(&stream) {
                    open.target_life = self.nodes[to].lives;
                }
                if self.nodes[to].machine.is_some() {
                    self.input(to, Input::Request { id: StreamId(stream), from, payload: &payload });
                } else if self.nodes[to].host {
                    self.fail(stream, DialFailure::Refused);
                }
            }
            Parcel::Reply { to, life, id, payload } => {
                if self.nodes[to].lives == life {
                    self.input(to, Input::Replied { id, payload: &payload });
                }
            }
            Parcel::Failed { to, life, id, failure } => {
                if self.nodes[to].lives == life {
                    self.input(to, Input::DialFailed { id, failure });
                }
            }
        }
    }

    /// Does what a node wants done, and sets its alarm.
    pub(super) fn pump(&mut self, i: usize) {
        while let Some(output) = self.nodes[i].machine.as_mut().and_then(Membership::poll_output) {
            match output {
                Output::Event(event) => self.event(i, event),
                Output::Transmit(transmit) => self.transmit(i, transmit),
                Output::Action(Action::Dial { id, to, payload, reply, timeout }) => {
                    self.dial(i, (id, reply), (to, timeout), payload);
                }
                Output::Action(Action::Reply { id, payload }) => self.reply(id, payload),
            }
        }
        self.check(i);
        let Some(at) = self.nodes[i].machine.as_ref().and_then(Membership::poll_timeout) else { return };
        // A machine that wants to be woken for nothing must not stop the clock.
        let at = at.max(self.now + Duration::from_micros(10));
        let at = self.stopped_until(i).map_or(at, |until| at.max(until));
        if self.nodes[i].alarm.is_none_or(|set| at < set) {
            self.nodes[i].alarm = Some(at);
            self.queue.push(at, Parcel::Alarm { at: i });
        }
    }

    /// All streams to a process end with it.
    pub(super) fn break_streams(&mut self, i: usize) {
        let life = self.nodes[i].lives;
        self.streams.retain(|_, stream| stream.dialler != i);
        let broken: Vec<u64> = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.target == i && stream.target_life == life)
            .map(|(id, _)| *id)
            .collect();
        broken.into_iter().for_each(|stream| self.fail(stream, DialFailure::Broken));
    }

    fn ring(&mut self, i: usize) {
        if self.nodes[i].alarm != Some(self.now) {
            return;
        }
        if let Some(until) = self.stopped_until(i) {
            self.nodes[i].alarm = Some(until);
            return self.queue.push(until, Parcel::Alarm { at: i });
        }
        self.nodes[i].alarm = None;
        if self.nodes[i].machine.is_some() {
            self.with(i, |machine, now| machine.handle_timeout(now));
        }
    }

    fn input(&mut self, i: usize, input: Input<'_>) {
        if self.nodes[i].machine.is_some() {
            // What was asked by an earlier step may have been given up.
            let _ = self.with(i, |machine, now| machine.handle_input(now, input));
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "most events do not say whether somebody is up")]
    fn event(&mut self, i: usize, event: Event) {
        let about = match &event {
            Event::MemberUp { name, .. } => Some((name.clone(), Some(true))),
            Event::MemberDown { name, .. } | Event::MemberLeft { name } => Some((name.clone(), Some(false))),
            Event::MemberUpdated { name, .. }
            | Event::MemberSuspect { name, .. }
            | Event::MemberRefuted { name } => Some((name.clone(), None)),
            _ => None,
        };
        if let Some((name, up)) = about
            && let Some(subject) = number(&name).filter(|n| *n < self.nodes.len())
        {
            if let Some(up) = up {
                self.views.set(i, subject, up);
            }
            self.check_view(i, subject, &name, up);
            self.share(i, subject, &name);
        }
        if self.keep_events {
            let at = self.elapsed();
            self.nodes[i].events.push((at, event));
        }
    }

    /// Machines that believe the same of a member share its description.
    fn share(&mut self, i: usize, subject: usize, name: &NodeName) {
        let Some(machine) = &mut self.nodes[i].machine else { return };
        let Some(member) = machine.member(name) else { return };
        let pool = &mut self.pool[subject];
        let shared = match pool.iter().position(|known| **known == *member) {
            Some(place) => Arc::clone(&pool[place]),
            None => {
                let member = Arc::new(member.clone());
                pool.insert(0, Arc::clone(&member));
                pool.truncate(POOL);
                member
            }
        };
        machine.share(&shared);
    }

    fn transmit(&mut self, i: usize, transmit: Transmit) {
        let Transmit { to, payload } = transmit;
        self.traffic.datagrams += 1;
        self.traffic.datagram_bytes += 42 + payload.len() as u64;
        self.check_datagram(i, payload.len());
        let Some(to) = self.by_addr.get(&to).copied().filter(|to| self.udp_passes(i, *to)) else { return };
        let (from, held) = (self.nodes[i].addr, self.held_back(i));
        let twice =
            self.network.duplicate > 0.0 && rand::Rng::random_bool(&mut self.rng, self.network.duplicate);
        for _ in 0..1 + u8::from(twice) {
            if let Some(flight) = self.flight() {
                self.post(held + flight, Parcel::Datagram { from, to, payload: payload.clone() });
            }
        }
    }

    fn dial(
        &mut self,
        i: usize,
        (id, reply): (DialId, bool),
        (to, timeout): (SocketAddr, Duration),
        payload: Bytes,
    ) {
        self.traffic.dials += 1;
        self.traffic.stream_bytes += payload.len() as u64;
        if Frame::new(usize::MAX).end(&payload) != Ok(Some(payload.len())) {
            self.violation(i, "dials with something that is no whole message");
        }
        self.next_stream += 1;
        let stream = self.next_stream;
        let target = self.by_addr.get(&to).copied();
        let (dialler, life) = (i, self.nodes[i].lives);
        let open = Stream { dialler, life, id, target: target.unwrap_or(usize::MAX), target_life: 0, reply };
        self.streams.insert(stream, open);
        self.post(timeout, Parcel::GiveUp { stream });
        if let Some(to) = target.filter(|to| self.passes(i, *to) && self.passes(*to, i)) {
            let flight = self.held_back(i) + self.stream_flight(true);
            let from = self.nodes[i].addr;
            self.post(flight, Parcel::Request { stream, from, to, payload });
        }
    }

    fn reply(&mut self, id: StreamId, payload: Bytes) {
        let Some(stream) = self.streams.get(&id.0).copied() else { return };
        let Stream { dialler: to, target, life, id: dial, reply, .. } = stream;
        if !self.passes(target, to) {
            return;
        }
        self.streams.remove(&id.0);
        self.traffic.stream_bytes += payload.len() as u64;
        let flight = self.held_back(target) + self.stream_flight(false);
        if reply && payload.is_empty() {
            let failure = DialFailure::Broken;
            self.post(flight, Parcel::Failed { to, life, id: dial, failure });
        } else {
            self.post(flight, Parcel::Reply { to, life, id: dial, payload });
        }
    }

    /// Ends a stream from the target's side.
    fn fail(&mut self, stream: u64, failure: DialFailure) {
        let Some(open) = self.streams.get(&stream).copied() else { return };
        let Stream { dialler: to, target, life, id, .. } = open;
        if self.passes(target, to) {
            self.streams.remove(&stream);
            let flight = self.stream_flight(false);
            self.post(flight, Parcel::Failed { to, life, id, failure });
        }
    }

    fn give_up(&mut self, stream: u64) {
        if let Some(Stream { dialler: to, life, id, .. }) = self.streams.remove(&stream) {
            let failure = DialFailure::TimedOut;
            self.deliver(Parcel::Failed { to, life, id, failure });
        }
    }
}

/// The number of a node by its name.
pub(super) fn number(name: &NodeName) -> Option<usize> {
    name.as_str().strip_prefix('n')?.parse().ok()
}

/// What members are believed to be changes quickly; older descriptions are left alone.
const POOL: usize = 4;
