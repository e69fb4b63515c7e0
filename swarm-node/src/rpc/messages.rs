//! The first frame of every connection, and the answers that a node gets before it belongs to the cluster.

use std::fmt;

use serde::{Deserialize, Serialize};
use swarm_state::spec::Availability;
use swarm_state::{ClusterId, NodeId};

use crate::security::{CertRole, PeerIdentity, Unauthorised};

/// What a connection is for; its first frame, from the side that dialled.
///
/// In JSON the variant is the field `hello`: `{"hello":"root_ca"}`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "hello", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Hello {
    /// Which root certificate does this cluster have? Answered by [`RootCaReply`].
    RootCa,
    /// Let me in. Answered by [`IssueReply`].
    IssueCertificate(IssueRequest),
    /// Certify my new key. Answered by [`IssueReply`].
    RenewCertificate(RenewRequest),
    /// Messages of the consensus protocol follow.
    Raft,
    /// A worker's session follows.
    Session,
    /// Queries and commands follow, which another manager passes on.
    Control,
}

impl Hello {
    /// The least role that may say this; `None` if no certificate is needed.
    pub fn needs(&self) -> Option<CertRole> {
        match self {
            Self::RootCa | Self::IssueCertificate(_) => None,
            Self::RenewCertificate(_) | Self::Session => Some(CertRole::Worker),
            Self::Raft | Self::Control => Some(CertRole::Manager),
        }
    }

    /// Checks that this peer may open such a connection.
    ///
    /// # Errors
    /// The peer has no certificate or one of a lesser role.
    pub fn authorise(&self, peer: Option<&PeerIdentity>) -> Result<(), Unauthorised> {
        match (self.needs(), peer) {
            (None, _) => Ok(()),
            (Some(needs), Some(peer)) => peer.require(needs),
            (Some(needs), None) => Err(Unauthorised { needs, has: None }),
        }
    }
}

/// A node without a certificate asks for one. The token is absent from `Debug`.
#[derive(Clone, Default, Deserialize, Serialize)]
pub struct IssueRequest {
    /// Certificate signing request for the node's key.
    pub csr_pem: String,
    /// Join token, as the user gave it.
    pub token: String,
    /// Whether the node takes tasks from the start.
    #[serde(default)]
    pub availability: Availability,
    /// Address under which others reach the node, as the user gave it; absent means where the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addr: Option<String>,
}

impl fmt::Debug for IssueRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssueRequest")
            .field("availability", &self.availability)
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

/// A node with a certificate asks for the next one; its identity is that of the connection.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RenewRequest {
    /// Certificate signing request for the node's new key.
    pub csr_pem: String,
}

/// Answer to [`Hello::RootCa`].
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RootCaReply {
    /// The root certificate, byte for byte as join tokens digest it.
    pub ca_pem: String,
}

/// Answer to [`Hello::IssueCertificate`] and [`Hello::RenewCertificate`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum IssueReply {
    /// The node belongs to the cluster.
    Issued(Issued),
    /// The node does not get a certificate.
    Refused {
        /// For the user who asked.
        reason: String,
    },
}

/// A certificate and what it says.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Issued {
    /// Id of the node in the cluster.
    pub node_id: NodeId,
    /// Id of the cluster.
    pub cluster_id: ClusterId,
    /// The node's certificate.
    pub cert_pem: String,
    /// The root certificate; several during a rotation.
    pub ca_pem: String,
}
