//! Where serf meets the membership.

use std::time::Instant;

use super::{Leaving, Membership};
use crate::key::Keyring;
use crate::serf::{EventError, Options, Outcome, Serf, Tags, after_state, answer_keys};
use crate::wire::message::Claim;
use crate::{Config, Event, MemberState, NodeName, Vsn};

impl Membership {
    /// A node that is alone and speaks serf: as [`new`](Self::new), with [`Vsn::SERF`] and the tags as metadata.
    #[must_use]
    pub fn with_serf(mut config: Config, options: Options, now: Instant, seed: u64) -> Self {
        config.vsn = Vsn::SERF;
        config.meta = options.tags.to_meta();
        let me = config.name.clone();
        let mut node = Self::new(config, now, seed);
        node.user.serf = Some(Box::new(Serf::new(me, options)));
        node
    }

    /// Tells all members something, this node included: [`Event::UserEvent`]. With `coalesce`, of several of this
    /// name in a short time the last one is enough.
    ///
    /// # Errors
    ///
    /// [`EventError`] when name and payload take more than 512 bytes, or this node does not speak serf.
    pub fn send_event(
        &mut self,
        now: Instant,
        name: &str,
        payload: &[u8],
        coalesce: bool,
    ) -> Result<(), EventError> {
        let serf = self.user.serf.as_mut().ok_or(EventError::NoSerf)?;
        let (message, delivered) = serf.send(now, (name, payload), coalesce)?;
        self.broadcast_user(&message);
        self.next_gossip = self.next_gossip.min(now);
        if let Some(event) = delivered {
            self.event(Event::UserEvent(event));
        }
        Ok(())
    }

    /// Changes what this node says about itself.
    pub fn set_tags(&mut self, now: Instant, tags: &Tags) {
        self.set_meta(now, tags.to_meta());
    }

    /// A message of serf's arrived.
    pub(super) fn on_serf(&mut self, now: Instant, body: &[u8]) {
        let leaving = self.leaving != Leaving::No;
        let Some(serf) = self.user.serf.as_mut() else { return };
        match serf.handle(now, body, leaving) {
            Ok(outcomes) => self.follow(now, outcomes, body),
            Err(error) => self.stats.count(error),
        }
    }

    /// Takes serf's state from a full exchange; what follows it is returned.
    pub(super) fn on_serf_state<'a>(&mut self, now: Instant, state: &'a [u8], joining: bool) -> &'a [u8] {
        let Some(serf) = self.user.serf.as_mut() else { return state };
        let rest = after_state(state);
        if rest.len() < state.len() {
            match serf.merge(now, state, joining) {
                Ok(outcomes) => self.follow(now, outcomes, &[]),
                Err(error) => self.stats.count(error),
            }
        }
        rest
    }

    pub(super) fn send_join_intent(&mut self, now: Instant) {
        if let Some(serf) = self.user.serf.as_mut() {
            let intent = serf.join_intent();
            self.broadcast_user(&intent);
            self.next_gossip = self.next_gossip.min(now + self.config.gossip_interval);
        }
    }

    pub(super) fn say_leave_intent(&mut self, now: Instant) -> bool {
        let Some(serf) = self.user.serf.as_mut() else { return false };
        let intent = serf.leave_intent();
        self.broadcast_user(&intent);
        self.next_gossip = now;
        true
    }

    /// Delivers user events that have waited long enough for newer ones.
    pub(super) fn run_serf(&mut self, now: Instant) {
        let due = self.user.serf.as_mut().map(|serf| serf.release(now)).unwrap_or_default();
        for event in due {
            self.event(Event::UserEvent(event));
        }
    }

    fn follow(&mut self, now: Instant, outcomes: Vec<Outcome>, body: &[u8]) {
        for outcome in outcomes {
            match outcome {
                Outcome::Relay => self.broadcast_user(body),
                Outcome::Event(event) => self.event(Event::UserEvent(event)),
                Outcome::Rejoin(intent) => self.broadcast_user(&intent),
                Outcome::Gone(name) => self.gone_in_peace(now, &name),
                // Answers go to members only: a stranger could have them sent to anybody.
                Outcome::Answer(to, _) | Outcome::Keys { to, .. } if !self.is_member_addr(to) => {
                    self.stats.ignored += 1;
                }
                Outcome::Answer(to, body) => self.transmit(to, &super::user::user_message(&body), false),
                Outcome::Keys { to, name, payload, query } => {
                    // Who may speak without a key must not change keys.
                    let mut none = Vec::new();
                    let sealed = self.config.verify_incoming;
                    let keys = if sealed { &mut self.config.keys } else { &mut none };
                    let Some((answer, changed)) = answer_keys(&name, &payload, keys) else { continue };
                    if changed {
                        self.envelope.keyring = Keyring::new(&self.config.keys);
                        let keys = self.config.keys.clone();
                        self.event(Event::KeysChanged { keys });
                    }
                    let response = self.user.serf.as_ref().map(|serf| serf.response(query, &answer));
                    let message = super::user::user_message(&response.unwrap_or_default());
                    self.transmit(to, &message, false);
                }
            }
        }
    }

    /// Somebody asks to count a dead member as one that left.
    fn gone_in_peace(&mut self, now: Instant, name: &NodeName) {
        let Some(known) = self.members.get(name.as_str()) else { return };
        if known.member.state == MemberState::Dead {
            let incarnation = known.member.incarnation;
            let claim = Claim { incarnation, node: name.as_str(), from: name.as_str(), ..Claim::default() };
            self.on_dead(now, &claim);
        }
    }
}
