use std::collections::BTreeMap;

use crate::MemberId;

/// What the log drives: the same commands in the same order on every member.
///
/// ```
/// use overlay_raft::{RestoreError, StateMachine};
///
/// #[derive(Default)]
/// struct Counter(u64);
///
/// impl StateMachine for Counter {
///     fn apply(&mut self, _index: u64, command: &[u8]) -> Vec<u8> {
///         self.0 += command.len() as u64;
///         self.0.to_be_bytes().to_vec()
///     }
///     fn snapshot(&self) -> Vec<u8> {
///         self.0.to_be_bytes().to_vec()
///     }
///     fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
///         let bytes = snapshot.try_into().map_err(|_| RestoreError::new("not 8 bytes"))?;
///         self.0 = u64::from_be_bytes(bytes);
///         Ok(())
///     }
/// }
/// ```
pub trait StateMachine: Send + 'static {
    /// Applies one committed command and answers its proposer.
    ///
    /// Must depend on nothing but the state and the arguments: no clock, no randomness, no I/O.
    /// A command that the machine does not understand changes nothing on every member alike.
    fn apply(&mut self, index: u64, command: &[u8]) -> Vec<u8>;

    /// Serialises the whole state; at most [`MAX_SNAPSHOT`](crate::MAX_SNAPSHOT) bytes.
    fn snapshot(&self) -> Vec<u8>;

    /// Replaces the whole state by what [`snapshot`](Self::snapshot) wrote, here or on another member.
    ///
    /// # Errors
    ///
    /// The bytes are not a snapshot of this kind of machine. The member stops: it cannot go on
    /// without the state.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError>;

    /// The members, with their context bytes, changed at this index of the log.
    fn members_changed(&mut self, index: u64, members: &BTreeMap<MemberId, Vec<u8>>) {
        let _ = (index, members);
    }
}

/// A snapshot could not be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the snapshot cannot be restored: {reason}")]
pub struct RestoreError {
    reason: String,
}

impl RestoreError {
    /// Says in a few words what is wrong with the bytes.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}
