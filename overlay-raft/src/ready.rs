//! What the engine wants done, turned into outputs.

use raft::eraftpb::{self, ConfChange, ConfChangeType, Message};
use raft::{INVALID_ID, Ready};

use crate::consensus::Consensus;
use crate::convert::{entry_from_raft, hard_from_raft, parse_image};
use crate::log::{Entry, MemberChange, Payload, Snapshot};
use crate::output::{Action, Event, Output, Persist, PersistId, Transmit};
use crate::wire::encode;
use crate::{MemberId, Refusal};

/// What waits for the disk.
#[derive(Debug)]
pub(crate) struct Outstanding {
    pub(crate) id: PersistId,
    /// The engine's number for it; `None` for what the engine does not know of.
    ready: Option<u64>,
    /// May be sent once it is durable.
    messages: Vec<Message>,
    /// A leader's snapshot that becomes the state once it is durable.
    restore: Option<Snapshot>,
}

impl Consensus {
    pub(crate) fn pump(&mut self) {
        if self.retired {
            return;
        }
        loop {
            self.note_leadership();
            self.flush_proposals();
            self.flush_changes();
            self.flush_reads();
            if !self.node.has_ready() || self.retired {
                break;
            }
            let ready = self.node.ready();
            self.handle_ready(ready);
        }
        self.note_leadership();
        self.take_snapshot_if_due();
    }

    fn flush_reads(&mut self) {
        let engine = &self.node.raft;
        let can =
            if self.is_leader() { engine.commit_to_current_term() } else { engine.leader_id != INVALID_ID };
        if can && self.reads.is_waiting() {
            let context = self.reads.begin(self.config.id.get(), self.ticks);
            self.node.read_index(context);
        }
    }

    fn handle_ready(&mut self, mut ready: Ready) {
        let number = ready.number();
        self.transmit(ready.take_messages());
        let messages = ready.take_persisted_messages();
        for state in ready.take_read_states() {
            for id in self.reads.confirm(self.config.id.get(), &state.request_ctx) {
                self.out.push_back(Output::Event(Event::ReadConfirmed { id, index: state.index }));
            }
        }
        let mut must_save = false;
        if let Some(hard) = ready.hs() {
            let hard = hard_from_raft(hard);
            must_save = (hard.term, hard.vote) != (self.hard.term, self.hard.vote);
            self.hard = hard;
        }
        let restore =
            if ready.snapshot().is_empty() { None } else { parse_image(ready.snapshot().data.clone()).ok() };
        if let Some(snapshot) = &restore {
            self.node.mut_store().replace(snapshot.clone());
        }
        let entries = ready.take_entries();
        self.node.mut_store().append(&entries);
        let committed = ready.take_committed_entries();
        // The engine looks at the entries of the `Ready` no more, but at the ones in our store.
        self.node.advance_append_async(ready);
        if must_save || restore.is_some() || !entries.is_empty() {
            let entries = entries.iter().filter_map(|entry| entry_from_raft(entry).ok()).collect();
            let first = if restore.is_some() { u64::MAX } else { 0 };
            let id = self.persist(restore.clone(), first, entries);
            self.outstanding.push_back(Outstanding { id, ready: Some(number), messages, restore });
        } else if let Some(last) = self.outstanding.back_mut() {
            last.ready = Some(number);
            last.messages.extend(messages);
        } else {
            self.node.on_persist_ready(number);
            self.transmit(messages);
        }
        self.apply(&committed);
    }

    /// Something became durable.
    pub(crate) fn finish(&mut self, done: Outstanding) {
        if self.retired {
            return;
        }
        if let Some(number) = done.ready {
            self.node.on_persist_ready(number);
        }
        if let Some(snapshot) = done.restore {
            self.restore(snapshot);
        }
        self.transmit(done.messages);
    }

    pub(crate) fn persist_hard_state(&mut self) {
        let id = self.persist(None, 0, Vec::new());
        self.outstanding.push_back(Outstanding { id, ready: None, messages: Vec::new(), restore: None });
    }

    /// Our own snapshot replaces the entries that it contains, but for some for slow followers.
    pub(crate) fn compact_to(&mut self, snapshot: Snapshot) {
        let keep = snapshot.index.saturating_sub(self.config.keep_entries);
        let mut first = self.node.mut_store().compact(snapshot.clone(), keep);
        if self.node.store().bytes() > SNAPSHOT_BYTES {
            first = self.node.mut_store().compact(snapshot.clone(), snapshot.index);
        }
        self.applied_bytes = 0;
        let id = self.persist(Some(snapshot), first, Vec::new());
        self.outstanding.push_back(Outstanding { id, ready: None, messages: Vec::new(), restore: None });
        if self.is_leader() {
            self.node.raft.bcast_append(); // somebody may have waited for it
        }
    }

