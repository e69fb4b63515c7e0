//! Asking one member after the other whether it is there; and helping others to ask.
//!
//! ```text
//!   ping ──(timeout)──▶ indirect pings + TCP ping ──(interval × health)──▶ suspect
//!     └── ack: done           └── ack by any way: done    └── refused: suspect at once, with evidence
//! ```

mod answer;
mod round;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Membership;
use super::push_pull::Dialled;
use crate::wire::message::{Claim, IndirectPing, IpBytes, Message, Ping, Source};
use crate::{DialId, MemberState, NodeName};

/// The questions that are open.
#[derive(Debug)]
pub(super) struct Probes {
    next: Instant,
    place: usize,
    seq: u32,
    open: BTreeMap<u32, Open>,
    wakes: BTreeSet<(Instant, u32)>,
}

#[derive(Debug)]
struct Open {
    target: NodeName,
    asked: Instant,
    wake: Instant,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// A direct ping is out. `turn`: it is the target's turn, else it is to verify a suspicion.
    Direct { turn: bool, deadline: Instant },
    /// Others try, and TCP.
    Helped { turn: bool, nacks_wanted: u32, nacks: u32, by_tcp: Option<DialId> },
    /// On behalf of another member.
    Relay { to: SocketAddr, seq: u32, nack: bool },
}

impl Probes {
    pub(super) fn new(first: Instant) -> Self {
        Self { next: first, place: 0, seq: 0, open: BTreeMap::new(), wakes: BTreeSet::new() }
    }

    pub(super) fn poll_timeout(&self, others: bool) -> Option<Instant> {
        let next = others.then_some(self.next);
        self.wakes.first().map(|(at, _)| *at).into_iter().chain(next).min()
    }

    fn open(&mut self, target: NodeName, (asked, wake): (Instant, Instant), kind: Kind) -> u32 {
        // 0 belongs to no question.
        self.seq = self.seq.wrapping_add(1).max(1);
        let seq = self.seq;
        self.wakes.insert((wake, seq));
        if let Some(old) = self.open.insert(seq, Open { target, asked, wake, kind }) {
            self.wakes.remove(&(old.wake, seq));
        }
        seq
    }

    fn close(&mut self, seq: u32) -> Option<Open> {
        let open = self.open.remove(&seq)?;
        self.wakes.remove(&(open.wake, seq));
        Some(open)
    }
}

impl Membership {
    /// Starts the probe that is due and ends those whose time is over.
    pub(super) fn run_probes(&mut self, now: Instant) {
        while let Some((at, seq)) = self.probes.wakes.first().copied() {
            if at > now {
                break;
            }
            let Some(open) = self.probes.close(seq) else { continue };
            // We slept; the answers may still lie unread. That says nothing about the other side.
            if self.overslept(now, at) {
                self.awareness.worse(1);
            } else {
                self.expire(now, seq, open);
            }
        }
        if now < self.probes.next {
            return;
        }
        self.probes.next = now + self.config.probe_interval * self.awareness.factor();
        self.run_watches(now);
        if let Some(target) = self.next_target(now) {
            self.stats.probes += 1;
            self.ping(now, &target, self.config.probe_timeout, true);
        }
    }

    /// Whether something is done so late that this node must have been stopped.
    pub(super) fn overslept(&self, now: Instant, due: Instant) -> bool {
        now.saturating_duration_since(due) > self.config.probe_interval.max(MIN_SLEEP)
    }

    /// Checks on a suspect that somebody else reported, if chance wants it to be us; by TCP nearly at once if the
    /// other was refused.
    pub(super) fn verify(&mut self, now: Instant, name: &NodeName, refused: bool) {
        use rand::Rng;
        let kin = self.members.kin(); // others do not check, and are not counted on
        let crowd = if kin == 0 { self.members.up() } else { kin };
        let crowd = u32::try_from(crowd).unwrap_or(u32::MAX).max(1);
        if self.rng.random_range(0..crowd) < self.config.verifiers {
            let patience = if refused { MIN_WAIT } else { self.config.probe_timeout / 4 };
            self.ask(now, name, patience);
        }
    }

    /// Asks a member out of turn.
    pub(super) fn check_on(&mut self, now: Instant, name: &NodeName) {
        self.ask(now, name, self.config.probe_timeout);
    }

    /// Asks a member out of turn, by TCP nearly at once.
    pub(super) fn check_on_soon(&mut self, now: Instant, name: &NodeName) {
        self.ask(now, name, MIN_WAIT);
    }

    fn ask(&mut self, now: Instant, name: &NodeName, patience: Duration) {
        let asked = |o: &Open| o.target == *name && !matches!(o.kind, Kind::Relay { .. });
        if self.probes.open.len() < MAX_OPEN && !self.probes.open.values().any(asked) {
            self.ping(now, name, patience, false);
        }
    }

