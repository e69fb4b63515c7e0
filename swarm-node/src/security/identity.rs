//! What a node certificate says, and the certificate a node shows.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::PublicKeyData;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use swarm_state::spec::NodeRole;
use swarm_state::{ClusterId, NodeId};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

/// What a certificate entitles its node to. Written in the certificate as `swarm-manager` or `swarm-worker`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CertRole {
    /// May open sessions with managers.
    Worker,
    /// May serve as a manager: take part in consensus and sign as a server. May do what a worker may.
    Manager,
}

impl CertRole {
    /// The organizational unit of the certificate, which is also one of its DNS names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "swarm-worker",
            Self::Manager => "swarm-manager",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Worker, Self::Manager].into_iter().find(|role| role.as_str() == text)
    }
}

impl From<NodeRole> for CertRole {
    fn from(role: NodeRole) -> Self {
        match role {
            NodeRole::Worker => Self::Worker,
            NodeRole::Manager => Self::Manager,
        }
    }
}

impl fmt::Display for CertRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who a peer is, as its certificate says.
///
/// Reading a certificate does not verify it; the identities that [`tls`](super::tls) and
/// [`rpc`](crate::rpc) hand out come from verified handshakes only.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerIdentity {
    /// The common name.
    pub node_id: NodeId,
    /// The organizational unit.
    pub role: CertRole,
    /// The organization.
    pub cluster_id: ClusterId,
    /// Start of the certificate's life.
    pub not_before: SystemTime,
    /// End of the certificate's life.
    pub not_after: SystemTime,
}

impl PeerIdentity {
    /// Reads the subject of a node certificate in DER.
    ///
    /// # Errors
    /// The bytes are no certificate, the certificate is an authority's, or the subject is not a node's.
    pub fn from_der(certificate: &[u8]) -> Result<Self, IdentityError> {
        let (_, certificate) =
            X509Certificate::from_der(certificate).map_err(|_| IdentityError::NotACertificate)?;
        if certificate.is_ca() {
            return Err(IdentityError::Subject { field: "basic constraints" });
        }
        let subject = certificate.subject();
        let node_id = only(subject, "CN", X509Name::iter_common_name)?;
        let unit: String = only(subject, "OU", X509Name::iter_organizational_unit)?;
        let cluster_id = only(subject, "O", X509Name::iter_organization)?;
        let role = CertRole::parse(&unit).ok_or(IdentityError::Subject { field: "OU" })?;
        let validity = certificate.validity();
        let not_before = system_time(validity.not_before.timestamp());
        let not_after = system_time(validity.not_after.timestamp());
        Ok(Self { node_id, role, cluster_id, not_before, not_after })
    }

    /// Checks that the peer may do what `role` may. A manager may do whatever a worker may.
    ///
    /// # Errors
    /// The peer is a worker and `role` is manager.
    pub fn require(&self, role: CertRole) -> Result<(), Unauthorised> {
        if self.role >= role {
            return Ok(());
        }
        Err(Unauthorised { needs: role, has: Some(self.role) })
    }

    /// Time until the certificate expires; zero when it has.
    pub fn remaining(&self, now: SystemTime) -> Duration {
        self.not_after.duration_since(now).unwrap_or_default()
    }

    /// The moment to renew: between 50 % and 80 % of the certificate's life, spread over a cluster by `chance`.
    ///
    /// The same range as SwarmKit. Draw `chance` once per certificate from the whole range of `u32`.
    pub fn renew_at(&self, chance: u32) -> SystemTime {
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        let fraction = 0.5 + 0.3 * f64::from(chance) / f64::from(u32::MAX);
        self.not_before + life.mul_f64(fraction)
    }
}

/// The caller's certificate does not allow what it asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("needs a {needs} certificate, the peer has {}", .has.map_or("none", CertRole::as_str))]
pub struct Unauthorised {
    /// The least role that may.
    pub needs: CertRole,
    /// The peer's role; none without a certificate.
    pub has: Option<CertRole>,
}

/// The certificate and key that a node shows, and the root that it trusts.
///
/// The key is absent from `Debug`.
#[derive(Clone)]
pub struct NodeIdentity {
    ca_pem: String,
    cert_pem: String,
    key_pem: String,
    subject: PeerIdentity,
}

impl NodeIdentity {
    /// Puts the three PEM texts together after checking that they belong together.
    ///
    /// Expiry is not checked here: an expired identity can still be read, and peers refuse it.
    ///
    /// # Errors
    /// One of the texts cannot be read, or the key is not the certificate's.
    pub fn new(
        ca_pem: impl Into<String>,
        cert_pem: impl Into<String>,
        key_pem: impl Into<String>,
    ) -> Result<Self, IdentityError> {
        let (ca_pem, cert_pem, key_pem) = (ca_pem.into(), cert_pem.into(), key_pem.into());
        first_certificate(&ca_pem).map_err(|_| IdentityError::Root)?;
        let certificate = first_certificate(&cert_pem)?;
        let subject = PeerIdentity::from_der(&certificate)?;
        let key = rcgen::KeyPair::from_pem(&key_pem).map_err(|_| IdentityError::Key)?;
        if public_key(&certificate)? != key.der_bytes() {
            return Err(IdentityError::KeyMismatch { node_id: subject.node_id });
        }
        Ok(Self { ca_pem, cert_pem, key_pem, subject })
    }

    /// The root certificate, or several while the root is being rotated.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The node's certificate.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The node's private key, PKCS #8. Keep it out of logs.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// What the certificate says about this node.
    pub fn subject(&self) -> &PeerIdentity {
        &self.subject
    }
}

impl fmt::Debug for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeIdentity").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// Why a certificate is not a node's.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// No X.509 certificate where one was expected.
    #[error("not a certificate")]
    NotACertificate,
    /// The root certificate cannot be read.
    #[error("the root certificate cannot be read")]
    Root,
    /// A well-formed certificate that no cluster issued to a node.
    #[error("not a node certificate: {field} is missing, repeated or unknown")]
    Subject {
        /// The part of the certificate that is wrong.
        field: &'static str,
    },
    /// The private key cannot be read.
    #[error("the private key cannot be read")]
    Key,
    /// The private key belongs to another certificate.
    #[error("the private key is not the one of node {node_id}'s certificate")]
    KeyMismatch {
        /// The node that the certificate names.
        node_id: NodeId,
    },
}

/// The first certificate of a PEM text, in DER.
pub(super) fn first_certificate(pem: &str) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| IdentityError::NotACertificate)
}

/// The bits of a certificate's public key.
pub(super) fn public_key(certificate: &[u8]) -> Result<Vec<u8>, IdentityError> {
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|_| IdentityError::NotACertificate)?;
    Ok(certificate.public_key().subject_public_key.data.to_vec())
}

fn only<'a, T: FromStr, I>(
    subject: &'a X509Name<'a>,
    field: &'static str,
    attributes: impl Fn(&'a X509Name<'a>) -> I,
) -> Result<T, IdentityError>
where
    I: Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>,
{
    let mut values = attributes(subject);
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(IdentityError::Subject { field });
    };
    let text = value.as_str().map_err(|_| IdentityError::Subject { field })?;
    text.parse().map_err(|_| IdentityError::Subject { field })
}

/// A time before 1970 counts as 1970: such a certificate has expired anyway.
fn system_time(timestamp: i64) -> SystemTime {
    let seconds = u64::try_from(timestamp).unwrap_or_default();
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH)
}
