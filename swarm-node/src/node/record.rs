//! What a node remembers about its membership, beside its certificate.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// `node.json`: written when the membership is complete, so its presence means "continue".
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct NodeRecord {
    pub(super) addr: IpAddr,
    pub(super) data_path_addr: IpAddr,
    pub(super) listen: SocketAddr,
    /// Port that others use for the manager.
    pub(super) port: u16,
    /// Number in the log, if the node is a manager.
    pub(super) raft_id: Option<u64>,
    /// Managers known when the node joined.
    pub(super) managers: Vec<String>,
}

pub(super) fn raft_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("raft")
}

pub(super) fn identity_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("certificates")
}

fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("node.json")
}

impl NodeRecord {
    pub(super) fn load(data_dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(file(data_dir)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn save(&self, data_dir: &Path) -> io::Result<()> {
        let draft = file(data_dir).with_extension("draft");
        let written = std::fs::File::create(&draft)?;
        serde_json::to_writer(&written, self).map_err(io::Error::other)?;
        written.sync_all()?;
        std::fs::rename(draft, file(data_dir))
    }
}

/// Forgets a membership: identity, log and record.
pub(super) fn forget(data_dir: &Path) {
    let _ = std::fs::remove_file(file(data_dir));
    let _ = std::fs::remove_file(data_dir.join("assignment.json"));
    let _ = std::fs::remove_dir_all(raft_dir(data_dir));
    let _ = crate::security::store::remove(&identity_dir(data_dir));
}
