//! TLS 1.3 configurations for the managers' port.
//!
//! | function | shows | trusts |
//! |---|---|---|
//! | [`server_config`] | node certificate | clients of this cluster, and clients without a certificate |
//! | [`client_config`] | node certificate | managers of this cluster |
//! | [`client_config_anonymous`] | nothing | managers of the given root |
//!
//! A fourth one, for [`Connection::dial_unverified`](crate::rpc::Connection::dial_unverified), trusts anyone and
//! stays inside the crate.
//!
//! No session is ever resumed: a resumed one would carry the identity of a certificate that has since expired
//! or changed its role. A renewed certificate needs a new configuration
//! ([`ListenerHandle::set_config`](crate::rpc::ListenerHandle::set_config)).

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, ClientConfig, CommonState, DigitallySignedStruct, DistinguishedName, RootCertStore,
    ServerConfig, SignatureScheme,
};
use swarm_state::ClusterId;

use super::identity::{NodeIdentity, PeerIdentity};

/// The application protocol that both ends must agree on.
pub const ALPN: &[u8] = b"overlay-mgr/1";

/// The name under which a manager is verified: a DNS name of every manager's certificate, of no worker's.
pub const SERVER_NAME: &str = "swarm-manager";

/// The managers' side. Clients may come without a certificate; one that is shown must be this cluster's.
///
/// # Errors
/// The identity's PEM texts cannot be used.
pub fn server_config(identity: &NodeIdentity) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = provider();
    let webpki = WebPkiClientVerifier::builder_with_provider(roots(identity.ca_pem())?, provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|_| TlsError::Root)?;
    let cluster_id = identity.subject().cluster_id;
    let (chain, key) = chain_and_key(identity)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(ClientOfCluster { webpki, cluster_id }))
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The side of a node that has a certificate. Only managers of its own cluster are accepted.
///
/// # Errors
/// The identity's PEM texts cannot be used.
pub fn client_config(identity: &NodeIdentity) -> Result<Arc<ClientConfig>, TlsError> {
    let cluster_id = identity.subject().cluster_id;
    let verifier = Arc::new(ManagerOfCluster { webpki: server_verifier(identity.ca_pem())?, cluster_id });
    let (chain, key) = chain_and_key(identity)?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(chain, key)?;
    Ok(finish_client(config))
}

/// The side of a node that joins: it has no certificate yet but a root that its token vouches for.
///
/// # Errors
/// `ca_pem` holds no usable certificate.
pub fn client_config_anonymous(ca_pem: &str) -> Result<Arc<ClientConfig>, TlsError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_webpki_verifier(server_verifier(ca_pem)?)
        .with_no_client_auth();
    Ok(finish_client(config))
}

/// Accepts **any** server certificate. For one use: downloading a root certificate whose digest is compared
/// with the join token's afterwards, as [`join::fetch_and_check_ca`](super::join::fetch_and_check_ca) does.
pub(crate) fn client_config_trusting_anyone_to_fetch_the_root() -> Result<Arc<ClientConfig>, TlsError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer { provider: provider() }))
        .with_no_client_auth();
    Ok(finish_client(config))
}

/// Who the client of an accepted connection is: `None` if it showed no certificate.
///
/// The handshake has verified the certificate and that its cluster is the server's.
pub fn peer_identity<S>(stream: &tokio_rustls::server::TlsStream<S>) -> Option<PeerIdentity> {
    identity_of(stream.get_ref().1)
}

/// Why a configuration could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The root's PEM text holds no usable certificate.
    #[error("the root certificate cannot be used")]
    Root,
    /// The node's certificate or key cannot be used.
    #[error("the node's certificate or key cannot be used")]
    Node,
    /// The TLS library refuses the certificate or key.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Checks that peers would accept the identity now: its root signed its certificate, which is valid.
pub(super) fn check_chain(identity: &NodeIdentity) -> Result<(), TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(identity.ca_pem())?, provider())
        .build()
        .map_err(|_| TlsError::Root)?;
    let (chain, _) = chain_and_key(identity)?;
    let (certificate, intermediates) = chain.split_first().ok_or(TlsError::Node)?;
    verifier.verify_client_cert(certificate, intermediates, UnixTime::now())?;
    Ok(())
}

/// The verified peer of either end of a finished handshake.
pub(crate) fn identity_of(connection: &CommonState) -> Option<PeerIdentity> {
    let certificate = connection.peer_certificates()?.first()?;
    PeerIdentity::from_der(certificate).ok()
}

/// Accepts a client's certificate if the root signed it, it is valid now, and it names this cluster.
#[derive(Debug)]
struct ClientOfCluster {
    webpki: Arc<dyn ClientCertVerifier>,
    cluster_id: ClusterId,
}

impl ClientCertVerifier for ClientOfCluster {
    fn client_auth_mandatory(&self) -> bool {
        self.webpki.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.webpki.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.webpki.verify_client_cert(certificate, intermediates, now)?;
        check_cluster(certificate, self.cluster_id)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Accepts a server's certificate if the root signed it, it is valid now and for the name, and it names this
/// cluster.
#[derive(Debug)]
struct ManagerOfCluster {
    webpki: Arc<WebPkiServerVerifier>,
    cluster_id: ClusterId,
}

impl ServerCertVerifier for ManagerOfCluster {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.webpki.verify_server_cert(certificate, intermediates, name, ocsp, now)?;
        check_cluster(certificate, self.cluster_id)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Accepts whatever certificate a server shows, as long as the server has its key.
#[derive(Debug)]
struct AnyServer {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn check_cluster(certificate: &[u8], cluster_id: ClusterId) -> Result<(), rustls::Error> {
    match PeerIdentity::from_der(certificate) {
        Ok(peer) if peer.cluster_id == cluster_id => Ok(()),
        Ok(_) | Err(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
    }
}

fn finish_client(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

fn server_verifier(ca_pem: &str) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    WebPkiServerVerifier::builder_with_provider(roots(ca_pem)?, provider())
        .build()
        .map_err(|_| TlsError::Root)
}

fn roots(ca_pem: &str) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots.add(certificate.map_err(|_| TlsError::Root)?)?;
    }
    if roots.is_empty() { Err(TlsError::Root) } else { Ok(Arc::new(roots)) }
}

fn chain_and_key(
    identity: &NodeIdentity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = CertificateDer::pem_slice_iter(identity.cert_pem().as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| TlsError::Node)?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem().as_bytes()).map_err(|_| TlsError::Node)?;
    Ok((chain, key))
}

/// Named at each use: a process-wide default could be replaced by the embedding program.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
