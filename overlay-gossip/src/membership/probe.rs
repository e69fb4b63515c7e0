//! Asking one member after the other whether it is there; and helping others to ask.
//!
//! ```text
//!   ping ──(timeout)──▶ indirect pings + TCP ping ──(interval × health)──▶ suspect
//!     └── ack: done           └── ack by any way: done    └── refused: suspect at once, with evidence
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Membership;
use super::push_pull::Dialled;
use crate::wire::message::{Ack, Claim, IndirectPing, IpBytes, Message, Ping, Source, ip_from_bytes};
use crate::{DialFailure, DialId, Event, MemberState, NodeName};

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

    fn open(&mut self, target: NodeName, wake: Instant, kind: Kind) -> u32 {
        self.seq = self.seq.wrapping_add(1);
        let seq = self.seq;
        self.wakes.insert((wake, seq));
        if let Some(old) = self.open.insert(seq, Open { target, wake, kind }) {
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
        let crowd = u32::try_from(self.members.up()).unwrap_or(u32::MAX).max(1);
        let busy =
            self.probes.open.values().any(|o| o.target == *name && !matches!(o.kind, Kind::Relay { .. }));
        if !busy && self.rng.random_range(0..crowd) < self.config.verifiers {
            let patience = if refused { MIN_WAIT } else { self.config.probe_timeout };
            self.ping(now, name, patience, false);
        }
    }

    pub(super) fn on_ping(&mut self, now: Instant, from: SocketAddr, ping: &Ping<'_>) {
        if ping.node != self.config.name.as_str() {
            self.stats.ignored += 1;
            return;
        }
        let to = self.answer_to(from, &ping.source);
        let digest = ping.digest.map(|_| self.members.digest());
        let ack = Message::Ack(Ack { seq: ping.seq, payload: None, digest });
        self.transmit_with_gossip(to, vec![ack.to_vec().into()], false);
        if let (Some(theirs), Ok(name)) = (ping.digest, NodeName::new(ping.source.node)) {
            self.compare(now, &name, theirs);
        }
    }

    pub(super) fn on_indirect_ping(&mut self, now: Instant, from: SocketAddr, ping: &IndirectPing<'_>) {
        let target = ip_from_bytes(ping.target).map(|ip| SocketAddr::new(ip, ping.port));
        let known = self.members.get(ping.node).filter(|k| Some(k.member.addr) == target);
        let Some(known) = known else {
            self.stats.ignored += 1;
            return;
        };
        if self.probes.open.len() >= MAX_OPEN {
            self.stats.ignored += 1;
            return;
        }
        let (name, addr) = (known.member.name.clone(), known.member.addr);
        let to = self.answer_to(from, &ping.source);
        let kind = Kind::Relay { to, seq: ping.seq, nack: ping.nack };
        let seq = self.probes.open(name.clone(), now + self.config.probe_timeout, kind);
        let message = self.ping_message(seq, &name);
        self.transmit_with_gossip(addr, vec![message], false);
    }

    pub(super) fn on_ack(&mut self, now: Instant, ack: &Ack<'_>) {
        let Some(open) = self.probes.close(ack.seq) else { return };
        match open.kind {
            Kind::Relay { to, seq, .. } => {
                let relayed = Message::Ack(Ack { seq, payload: ack.payload, digest: None });
                self.transmit_with_gossip(to, vec![relayed.to_vec().into()], false);
            }
            Kind::Direct { turn, .. } => self.heard(now, &open.target, turn),
            // The answer may have come through others; that the member lives is what counts.
            Kind::Helped { turn, .. } => self.heard(now, &open.target, turn),
        }
        if let Some(theirs) = ack.digest {
            self.compare(now, &open.target, theirs);
        }
    }

    pub(super) fn on_nack(&mut self, seq: u32) {
        if let Some(Open { kind: Kind::Helped { nacks, .. }, .. }) = self.probes.open.get_mut(&seq) {
            *nacks += 1;
        }
    }

    /// The answer to a ping over TCP, if it is for this node.
    pub(super) fn stream_ack(&mut self, ping: &Ping<'_>) -> Option<Vec<u8>> {
        if ping.node != self.config.name.as_str() {
            self.stats.ignored += 1;
            return None;
        }
        Some(Message::Ack(Ack { seq: ping.seq, payload: None, digest: None }).to_vec())
    }

    /// A TCP ping was answered.
    pub(super) fn on_stream_ack(&mut self, now: Instant, id: DialId, ack: &Ack<'_>) {
        let seq = ack.seq;
        if !matches!(self.probes.open.get(&seq), Some(Open { kind: Kind::Helped { by_tcp, .. }, .. }) if *by_tcp == Some(id))
        {
            return;
        }
        if let Some(open) = self.probes.close(seq) {
            if let Kind::Helped { turn, .. } = open.kind {
                self.heard(now, &open.target, turn);
            }
            self.event(Event::UdpBlocked { name: open.target });
        }
    }

    /// A TCP ping failed. A refusal says more than silence, if the host let us through not long ago.
    pub(super) fn on_tcp_ping_failed(&mut self, now: Instant, seq: u32, failure: DialFailure) {
        let Some(open) = self.probes.open.get(&seq) else { return };
        let window =
            self.config.probe_interval * u32::try_from(self.members.up()).unwrap_or(u32::MAX).max(5) * 2;
        let heard = self.members.get(open.target.as_str()).and_then(|k| k.heard);
        let fresh = heard.is_some_and(|at| now.saturating_duration_since(at) < window);
        if failure != DialFailure::Refused || !fresh || self.config.refused_timeout.is_zero() {
            return;
        }
        if let Some(open) = self.probes.close(seq) {
            self.stats.probes_failed += 1;
            self.suspect_refused(now, &open.target);
        }
    }

    /// Sends a direct ping. A suspect is told what it is accused of, so that it can object.
    fn ping(&mut self, now: Instant, target: &NodeName, patience: Duration, turn: bool) {
        let Some(known) = self.members.get(target.as_str()) else { return };
        let (member, deadline) =
            (known.member.clone(), now + self.config.probe_interval * self.awareness.factor());
        let wake = now + patience.min(self.config.probe_interval);
        let seq = self.probes.open(target.clone(), wake, Kind::Direct { turn, deadline });
        let mut messages = vec![self.ping_message(seq, target)];
        if member.state == MemberState::Suspect {
            let me = self.config.name.clone();
            let claim = Claim {
                incarnation: member.incarnation,
                node: target.as_str(),
                from: me.as_str(),
                refused: false,
            };
            messages.push(Message::Suspect(claim).to_vec().into());
        }
        self.transmit_with_gossip(member.addr, messages, false);
    }

    fn ping_message(&self, seq: u32, target: &NodeName) -> Bytes {
        let ip = IpBytes::new(self.config.advertise.ip());
        let source = Source {
            addr: ip.as_slice(),
            port: self.config.advertise.port(),
            node: self.config.name.as_str(),
        };
        let digest = self.members.get(target.as_str()).filter(|k| k.member.vsn.has_tables());
        let digest = digest.map(|_| self.members.digest());
        Message::Ping(Ping { seq, node: target.as_str(), source, digest }).to_vec().into()
    }

    /// A wait is over.
    fn expire(&mut self, now: Instant, seq: u32, open: Open) {
        match open.kind {
            Kind::Relay { nack: false, .. } => {}
            Kind::Relay { to, seq, nack: true } => {
                let nack = Message::Nack { seq };
                self.transmit_with_gossip(to, vec![nack.to_vec().into()], false);
            }
            Kind::Direct { turn, deadline } => self.ask_for_help(now, seq, open.target, (turn, deadline)),
            Kind::Helped { turn, nacks_wanted, nacks, .. } => {
                self.stats.probes_failed += 1;
                if turn {
                    // Helpers that say nothing make us doubt ourselves; so does having none.
                    let missing = if nacks_wanted == 0 { 1 } else { nacks_wanted.saturating_sub(nacks) };
                    self.awareness.worse(missing);
                }
                self.suspect(now, &open.target, false);
            }
        }
    }

    /// No answer in time: asks others to try, and tries TCP.
    fn ask_for_help(&mut self, now: Instant, seq: u32, target: NodeName, (turn, deadline): (bool, Instant)) {
        let Some(known) = self.members.get(target.as_str()) else { return };
        if !known.member.state.is_up() {
            return;
        }
        let member = known.member.clone();
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
        self.probes.open.insert(seq, Open { target, wake, kind });
        self.probes.wakes.insert((wake, seq));
    }

    fn dial_ping(&mut self, member: &crate::Member, seq: u32, timeout: Duration) -> DialId {
        let ip = IpBytes::new(self.config.advertise.ip());
        let me = self.config.name.clone();
        let source = Source { addr: ip.as_slice(), port: self.config.advertise.port(), node: me.as_str() };
        let ping = Message::Ping(Ping { seq, node: member.name.as_str(), source, digest: None });
        self.dial(member.addr, &ping.to_vec(), Dialled::Ping { seq }, timeout)
    }

    /// A datagram that is of the cluster came from there.
    pub(super) fn heard_from(&mut self, now: Instant, addr: SocketAddr) {
        if let Some(name) = self.members.by_addr(addr).cloned()
            && let Some(known) = self.members.get_mut(name.as_str())
        {
            known.heard = Some(now);
        }
    }

    fn heard(&mut self, now: Instant, name: &NodeName, turn: bool) {
        if let Some(known) = self.members.get_mut(name.as_str()) {
            known.heard = Some(now);
        }
        if turn {
            self.awareness.better();
        }
    }

    /// A member's view of the cluster differs: twice in a row and with nothing on its way, it takes a full exchange.
    fn compare(&mut self, now: Instant, name: &NodeName, theirs: u64) {
        let same = theirs == self.members.digest();
        let Some(known) = self.members.get_mut(name.as_str()) else { return };
        known.differed = if same { 0 } else { known.differed.saturating_add(1) };
        if known.differed >= 2 && self.broadcasts.is_empty() {
            known.differed = 0;
            self.soon.insert((now, name.clone()));
        }
    }

    /// Answers go where the asker says only if a member is there.
    fn answer_to(&self, from: SocketAddr, source: &Source<'_>) -> SocketAddr {
        source.socket_addr().filter(|addr| self.is_member_addr(*addr)).unwrap_or(from)
    }

    /// Whose turn it is. After each round the order changes and the long gone are forgotten.
    fn next_target(&mut self, now: Instant) -> Option<NodeName> {
        for _ in 0..=self.members.len() {
            let Some(name) = self.members.at(self.probes.place).cloned() else {
                self.probes.place = 0;
                self.forget_the_gone(now);
                self.members.shuffle(&mut self.rng);
                self.members.at(0)?;
                continue;
            };
            self.probes.place += 1;
            if self.members.is_up(name.as_str()) {
                return Some(name);
            }
        }
        None
    }

    fn forget_the_gone(&mut self, now: Instant) {
        let gone: Vec<NodeName> = self
            .members
            .iter()
            .filter(|k| {
                let keep = match k.member.state {
                    MemberState::Alive | MemberState::Suspect => return false,
                    MemberState::Dead => self.config.dead_forget,
                    MemberState::Left => self.config.tombstone.max(self.config.gossip_to_the_dead),
                };
                now.saturating_duration_since(k.changed_at) > keep && k.member.name != self.config.name
            })
            .map(|k| k.member.name.clone())
            .collect();
        for name in gone {
            self.members.remove(&name);
            self.members_changed = true;
            self.tables.forget_owner(&name);
        }
    }
}

/// A TCP ping gets at least this long.
const MIN_WAIT: Duration = Duration::from_millis(50);

/// Being late by less is a busy machine, not a sleeping one.
const MIN_SLEEP: Duration = Duration::from_millis(500);

/// Most questions to have open at once.
const MAX_OPEN: usize = 4096;
