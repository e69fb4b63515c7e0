//! Comparing views of the cluster in passing, and repairing just what differs.
//!
//! ```text
//!   ping, ack     digest of all members (8 bytes); differs twice in a row and nothing is on its way ─▶
//!   ping          digests of parts ──▶ the members of the parts that differ, as ordinary messages
//!                                  ◀── ack with the other side's parts; the same in return
//! ```
//!
//! HashiCorp's nodes ignore the fields; with them, and where too much differs, a full exchange by TCP does it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::Membership;
use super::broadcast::{News, emit_alive};
use super::members::{Known, bucket_of};
use crate::wire::message::{Ack, Message, Ping, Source};
use crate::wire::packet;
use crate::{MemberState, NodeName};

/// How often this node has compared and answered, lately.
#[derive(Debug)]
pub(super) struct Repairs {
    /// How many views in a row differed from ours.
    differed: u32,
    /// How many repairs have been tried since a view was the same.
    tried: u32,
    next: Instant,
    answers: u32,
    answers_from: Instant,
}

impl Repairs {
    pub(super) fn new(now: Instant) -> Self {
        Self { differed: 0, tried: 0, next: now, answers: 0, answers_from: now }
    }
}

impl Membership {
    /// A member's view of the cluster: if two in a row differ from ours and nothing is on its way, it takes a repair.
    pub(super) fn compare(&mut self, now: Instant, name: &NodeName, theirs: u64) {
        if theirs == self.members.digest() {
            (self.repairs.differed, self.repairs.tried) = (0, 0);
            return;
        }
        self.repairs.differed = self.repairs.differed.saturating_add(1);
        // What is on its way needs no repair, unless so much is that it takes longer.
        let quiet = self.broadcasts.all_sent(self.retransmit_limit() / 2);
        let slow = self.backlog() > self.config.probe_interval / 2;
        let (enough, pause) = if slow { (1, 2) } else { (2, 1) };
        let due = self.repairs.differed >= enough && now >= self.repairs.next;
        if due && (quiet || slow) && self.config.repair {
            self.repairs.differed = 0;
            self.repairs.next = now + self.config.probe_interval / pause;
            self.repairs.tried += 1;
            if self.repairs.tried > MOST_TRIES {
                self.repairs.tried = 0;
                self.soon.insert((now, name.clone()));
            } else {
                self.compare_parts(now, name);
            }
        }
    }

    /// A member asks from an address that is not known as its own: it has moved, and may not know what we believe.
    pub(super) fn tell_about_itself(&mut self, now: Instant, name: &NodeName, to: SocketAddr) {
        let Some(known) = self.members.get(name.as_str()) else { return };
        let (incarnation, state) = (known.member.incarnation, known.member.state);
        if state != MemberState::Alive && self.may_answer(now) {
            let by = self.config.name.clone();
            let mut out = Vec::with_capacity(96);
            News::Suspect { incarnation, by, refused: false, probed: false }.emit(name, &mut out);
            self.transmit(to, &out, false);
        } else {
            self.check_on(now, name);
        }
    }

    /// Compares with a member in detail; by a full exchange if it knows no other way.
    pub(super) fn compare_parts(&mut self, now: Instant, name: &NodeName) {
        let Some(known) = self.members.get(name.as_str()) else { return };
        if !known.member.vsn.has_tables() || !self.config.repair {
            self.soon.insert((now, name.clone()));
            return;
        }
        let to = known.member.addr;
        let count = (self.members.len() / 4).next_power_of_two().clamp(LEAST_PARTS, MOST_PARTS);
        let parts = self.parts(count);
        let digest = Some(self.members.digest());
        let me = self.config.name.clone();
        let (node, source) = (name.as_str(), Source { node: me.as_str(), ..Source::default() });
        let ping = Message::Ping(Ping { digest, parts: Some(&parts), ..Ping::new(0, node, source) });
        self.stats.repairs += 1;
        self.transmit(to, &ping.to_vec(), false);
    }

