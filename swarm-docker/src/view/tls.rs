//! The cluster's certificate authority.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use x509_parser::pem::parse_x509_pem;

/// Who signs the certificates of nodes.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TlsView {
    pub trust_root: String,
    /// Base 64 of the DER subject.
    pub cert_issuer_subject: String,
    /// Base 64 of the DER public key.
    pub cert_issuer_public_key: String,
}

impl TlsView {
    /// Reads a certificate in PEM; what cannot be read stays empty.
    pub fn new(certificate: &str) -> Self {
        let mut view = Self { trust_root: certificate.to_owned(), ..Self::default() };
        if let Ok((_, pem)) = parse_x509_pem(certificate.as_bytes())
            && let Ok(parsed) = pem.parse_x509()
        {
            view.cert_issuer_subject = STANDARD.encode(parsed.subject().as_raw());
            view.cert_issuer_public_key = STANDARD.encode(parsed.public_key().raw);
        }
        view
    }
}
