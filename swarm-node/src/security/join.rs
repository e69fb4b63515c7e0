//! The steps of a node that joins or renews, as seen from the node.
//!
//! ```text
//!   node                                      manager
//!    │ ── any certificate accepted ── RootCa ──▶ │
//!    │ ◀───────────────────────────── ca_pem ─── │   digest compared with the token's
//!    │ ── manager of that root ─── csr, token ─▶ │
//!    │ ◀──────────── node id, cert, cluster id ─ │   checked against key and root
//! ```

use std::net::SocketAddr;
use std::time::Duration;
use swarm_state::{ClusterId, NodeId};

use super::ca::{CaError, NodeKey};
use super::identity::{IdentityError, NodeIdentity};
use super::tls::{self, TlsError};
use super::token::{CaDigest, JoinToken};
use crate::rpc::messages::{Hello, IssueReply, IssueRequest, RenewRequest, RootCaReply};
use crate::rpc::{Connection, DialError, FrameError};

/// Downloads the root certificate of the manager at `addr` and checks it against the token's digest.
///
/// # Errors
/// The manager cannot be reached within 5 s or does not answer within 10 s, or its root is another cluster's.
pub async fn fetch_and_check_ca(addr: SocketAddr, token: &JoinToken) -> Result<String, JoinError> {
    let mut connection = Connection::dial_unverified(addr, DIAL_TIMEOUT).await?;
    connection.send(&Hello::RootCa).await?;
    let RootCaReply { ca_pem } = connection.recv(REPLY_TIMEOUT).await?;
    if CaDigest::of(&ca_pem) != token.digest() {
        return Err(JoinError::WrongCluster { expected: token.digest() });
    }
    Ok(ca_pem)
}

/// Asks the manager at `addr` for a certificate for `key`. `ca_pem` comes from [`fetch_and_check_ca`];
/// the request's `csr_pem` is filled in here.
///
/// # Errors
/// The manager cannot be reached, refuses, or answers with a certificate that is not this key's or not this
/// root's.
pub async fn request_certificate(
    addr: SocketAddr,
    ca_pem: &str,
    key: &NodeKey,
    mut request: IssueRequest,
) -> Result<NodeIdentity, JoinError> {
    request.csr_pem = key.csr()?;
    let config = tls::client_config_anonymous(ca_pem)?;
    let mut connection = Connection::dial(addr, config, tls::SERVER_NAME, DIAL_TIMEOUT).await?;
    connection.send(&Hello::IssueCertificate(request)).await?;
    issued(connection.recv(REPLY_TIMEOUT).await?, key, None)
}

/// Asks the manager at `addr` for a certificate for a new `key`, as the node that `identity` is. The role in
/// the new certificate is what the cluster wants the node to be now.
///
/// # Errors
/// The manager cannot be reached, refuses, or answers with a certificate that is not this node's.
pub async fn renew_certificate(
    addr: SocketAddr,
    identity: &NodeIdentity,
    key: &NodeKey,
) -> Result<NodeIdentity, JoinError> {
    let config = tls::client_config(identity)?;
    let mut connection = Connection::dial(addr, config, tls::SERVER_NAME, DIAL_TIMEOUT).await?;
    connection.send(&Hello::RenewCertificate(RenewRequest { csr_pem: key.csr()? })).await?;
    issued(connection.recv(REPLY_TIMEOUT).await?, key, Some(identity))
}

/// Why a node could not join or renew.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The manager belongs to another cluster than the token, or someone stands in between.
    #[error("remote CA does not match fingerprint. Expected: {expected}")]
    WrongCluster {
        /// The digest in the token.
        expected: CaDigest,
    },
    /// The manager refused, in its own words.
    #[error("{reason}")]
    Refused {
        /// What the manager said.
        reason: String,
    },
    /// The manager's answer is not a certificate for this node.
    #[error("the manager issued an unusable certificate: {0}")]
    Unusable(#[source] IdentityError),
    /// The certificate names another node or cluster than the answer or the present certificate.
    #[error("the manager issued a certificate for node {node_id} of cluster {cluster_id} to another node")]
    WrongNode {
        /// Node id in the certificate.
        node_id: NodeId,
        /// Cluster id in the certificate.
        cluster_id: ClusterId,
    },
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection ended early.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The root certificate or the present identity cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The key cannot sign a request.
    #[error(transparent)]
    Key(#[from] CaError),
}

fn issued(
    reply: IssueReply,
    key: &NodeKey,
    present: Option<&NodeIdentity>,
) -> Result<NodeIdentity, JoinError> {
    let issued = match reply {
        IssueReply::Issued(issued) => issued,
        IssueReply::Refused { reason } => return Err(JoinError::Refused { reason }),
    };
    let identity =
        NodeIdentity::new(issued.ca_pem, issued.cert_pem, key.pem()).map_err(JoinError::Unusable)?;
    tls::check_chain(&identity)?;
    let subject = identity.subject();
    let ids = (subject.node_id, subject.cluster_id);
    let present = present.map_or(ids, |old| (old.subject().node_id, old.subject().cluster_id));
    if ids == present && ids == (issued.node_id, issued.cluster_id) {
        return Ok(identity);
    }
    Err(JoinError::WrongNode { node_id: ids.0, cluster_id: ids.1 })
}

const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Signing waits for the cluster to agree on the new node.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
