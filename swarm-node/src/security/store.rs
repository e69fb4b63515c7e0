//! A node's identity on disk, under Docker's file names.
//!
//! | file | holds | mode |
//! |---|---|---|
//! | `swarm-root-ca.crt` | the cluster's root certificate | 0644 |
//! | `swarm-node.crt` | the node's certificate | 0644 |
//! | `swarm-node.key` | the node's private key | 0600 |
//!
//! The calls block on the disk; they are rare and short.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::identity::{IdentityError, NodeIdentity};

/// Writes the identity. When it returns, the identity survives a power cut.
///
/// A crash in the middle leaves either the old identity or the new one: the new key is on disk before the
/// certificate is replaced, and [`load`] finishes the change.
///
/// # Errors
/// The directory cannot be made or written.
pub fn save(dir: &Path, identity: &NodeIdentity) -> Result<(), StoreError> {
    let fail = |source| StoreError::Write { dir: dir.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(fail)?;
    write_new(&dir.join(NEW_KEY), identity.key_pem(), 0o600).map_err(fail)?;
    replace(dir, ROOT, identity.ca_pem()).map_err(fail)?;
    replace(dir, CERT, identity.cert_pem()).map_err(fail)?;
    adopt_new_key(dir).map_err(fail)
}

/// Reads the identity back; `None` if none was ever saved there.
///
/// # Errors
/// A file is missing or unreadable, or the files do not belong together.
pub fn load(dir: &Path) -> Result<Option<NodeIdentity>, StoreError> {
    let Some(cert) = read(dir, CERT)? else { return Ok(None) };
    let ca = read(dir, ROOT)?.ok_or_else(|| StoreError::Missing { path: dir.join(ROOT) })?;
    let broken = |source| StoreError::Identity { dir: dir.to_owned(), source };
    let current = match read(dir, KEY)? {
        Some(key) => NodeIdentity::new(ca.as_str(), cert.as_str(), key),
        None => Err(IdentityError::Key),
    };
    let reason = match current {
        Ok(identity) => return Ok(Some(identity)),
        Err(reason) => reason,
    };
    // A crash between the two renames of `save`.
    let Some(key) = read(dir, NEW_KEY)? else { return Err(broken(reason)) };
    let identity = NodeIdentity::new(ca, cert, key).map_err(|_| broken(reason))?;
    adopt_new_key(dir).map_err(|source| StoreError::Write { dir: dir.to_owned(), source })?;
    Ok(Some(identity))
}

/// Deletes the identity, as a node does that leaves its cluster. Nothing to delete is not an error.
///
/// # Errors
/// A file is there and cannot be deleted.
pub fn remove(dir: &Path) -> Result<(), StoreError> {
    for name in [KEY, NEW_KEY, CERT, ROOT] {
        match fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::Write { dir: dir.to_owned(), source: error });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Why an identity could not be saved or loaded.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum StoreError {
    /// The disk refused.
    #[error("cannot write the identity in {}: {source}", .dir.display())]
    Write { dir: PathBuf, source: io::Error },
    /// A file is there and cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    /// The certificate is there and the root is not.
    #[error("{} is missing", .path.display())]
    Missing { path: PathBuf },
    /// The files do not make an identity.
    #[error("the identity in {} is unusable: {source}", .dir.display())]
    Identity { dir: PathBuf, source: IdentityError },
}

fn read(dir: &Path, name: &str) -> Result<Option<String>, StoreError> {
    let path = dir.join(name);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::Read { path, source }),
    }
}

fn replace(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    let new = dir.join(format!("{name}.new"));
    write_new(&new, text, 0o644)?;
    fs::rename(new, dir.join(name))?;
    sync_dir(dir)
}

fn adopt_new_key(dir: &Path) -> io::Result<()> {
    fs::rename(dir.join(NEW_KEY), dir.join(KEY))?;
    sync_dir(dir)
}

/// Writes a file anew and flushes it; a leftover of the same name is removed first, so the mode always holds.
fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

const ROOT: &str = "swarm-root-ca.crt";
const CERT: &str = "swarm-node.crt";
const KEY: &str = "swarm-node.key";
const NEW_KEY: &str = "swarm-node.key.new";

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use swarm_state::{ClusterId, NodeId};

    use super::super::{CertRole, NodeCertificate, NodeKey, RootCa, Validity};
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "certificates are made for now")]
    fn a_crash_between_the_renames_keeps_an_identity() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let root = RootCa::generate(now).unwrap();
        let ids = [1, 2].map(|seed| NodeId::from_random([seed; 16]));
        let [old, new] = ids.map(|node_id| {
            let key = NodeKey::generate().unwrap();
            let cluster_id = ClusterId::from_random([9; 16]);
            let node = NodeCertificate { node_id, role: CertRole::Worker, cluster_id };
            let cert = root.sign_csr(&key.csr().unwrap(), &node, Validity::of_node(now)).unwrap();
            NodeIdentity::new(root.cert_pem(), cert, key.pem()).unwrap()
        });
        let loaded = || load(dir.path()).unwrap().unwrap().subject().node_id;
        save(dir.path(), &old).unwrap();

        write_new(&dir.path().join(NEW_KEY), new.key_pem(), 0o600).unwrap();
        assert_eq!(loaded(), ids[0], "cut after the key was written");
        replace(dir.path(), CERT, new.cert_pem()).unwrap();
        assert_eq!(loaded(), ids[1], "cut after the certificate was replaced");
        assert_eq!(loaded(), ids[1], "and the change was finished");
    }
}
