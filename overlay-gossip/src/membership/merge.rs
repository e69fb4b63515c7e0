//! Who is right when two nodes disagree: the higher incarnation, and a member about itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::broadcast::{News, emit_alive};
use super::suspicion::Suspicion;
use super::{Leaving, MAX_META, Membership};
use crate::config::Rule;
use crate::wire::message::{Alive, Claim};
use crate::{Event, Evidence, Member, MemberState, NodeName};

impl Membership {
    /// "It is alive."
    pub(super) fn on_alive(&mut self, now: Instant, alive: &Alive<'_>) {
        let claimed = alive.socket_addr(self.config.advertise.port());
        let (Some(addr), Some(vsn)) = (claimed, alive.vsn) else {
            self.stats.ignored += 1;
            return;
        };
        let known = self.members.get(alive.node);
        let revived = |k: &Member| self.config.breaks(Rule::DeathNeedsNews) && k.state == MemberState::Dead;
        if known.is_some_and(|k| {
            k.member.addr == addr && is_old_news(&k.member, alive.incarnation) && !revived(&k.member)
        }) {
            if alive.node == self.config.name.as_str() {
                self.on_alive_me(now, alive, addr);
            }
            return;
        }
        let meta = alive.meta.unwrap_or_default();
        let name = match known {
            Some(known) => Ok(known.member.name.clone()),
            None => NodeName::new(alive.node),
        };
        let (Ok(name), true) = (name, vsn.is_sane() && meta.len() <= MAX_META) else {
            self.stats.ignored += 1;
            return;
        };
        if name == self.config.name {
            self.on_alive_me(now, alive, addr);
            return;
        }
        let incarnation = alive.incarnation;
        let meta = Bytes::copy_from_slice(meta);
        let claim = Member { name, addr, state: MemberState::Alive, incarnation, meta, vsn };
        let Some(known) = known else {
            if self.members.len() < self.config.max_members {
                self.accept_alive(now, claim, None);
            } else {
                self.stats.ignored += 1;
            }
            return;
        };
        let old = Arc::clone(&known.member);
        if old.addr != addr {
            let dead_for = self.members.tick(now).since(known.changed());
            let free = old.state == MemberState::Left
                || (old.state == MemberState::Dead && dead_for >= self.config.dead_reclaim);
            if free {
                self.accept_alive(now, claim, Some(old));
            } else if incarnation >= old.incarnation {
                // Perhaps it has moved: then nobody answers where it was.
                self.on_conflict(now, &old, claim);
            }
            return;
        }
        self.accept_alive(now, claim, Some(old));
    }

    /// "It is suspect."
    pub(super) fn on_suspect(&mut self, now: Instant, claim: &Claim<'_>) {
        let Some(known) = self.members.get(claim.node) else { return };
        if claim.incarnation < known.member.incarnation || !known.member.state.is_up() {
            return;
        }
        let proof = self.proof();
        let old = self.members.suspicion(claim.node);
        if old.is_some_and(|s| s.is_old_news(claim.from, (claim.refused, claim.probed), &proof)) {
            return;
        }
        let member = Arc::clone(&known.member);
        let Some(from) = self.name_of(claim.from) else { return };
        if member.name == self.config.name {
            if self.leaving == Leaving::No {
                self.refute(now, claim.incarnation, &from);
            }
            return;
        }
        let Claim { incarnation, refused, probed, .. } = *claim;
        let news = News::Suspect { incarnation, by: from.clone(), refused, probed };
        let name = member.name.clone();
        if let Some(suspicion) = self.members.suspicion_mut(claim.node) {
            let old = suspicion.deadline();
            if suspicion.support(now, &from, (refused, probed), &proof) {
                self.schedule_suspicion(&name, Some(old));
                self.broadcasts.add(&name, &from, news);
            }
            return;
        }
        let mut suspicion = Suspicion::new(now, from.clone(), self.members.up(), &self.config);
        suspicion.support(now, &from, (refused, probed), &proof);
        self.update_member(
            now,
            Member { state: MemberState::Suspect, incarnation, ..Member::clone(&member) },
        );
        self.members.set_suspicion(&name, Some(suspicion));
        self.schedule_suspicion(&name, None);
        self.broadcasts.add(&name, &from, news);
        self.hurry(now);
        let mine = from == self.config.name;
        self.event(Event::MemberSuspect { name: name.clone(), by: from });
        if !mine {
            self.verify(now, &name, claim.refused);
        }
    }

