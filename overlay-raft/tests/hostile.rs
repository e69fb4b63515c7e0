//! Bytes that no member would send: nothing panics, and nothing that is promised breaks.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "tests"
)]
#![allow(clippy::disallowed_methods, reason = "one reading of the clock is the origin of virtual time")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use overlay_raft::{
    Action, Config, Consensus, Input, InputError, MemberChange, MemberId, Output, ProposalId, Role, Saved,
};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut pair = Pair::new(1);
        let result = pair.members[0].handle_input(pair.now, Input::Message(bytes.into()));
        prop_assert!(result.is_err());
    }

    /// Real messages with a few bytes changed reach both members, in any order and repeatedly.
    #[test]
    fn changed_messages_do_not_panic(
        seed in any::<u64>(),
        edits in proptest::collection::vec((any::<usize>(), any::<usize>(), any::<u8>(), any::<bool>()), 1..60),
    ) {
        let mut pair = Pair::new(seed);
        pair.run(40);
        for (which, position, value, to) in edits {
            let Some(original) = pair.seen.get(which % pair.seen.len().max(1)).cloned() else { continue };
            let mut bytes = original.to_vec();
            let len = bytes.len();
            let range = if position % 2 == 0 { len } else { len.min(64) }; // the head is where it hurts
            bytes[position / 2 % range] = value;
            let now = pair.now;
            let _ = pair.members[usize::from(to)].handle_input(now, Input::Message(bytes.into()));
            pair.run(1);
        }
        pair.run(20);
    }
}

#[test]
fn every_truncation_is_refused() {
    let mut pair = Pair::new(3);
    pair.run(30);
    let seen = pair.seen.clone();
    assert!(seen.len() > 20);
    for message in seen {
        for len in 0..message.len() {
            let result = pair.members[1].handle_input(pair.now, Input::Message(message.slice(..len)));
            assert!(
                matches!(result, Err(InputError::Malformed(_))),
                "{len} of {}: {result:?}",
                message.len()
            );
        }
    }
}

#[test]
fn a_message_for_somebody_else_is_refused() {
    let mut pair = Pair::new(4);
    pair.run(30);
    let for_second = pair.seen.iter().find(|message| message[9] == 2).cloned().unwrap();
    let result = pair.members[0].handle_input(pair.now, Input::Message(for_second));
    assert_eq!(result, Err(InputError::NotForUs { to: id(2) }));
    assert_eq!(pair.members[0].stats().refused, 1);
}

#[test]
fn a_commit_of_what_is_not_there_is_refused() {
    let mut pair = Pair::new(5);
    pair.run(30);
    let heartbeat = pair.seen.iter().rev().find(|m| m[1] == 6 && m[9] == 2).cloned().unwrap();
    let mut bytes = heartbeat.to_vec();
    bytes[42..50].copy_from_slice(&1_000_000u64.to_be_bytes());
    let result = pair.members[1].handle_input(pair.now, Input::Message(bytes.into()));
    assert_eq!(result, Err(InputError::Absurd { from: id(1) }));
}

/// Two members with perfect disks on a perfect network, which remembers everything.
struct Pair {
    now: Instant,
    members: Vec<Consensus>,
    seen: Vec<Bytes>,
    proposed: u64,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let now = Instant::now();
        let founder = Saved::founding(id(1), vec![1], Bytes::from_static(b"state"));
        let config = |n| Config { snapshot_every: 10, keep_entries: 2, ..Config::new(id(n)) };
        let members = vec![
            Consensus::new(config(1), founder, now, seed).unwrap(),
            Consensus::new(config(2), Saved::default(), now, seed ^ 1).unwrap(),
        ];
        let mut pair = Self { now, members, seen: Vec::new(), proposed: 0 };
        let change = MemberChange::Add { id: id(2), context: vec![2] };
        pair.members[0].handle_input(now, Input::Change { id: ProposalId(0), change }).unwrap();
        pair.settle();
        pair
    }

    fn run(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.now += Duration::from_millis(100);
            for member in &mut self.members {
                member.handle_timeout(self.now);
                if member.status().role == Role::Leader {
                    self.proposed += 1;
                    let command = Bytes::copy_from_slice(&self.proposed.to_be_bytes());
                    let _ = member
                        .handle_input(self.now, Input::Proposal { id: ProposalId(self.proposed), command });
                    let _ = member.handle_input(self.now, Input::Read { id: ProposalId(1 << 40) });
                }
            }
            self.settle();
        }
    }

    fn settle(&mut self) {
        for _ in 0..200 {
            let mut quiet = true;
            for at in 0..2 {
                while let Some(output) = self.members[at].poll_output() {
                    quiet = false;
                    match output {
                        Output::Transmit(transmit) => {
                            if self.seen.len() < 400 {
                                self.seen.push(transmit.message.clone());
                            }
                            if let Some(to) = self.members.get_mut(transmit.to.get() as usize - 1) {
                                let _ = to.handle_input(self.now, Input::Message(transmit.message));
                            }
                        }
                        Output::Action(Action::Persist(persist)) => {
                            let done = Input::Persisted { id: persist.id };
                            let _ = self.members[at].handle_input(self.now, done);
                        }
                        Output::Action(Action::TakeSnapshot { index }) => {
                            let data = Bytes::from_static(b"state");
                            let _ =
                                self.members[at].handle_input(self.now, Input::SnapshotTaken { index, data });
                        }
                        Output::Action(_) | Output::Event(_) => {}
                    }
                }
            }
            if quiet {
                return;
            }
        }
    }
}

fn id(n: u64) -> MemberId {
    MemberId::new(n).unwrap()
}
