//! Who is right when two nodes disagree: the higher incarnation, and a member about itself.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::suspicion::Suspicion;
use super::{Leaving, MAX_META, Membership};
use crate::wire::message::{Alive, Claim, IpBytes, Message};
use crate::{Event, Evidence, Member, MemberState, NodeName};

impl Membership {
    /// "It is alive."
    pub(super) fn on_alive(&mut self, now: Instant, alive: &Alive<'_>) {
        let claimed = alive.socket_addr(self.config.advertise.port());
        let (Some(addr), Some(vsn), Ok(name)) = (claimed, alive.vsn, NodeName::new(alive.node)) else {
            self.stats.ignored += 1;
            return;
        };
        let meta = Bytes::copy_from_slice(alive.meta.unwrap_or_default());
        if !vsn.is_sane() || meta.len() > MAX_META {
            self.stats.ignored += 1;
            return;
        }
        let incarnation = alive.incarnation;
        let claim = Member { name, addr, state: MemberState::Alive, incarnation, meta, vsn };
        if claim.name == self.config.name {
            self.on_alive_me(now, &claim);
            return;
        }
        let Some(known) = self.members.get(claim.name.as_str()) else {
            if self.members.len() < self.config.max_members {
                self.accept_alive(now, claim, None);
            } else {
                self.stats.ignored += 1;
            }
            return;
        };
        let old = known.member.clone();
        if old.addr != addr {
            let dead_for = now.saturating_duration_since(known.changed_at);
            let free = old.state == MemberState::Left
                || (old.state == MemberState::Dead && dead_for >= self.config.dead_reclaim);
            if free {
                self.accept_alive(now, claim, Some(old));
            } else if incarnation >= old.incarnation {
                let event = Event::NameConflict { name: old.name, known: old.addr, claimed: addr };
                self.event(event);
            }
            return;
        }
        // An incarnation cannot grow beyond its type: there, the member's own word wins.
        let last_word = incarnation == u32::MAX
            && old.incarnation == u32::MAX
            && matches!(old.state, MemberState::Suspect | MemberState::Dead);
        if incarnation > old.incarnation || last_word {
            self.accept_alive(now, claim, Some(old));
        }
    }

    /// "It is suspect."
    pub(super) fn on_suspect(&mut self, now: Instant, claim: &Claim<'_>) {
        let (Some(known), Ok(from)) = (self.members.get(claim.node), NodeName::new(claim.from)) else {
            return;
        };
        let member = known.member.clone();
        if claim.incarnation < member.incarnation || !member.state.is_up() {
            return;
        }
        if member.name == self.config.name {
            if self.leaving == Leaving::No {
                self.refute(now, claim.incarnation, &from);
            }
            return;
        }
        let enough = self.enough_refusals();
        let refused_timeout = if claim.refused { self.config.refused_timeout } else { Duration::ZERO };
        let message: Bytes = Message::Suspect(*claim).to_vec().into();
        if member.state == MemberState::Suspect {
            let Some(suspicion) = self.members.get_mut(claim.node).and_then(|k| k.suspicion.as_mut()) else {
                return;
            };
            let old = suspicion.deadline();
            let refused = suspicion.refuse(&from, enough, refused_timeout);
            let confirmed = suspicion.confirm(&from);
            if refused || confirmed {
                self.schedule_suspicion(&member.name, Some(old));
                self.broadcasts.add(&member.name, &from, message);
            }
            return;
        }
        let mut suspicion = Suspicion::new(now, from.clone(), self.members.up(), &self.config);
        suspicion.refuse(&from, enough, refused_timeout);
        let name = member.name.clone();
        let suspect = Member { state: MemberState::Suspect, incarnation: claim.incarnation, ..member };
        self.update_member(now, suspect);
        if let Some(known) = self.members.get_mut(claim.node) {
            known.suspicion = Some(suspicion);
        }
        self.schedule_suspicion(&name, None);
        self.broadcasts.add(&name, &from, message);
        let mine = from == self.config.name;
        self.event(Event::MemberSuspect { name: name.clone(), by: from });
        if !mine {
            self.verify(now, &name, claim.refused);
        }
    }