    /// "It is dead", or, said by itself, "I leave".
    pub(super) fn on_dead(&mut self, now: Instant, claim: &Claim<'_>) {
        // Most of it is old news; names are made only for what is not.
        let known = self.members.get(claim.node);
        if known
            .is_none_or(|k| claim.incarnation < k.member.incarnation || k.member.state == MemberState::Left)
        {
            return;
        }
        let Some(by) = self.name_of(claim.from) else { return };
        self.declare_dead(now, claim, Evidence::Hearsay { by });
    }

    /// Queues this node's own claim to be alive.
    pub(super) fn announce(&mut self) {
        let me = self.config.name.clone();
        if let Some(known) = self.members.get(me.as_str()) {
            self.broadcasts.replace(&me, News::Alive(Arc::clone(&known.member)));
        }
    }

    /// Somebody still repeats what this node has objected to: the objection was lost on the way there.
    pub(super) fn object_again(&mut self, now: Instant, from: SocketAddr, claim: &Claim<'_>) {
        if claim.node != self.config.name.as_str() || !self.config.repair {
            return;
        }
        let Some(me) = self.members.myself().map(|known| Arc::clone(&known.member)) else { return };
        let stale = claim.incarnation < me.incarnation && self.leaving == Leaving::No;
        if stale && self.is_member_addr(from) && self.may_answer(now) {
            let mut out = Vec::with_capacity(128);
            emit_alive(&me, &mut out);
            self.transmit(from, &out, false);
        }
    }

    /// Queues this node's own claim to be alive, before all else unless that is turned off.
    fn object(&mut self, now: Instant) {
        if self.config.repair
            && let Some(known) = self.members.myself()
        {
            let news = News::Alive(Arc::clone(&known.member));
            self.broadcasts.replace_first(&self.config.name, news);
        } else {
            self.announce();
        }
        self.hurry(now);
    }

    /// Claims to be alive with new content.
    pub(super) fn reannounce(&mut self, now: Instant) {
        let Some(me) = self.members.myself() else { return };
        let incarnation = me.member.incarnation.saturating_add(1);
        let meta = self.config.meta.clone();
        let me = Member { incarnation, meta, ..Member::clone(&me.member) };
        self.update_member(now, me);
        self.announce();
    }

    /// Comes back after having left.
    pub(super) fn rejoin(&mut self, now: Instant) {
        let Some(me) = self.members.myself() else { return };
        let incarnation = me.member.incarnation.saturating_add(1);
        let me = Member { incarnation, state: MemberState::Alive, ..Member::clone(&me.member) };
        self.update_member(now, me);
        self.announce();
        self.tables.renew(now);
    }

    /// Tells everybody that this node leaves.
    pub(super) fn say_goodbye(&mut self, now: Instant) {
        let me = self.config.name.clone();
        let incarnation = self.members.get(me.as_str()).map_or(0, |k| k.member.incarnation);
        let claim = Claim { incarnation, node: me.as_str(), from: me.as_str(), ..Claim::default() };
        self.declare_dead(now, &claim, Evidence::Hearsay { by: me.clone() });
        self.next_gossip = now;
    }

    /// Replaces what is known about a member and tells whoever watches.
    pub(super) fn update_member(&mut self, now: Instant, member: Member) {
        let (name, was) =
            (member.name.clone(), self.members.get(member.name.as_str()).map(|k| k.member.state));
        let is = member.state;
        self.members.update(now, Arc::new(member), &mut self.rng);
        self.members_changed = true;
        if was.is_none_or(|was| was.is_up() != is.is_up()) {
            if is.is_up() {
                self.consider_watching(now, &name);
            } else {
                self.stop_watching(&name);
            }
        }
        if was != Some(is) {
            self.tables.owner_changed(now, &name, is, &self.members);
            if is == MemberState::Alive && was != Some(MemberState::Suspect) {
                self.member_came(&name);
            }
        }
    }

    /// Somebody repeats what this node says, or said in an earlier life, or has its name.
    fn on_alive_me(&mut self, now: Instant, alive: &Alive<'_>, addr: SocketAddr) {
        let Some(me) = self.members.myself() else { return };
        let me = &me.member;
        if self.leaving != Leaving::No || alive.incarnation < me.incarnation {
            return;
        }
        if addr != me.addr {
            let event = Event::NameConflict { name: me.name.clone(), known: me.addr, claimed: addr };
            self.event(event);
            return;
        }
        let same = *alive.meta.unwrap_or_default() == *me.meta && alive.vsn == Some(me.vsn);
        if alive.incarnation == me.incarnation && same {
            return;
        }
        let by = me.name.clone();
        self.refute(now, alive.incarnation, &by);
    }