    /// Somebody's parts: tells what we know in those that differ, and how ours look if the other asked.
    pub(super) fn on_parts(&mut self, now: Instant, name: &NodeName, theirs: &[u8], ack: Option<u32>) {
        let count = theirs.len() / 4;
        if !self.config.repair || !count.is_power_of_two() || count > MOST_PARTS || !self.may_answer(now) {
            return;
        }
        let Some(to) = self.members.get(name.as_str()).map(|k| k.member.addr) else { return };
        let mine = self.parts(count);
        let differ: Vec<bool> =
            mine.chunks_exact(4).zip(theirs.chunks_exact(4)).map(|(a, b)| a != b).collect();
        if !differ.contains(&true) {
            return;
        }
        if let Some(seq) = ack {
            let digest = Some(self.members.digest());
            let ack = Message::Ack(Ack { digest, parts: Some(&mine), ..Ack::new(seq) });
            self.transmit(to, &ack.to_vec(), false);
        }
        let room = self.config.packet_size.saturating_sub(self.envelope.overhead() + 2);
        let me = self.config.name.clone();
        let told = |known: &&Known| {
            let name = &known.member.name;
            differ.get(bucket_of(name, count)).copied().unwrap_or(false)
        };
        let mut packets: Vec<Vec<Bytes>> = vec![Vec::new()];
        let mut used = 0;
        for known in self.members.iter().filter(told) {
            let Some(message) = news_of(known, &me) else { continue };
            if used + message.len() + 2 > room || packets.last().is_some_and(|p| p.len() >= 250) {
                used = 0;
                packets.push(Vec::new());
            }
            used += message.len() + 2;
            if let Some(last) = packets.last_mut() {
                last.push(message);
            }
        }
        if packets.len() > MOST_PACKETS {
            self.soon.insert((now, name.clone()));
            return;
        }
        for packet in packets.iter().filter(|p| !p.is_empty()) {
            self.transmit(to, &packet::compound(packet), false);
        }
    }

    /// Somebody's parts whom we do not know: ours, which are no longer, so that it tells us what we lack.
    pub(super) fn on_parts_of_stranger(&mut self, now: Instant, from: SocketAddr, theirs: &[u8], seq: u32) {
        let count = theirs.len() / 4;
        if self.config.repair && count.is_power_of_two() && count <= MOST_PARTS && self.may_answer(now) {
            let parts = self.parts(count);
            let ack = Message::Ack(Ack { parts: Some(&parts), ..Ack::new(seq) });
            self.transmit(from, &ack.to_vec(), false);
        }
    }

    /// Answers are larger than questions: only so many in a time.
    pub(super) fn may_answer(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.repairs.answers_from) >= self.config.probe_interval {
            self.repairs.answers_from = now;
            self.repairs.answers = 0;
        }
        self.repairs.answers += 1;
        self.repairs.answers <= MOST_ANSWERS
    }

    fn parts(&self, count: usize) -> Vec<u8> {
        self.members.buckets(count).into_iter().flat_map(u32::to_be_bytes).collect()
    }
}

/// What to tell about a member. Death is told as a suspicion, so that the member can object.
fn news_of(known: &Known, me: &NodeName) -> Option<Bytes> {
    let member = &known.member;
    let incarnation = member.incarnation;
    let news = match member.state {
        MemberState::Alive | MemberState::Suspect => News::Alive(Arc::clone(member)),
        MemberState::Dead => News::Suspect { incarnation, by: me.clone(), refused: false, probed: false },
        MemberState::Left => News::Dead { incarnation, by: member.name.clone() },
    };
    let mut out = Vec::with_capacity(128);
    match &news {
        News::Alive(member) => emit_alive(member, &mut out),
        News::Suspect { .. } | News::Dead { .. } => news.emit(&member.name, &mut out),
    }
    Some(out.into())
}

const LEAST_PARTS: usize = 16;
/// 1 KiB of a datagram.
const MOST_PARTS: usize = 256;
/// If more differs, a full exchange is cheaper.
const MOST_PACKETS: usize = 6;
/// Repairs to answer per probe interval.
const MOST_ANSWERS: u32 = 16;
/// Then, everything is exchanged.
const MOST_TRIES: u32 = 3;