    /// "It is dead", or, said by itself, "I leave".
    pub(super) fn on_dead(&mut self, now: Instant, claim: &Claim<'_>) {
        let Ok(by) = NodeName::new(claim.from) else { return };
        self.declare_dead(now, claim, Evidence::Hearsay { by });
    }

    /// Declares those dead whose time to object is over.
    pub(super) fn run_suspicions(&mut self, now: Instant) {
        while let Some((at, name)) = self.suspicions.first().cloned() {
            if at > now {
                return;
            }
            if self.overslept(now, at) {
                self.grant_respite(now, &name);
                continue;
            }
            self.suspicions.pop_first();
            let Some(known) = self.members.get(name.as_str()) else { continue };
            let Some(suspicion) = &known.suspicion else { continue };
            let enough = self.enough_refusals();
            let evidence = if suspicion.refusals() >= enough {
                Evidence::Refused { reports: suspicion.refusals() }
            } else {
                Evidence::Silence { suspected_by: suspicion.suspected_by() }
            };
            let me = self.config.name.clone();
            let claim = Claim {
                incarnation: known.member.incarnation,
                node: name.as_str(),
                from: me.as_str(),
                refused: false,
            };
            self.declare_dead(now, &claim, evidence);
        }
    }

    /// Starts or supports a suspicion in this node's own name, because a connection was refused.
    pub(super) fn suspect_refused(&mut self, now: Instant, name: &NodeName) {
        self.suspect(now, name, true);
    }

    /// Starts or supports a suspicion in this node's own name.
    pub(super) fn suspect(&mut self, now: Instant, name: &NodeName, refused: bool) {
        let Some(known) = self.members.get(name.as_str()) else { return };
        if *name == self.config.name {
            return;
        }
        let me = self.config.name.clone();
        let incarnation = known.member.incarnation;
        self.on_suspect(now, &Claim { incarnation, node: name.as_str(), from: me.as_str(), refused });
    }

    /// Queues this node's own claim to be alive.
    pub(super) fn announce(&mut self) {
        let me = self.config.name.clone();
        if let Some(message) = self.alive_message(&me) {
            self.broadcasts.replace(&me, message);
        }
    }

    /// Claims to be alive with new content.
    pub(super) fn reannounce(&mut self, now: Instant) {
        let Some(me) = self.members.get(self.config.name.as_str()) else { return };
        let incarnation = me.member.incarnation.saturating_add(1);
        let meta = self.config.meta.clone();
        let me = Member { incarnation, meta, ..me.member.clone() };
        self.update_member(now, me);
        self.announce();
    }

    /// Comes back after having left.
    pub(super) fn rejoin(&mut self, now: Instant) {
        let Some(me) = self.members.get(self.config.name.as_str()) else { return };
        let incarnation = me.member.incarnation.saturating_add(1);
        let me = Member { incarnation, state: MemberState::Alive, ..me.member.clone() };
        self.update_member(now, me);
        self.announce();
        self.tables.renew(now);
    }

    /// Tells everybody that this node leaves.
    pub(super) fn say_goodbye(&mut self, now: Instant) {
        let me = self.config.name.clone();
        let incarnation = self.members.get(me.as_str()).map_or(0, |k| k.member.incarnation);
        let claim = Claim { incarnation, node: me.as_str(), from: me.as_str(), refused: false };
        self.declare_dead(now, &claim, Evidence::Hearsay { by: me.clone() });
        self.next_gossip = now;
    }

    /// The message that tells of a member as this node knows it.
    pub(super) fn alive_message(&self, name: &NodeName) -> Option<Bytes> {
        let member = &self.members.get(name.as_str())?.member;
        let ip = IpBytes::new(member.addr.ip());
        let message = Message::Alive(Alive {
            incarnation: member.incarnation,
            node: member.name.as_str(),
            addr: ip.as_slice(),
            port: member.addr.port(),
            meta: Some(&member.meta),
            vsn: Some(member.vsn),
        });
        Some(message.to_vec().into())
    }

