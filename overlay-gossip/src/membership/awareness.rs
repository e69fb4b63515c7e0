//! How far this node trusts its own eyes: Lifeguard's local health.

/// 0 is healthy; each sign of trouble at our end makes probing slower and more patient.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Awareness {
    score: u32,
    worst: u32,
}

impl Awareness {
    /// Scores below `max`.
    pub(crate) fn new(max: u32) -> Self {
        Self { score: 0, worst: max.saturating_sub(1) }
    }

    pub(crate) fn score(self) -> u32 {
        self.score
    }

    pub(crate) fn better(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    pub(crate) fn worse(&mut self, by: u32) {
        self.score = self.score.saturating_add(by).min(self.worst);
    }

    /// The factor for the time between probes.
    pub(crate) fn factor(self) -> u32 {
        self.score + 1
    }
}
