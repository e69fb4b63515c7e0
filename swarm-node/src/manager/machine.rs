//! The replicated state as the log's state machine.

use std::collections::BTreeMap;

use overlay_raft::{MemberId, RestoreError, StateMachine};
use serde::{Deserialize, Serialize};
use swarm_state::{Change, Command, NodeId, Rejection, RejectionKind, Reply, State};
use tokio::sync::broadcast;

/// What a member of the log tells the others about itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct MemberContext {
    /// The node that it is.
    pub(crate) node: NodeId,
    /// `address:port` of its manager.
    pub(crate) addr: String,
}

impl MemberContext {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// Folds the log and tells what changed.
#[derive(Debug)]
pub(crate) struct Machine {
    state: State,
    changes: broadcast::Sender<Change>,
}

impl Machine {
    pub(crate) fn new(changes: broadcast::Sender<Change>) -> Self {
        Self { state: State::new(), changes }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }
}

/// The reply of an applied command, as it travels between managers.
pub(crate) fn decode_reply(bytes: &[u8]) -> Result<Reply, Rejection> {
    serde_json::from_slice(bytes).unwrap_or_else(|error| {
        Err(Rejection::plain(RejectionKind::Internal, format!("unreadable reply of the log: {error}")))
    })
}

impl StateMachine for Machine {
    fn apply(&mut self, index: u64, command: &[u8]) -> Vec<u8> {
        let result: Result<Reply, Rejection> = match Command::from_json(command) {
            Ok(command) => self.state.apply(index, &command),
            Err(error) => {
                Err(Rejection::plain(RejectionKind::Internal, format!("unreadable command: {error}")))
            }
        };
        if let Ok(reply) = &result {
            for change in &reply.changes {
                let _ = self.changes.send(change.clone()); // nobody listens: nothing to tell
            }
        }
        serde_json::to_vec(&result).unwrap_or_default()
    }

    fn snapshot(&self) -> Vec<u8> {
        self.state.to_json()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        self.state = State::from_json(snapshot).map_err(|error| RestoreError::new(error.to_string()))?;
        Ok(())
    }

    fn members_changed(&mut self, _index: u64, _members: &BTreeMap<MemberId, Vec<u8>>) {}
}
