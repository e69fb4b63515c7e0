use raft::{RawNode, StateRole};

use crate::tail::Tail;

/// Draws every election timeout from our seed.
///
/// The engine draws one from the OS whenever it resets itself. That draw is replaced before each
/// tick, the only moment when it is looked at; a new one of ours is drawn for each term, change of
/// leader and attempt.
#[derive(Debug)]
pub(crate) struct ElectionTimer {
    seed: u64,
    draws: u64,
    ticks: u32,
    timeout: u32,
    drawn_for: (u64, u64, bool),
}

impl ElectionTimer {
    pub(crate) fn new(seed: u64, election_ticks: u32) -> Self {
        let mut timer = Self { seed, draws: 0, ticks: election_ticks, timeout: 0, drawn_for: (0, 0, false) };
        timer.draw();
        timer
    }

    /// Lets the engine's clock tick; tells whether that began an election.
    pub(crate) fn tick(&mut self, node: &mut RawNode<Tail>) -> bool {
        let follows = node.raft.state == StateRole::Follower;
        let drawn_for = (node.raft.term, node.raft.leader_id, follows);
        if drawn_for != self.drawn_for {
            self.drawn_for = drawn_for;
            self.draw();
        }
        let timeout = usize::try_from(self.timeout).unwrap_or(usize::MAX);
        node.raft.set_randomized_election_timeout(timeout);
        let leads = node.raft.state == StateRole::Leader;
        let acted = node.tick();
        if acted && !leads {
            self.draw(); // also when an election without result is repeated
        }
        acted && !leads
    }

    /// From `ticks` to `2 * ticks - 1`.
    fn draw(&mut self) {
        self.draws += 1;
        let span = u64::from(self.ticks.max(1));
        let offset = mix(self.seed ^ mix(self.draws)) % span;
        self.timeout = self.ticks + u32::try_from(offset).unwrap_or(0);
    }
}

/// SplitMix64's output function.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