    fn persist(&mut self, snapshot: Option<Snapshot>, first: u64, entries: Vec<Entry>) -> PersistId {
        let id = PersistId(self.next_persist);
        self.next_persist += 1;
        self.saved_commit = self.hard.commit;
        let persist = Persist { id, hard: self.hard, snapshot, first, entries };
        self.out.push_back(Output::Action(Action::Persist(persist)));
        id
    }

    fn restore(&mut self, snapshot: Snapshot) {
        self.node.advance_apply_to(snapshot.index);
        self.applied = snapshot.index;
        self.applied_bytes = 0;
        self.membership = snapshot.membership.clone();
        self.snapshotting = None;
        self.stats.snapshots_restored += 1;
        self.out.push_back(Output::Action(Action::Restore(snapshot)));
        self.retire_if_removed();
    }

    fn apply(&mut self, committed: &[eraftpb::Entry]) {
        for raft in committed {
            // Our own encoding; what came from a peer was checked when it was received.
            let Ok(entry) = entry_from_raft(raft) else { continue };
            self.applied = entry.index;
            let proposal = match self.pending.remove(&entry.index) {
                Some((term, id)) if term == entry.term => Some(id),
                Some((_, id)) => {
                    self.refuse(id, Refusal::LostLeadership);
                    None
                }
                None => None,
            };
            match entry.payload {
                Payload::Empty => {
                    if let Some(id) = proposal {
                        self.refuse(id, Refusal::Busy); // the engine replaced a change of the members
                    }
                }
                Payload::Command(command) => {
                    self.applied_bytes += command.len();
                    let index = entry.index;
                    self.out.push_back(Output::Action(Action::Apply { index, command, proposal }));
                }
                Payload::Change(change) => {
                    self.apply_change(&change);
                    let members = self.membership.members.clone();
                    let index = entry.index;
                    self.out.push_back(Output::Action(Action::ChangeMembers { index, members, proposal }));
                    self.persist_hard_state(); // a restart must not forget who has a vote
                    self.retire_if_removed();
                }
            }
        }
        if let Some(last) = committed.last() {
            self.node.advance_apply_to(last.index);
        }
    }

    /// Does the same on every member: what is refused here, is refused everywhere.
    fn apply_change(&mut self, change: &MemberChange) {
        let mut raft = ConfChange::default();
        match change {
            MemberChange::Add { id, .. } if self.membership.removed.contains(id) => return,
            MemberChange::Add { id, .. } => {
                raft.set_change_type(ConfChangeType::AddNode);
                raft.node_id = id.get();
            }
            MemberChange::Remove { id } => {
                raft.set_change_type(ConfChangeType::RemoveNode);
                raft.node_id = id.get();
            }
        }
        if self.node.apply_conf_change(&raft).is_ok() {
            self.membership.change(change);
        }
    }

    fn transmit(&mut self, messages: Vec<Message>) {
        for message in messages {
            let Some(to) = MemberId::from_raft(message.to) else { continue };
            if let Some(bytes) = encode(&message) {
                self.stats.transmitted += 1;
                self.out.push_back(Output::Transmit(Transmit { to, message: bytes }));
            }
        }
    }

    fn note_leadership(&mut self) {
        let leads = self.is_leader();
        let now = (self.node.raft.leader_id, self.node.raft.term);
        if self.was_leader && (!leads || now.1 != self.announced.1) {
            self.lose_leadership();
        }
        if leads && !self.was_leader {
            self.gain_leadership();
        }
        self.was_leader = leads;
        if now != self.announced {
            self.announced = now;
            let (leader, term) = (MemberId::from_raft(now.0), now.1);
            self.out.push_back(Output::Event(Event::LeaderChanged { term, leader }));
        }
    }

    fn take_snapshot_if_due(&mut self) {
        let index = self.applied;
        let grown = index.saturating_sub(self.snapshot_index());
        // A new member can only start from a snapshot that knows of it.
        let known = self.node.store().snapshot().map(|s| &s.membership);
        let stale = known.is_some_and(|membership| *membership != self.membership);
        let due = stale || grown >= self.config.snapshot_every.max(1) || self.applied_bytes >= SNAPSHOT_BYTES;
        if !due || grown == 0 || index < self.snapshot_floor || self.snapshotting.is_some() || self.retired {
            return;
        }
        let Some(term) = self.term_of(index) else { return };
        let membership = self.membership.clone();
        self.snapshotting = Some(Snapshot { index, term, membership, data: bytes::Bytes::new() });
        self.out.push_back(Output::Action(Action::TakeSnapshot { index }));
    }
}

const SNAPSHOT_BYTES: usize = 16 << 20;
