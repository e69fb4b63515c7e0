//! What the agents have said since the last question.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout_at};

/// Something that an agent says about another one, or about itself.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Fact {
    /// It answers.
    Ready,
    Up(usize),
    Suspect(usize),
    Failed(usize),
    Left(usize),
    /// A user event has come.
    Heard,
}

/// Who said what, and when it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) by: usize,
    pub(crate) fact: Fact,
    pub(crate) at: Instant,
}

/// The first time that each said each.
#[derive(Debug)]
pub(crate) struct Board {
    incoming: UnboundedReceiver<Seen>,
    first: BTreeMap<Fact, BTreeMap<usize, Instant>>,
    killed: BTreeSet<usize>,
    /// How often a member was called failed that was not killed.
    pub(crate) false_deaths: usize,
    /// How often a member was suspected that was not killed.
    pub(crate) suspicions: usize,
}

impl Board {
    pub(crate) fn new(incoming: UnboundedReceiver<Seen>) -> Self {
        let (first, killed) = (BTreeMap::new(), BTreeSet::new());
        Self { incoming, first, killed, false_deaths: 0, suspicions: 0 }
    }

    /// Forgets what was said; not what was wrong.
    pub(crate) fn clear(&mut self) {
        self.drain();
        self.first.clear();
    }

    /// From now on it is no mistake to call this one failed.
    pub(crate) fn kill(&mut self, victim: usize) {
        self.drain();
        self.killed.insert(victim);
    }

    /// When each said so.
    pub(crate) fn times(&self, fact: Fact) -> impl ExactSizeIterator<Item = Instant> {
        static NOBODY: BTreeMap<usize, Instant> = BTreeMap::new();
        self.first.get(&fact).unwrap_or(&NOBODY).values().copied()
    }

    /// Waits until so many have said each of these; `false`: not all did in time.
    pub(crate) async fn wait(&mut self, facts: &[Fact], by: usize, end: Instant) -> bool {
        loop {
            self.drain();
            // The first one that is missing ends the search.
            if facts.iter().all(|fact| self.times(*fact).len() >= by) {
                return true;
            }
            match timeout_at(end, self.incoming.recv()).await {
                Ok(Some(seen)) => self.note(seen),
                Ok(None) | Err(_) => return false,
            }
        }
    }

    fn drain(&mut self) {
        while let Ok(seen) = self.incoming.try_recv() {
            self.note(seen);
        }
    }

    fn note(&mut self, seen: Seen) {
        match seen.fact {
            Fact::Failed(who) if !self.killed.contains(&who) => self.false_deaths += 1,
            Fact::Suspect(who) if !self.killed.contains(&who) => self.suspicions += 1,
            Fact::Up(who) if who == seen.by => return,
            Fact::Ready | Fact::Up(_) | Fact::Suspect(_) | Fact::Failed(_) | Fact::Left(_) | Fact::Heard => {}
        }
        self.first.entry(seen.fact).or_default().entry(seen.by).or_insert(seen.at);
    }
}
