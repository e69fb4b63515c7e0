//! Watching a few neighbours over an idle TCP connection, which breaks the moment their process ends.
//!
//! ```text
//!   watcher                                      neighbour
//!      │── connect, ping with "watch" ─────────────▶│   keeps the stream open, says nothing
//!      │                                            ✗   its process ends: FIN or RST
//!      │── ping, TCP ping ──▶ refused: evidence
//! ```
//!
//! The neighbours of a node are those whose names hash to the next values on the ring, so that every node is watched
//! by about as many as it watches. HashiCorp's members are not asked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::Membership;
use super::push_pull::Dialled;
use crate::wire::message::{Ack, Message, Ping, Source};
use crate::{Action, DialId, NodeName, Output, StreamId};

/// Whom this node watches, and by whom it is watched.
#[derive(Debug, Default)]
pub(super) struct Watches {
    /// The nearest on the ring, by distance.
    nearest: BTreeMap<u64, Watched>,
    /// One of them was lost: others may be nearest now.
    incomplete: bool,
    /// Streams that others hold open to us, and since when.
    held: BTreeSet<(Instant, StreamId, u32)>,
}

#[derive(Debug)]
struct Watched {
    name: NodeName,
    dial: Option<DialId>,
    /// Not before then.
    next: Instant,
}

impl Membership {
    /// A member came: perhaps a neighbour.
    pub(super) fn consider_watching(&mut self, now: Instant, name: &NodeName) {
        let ours = self.members.get(name.as_str()).is_some_and(|k| k.member.vsn.has_tables());
        if !ours || self.config.watch == 0 || *name == self.config.name {
            return;
        }
        let distance = self.distance(name);
        let nearest = &mut self.watches.nearest;
        let near = nearest.last_key_value().is_none_or(|(last, _)| distance < *last);
        if !near && nearest.len() >= self.config.watch {
            return;
        }
        nearest.entry(distance).or_insert_with(|| Watched { name: name.clone(), dial: None, next: now });
        while nearest.len() > self.config.watch {
            nearest.pop_last();
        }
    }

    /// A member is gone: others may be nearest now.
    pub(super) fn stop_watching(&mut self, name: &NodeName) {
        if self.watches.nearest.is_empty() {
            return;
        }
        let distance = self.distance(name);
        if self.watches.nearest.remove(&distance).is_some() {
            self.watches.incomplete = true;
        }
    }

    /// Has the neighbours looked for anew.
    pub(super) fn find_neighbours(&mut self) {
        self.watches.incomplete = true;
    }

    /// Looks for neighbours and calls one at a time; once per probe.
    pub(super) fn run_watches(&mut self, now: Instant) {
        if std::mem::take(&mut self.watches.incomplete) {
            let up: Vec<NodeName> = self
                .members
                .iter()
                .filter(|k| k.member.state.is_up())
                .map(|k| k.member.name.clone())
                .collect();
            up.iter().for_each(|name| self.consider_watching(now, name));
        }
        let due = |w: &&mut Watched| w.dial.is_none() && w.next <= now;
        let Some(name) = self.watches.nearest.values_mut().find(due).map(|w| w.name.clone()) else { return };
        let Some(to) = self.members.get(name.as_str()).map(|k| k.member.addr) else { return };
        let (node, source) = (name.as_str(), Source::default());
        let ping = Ping { watch: true, ..Ping::new(0, node, source) };
        let id = self.dial(to, &Message::Ping(ping).to_vec(), Dialled::Watch, WATCH * 2);
        let distance = self.distance(&name);
        if let Some(watched) = self.watches.nearest.get_mut(&distance) {
            watched.dial = Some(id);
        }
    }

    /// Somebody wants to watch this node: the stream stays open if there are not too many.
    pub(super) fn hold(&mut self, now: Instant, id: StreamId, seq: u32) -> bool {
        let free = self.watches.held.len() < MOST_HELD;
        if free {
            self.watches.held.insert((now, id, seq));
        }
        free
    }

    /// When the next held stream is let go.
    pub(super) fn next_release(&self) -> Option<Instant> {
        self.watches.held.first().map(|(since, ..)| *since + WATCH)
    }

    /// Lets go of streams that were held long enough (`all`: of all of them) with a friendly word: it is no death.
    pub(super) fn release_watchers(&mut self, now: Instant, all: bool) {
        while let Some((since, id, seq)) = self.watches.held.first().copied() {
            if !all && now < since + WATCH {
                return;
            }
            self.watches.held.pop_first();
            let ack = Message::Ack(Ack::new(seq)).to_vec();
            let payload = self.envelope.wrap_stream(&ack, false, &mut self.rng);
            self.outputs.push_back(Output::Action(Action::Reply { id, payload }));
        }
    }

    /// A connection to a neighbour ended; `broken`, not by its own will.
    pub(super) fn on_watch_ended(&mut self, now: Instant, id: DialId, broken: bool) {
        let mut watched = self.watches.nearest.values_mut();
        let Some(watched) = watched.find(|w| w.dial == Some(id)) else { return };
        watched.dial = None;
        watched.next = now + PAUSE;
        let name = watched.name.clone();
        if broken {
            // Until now, its host let us through.
            self.members.heard(now, &name);
            self.check_on_soon(now, &name);
        }
    }

    fn distance(&self, name: &NodeName) -> u64 {
        let place = |name: &NodeName| crate::table::hash(&[name.as_str().as_bytes()]);
        place(name).wrapping_sub(place(&self.config.name))
    }
}

/// How long a stream is held.
const WATCH: Duration = Duration::from_secs(600);
/// How long to wait after a neighbour ended the stream.
const PAUSE: Duration = Duration::from_secs(10);
/// Streams to hold for others; three are expected.
const MOST_HELD: usize = 32;