    /// Sends a direct ping. A suspect is told what it is accused of, so that it can object.
    fn ping(&mut self, now: Instant, target: &NodeName, patience: Duration, turn: bool) {
        let Some(known) = self.members.get(target.as_str()) else { return };
        let member = Arc::clone(&known.member);
        let time = if turn { self.config.probe_interval } else { self.config.probe_interval * 3 / 4 };
        let deadline = now + time * self.awareness.factor();
        let wake = now + patience.min(self.config.probe_interval);
        let seq = self.probes.open(target.clone(), (now, wake), Kind::Direct { turn, deadline });
        let mut messages = vec![self.ping_message(seq, target)];
        if member.state == MemberState::Suspect {
            let me = self.config.name.clone();
            let (incarnation, node, from) = (member.incarnation, target.as_str(), me.as_str());
            let claim = Claim { incarnation, node, from, ..Claim::default() };
            messages.push(Message::Suspect(claim).to_vec().into());
        }
        self.transmit_with_gossip(member.addr, messages, false);
    }

    fn ping_message(&self, seq: u32, target: &NodeName) -> Bytes {
        let ip = IpBytes::new(self.config.advertise.ip());
        let ours = self.members.get(target.as_str()).is_some_and(|k| k.member.vsn.has_tables());
        let (mut source, mut digest) = (Source::default(), None);
        if ours && self.config.repair {
            // Nodes of this kind know us by the address that the datagram comes from.
            digest = Some(self.members.digest());
        } else {
            source.addr = ip.as_slice();
            source.port = self.config.advertise.port();
            source.node = self.config.name.as_str();
        }
        Message::Ping(Ping { digest, ..Ping::new(seq, target.as_str(), source) }).to_vec().into()
    }

    /// A wait is over.
    fn expire(&mut self, now: Instant, seq: u32, open: Open) {
        match open.kind {
            Kind::Relay { nack: false, .. } => {}
            Kind::Relay { to, seq, nack: true } => {
                let nack = Message::Nack { seq };
                self.transmit_with_gossip(to, vec![nack.to_vec().into()], false);
            }
            Kind::Direct { .. } => self.ask_for_help(now, seq, open),
            Kind::Helped { turn, nacks_wanted, nacks, by_tcp } => {
                self.stats.probes_failed += 1;
                if turn {
                    // Helpers that say nothing make us doubt ourselves; so does having none.
                    let missing = if nacks_wanted == 0 { 1 } else { nacks_wanted.saturating_sub(nacks) };
                    self.awareness.worse(missing);
                }
                if !self.deaf_since(now, open.asked) {
                    self.suspect(now, &open.target, (false, by_tcp.is_some()));
                }
            }
        }
    }

    /// No answer in time: asks others to try, and tries TCP.
    fn ask_for_help(&mut self, now: Instant, seq: u32, open: Open) {
        let Open { target, asked, kind: Kind::Direct { turn, deadline }, .. } = open else { return };
        let Some(known) = self.members.get(target.as_str()) else { return };
        if !known.member.state.is_up() {
            return;
        }
        let member = Arc::clone(&known.member);
        let helpers = if turn { self.config.indirect_checks } else { 0 };
        let helpers = self.members.pick(&mut self.rng, helpers, |k| {
            k.member.state == MemberState::Alive && k.member.name != target
        });
        let (mine, theirs) = (IpBytes::new(self.config.advertise.ip()), IpBytes::new(member.addr.ip()));
        let me = self.config.name.clone();
        let mut nacks_wanted = 0;
        for helper in &helpers {
            let Some(known) = self.members.get(helper.as_str()) else { continue };
            let (to, nack) = (known.member.addr, known.member.vsn.protocol_max >= 4);
            nacks_wanted += u32::from(nack);
            let source =
                Source { addr: mine.as_slice(), port: self.config.advertise.port(), node: me.as_str() };
            let message = Message::IndirectPing(IndirectPing {
                seq,
                target: theirs.as_slice(),
                port: member.addr.port(),
                node: target.as_str(),
                nack,
                source,
            });
            self.transmit_with_gossip(to, vec![message.to_vec().into()], false);
        }
        let wait = deadline.saturating_duration_since(now);
        let by_tcp = (self.config.tcp_ping && member.vsn.protocol_max >= 3)
            .then(|| self.dial_ping(&member, seq, wait.max(MIN_WAIT)));
        let wake = now + wait;
        let kind = Kind::Helped { turn, nacks_wanted, nacks: 0, by_tcp };
        self.probes.open.insert(seq, Open { target, asked, wake, kind });
        self.probes.wakes.insert((wake, seq));
    }

    fn dial_ping(&mut self, member: &crate::Member, seq: u32, timeout: Duration) -> DialId {
        let ip = IpBytes::new(self.config.advertise.ip());
        let me = self.config.name.clone();
        let source = Source { addr: ip.as_slice(), port: self.config.advertise.port(), node: me.as_str() };
        let ping = Message::Ping(Ping::new(seq, member.name.as_str(), source));
        self.dial(member.addr, &ping.to_vec(), Dialled::Ping { seq }, timeout)
    }

    /// A datagram that is of the cluster came from there.
    pub(super) fn heard_from(&mut self, now: Instant, addr: SocketAddr) {
        self.members.heard_from(now, addr);
        self.hear(now);
    }

    fn heard(&mut self, now: Instant, name: &NodeName, turn: bool) {
        self.members.heard(now, name);
        if turn {
            self.awareness.better();
        }
    }
}

/// A TCP ping gets at least this long.
const MIN_WAIT: Duration = Duration::from_millis(50);

/// Being late by less is a busy machine, not a sleeping one.
const MIN_SLEEP: Duration = Duration::from_millis(500);

/// Most questions to have open at once.
const MAX_OPEN: usize = 4096;
