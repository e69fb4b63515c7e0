//! Between our types and those of the engine, which never leave this crate.

use bytes::{BufMut, Bytes};
use raft::eraftpb::{self, ConfState, EntryType};

use crate::codec::{Take, put_bytes, put_snapshot_head};
use crate::log::{Entry, HardState, MemberChange, Membership, Payload, Snapshot};
use crate::{DecodeError, MemberId};

pub(crate) fn entry_to_raft(entry: &Entry) -> eraftpb::Entry {
    let mut raft = payload_to_raft(&entry.payload);
    raft.index = entry.index;
    raft.term = entry.term;
    raft
}

/// A command is told from a leader's empty entry by its one byte of context.
pub(crate) fn payload_to_raft(payload: &Payload) -> eraftpb::Entry {
    let mut raft = eraftpb::Entry::default();
    match payload {
        Payload::Empty => {}
        Payload::Command(command) => {
            raft.data = command.clone();
            raft.context = Bytes::from_static(&[COMMAND]);
        }
        Payload::Change(change) => {
            raft.set_entry_type(EntryType::EntryConfChange);
            let (kind, id) = match change {
                MemberChange::Add { id, context } => {
                    raft.context = Bytes::copy_from_slice(context);
                    (ADD, id)
                }
                MemberChange::Remove { id } => (REMOVE, id),
            };
            raft.data = change_data(kind, id.get());
        }
    }
    raft
}

pub(crate) fn entry_from_raft(raft: &eraftpb::Entry) -> Result<Entry, DecodeError> {
    let payload = match raft.get_entry_type() {
        EntryType::EntryNormal if raft.context.is_empty() => Payload::Empty,
        EntryType::EntryNormal => Payload::Command(raft.data.clone()),
        EntryType::EntryConfChange => {
            let (kind, id) = parse_change(&raft.data)?;
            Payload::Change(match kind {
                ADD => MemberChange::Add { id, context: raft.context.to_vec() },
                _ => MemberChange::Remove { id },
            })
        }
        EntryType::EntryConfChangeV2 => return Err(DecodeError::Invalid { what: "kind of entry" }),
    };
    Ok(Entry { index: raft.index, term: raft.term, payload })
}

pub(crate) fn hard_to_raft(hard: &HardState) -> eraftpb::HardState {
    eraftpb::HardState {
        term: hard.term,
        vote: hard.vote.map_or(0, MemberId::get),
        commit: hard.commit,
        ..eraftpb::HardState::default()
    }
}

pub(crate) fn hard_from_raft(raft: &eraftpb::HardState) -> HardState {
    HardState { term: raft.term, vote: MemberId::from_raft(raft.vote), commit: raft.commit }
}

pub(crate) fn voters(membership: &Membership) -> ConfState {
    let ids: Vec<u64> = membership.members.keys().map(|id| id.get()).collect();
    ConfState::from((ids, Vec::new()))
}

/// The whole snapshot as one piece: index, term, members, data.
pub(crate) fn image(snapshot: &Snapshot) -> Bytes {
    let mut out = Vec::with_capacity(snapshot.data.len() + 256);
    put_snapshot_head(&mut out, snapshot);
    put_bytes(&mut out, &snapshot.data);
    out.into()
}

/// Reads an image; the engine's snapshot carries it along unopened.
pub(crate) fn snapshot_to_raft(image: Bytes) -> Result<eraftpb::Snapshot, DecodeError> {
    let parsed = parse_image(image.clone())?;
    let mut raft = eraftpb::Snapshot::default();
    let metadata = raft.mut_metadata();
    metadata.index = parsed.index;
    metadata.term = parsed.term;
    metadata.set_conf_state(voters(&parsed.membership));
    raft.data = image;
    Ok(raft)
}

pub(crate) fn parse_image(mut image: Bytes) -> Result<Snapshot, DecodeError> {
    let snapshot = image.take_snapshot()?;
    if image.is_empty() { Ok(snapshot) } else { Err(DecodeError::Trailing) }
}

/// The engine reads these few bytes as its `ConfChange`; written and read by hand, so that its
/// parser never meets bytes that somebody else wrote.
fn change_data(kind: u8, id: u64) -> Bytes {
    let mut out = vec![TAG_KIND, kind, TAG_ID];
    let mut rest = id;
    while rest >= 0x80 {
        out.put_u8(low_seven(rest) | 0x80);
        rest >>= 7;
    }
    out.put_u8(low_seven(rest));
    out.into()
}

fn low_seven(value: u64) -> u8 {
    let [.., low] = value.to_be_bytes();
    low & 0x7f
}

fn parse_change(data: &[u8]) -> Result<(u8, MemberId), DecodeError> {
    let invalid = DecodeError::Invalid { what: "change of the members" };
    let [TAG_KIND, kind @ (ADD | REMOVE), TAG_ID, varint @ ..] = data else { return Err(invalid) };
    let mut id: u64 = 0;
    for (position, byte) in varint.iter().enumerate().take(10) {
        id |= u64::from(byte & 0x7f) << (7 * position).min(63);
    }
    let member = MemberId::from_raft(id).ok_or(invalid)?;
    if change_data(*kind, id) == data { Ok((*kind, member)) } else { Err(invalid) }
}

const COMMAND: u8 = 1;
const TAG_KIND: u8 = 0x10;
const TAG_ID: u8 = 0x18;
const ADD: u8 = 0;
const REMOVE: u8 = 1;

#[cfg(test)]
mod tests {
    use raft::eraftpb::{Message, MessageType};
    use raft::storage::MemStorage;
    use raft::{Config, RawNode};

    use super::*;

    #[test]
    fn the_engine_accepts_our_changes_of_members() {
        for id in [1, 127, 128, 300, 1 << 40, u64::MAX] {
            for kind in [ADD, REMOVE] {
                let data = change_data(kind, id);
                assert_eq!(parse_change(&data), Ok((kind, MemberId::new(id).unwrap())));
                assert!(engine_accepts(data));
            }
        }
        assert!(!engine_accepts(Bytes::from_static(&[TAG_KIND])), "it does look at them");
    }

    fn engine_accepts(data: Bytes) -> bool {
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let config = Config { id: 1, ..Config::default() };
        let store = MemStorage::new_with_conf_state((vec![1], vec![]));
        let mut node = RawNode::new(&config, store, &logger).unwrap();
        node.campaign().unwrap();
        let mut entry = eraftpb::Entry { data, ..eraftpb::Entry::default() };
        entry.set_entry_type(EntryType::EntryConfChange);
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.set_entries(vec![entry].into());
        node.raft.step(message).is_ok()
    }
}