    /// Claims to be alive with an incarnation above the accusation.
    fn refute(&mut self, now: Instant, accused: u32, by: &NodeName) {
        let Some(me) = self.members.myself() else { return };
        if self.config.breaks(Rule::Refutes) {
            return;
        }
        let mut incarnation = me.member.incarnation.max(accused).saturating_add(1);
        if self.config.breaks(Rule::IncarnationsGrow) {
            incarnation = accused.saturating_sub(1);
        }
        let me = Member { incarnation, state: MemberState::Alive, ..Member::clone(&me.member) };
        self.update_member(now, me);
        self.awareness.worse(1);
        self.stats.refutations += 1;
        self.object(now);
        self.event(Event::Accused { by: by.clone(), incarnation });
    }

    pub(super) fn accept_alive(&mut self, now: Instant, claim: Member, old: Option<Arc<Member>>) {
        self.drop_suspicion(&claim.name);
        let (name, addr) = (claim.name.clone(), claim.addr);
        let moved = old.as_ref().map(|o| o.addr).filter(|was| *was != addr);
        let same = old.as_ref().is_some_and(|o| o.meta == claim.meta && o.vsn == claim.vsn);
        self.update_member(now, claim);
        if let Some(known) = self.members.get(name.as_str()) {
            let news = News::Alive(Arc::clone(&known.member));
            let accused = |old: &Arc<Member>| matches!(old.state, MemberState::Suspect | MemberState::Dead);
            if self.config.breaks(Rule::NewsReplace) {
                self.broadcasts.keep_beside(&name, news);
            } else if self.config.repair && old.as_ref().is_some_and(accused) {
                self.broadcasts.replace_first(&name, news);
            } else {
                self.broadcasts.replace(&name, news);
            }
        }
        if let Some(was) = moved {
            self.event(Event::AddrChanged { name: name.clone(), was, addr });
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

    pub(super) fn declare_dead(&mut self, now: Instant, claim: &Claim<'_>, evidence: Evidence) {
        let Some(known) = self.members.get(claim.node) else { return };
        if claim.incarnation < known.member.incarnation || known.member.state == MemberState::Left {
            return;
        }
        let member = Arc::clone(&known.member);
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
        let objects = !self.config.breaks(Rule::ObjectsToDeath);
        if member.name == self.config.name && self.leaving == Leaving::No && objects {
            if let Some(by) = self.name_of(claim.from) {
                self.refute(now, claim.incarnation, &by);
                self.tables.called_dead(now, &self.members);
            }
            return;
        }
        let Some(by) = self.name_of(claim.from) else { return };
        self.drop_suspicion(&member.name);
        let incarnation = claim.incarnation;
        self.broadcasts.replace(&member.name, News::Dead { incarnation, by });
        let name = member.name.clone();
        let state = if left { MemberState::Left } else { MemberState::Dead };
        self.update_member(now, Member { state, incarnation, ..Member::clone(&member) });
        if name == self.config.name {
            return;
        }
        let gone = name.clone();
        self.event(if left { Event::MemberLeft { name } } else { Event::MemberDown { name, evidence } });
        self.hand_over(now, &gone);
    }

    /// A name, shared with the member that has it.
    fn name_of(&self, name: &str) -> Option<NodeName> {
        match self.members.get(name) {
            Some(known) => Some(known.member.name.clone()),
            None => NodeName::new(name).ok(),
        }
    }

    /// Whether a member listens there.
    pub(super) fn is_member_addr(&self, addr: SocketAddr) -> bool {
        self.members.by_addr(addr).is_some()
    }
}

/// Whether a claim to be alive at the same address says nothing new.
fn is_old_news(known: &Member, incarnation: u32) -> bool {
    // An incarnation cannot grow beyond its type: there, the member's own word wins.
    let last_word = incarnation == u32::MAX
        && known.incarnation == u32::MAX
        && matches!(known.state, MemberState::Suspect | MemberState::Dead);
    incarnation <= known.incarnation && !last_word
}