    /// Replaces what is known about a member and tells whoever watches.
    pub(super) fn update_member(&mut self, now: Instant, member: Member) {
        let (name, was) =
            (member.name.clone(), self.members.get(member.name.as_str()).map(|k| k.member.state));
        let is = member.state;
        self.members.update(now, member, &mut self.rng);
        self.members_changed = true;
        if was != Some(is) {
            self.tables.owner_changed(now, &name, is, &self.members);
            if is == MemberState::Alive && was != Some(MemberState::Suspect) {
                self.member_came(&name);
            }
        }
    }

    fn on_alive_me(&mut self, now: Instant, claim: &Member) {
        let Some(me) = self.members.get(self.config.name.as_str()) else { return };
        let me = &me.member;
        if self.leaving != Leaving::No || claim.incarnation < me.incarnation {
            return;
        }
        if claim.addr != me.addr {
            let event = Event::NameConflict { name: me.name.clone(), known: me.addr, claimed: claim.addr };
            self.event(event);
            return;
        }
        if claim.incarnation == me.incarnation && claim.meta == me.meta && claim.vsn == me.vsn {
            return;
        }
        let by = me.name.clone();
        self.refute(now, claim.incarnation, &by);
    }

    /// Claims to be alive with an incarnation above the accusation.
    fn refute(&mut self, now: Instant, accused: u32, by: &NodeName) {
        let Some(me) = self.members.get(self.config.name.as_str()) else { return };
        let incarnation = me.member.incarnation.max(accused).saturating_add(1);
        let me = Member { incarnation, state: MemberState::Alive, ..me.member.clone() };
        self.update_member(now, me);
        self.awareness.worse(1);
        self.stats.refutations += 1;
        self.announce();
        self.next_gossip = self.next_gossip.min(now);
        self.event(Event::Accused { by: by.clone(), incarnation });
    }

    fn accept_alive(&mut self, now: Instant, claim: Member, old: Option<Member>) {
        self.drop_suspicion(&claim.name);
        let (name, addr) = (claim.name.clone(), claim.addr);
        let same = old.as_ref().is_some_and(|o| o.addr == addr && o.meta == claim.meta && o.vsn == claim.vsn);
        self.update_member(now, claim);
        if let Some(message) = self.alive_message(&name) {
            self.broadcasts.replace(&name, message);
        }
        match old.map(|o| o.state) {
            None | Some(MemberState::Dead | MemberState::Left) => {
                self.event(Event::MemberUp { name, addr });
                return;
            }
            Some(MemberState::Suspect) => self.event(Event::MemberRefuted { name: name.clone() }),
            Some(MemberState::Alive) => {}
        }
        if !same {
            self.event(Event::MemberUpdated { name, addr });
        }
    }

    fn declare_dead(&mut self, now: Instant, claim: &Claim<'_>, evidence: Evidence) {
        let Some(known) = self.members.get(claim.node) else { return };
        let member = known.member.clone();
        if claim.incarnation < member.incarnation {
            return;
        }
        let left = claim.node == claim.from || self.means_to_leave(&member.name);
        // A goodbye that arrives after the verdict still says more than it.
        let news = match member.state {
            MemberState::Alive | MemberState::Suspect => true,
            MemberState::Dead => left,
            MemberState::Left => false,
        };
        if !news {
            return;
        }
        if member.name == self.config.name && self.leaving == Leaving::No {
            if let Ok(by) = NodeName::new(claim.from) {
                self.refute(now, claim.incarnation, &by);
            }
            return;
        }
        self.drop_suspicion(&member.name);
        let message: Bytes = Message::Dead(Claim { refused: false, ..*claim }).to_vec().into();
        self.broadcasts.replace(&member.name, message);
        let name = member.name.clone();
        let state = if left { MemberState::Left } else { MemberState::Dead };
        self.update_member(now, Member { state, incarnation: claim.incarnation, ..member });
        if name == self.config.name {
            return;
        }
        self.event(if left { Event::MemberLeft { name } } else { Event::MemberDown { name, evidence } });
    }

    /// The address of a member, if it is known and equals `addr`.
    pub(super) fn is_member_addr(&self, addr: SocketAddr) -> bool {
        self.members.by_addr(addr).is_some()
    }
}
