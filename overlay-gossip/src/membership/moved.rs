//! Names that are claimed from elsewhere: perhaps their members have moved.
//!
//! While a member is believed to be alive, nobody can take its name. It is asked whether it is still there; if it is
//! not, the one that claimed its name meanwhile takes its place at once and needs not say so again.

use std::collections::BTreeMap;
#[cfg(feature = "serf")]
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Membership;
use crate::{Event, Member, NodeName};

/// The last claim to each name that somebody else has.
#[derive(Debug, Default)]
pub(super) struct Moved(BTreeMap<NodeName, (Instant, Member)>);

impl Moved {
    fn forget_old(&mut self, now: Instant) {
        self.0.retain(|_, (until, _)| *until > now);
    }

    /// Whether somebody there claims a name that another one has.
    #[cfg(feature = "serf")]
    pub(super) fn is_claimant(&self, addr: SocketAddr) -> bool {
        self.0.values().any(|(_, claim)| claim.addr == addr)
    }
}

impl Membership {
    /// Somebody claims the name of `known` for an address of its own.
    pub(super) fn on_conflict(&mut self, now: Instant, known: &Member, claim: Member) {
        let (name, known, claimed) = (known.name.clone(), known.addr, claim.addr);
        self.moved.forget_old(now);
        if self.moved.0.len() < MAX_CLAIMS || self.moved.0.contains_key(&name) {
            self.moved.0.insert(name.clone(), (now + PATIENCE, claim));
        }
        self.event(Event::NameConflict { name: name.clone(), known, claimed });
        self.check_on(now, &name);
    }

    /// A member is gone: whoever claims its name may have it.
    pub(super) fn hand_over(&mut self, now: Instant, name: &NodeName) {
        self.moved.forget_old(now);
        if !self.config.dead_reclaim.is_zero() {
            return;
        }
        let Some((_, claim)) = self.moved.0.remove(name) else { return };
        let old = self.members.get(name.as_str()).map(|known| Arc::clone(&known.member));
        self.accept_alive(now, claim, old);
    }
}

/// How long a claim is remembered.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most names with claims.
const MAX_CLAIMS: usize = 64;
