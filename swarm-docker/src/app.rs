//! What every handler can reach.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use swarm_node::Node;
use swarm_state::{Action, NodeId, Rejection, Reply, State, Timestamp, Value};

use crate::clock;
use crate::error::ApiError;
use crate::events::Journal;

/// What every handler can reach. Clones are handles.
#[derive(Clone, Debug)]
pub(crate) struct App {
    /// The node that is served.
    pub(crate) node: Node,
    /// What has happened lately.
    pub(crate) journal: Arc<Journal>,
    /// When this server came up.
    pub(crate) started: Timestamp,
}

impl App {
    pub(crate) fn start(node: Node) -> Self {
        let journal = Journal::follow(node.changes());
        Self { node, journal, started: clock::now() }
    }

    /// Looks at the cluster's state.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&State) -> R) -> Result<R, ApiError> {
        Ok(self.node.read(look)?)
    }

    /// Looks something up that may not be there.
    pub(crate) fn find<R>(&self, look: impl FnOnce(&State) -> Result<R, Rejection>) -> Result<R, ApiError> {
        Ok(self.node.read(look)??)
    }

    /// Changes the cluster's state.
    pub(crate) async fn propose(&self, action: Action) -> Result<Reply, ApiError> {
        Ok(self.node.propose(action).await?)
    }

    /// This node's id, if it is in a swarm.
    pub(crate) fn me(&self) -> Option<NodeId> {
        self.node.local().node_id
    }

    /// 64 hexadecimal digits that stay the same for a thing of this node.
    pub(crate) fn local_id(&self, thing: &str) -> String {
        local_id(&self.node.config().data_dir, thing)
    }
}

/// What was corrected in a request.
pub(crate) fn warning(reply: Reply) -> Option<String> {
    match reply.value {
        Value::Warning(text) if !text.is_empty() => Some(text),
        Value::Warning(_) | Value::Done | Value::Skipped(_) => None,
    }
}

fn local_id(data_dir: &Path, thing: &str) -> String {
    hex64(&[data_dir.as_os_str().as_encoded_bytes(), thing.as_bytes()])
}

/// 64 hexadecimal digits drawn from some bytes.
pub(crate) fn hex64(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
