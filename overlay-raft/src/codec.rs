//! Bytes of entries and memberships, shared by the wire and the store.

use bytes::{Buf, BufMut, Bytes};

use crate::log::{
    Entry, HardState, MAX_COMMAND, MAX_CONTEXT, MAX_SNAPSHOT, MemberChange, Membership, Payload, Snapshot,
};
use crate::{DecodeError, MemberId};

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

pub(crate) fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.put_u64(entry.index);
    out.put_u64(entry.term);
    match &entry.payload {
        Payload::Empty => out.put_u8(0),
        Payload::Command(command) => {
            out.put_u8(1);
            put_bytes(out, command);
        }
        Payload::Change(MemberChange::Add { id, context }) => {
            out.put_u8(2);
            out.put_u64(id.get());
            put_bytes(out, context);
        }
        Payload::Change(MemberChange::Remove { id }) => {
            out.put_u8(3);
            out.put_u64(id.get());
        }
    }
}

/// The head of a snapshot; its data is kept apart.
pub(crate) fn put_snapshot_head(out: &mut Vec<u8>, snapshot: &Snapshot) {
    out.put_u64(snapshot.index);
    out.put_u64(snapshot.term);
    put_membership(out, &snapshot.membership);
}

pub(crate) fn put_membership(out: &mut Vec<u8>, membership: &Membership) {
    out.put_u32(u32::try_from(membership.members.len()).unwrap_or(u32::MAX));
    for (id, context) in &membership.members {
        out.put_u64(id.get());
        put_bytes(out, context);
    }
    out.put_u32(u32::try_from(membership.removed.len()).unwrap_or(u32::MAX));
    for id in &membership.removed {
        out.put_u64(id.get());
    }
}

pub(crate) fn put_hard_state(out: &mut Vec<u8>, hard: &HardState) {
    out.put_u64(hard.term);
    out.put_u64(hard.vote.map_or(0, MemberId::get));
    out.put_u64(hard.commit);
}

/// Takes what the `put_*` functions wrote off the front of `input`.
pub(crate) trait Take {
    fn take_u8(&mut self) -> Result<u8, DecodeError>;
    fn take_u32(&mut self) -> Result<usize, DecodeError>;
    fn take_u64(&mut self) -> Result<u64, DecodeError>;
    fn take_bytes(&mut self, max: usize) -> Result<Bytes, DecodeError>;
    /// Positions and terms stay far from where adding one overflows.
    fn take_position(&mut self) -> Result<u64, DecodeError>;

    fn take_member(&mut self) -> Result<MemberId, DecodeError> {
        MemberId::from_raft(self.take_u64()?).ok_or(DecodeError::Invalid { what: "member id" })
    }

    fn take_entry(&mut self) -> Result<Entry, DecodeError> {
        let (index, term) = (self.take_position()?, self.take_position()?);
        let payload = match self.take_u8()? {
            0 => Payload::Empty,
            1 => Payload::Command(self.take_bytes(MAX_COMMAND)?),
            2 => {
                let id = self.take_member()?;
                let context = self.take_bytes(MAX_CONTEXT)?.to_vec();
                Payload::Change(MemberChange::Add { id, context })
            }
            3 => Payload::Change(MemberChange::Remove { id: self.take_member()? }),
            _ => return Err(DecodeError::Invalid { what: "kind of entry" }),
        };
        Ok(Entry { index, term, payload })
    }

    fn take_membership(&mut self) -> Result<Membership, DecodeError> {
        let mut membership = Membership::default();
        for _ in 0..self.take_u32()? {
            let id = self.take_member()?;
            membership.members.insert(id, self.take_bytes(MAX_CONTEXT)?.to_vec());
        }
        for _ in 0..self.take_u32()? {
            membership.removed.insert(self.take_member()?);
        }
        if membership.members.keys().any(|id| membership.removed.contains(id)) {
            return Err(DecodeError::Invalid { what: "membership" });
        }
        Ok(membership)
    }

    fn take_snapshot_head(&mut self) -> Result<Snapshot, DecodeError> {
        let (index, term) = (self.take_position()?, self.take_position()?);
        let membership = self.take_membership()?;
        if index == 0 || term == 0 || membership.members.is_empty() {
            return Err(DecodeError::Invalid { what: "snapshot" });
        }
        Ok(Snapshot { index, term, membership, data: Bytes::new() })
    }

    fn take_snapshot(&mut self) -> Result<Snapshot, DecodeError> {
        let mut snapshot = self.take_snapshot_head()?;
        snapshot.data = self.take_bytes(MAX_SNAPSHOT)?;
        Ok(snapshot)
    }

    fn take_hard_state(&mut self) -> Result<HardState, DecodeError> {
        let term = self.take_position()?;
        let vote = MemberId::from_raft(self.take_u64()?);
        Ok(HardState { term, vote, commit: self.take_position()? })
    }
}

impl Take for Bytes {
    fn take_u8(&mut self) -> Result<u8, DecodeError> {
        self.try_get_u8().map_err(|_| DecodeError::Truncated)
    }

    fn take_u32(&mut self) -> Result<usize, DecodeError> {
        let value = self.try_get_u32().map_err(|_| DecodeError::Truncated)?;
        usize::try_from(value).map_err(|_| DecodeError::TooLong)
    }

    fn take_u64(&mut self) -> Result<u64, DecodeError> {
        self.try_get_u64().map_err(|_| DecodeError::Truncated)
    }

    fn take_position(&mut self) -> Result<u64, DecodeError> {
        let value = self.take_u64()?;
        if value > MAX_POSITION { Err(DecodeError::Invalid { what: "position" }) } else { Ok(value) }
    }

    fn take_bytes(&mut self, max: usize) -> Result<Bytes, DecodeError> {
        let len = self.take_u32()?;
        if len > max {
            return Err(DecodeError::TooLong);
        }
        if len > self.len() {
            return Err(DecodeError::Truncated);
        }
        Ok(self.split_to(len))
    }
}

const MAX_POSITION: u64 = 1 << 60;
