//! Parcels: sent, on their way, delivered.

use std::time::{Duration, Instant};

use bytes::Bytes;
use overlay_gossip::{DialFailure, DialId, Input, StreamId};

use super::World;
use crate::Machine;
use crate::message::{Life, Parcel};

impl World {
    /// A message of a stream.
    pub(super) fn send(&mut self, from: Machine, to: Machine, parcel: Parcel) {
        if let Some(at) = self.net.stream(self.now, from, to) {
            self.post(at, from, to, parcel);
        }
    }

    pub(super) fn send_datagram(&mut self, from: Machine, to: Machine, parcel: &Parcel) {
        for at in self.net.datagram(self.now, from, to) {
            self.post(at, from, to, parcel.clone());
        }
    }

    /// A connection needs both directions.
    pub(super) fn dial(
        &mut self,
        from: Machine,
        to: Machine,
        (id, timeout): (DialId, Duration),
        (payload, reply): (Bytes, bool),
    ) {
        let asker = self.node(from).now_living();
        let there = to.index() < self.nodes.len() && self.node(to).is_up();
        let open = there && !self.net.is_cut(from, to) && !self.net.is_cut(to, from);
        match self.net.stream(self.now, from, to).filter(|_| open) {
            Some(at) => {
                self.order += 1;
                let stream = self.order;
                self.streams.insert(stream, (asker, id));
                self.post(at, from, to, Parcel::Dial { stream, from: from.gossip_addr(), payload, reply });
            }
            None => {
                let failure = DialFailure::TimedOut;
                self.post(self.now + timeout, from, from, Parcel::Failed { asker, id, failure });
            }
        }
    }

    pub(super) fn reply(&mut self, from: Machine, id: StreamId, payload: Bytes) {
        let Some((asker, id)) = self.streams.remove(&id.0) else { return };
        let to = asker.machine;
        match self.net.stream(self.now, from, to).filter(|_| !payload.is_empty()) {
            Some(at) => self.post(at, from, to, Parcel::Answered { asker, id, payload }),
            None => self.fail(asker, id),
        }
    }

    pub(super) fn deliver(&mut self, from: Machine, to: Machine, parcel: Parcel) {
        let local = matches!(parcel, Parcel::Failed { .. });
        let lost = self.net.is_cut(from, to) || !self.node(to).is_up();
        self.trace_delivery(from, to, &parcel, lost);
        if lost && !local {
            match parcel {
                Parcel::Dial { stream, .. } => {
                    if let Some((asker, id)) = self.streams.remove(&stream) {
                        self.fail(asker, id);
                    }
                }
                Parcel::Answered { asker, id, .. } => self.fail(asker, id),
                Parcel::Datagram { .. }
                | Parcel::Raft { .. }
                | Parcel::Failed { .. }
                | Parcel::Up(_)
                | Parcel::Down(_) => {}
            }
            return;
        }
        match parcel {
            Parcel::Raft { .. } | Parcel::Up(_) | Parcel::Down(_) => self.deliver_to_swarm(from, to, parcel),
            Parcel::Dial { stream, from: addr, payload, reply } => {
                self.gossip_input(to, Input::Request { id: StreamId(stream), from: addr, payload: &payload });
                if let Some((asker, id)) = self.streams.get(&stream).copied().filter(|_| !reply) {
                    self.streams.remove(&stream);
                    if let Some(at) = self.net.stream(self.now, to, from) {
                        self.post(at, to, from, Parcel::Answered { asker, id, payload: Bytes::new() });
                    }
                }
            }
            Parcel::Datagram { from, payload } => {
                self.gossip_input(to, Input::Datagram { from, payload: &payload });
            }
            Parcel::Answered { asker, id, payload } if asker == self.node(to).now_living() => {
                self.gossip_input(to, Input::Replied { id, payload: &payload });
            }
            Parcel::Failed { asker, id, failure } if asker == self.node(to).now_living() => {
                self.gossip_input(to, Input::DialFailed { id, failure });
            }
            Parcel::Answered { .. } | Parcel::Failed { .. } => {} // whoever asked is gone
        }
        self.pump(to);
    }

    fn deliver_to_swarm(&mut self, from: Machine, to: Machine, parcel: Parcel) {
        let moment = self.moment();
        let Some(parts) = &mut self.node_mut(to).parts else { return };
        match (parcel, &mut parts.manager) {
            (Parcel::Raft { message }, Some(manager)) => manager.receive(moment.now, message),
            (Parcel::Up(frame), Some(manager)) => manager.handle_up(moment, from, frame),
            (Parcel::Down(frame), _) => parts.worker.handle_down(moment.now, moment.at, frame),
            (_, _) => {}
        }
    }

    fn gossip_input(&mut self, to: Machine, input: Input<'_>) {
        let now = self.now;
        if let Some(gossip) = self.node_mut(to).parts.as_mut().and_then(|parts| parts.gossip.as_mut()) {
            let _ = gossip.handle_input(now, input); // counted inside
        } else if let Input::Request { id, .. } = input {
            self.reply(to, id, Bytes::new()); // nobody listens yet
        }
    }

    /// The other side does not answer any more.
    fn fail(&mut self, asker: Life, id: DialId) {
        let failure = DialFailure::TimedOut;
        let at = self.now + PATIENCE;
        self.post(at, asker.machine, asker.machine, Parcel::Failed { asker, id, failure });
    }

    fn trace_delivery(&mut self, from: Machine, to: Machine, parcel: &Parcel, lost: bool) {
        let at = self.elapsed();
        let (word, text, payload) = parcel.describe();
        let lost = if lost { " (lost)" } else { "" };
        let line = format!("{from} > {to} {word}{lost}");
        let digest = self.trace.delivery(at, &format!("{line} {text}"), payload);
        if self.config.every_delivery {
            self.trace.line(at, &format!("{line} {digest:016x}"));
        }
    }

    fn post(&mut self, at: Instant, from: Machine, to: Machine, parcel: Parcel) {
        if to.index() < self.nodes.len() {
            self.order += 1;
            self.queue.insert((at, self.order), (from, to, parcel));
        }
    }
}

/// A connection that breaks silently is noticed after this time.
const PATIENCE: Duration = Duration::from_secs(2);
