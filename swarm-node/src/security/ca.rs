//! The cluster's certificate authority, and the keys that it certifies.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use swarm_state::{ClusterId, NodeId};

use super::identity::{self, CertRole};
use super::token::CaDigest;

/// The root of a cluster: an ECDSA P-256 key and its self-signed certificate, named `swarm-ca` as SwarmKit's.
///
/// The key is absent from `Debug`.
///
/// ```
/// use std::time::SystemTime;
/// use swarm_state::{ClusterId, NodeId};
/// use swarm_node::security::{CertRole, NodeCertificate, NodeIdentity, NodeKey, RootCa, Validity};
///
/// let now = SystemTime::now();
/// let root = RootCa::generate(now)?;
/// let key = NodeKey::generate()?;
/// let (node_id, cluster_id) = (NodeId::from_random([1; 16]), ClusterId::from_random([2; 16]));
/// let node = NodeCertificate { node_id, role: CertRole::Manager, cluster_id };
/// let cert_pem = root.sign_csr(&key.csr()?, &node, Validity::of_node(now))?;
/// let identity = NodeIdentity::new(root.cert_pem(), cert_pem, key.pem())?;
/// assert_eq!(identity.subject().node_id, node_id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RootCa {
    cert_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl RootCa {
    /// Draws a new root that is valid for 20 years from an hour ago.
    ///
    /// # Errors
    /// The system gives no randomness, or `now` is beyond what a certificate can express.
    pub fn generate(now: SystemTime) -> Result<Self, CaError> {
        let key = generate_key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, CA_NAME);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(random_serial());
        Validity::lasting(now, ROOT_LIFE).write(&mut params)?;
        let certificate = params.self_signed(&key).map_err(CaError::Sign)?;
        Ok(Self { cert_pem: certificate.pem(), issuer: Issuer::new(params, key) })
    }

    /// Reads a root back from its two PEM texts. The certificate's text is kept as it is, so its digest is too.
    ///
    /// # Errors
    /// A text cannot be read, the certificate is not an authority's, or the key is not the certificate's.
    pub fn from_pem(cert_pem: &str, key_pem: &str) -> Result<Self, CaError> {
        let key = KeyPair::from_pem(key_pem).map_err(|_| CaError::Key)?;
        let certificate = identity::first_certificate(cert_pem).map_err(|_| CaError::Certificate)?;
        let public = identity::public_key(&certificate).map_err(|_| CaError::Certificate)?;
        if !is_authority(&certificate) {
            return Err(CaError::NotAnAuthority);
        }
        if public != key.der_bytes() {
            return Err(CaError::KeyMismatch);
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|_| CaError::Certificate)?;
        Ok(Self { cert_pem: cert_pem.to_owned(), issuer })
    }

    /// The root certificate, which every node trusts.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The root's private key, PKCS #8. Whoever has it is the cluster.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The digest that join tokens carry.
    pub fn digest(&self) -> CaDigest {
        CaDigest::of(&self.cert_pem)
    }

    /// Certifies the key of a certificate signing request in PEM for the given node.
    ///
    /// Only the key of the request counts: its subject, names and extensions are ignored.
    ///
    /// # Errors
    /// The request is longer than 16 KiB, cannot be read, is not signed by its own key or has no P-256 key; or
    /// the validity cannot be expressed.
    pub fn sign_csr(
        &self,
        csr_pem: &str,
        node: &NodeCertificate,
        validity: Validity,
    ) -> Result<String, CaError> {
        if csr_pem.len() > MAX_CSR {
            return Err(CaError::CsrTooLong { len: csr_pem.len(), max: MAX_CSR });
        }
        let request = CertificateSigningRequestParams::from_pem(csr_pem).map_err(CaError::Csr)?;
        let key = request.public_key;
        if key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 || key.der_bytes().len() != P256_POINT {
            return Err(CaError::CsrKey);
        }
        let params = node.params(validity)?;
        Ok(params.signed_by(&key, &self.issuer).map_err(CaError::Sign)?.pem())
    }
}

impl fmt::Debug for RootCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootCa").field("digest", &self.digest()).finish_non_exhaustive()
    }
}

/// What the authority writes into a node's certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NodeCertificate {
    /// Common name and DNS name.
    pub node_id: NodeId,
    /// Organizational unit and DNS name. Managers also get the DNS name `swarm-ca`.
    pub role: CertRole,
    /// Organization.
    pub cluster_id: ClusterId,
}

