//! Who may talk to the managers: join tokens, the cluster's certificate authority, mutual TLS.
//!
//! ```text
//!   join token ── digest ──▶ is this the right cluster?        (join::fetch_and_check_ca)
//!              ── secret ──▶ may this node in, and as what?    (JoinToken::matches, on a manager)
//!
//!   NodeKey ── csr ──▶ RootCa::sign_csr ── certificate ──▶ NodeIdentity ──▶ tls::server_config, client_config
//!                        CN node id, OU role, O cluster id      └──▶ store::save, store::load
//! ```
//!
//! Every later connection proves a node certificate of the same cluster in both directions; what a peer may do
//! follows from the role in it ([`PeerIdentity::require`]).

pub mod ca;
pub mod identity;
pub mod join;
pub mod store;
pub mod tls;
pub mod token;

pub use ca::{CaError, NodeCertificate, NodeKey, RootCa, Validity};
pub use identity::{CertRole, IdentityError, NodeIdentity, PeerIdentity, Unauthorised};
pub use join::JoinError;
pub use tls::TlsError;
pub use token::{CaDigest, JoinToken, TokenError};
