//! Messages between members, as bytes.
//!
//! ```text
//!  version  kind  to  from  term  log term  index  commit  commit term  reject  hint
//!     1      1    8    8     8       8        8      8          8         1      8
//!  context (u32 length)   entries (u32 count)   snapshot (u32 length, 0 = none)
//! ```

use bytes::{BufMut, Bytes};
use raft::eraftpb::{self, MessageType};

use crate::codec::{Take, put_bytes, put_entry};
use crate::convert::{entry_from_raft, entry_to_raft, snapshot_to_raft};
use crate::log::{MAX_CONTEXT, MAX_SNAPSHOT};
use crate::{DecodeError, MemberId};

/// What a peer says.
#[derive(Debug)]
pub(crate) enum Frame {
    /// A message of the protocol.
    Raft(Box<eraftpb::Message>),
    /// "You have been removed": the answer to whatever a removed member sends.
    Removed { to: MemberId, from: MemberId },
}

pub(crate) fn encode_removed(to: MemberId, from: MemberId) -> Bytes {
    let mut out = vec![VERSION, KIND_REMOVED];
    out.put_u64(to.get());
    out.put_u64(from.get());
    out.into()
}

/// `None` for what never travels.
pub(crate) fn encode(message: &eraftpb::Message) -> Option<Bytes> {
    let kind = kind(message.get_msg_type())?;
    let size: usize = message.entries.iter().map(|e| e.data.len() + e.context.len() + 32).sum();
    let mut out = Vec::with_capacity(96 + size + message.get_snapshot().data.len());
    out.put_u8(VERSION);
    out.put_u8(kind);
    for number in [message.to, message.from, message.term, message.log_term, message.index] {
        out.put_u64(number);
    }
    out.put_u64(message.commit);
    out.put_u64(message.commit_term);
    out.put_u8(u8::from(message.reject));
    out.put_u64(message.reject_hint);
    put_bytes(&mut out, &message.context);
    match kind {
        KIND_READ | KIND_READ_ANSWER => put_bytes(&mut out, &message.entries.first()?.data),
        _ => {
            out.put_u32(u32::try_from(message.entries.len()).ok()?);
            for entry in message.entries.iter() {
                put_entry(&mut out, &entry_from_raft(entry).ok()?);
            }
        }
    }
    put_bytes(&mut out, &message.get_snapshot().data);
    Some(out.into())
}

/// Reads one message, and checks what can be checked without knowing the log.
pub(crate) fn decode(mut input: Bytes) -> Result<Frame, DecodeError> {
    match input.take_u8()? {
        VERSION => {}
        other => return Err(DecodeError::Version(other)),
    }
    let kind = input.take_u8()?;
    let (to, from) = (input.take_member()?, input.take_member()?);
    if kind == KIND_REMOVED {
        return if input.is_empty() { Ok(Frame::Removed { to, from }) } else { Err(DecodeError::Trailing) };
    }
    let mut message = eraftpb::Message::default();
    message.set_msg_type(message_type(kind).ok_or(DecodeError::Invalid { what: "kind of message" })?);
    message.to = to.get();
    message.from = from.get();
    message.term = input.take_position()?;
    message.log_term = input.take_position()?;
    message.index = input.take_position()?;
    message.commit = input.take_position()?;
    message.commit_term = input.take_position()?;
    message.reject = match input.take_u8()? {
        0 => false,
        1 => true,
        _ => return Err(DecodeError::Invalid { what: "flag" }),
    };
    message.reject_hint = input.take_position()?;
    message.context = input.take_bytes(MAX_CONTEXT)?;
    message.set_entries(take_entries(&mut input, kind)?.into());
    let image = input.take_bytes(MAX_SNAPSHOT + MAX_SNAPSHOT / 16)?;
    if !input.is_empty() {
        return Err(DecodeError::Trailing);
    }
    if !image.is_empty() {
        message.set_snapshot(snapshot_to_raft(image)?);
    }
    check(&message, kind)?;
    Ok(Frame::Raft(Box::new(message)))
}

fn take_entries(input: &mut Bytes, kind: u8) -> Result<Vec<eraftpb::Entry>, DecodeError> {
    if matches!(kind, KIND_READ | KIND_READ_ANSWER) {
        let data = input.take_bytes(MAX_READ_CONTEXT)?;
        return Ok(vec![eraftpb::Entry { data, ..eraftpb::Entry::default() }]);
    }
    let mut entries = Vec::new(); // grows with what is really there, not with what is announced
    for _ in 0..input.take_u32()? {
        entries.push(entry_to_raft(&input.take_entry()?));
    }
    Ok(entries)
}

/// What the engine takes for granted about a message, and would panic or go wrong without.
fn check(message: &eraftpb::Message, kind: u8) -> Result<(), DecodeError> {
    let fail = |what| Err(DecodeError::Invalid { what });
    if (kind == KIND_READ) != (message.term == 0) {
        return fail("term");
    }
    let snapshot = message.get_snapshot();
    if (kind == KIND_SNAPSHOT) == snapshot.is_empty() || snapshot.get_metadata().term > message.term {
        return fail("snapshot");
    }
    if matches!(kind, KIND_READ | KIND_READ_ANSWER) {
        return Ok(());
    }
    if kind != KIND_APPEND && !message.entries.is_empty() {
        return fail("entries");
    }
    let (mut index, mut term) = (message.index, message.log_term);
    for entry in message.entries.iter() {
        index += 1;
        if entry.index != index || entry.term < term || entry.term == 0 || entry.term > message.term {
            return fail("entries");
        }
        term = entry.term;
    }
    if term > message.term && kind == KIND_APPEND { fail("term") } else { Ok(()) }
}

fn kind(message: MessageType) -> Option<u8> {
    KINDS.iter().find(|(_, known)| *known == message).map(|(kind, _)| *kind)
}

fn message_type(kind: u8) -> Option<MessageType> {
    KINDS.iter().find(|(known, _)| *known == kind).map(|(_, message)| *message)
}

const VERSION: u8 = 1;
const KIND_APPEND: u8 = 1;
const KIND_SNAPSHOT: u8 = 5;
const KIND_READ: u8 = 13;
const KIND_READ_ANSWER: u8 = 14;
const KIND_REMOVED: u8 = 255;
const MAX_READ_CONTEXT: usize = 64;

const KINDS: [(u8, MessageType); 12] = [
    (KIND_APPEND, MessageType::MsgAppend),
    (2, MessageType::MsgAppendResponse),
    (3, MessageType::MsgRequestVote),
    (4, MessageType::MsgRequestVoteResponse),
    (KIND_SNAPSHOT, MessageType::MsgSnapshot),
    (6, MessageType::MsgHeartbeat),
    (7, MessageType::MsgHeartbeatResponse),
    (8, MessageType::MsgRequestPreVote),
    (9, MessageType::MsgRequestPreVoteResponse),
    (10, MessageType::MsgTimeoutNow),
    (KIND_READ, MessageType::MsgReadIndex),
    (KIND_READ_ANSWER, MessageType::MsgReadIndexResp),
];