impl NodeCertificate {
    fn params(&self, validity: Validity) -> Result<CertificateParams, CaError> {
        let mut params = CertificateParams::default();
        let mut subject = DistinguishedName::new();
        subject.push(DnType::OrganizationName, self.cluster_id.as_str());
        subject.push(DnType::OrganizationalUnitName, self.role.as_str());
        subject.push(DnType::CommonName, self.node_id.as_str());
        params.distinguished_name = subject;
        let mut names = vec![self.role.as_str(), self.node_id.as_str()];
        if self.role == CertRole::Manager {
            names.push(CA_NAME);
        }
        for name in names {
            let name = name.try_into().map_err(CaError::Sign)?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(random_serial());
        params.use_authority_key_identifier_extension = true;
        validity.write(&mut params)?;
        Ok(params)
    }
}

/// The life of a certificate, both ends included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// First moment at which peers accept it.
    pub not_before: SystemTime,
    /// Last moment at which peers accept it.
    pub not_after: SystemTime,
}

impl Validity {
    /// From an hour ago, for nodes whose clocks are behind, for `life` from now.
    pub fn lasting(now: SystemTime, life: Duration) -> Self {
        let not_before = now.checked_sub(BACKDATE).unwrap_or(UNIX_EPOCH);
        let not_after = now.checked_add(life).unwrap_or(now);
        Self { not_before, not_after }
    }

    /// The default life of a node's certificate: 90 days, as SwarmKit.
    pub fn of_node(now: SystemTime) -> Self {
        Self::lasting(now, NODE_LIFE)
    }

    fn write(self, params: &mut CertificateParams) -> Result<(), CaError> {
        for at in [self.not_before, self.not_after] {
            let seconds = at.duration_since(UNIX_EPOCH).map_err(|_| CaError::Validity)?.as_secs();
            if seconds > END_OF_9999 {
                return Err(CaError::Validity);
            }
        }
        params.not_before = self.not_before.into();
        params.not_after = self.not_after.into();
        Ok(())
    }
}

/// A node's own key. It never leaves the node; the authority sees the request made from it.
pub struct NodeKey(KeyPair);

impl NodeKey {
    /// Draws a P-256 key.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn generate() -> Result<Self, CaError> {
        generate_key().map(Self)
    }

    /// A certificate signing request in PEM, without a subject: the authority decides who the node is.
    ///
    /// # Errors
    /// Signing failed.
    pub fn csr(&self) -> Result<String, CaError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.serialize_request(&self.0).and_then(|csr| csr.pem()).map_err(CaError::Sign)
    }

    /// The private key, PKCS #8. Keep it out of logs.
    pub fn pem(&self) -> String {
        self.0.serialize_pem()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeKey").finish_non_exhaustive()
    }
}

/// Why the authority could not be made or did not sign.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum CaError {
    /// The root's certificate cannot be read.
    #[error("the root certificate cannot be read")]
    Certificate,
    /// The root's private key cannot be read.
    #[error("the root key cannot be read")]
    Key,
    /// The root's key belongs to another certificate.
    #[error("the root key is not the one of the root certificate")]
    KeyMismatch,
    /// The certificate given as the root's may not sign others.
    #[error("the root certificate is not an authority's")]
    NotAnAuthority,
    /// The request is longer than any honest one.
    #[error("certificate request of {len} bytes, at most {max} are read")]
    CsrTooLong { len: usize, max: usize },
    /// The request cannot be read, or is not signed by its own key.
    #[error("bad certificate request: {0}")]
    Csr(#[source] rcgen::Error),
    /// The request's key is of another kind than this cluster's.
    #[error("bad certificate request: the key is not ECDSA P-256")]
    CsrKey,
    /// A time outside of 1970..=9999.
    #[error("the validity is outside of the years 1970 to 9999")]
    Validity,
    /// The cryptographic library refused: no randomness.
    #[error("cannot sign: {0}")]
    Sign(#[source] rcgen::Error),
}

fn generate_key() -> Result<KeyPair, CaError> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(CaError::Sign)
}

/// A positive serial number of 127 bits.
fn random_serial() -> SerialNumber {
    let number = rand::random::<u128>() >> 1;
    SerialNumber::from_slice(&number.max(1).to_be_bytes())
}

fn is_authority(certificate: &[u8]) -> bool {
    x509_parser::parse_x509_certificate(certificate).is_ok_and(|(_, certificate)| certificate.is_ca())
}

const CA_NAME: &str = "swarm-ca";
/// As SwarmKit: nodes whose clock is up to an hour behind still accept the certificate.
const BACKDATE: Duration = Duration::from_secs(3600);
/// 20 years, as SwarmKit.
const ROOT_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// 90 days, as SwarmKit.
const NODE_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);
const MAX_CSR: usize = 16 * 1024;
/// An uncompressed point: the tag and two coordinates.
const P256_POINT: usize = 65;
/// The last second that a certificate can express.
const END_OF_9999: u64 = 253_402_300_799;
