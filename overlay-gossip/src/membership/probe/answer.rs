//! Being asked, asking for others, and what answers mean.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Kind, MAX_OPEN, Open};
use crate::membership::Membership;
use crate::membership::members::Known;
use crate::wire::message::{Ack, IndirectPing, Message, Ping, Source, ip_from_bytes};
use crate::{DialFailure, DialId, Event};

impl Membership {
    pub(in crate::membership) fn on_ping(&mut self, now: Instant, from: SocketAddr, ping: &Ping<'_>) {
        if ping.node != self.config.name.as_str() {
            self.stats.ignored += 1;
            return;
        }
        let to = self.answer_to(from, &ping.source);
        let name = match ping.source.node {
            "" => self.members.by_addr(from).cloned(),
            name => self.members.get(name).map(|k| k.member.name.clone()),
        };
        if let Some(parts) = ping.parts {
            match name {
                Some(name) if self.members.by_addr(from) == Some(&name) => {
                    self.on_parts(now, &name, parts, Some(ping.seq));
                }
                Some(name) => self.tell_about_itself(now, &name, from),
                None => self.on_parts_of_stranger(now, from, parts, ping.seq),
            }
            return;
        }
        // Silence is consent.
        let digest = ping.digest.map(|_| self.members.digest()).filter(|mine| ping.digest != Some(*mine));
        let ack = Message::Ack(Ack { digest, ours: ping.digest.is_some(), ..Ack::new(ping.seq) });
        self.transmit_with_gossip(to, vec![ack.to_vec().into()], false);
        if let (Some(theirs), Some(name)) = (ping.digest, name) {
            self.compare(now, &name, theirs);
        }
    }

    pub(in crate::membership) fn on_indirect_ping(
        &mut self,
        now: Instant,
        from: SocketAddr,
        ping: &IndirectPing<'_>,
    ) {
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
        let seq = self.probes.open(name.clone(), (now, now + self.config.probe_timeout), kind);
        let message = self.ping_message(seq, &name);
        self.transmit_with_gossip(addr, vec![message], false);
    }

    pub(in crate::membership) fn on_ack(&mut self, now: Instant, from: SocketAddr, ack: &Ack<'_>) {
        if let (Some(parts), Some(name)) = (ack.parts, self.members.by_addr(from).cloned()) {
            self.on_parts(now, &name, parts, None);
            return;
        }
        let Some(open) = self.probes.close(ack.seq) else { return };
        let relayed = matches!(open.kind, Kind::Relay { .. });
        match open.kind {
            Kind::Relay { to, seq, .. } => {
                let relayed = Message::Ack(Ack { payload: ack.payload, ..Ack::new(seq) });
                self.transmit_with_gossip(to, vec![relayed.to_vec().into()], false);
            }
            Kind::Direct { turn, .. } => {
                self.heard(now, &open.target, turn);
                if let Some(known) = self.members.get_mut(open.target.as_str()) {
                    known.udp_blocked = false;
                }
            }
            // The answer may have come through others; that the member lives is what counts.
            Kind::Helped { turn, .. } => self.heard(now, &open.target, turn),
        }
        if ack.ours && !relayed {
            let theirs = ack.digest.unwrap_or(self.members.digest());
            self.compare(now, &open.target, theirs);
        }
    }

    pub(in crate::membership) fn on_nack(&mut self, seq: u32) {
        if let Some(Open { kind: Kind::Helped { nacks, .. }, .. }) = self.probes.open.get_mut(&seq) {
            *nacks += 1;
        }
    }

    /// The answer to a ping over TCP, if it is for this node.
    pub(in crate::membership) fn stream_ack(&mut self, ping: &Ping<'_>) -> Option<Vec<u8>> {
        if ping.node != self.config.name.as_str() {
            self.stats.ignored += 1;
            return None;
        }
        Some(Message::Ack(Ack::new(ping.seq)).to_vec())
    }

    /// A TCP ping was answered.
    pub(in crate::membership) fn on_stream_ack(&mut self, now: Instant, id: DialId, ack: &Ack<'_>) {
        let seq = ack.seq;
        if !matches!(self.probes.open.get(&seq), Some(Open { kind: Kind::Helped { by_tcp, .. }, .. }) if *by_tcp == Some(id))
        {
            return;
        }
        if let Some(open) = self.probes.close(seq) {
            if let Kind::Helped { turn, .. } = open.kind {
                self.heard(now, &open.target, turn);
            }
            let known = self.members.get_mut(open.target.as_str());
            if known.is_some_and(|known| !std::mem::replace(&mut known.udp_blocked, true)) {
                self.event(Event::UdpBlocked { name: open.target });
            }
        }
    }

    /// A TCP ping failed. A refusal says more than silence, if the host let us through not long ago.
    pub(in crate::membership) fn on_tcp_ping_failed(&mut self, now: Instant, seq: u32, failure: DialFailure) {
        let Some(open) = self.probes.open.get(&seq) else { return };
        let window =
            self.config.probe_interval * u32::try_from(self.members.up()).unwrap_or(u32::MAX).max(5) * 2;
        let heard = self.members.get(open.target.as_str()).and_then(Known::heard);
        let fresh = heard.is_some_and(|at| self.members.tick(now).since(at) < window);
        if failure != DialFailure::Refused || !fresh || self.config.refused_timeout.is_zero() {
            return;
        }
        if let Some(open) = self.probes.close(seq) {
            self.stats.probes_failed += 1;
            self.suspect_refused(now, &open.target);
        }
    }

    /// Answers go where the asker says only if a member is there.
    fn answer_to(&self, from: SocketAddr, source: &Source<'_>) -> SocketAddr {
        source.socket_addr().filter(|addr| self.is_member_addr(*addr)).unwrap_or(from)
    }
}
