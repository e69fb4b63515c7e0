//! Choosing members: in turn, or by chance.

use rand::Rng;
use rand::rngs::StdRng;

use super::{Known, Members};
use crate::NodeName;

impl Members {
    /// Puts the ring in a new order.
    pub(crate) fn shuffle(&mut self, rng: &mut StdRng) {
        use rand::seq::SliceRandom;
        self.ring.shuffle(rng);
    }

    /// The member at a place in the ring.
    pub(crate) fn at(&self, index: usize) -> Option<&Known> {
        self.ring.get(index).and_then(|id| self.slot(*id))
    }

    /// How many are dead.
    pub(crate) fn dead(&self) -> usize {
        self.dead.len()
    }

    /// One of the dead, by chance.
    pub(crate) fn pick_dead(&self, rng: &mut StdRng) -> Option<NodeName> {
        use rand::seq::IteratorRandom;
        self.dead.iter().choose(rng).cloned()
    }

    /// Up to `count` different members other than this node for which `fit` holds, by chance.
    pub(crate) fn pick(
        &self,
        rng: &mut StdRng,
        count: usize,
        mut fit: impl FnMut(&Known) -> bool,
    ) -> Vec<NodeName> {
        let len = self.ring.len();
        let mut picked: Vec<NodeName> = Vec::with_capacity(count.min(len));
        if len == 0 {
            return picked;
        }
        // From a random place on; a second place after each hit keeps neighbours apart.
        let mut at = rng.random_range(0..len);
        let mut misses = 0;
        while picked.len() < count && misses < len {
            let candidate = self.at(at % len);
            at += 1;
            misses += 1;
            let Some(known) = candidate else { continue };
            if fit(known) && !picked.contains(&known.member.name) {
                picked.push(known.member.name.clone());
                at = rng.random_range(0..len);
                misses = 0;
            }
        }
        picked
    }
}
