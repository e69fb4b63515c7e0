//! Who gets in, who stays out, and what a refusal looks like.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "tests"
)]

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use swarm_node::rpc::messages::{Hello, IssueReply, IssueRequest, Issued, RootCaReply};
use swarm_node::rpc::{Accepted, Connection, DialError, FrameError, Frames, Listener, ListenerHandle};
use swarm_node::security::{
    CaDigest, CaError, CertRole, IdentityError, JoinError, JoinToken, NodeCertificate, NodeIdentity, NodeKey,
    PeerIdentity, RootCa, TokenError, Unauthorised, Validity, join, store, tls,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

// --- tokens ---

#[test]
fn dockers_token_is_read_and_printed_again() {
    let text = "SWMTKN-1-53jepeqm8u868bc2lqob0po1kup1j8993edtqs4ythxtq7pmrh-9cg0o2atvfu8d5ykhhffv06t6";
    let token: JoinToken = text.parse().unwrap();
    assert_eq!(token.to_string(), text);
    let fips_capable: JoinToken = text.replace("SWMTKN-1-", "SWMTKN-2-0-").parse().unwrap();
    assert!(fips_capable.matches(&token));
    assert!(!format!("{token:?}").contains("secret"));
}

#[test]
fn a_token_opens_one_cluster_with_one_secret() {
    let root = root();
    let token = JoinToken::generate(root.cert_pem());
    assert_eq!(token.digest(), root.digest());
    assert!(token.matches(&token.to_string().parse().unwrap()));
    assert!(!token.matches(&JoinToken::generate(root.cert_pem())), "another secret");
    assert!(!token.matches(&JoinToken::new(CaDigest([7; 32]), [7; 16])));
}

#[test]
fn what_is_no_token_is_refused_in_dockers_words() {
    let good = JoinToken::generate("any root").to_string();
    for bad in [
        "",
        "SWMTKN",
        "SWMTKN-1-abc-def",
        &good[1..],
        &good[..good.len() - 1],
        &format!("{good}0"),
        &format!("{good}-"),
        &good.replace("SWMTKN-1", "SWMTKN-3"),
        &good.replace("SWMTKN-1", "SWMTKN-2-1"),
        &good.to_uppercase(),
        &format!("SWMTKN-1-{}-{}", "z".repeat(50), "0".repeat(25)),
        &format!("SWMTKN-1-{}-{}", "0".repeat(50), "z".repeat(25)),
        &"-".repeat(1 << 20),
    ] {
        let error = bad.parse::<JoinToken>().unwrap_err();
        assert_eq!((error, error.to_string().as_str()), (TokenError, "invalid join token"));
    }
}

// --- authority ---

#[test]
fn a_root_survives_its_files() {
    let root = root();
    let again = RootCa::from_pem(root.cert_pem(), &root.key_pem()).unwrap();
    assert_eq!(again.digest(), root.digest());
    let node = issue(&again, "n1", CertRole::Worker, "c1", Validity::of_node(SystemTime::now()));
    assert_eq!(node.subject().role, CertRole::Worker);

    let other = RootCa::generate(SystemTime::now()).unwrap();
    assert_eq!(RootCa::from_pem(root.cert_pem(), &other.key_pem()).unwrap_err(), CaError::KeyMismatch);
    assert_eq!(RootCa::from_pem(node.cert_pem(), node.key_pem()).unwrap_err(), CaError::NotAnAuthority);
    assert_eq!(RootCa::from_pem("", &root.key_pem()).unwrap_err(), CaError::Certificate);
    assert_eq!(RootCa::from_pem(root.cert_pem(), "").unwrap_err(), CaError::Key);
}

#[test]
fn a_certificate_says_what_the_authority_says() {
    let now = SystemTime::now();
    let mine = PeerIdentity { ..manager("n1").subject().clone() };
    assert_eq!((mine.node_id, mine.role, mine.cluster_id), (id("n1"), CertRole::Manager, id("c1")));
    let (left, days) = (mine.remaining(now), 24 * 3600);
    assert!((89 * days..=90 * days).contains(&left.as_secs()), "{left:?}");
    assert_eq!(mine.remaining(now + Duration::from_secs(91 * days)), Duration::ZERO);
    let life = mine.not_after.duration_since(mine.not_before).unwrap();
    assert_eq!(mine.renew_at(0), mine.not_before + life.mul_f64(0.5));
    assert_eq!(mine.renew_at(u32::MAX), mine.not_before + life.mul_f64(0.8));
}

#[test]
fn the_requests_own_subject_is_ignored() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["swarm-manager".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::OrganizationalUnitName, "swarm-manager");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let csr = params.serialize_request(&key).unwrap().pem().unwrap();
    let node = certificate("n2", CertRole::Worker, "c1");
    let root = root();
    let cert = root.sign_csr(&csr, &node, Validity::of_node(SystemTime::now())).unwrap();
    let identity = NodeIdentity::new(root.cert_pem(), &cert, key.serialize_pem()).unwrap();
    assert_eq!((identity.subject().node_id, identity.subject().role), (id("n2"), CertRole::Worker));
    let der = pem_to_der(&cert);
    assert!(!contains(&der, b"swarm-manager"));
}

#[test]
fn a_bad_request_is_refused_with_its_reason() {
    let (root, now) = (root(), SystemTime::now());
    let sign = |csr: &str| {
        root.sign_csr(csr, &certificate("n1", CertRole::Worker, "c1"), Validity::of_node(now)).unwrap_err()
    };
    let good = NodeKey::generate().unwrap().csr().unwrap();
    assert!(matches!(sign(""), CaError::Csr(_)));
    assert!(matches!(sign(root.cert_pem()), CaError::Csr(_)));
    assert!(matches!(sign(&"x".repeat(20_000)), CaError::CsrTooLong { len: 20_000, .. }));
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&p384).unwrap().pem().unwrap();
    assert_eq!(sign(&csr), CaError::CsrKey);
    let forever = Validity { not_before: now, not_after: now + Duration::from_secs(1 << 40) };
    let node = certificate("n1", CertRole::Worker, "c1");
    assert_eq!(root.sign_csr(&good, &node, forever).unwrap_err(), CaError::Validity);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_certificates_and_requests_never_panic(at in 0_usize..2000, byte: u8, cut in 0_usize..2000) {
        let key = NodeKey::generate().unwrap();
        let mut der = pem_to_der(&key.csr().unwrap());
        damage(&mut der, at, byte, cut);
        let csr = der_to_pem("CERTIFICATE REQUEST", &der);
        let root = root();
        let node = certificate("n1", CertRole::Worker, "c1");
        let _ = root.sign_csr(&csr, &node, Validity::of_node(SystemTime::now()));
        let mut der = pem_to_der(manager("n1").cert_pem());
        damage(&mut der, at, byte, cut);
        let _ = PeerIdentity::from_der(&der);
    }
}

// --- identity on disk ---

#[test]
fn an_identity_survives_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("certificates");
    assert!(store::load(&dir).unwrap().is_none());
    for name in ["n1", "n2"] {
        let identity = manager(name);
        store::save(&dir, &identity).unwrap();
        let loaded = store::load(&dir).unwrap().unwrap();
        assert_eq!(loaded.subject(), identity.subject());
        assert_eq!(loaded.key_pem(), identity.key_pem());
    }
    let mut names: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["swarm-node.crt", "swarm-node.key", "swarm-root-ca.crt"]);
    let mode = std::fs::metadata(dir.join("swarm-node.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    std::fs::write(dir.join("swarm-node.key"), manager("n3").key_pem()).unwrap();
    let error = store::load(&dir).unwrap_err();
    assert!(
        matches!(&error, store::StoreError::Identity { source: IdentityError::KeyMismatch { .. }, .. }),
        "{error}"
    );
    store::remove(&dir).unwrap();
    assert!(store::load(&dir).unwrap().is_none());
}

// --- connections ---

#[tokio::test]
async fn both_ends_know_each_other() {
    let (addr, _, server) = accept_one(&manager("m1")).await;
    let config = tls::client_config(&worker("w1")).unwrap();
    let mut client = dial(addr, config).await.unwrap();
    assert_eq!(client.peer().unwrap().node_id, id("m1"));
    client.send(&Hello::Session).await.unwrap();
    let mut accepted = server.await.unwrap();
    assert!(matches!(accepted.hello, Hello::Session));
    let peer = accepted.connection.peer().unwrap();
    assert_eq!((peer.node_id, peer.role), (id("w1"), CertRole::Worker));
    assert_eq!(peer.require(CertRole::Worker), Ok(()));
    let refused = Unauthorised { needs: CertRole::Manager, has: Some(CertRole::Worker) };
    assert_eq!(peer.require(CertRole::Manager), Err(refused));

    let large = "x".repeat(Frames::UNTRUSTED * 4);
    accepted.connection.send(&large).await.unwrap();
    assert_eq!(client.recv::<String>(SOON).await.unwrap(), large);
    let (mut reader, mut writer) = accepted.connection.split();
    client.send_bytes("raw".into()).await.unwrap();
    assert_eq!(&reader.recv_bytes(SOON).await.unwrap()[..], b"raw");
    writer.send(&1).await.unwrap();
    assert_eq!(client.recv::<u8>(None).await.unwrap(), 1);
    drop((reader, writer));
    assert!(matches!(client.recv::<u8>(SOON).await, Err(FrameError::Closed)));
}

#[tokio::test]
async fn a_worker_is_refused_where_a_manager_is_needed() {
    let (addr, handle, _server) = accept_one(&manager("m1")).await;
    for (config, hello) in [
        (tls::client_config(&worker("w1")), Hello::Raft),
        (tls::client_config(&worker("w1")), Hello::Control),
        (tls::client_config_anonymous(root().cert_pem()), Hello::Session),
    ] {
        let mut client = dial(addr, config.unwrap()).await.unwrap();
        client.send(&hello).await.unwrap();
        assert!(matches!(client.recv::<u8>(SOON).await, Err(FrameError::Closed)), "{hello:?}");
    }
    assert_eq!(handle.stats().unauthorised, 3);
    assert_eq!(handle.stats().accepted, 0);
}

#[tokio::test]
async fn a_worker_cannot_pose_as_a_manager() {
    let (addr, ..) = accept_one(&worker("w1")).await;
    let error = dial(addr, tls::client_config(&worker("w2")).unwrap()).await.unwrap_err();
    assert!(matches!(error, DialError::Tls { .. }), "{error}");
}

#[tokio::test]
async fn another_cluster_is_refused_on_both_sides() {
    let now = SystemTime::now();
    let other_root = RootCa::generate(now).unwrap();
    let stranger = issue(&other_root, "m9", CertRole::Manager, "c9", Validity::of_node(now));
    let (addr, handle, _server) = accept_one(&manager("m1")).await;
    let error = dial(addr, tls::client_config(&stranger).unwrap()).await.unwrap_err();
    assert!(matches!(error, DialError::Tls { .. }), "{error}");

    // Its certificate is refused even where it trusts our root, and so is one of our root for another cluster.
    let mixed = NodeIdentity::new(root().cert_pem(), stranger.cert_pem(), stranger.key_pem()).unwrap();
    refused_by_server(addr, lenient_client(&mixed)).await;
    let other = issue(&root(), "m9", CertRole::Manager, "c9", Validity::of_node(now));
    refused_by_server(addr, lenient_client(&other)).await;
    let error = dial(addr, tls::client_config(&other).unwrap()).await.unwrap_err();
    assert!(matches!(error, DialError::Tls { .. }), "our client checks the cluster too: {error}");
    assert_eq!(wait_for(&handle, |stats| stats.bad_handshake == 4).await.accepted, 0);
}

#[tokio::test]
async fn expired_certificates_are_refused_on_both_sides() {
    let now = SystemTime::now();
    let past = Validity { not_before: now - 3 * HOUR, not_after: now - 2 * HOUR };
    let expired = issue(&root(), "m2", CertRole::Manager, "c1", past);
    assert_eq!(expired.subject().remaining(now), Duration::ZERO);
    let (addr, handle, _server) = accept_one(&manager("m1")).await;
    refused_by_server(addr, tls::client_config(&expired).unwrap()).await;
    assert_eq!(wait_for(&handle, |stats| stats.bad_handshake == 1).await.accepted, 0);

    let (addr, ..) = accept_one(&expired).await;
    let error = dial(addr, tls::client_config(&worker("w1")).unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
}

#[tokio::test]
async fn garbage_is_counted_and_dropped_while_peers_come_in() {
    let (addr, handle, server) = accept_one(&manager("m1")).await;
    let mut silent = TcpStream::connect(addr).await.unwrap();
    silent.write_all(&[22, 3, 1]).await.unwrap(); // the start of a handshake, and nothing more
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 512], &[22, 3, 1, 0, 4, 1, 0, 0, 0], &[0xff; 40_000]]
    {
        let mut tcp = TcpStream::connect(addr).await.unwrap();
        let _ = tcp.write_all(garbage).await;
        let _ = tcp.shutdown().await;
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    }
    drop(TcpStream::connect(addr).await.unwrap());
    wait_for(&handle, |stats| stats.bad_handshake == 5).await;

    let anonymous = || tls::client_config_anonymous(root().cert_pem()).unwrap();
    let mut client = dial(addr, anonymous()).await.unwrap();
    client.send(&"no hello").await.unwrap();
    assert!(client.recv::<u8>(SOON).await.is_err());
    let mut client = dial(addr, anonymous()).await.unwrap();
    client.send_bytes(vec![b' '; Frames::UNTRUSTED + 1].into()).await.unwrap();
    assert!(client.recv::<u8>(SOON).await.is_err());
    wait_for(&handle, |stats| stats.bad_hello == 2).await;

    let mut client = dial(addr, tls::client_config(&worker("w1")).unwrap()).await.unwrap();
    client.send(&Hello::Session).await.unwrap();
    let accepted = server.await.unwrap();
    assert!(accepted.connection.peer().is_some());
    assert_eq!(handle.stats().accepted, 1);
    assert_eq!(handle.stats().silent, 0, "the silent one still has time");
}

#[tokio::test]
async fn half_a_handshake_ends_after_five_seconds() {
    let (addr, handle, _server) = accept_one(&manager("m1")).await;
    let before = std::time::Instant::now();
    let mut silent = TcpStream::connect(addr).await.unwrap();
    silent.write_all(&[22, 3, 1]).await.unwrap();
    assert_eq!(silent.read(&mut [0; 16]).await.unwrap_or_default(), 0, "closed by the server");
    assert!(before.elapsed() >= Listener::HANDSHAKE_TIMEOUT);
    wait_for(&handle, |stats| stats.silent == 1).await;
}

#[tokio::test]
async fn a_crowd_of_strangers_does_not_lock_peers_out() {
    let (addr, handle, mut listener) = listen(&manager("m1")).await;
    let accepting = tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            let accepted = listener.accept().await;
            let is_peer = accepted.connection.peer().is_some();
            kept.push(accepted);
            if is_peer {
                return kept.len();
            }
        }
    });
    let mut clients = Vec::new();
    for _ in 0..Listener::MAX_STRANGERS + 3 {
        let anonymous = tls::client_config_anonymous(root().cert_pem()).unwrap();
        let mut client = dial(addr, anonymous).await.unwrap();
        client.send(&Hello::RootCa).await.unwrap();
        clients.push(client);
    }
    wait_for(&handle, |stats| stats.crowded == 3).await;
    let mut client = dial(addr, tls::client_config(&worker("w1")).unwrap()).await.unwrap();
    client.send(&Hello::Session).await.unwrap();
    assert_eq!(accepting.await.unwrap(), Listener::MAX_STRANGERS + 1);
}

#[tokio::test]
async fn a_renewed_certificate_is_served_at_once() {
    let (addr, handle, _server) = accept_one(&manager("m1")).await;
    let config = tls::client_config(&worker("w1")).unwrap();
    assert_eq!(dial(addr, config.clone()).await.unwrap().peer().unwrap().node_id, id("m1"));
    handle.set_config(tls::server_config(&manager("m2")).unwrap());
    assert_eq!(dial(addr, config).await.unwrap().peer().unwrap().node_id, id("m2"));
}

#[tokio::test]
async fn nobody_there_reads_as_in_go() {
    let addr = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = dial(addr, tls::client_config(&worker("w1")).unwrap()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("dial tcp {addr}: connect: connection refused"));
}

#[tokio::test]
async fn frames_keep_their_bounds() {
    let (here, mut there) = tokio::io::duplex(1 << 20);
    let mut frames = Frames::new(here);
    let waited = frames.recv::<u8>(Duration::from_millis(10)).await;
    assert!(matches!(waited, Err(FrameError::Deadline { .. })), "{waited:?}");
    there.write_all(&[0, 0, 0, 3, b'1', b'2']).await.unwrap();
    let waited = frames.recv::<u8>(Duration::from_millis(10)).await;
    assert!(matches!(waited, Err(FrameError::Deadline { .. })), "half a frame");
    there.write_all(b"3").await.unwrap();
    assert_eq!(frames.recv::<u8>(SOON).await.unwrap(), 123, "nothing was lost");
    there.write_all(&[0, 0, 0, 1, b'{']).await.unwrap();
    assert!(matches!(frames.recv::<u8>(SOON).await, Err(FrameError::Malformed(_))));
    there.write_all(&[0, 1, 0, 1]).await.unwrap();
    assert!(matches!(frames.recv::<u8>(SOON).await, Err(FrameError::TooLong { limit: 65_536 })));
}

#[test]
fn the_first_frame_has_explicit_tags() {
    let json = |hello: &Hello| serde_json::to_string(hello).unwrap();
    assert_eq!(json(&Hello::RootCa), r#"{"hello":"root_ca"}"#);
    assert_eq!(json(&Hello::Raft), r#"{"hello":"raft"}"#);
    let request = IssueRequest { csr_pem: "C".into(), token: "T".into(), ..IssueRequest::default() };
    let hello = Hello::IssueCertificate(request);
    assert_eq!(
        json(&hello),
        r#"{"hello":"issue_certificate","csr_pem":"C","token":"T","availability":"active"}"#
    );
    assert!(!format!("{hello:?}").contains('T'), "the token is not printed: {hello:?}");
    let later = r#"{"hello":"issue_certificate","csr_pem":"C","token":"T","of_a_later_version":1}"#;
    assert!(serde_json::from_str::<Hello>(later).is_ok());
    assert_eq!(
        serde_json::to_string(&IssueReply::Refused { reason: "R".into() }).unwrap(),
        r#"{"reply":"refused","reason":"R"}"#
    );
}

proptest! {
    #[test]
    fn any_first_frame_is_read_or_refused(bytes: Vec<u8>, json in "\\{\"hello\":\"(raft|root_ca|x)\"[\\PC]{0,40}\\}", deep in 0_usize..30_000) {
        for frame in [&bytes[..], json.as_bytes(), "[".repeat(deep).as_bytes()] {
            if let Ok(hello) = serde_json::from_slice::<Hello>(frame) {
                let again = serde_json::to_vec(&hello).unwrap();
                prop_assert!(serde_json::from_slice::<Hello>(&again).is_ok());
            }
        }
    }
}

// --- joining ---

#[tokio::test]
async fn a_node_joins_and_renews() {
    let root = Arc::new(root());
    let token = JoinToken::generate(root.cert_pem());
    let addr = serve_certificates(root.clone(), token.clone()).await;

    let ca_pem = join::fetch_and_check_ca(addr, &token).await.unwrap();
    assert_eq!(ca_pem, root.cert_pem());
    let key = NodeKey::generate().unwrap();
    let request = IssueRequest { token: token.to_string(), ..IssueRequest::default() };
    let identity = join::request_certificate(addr, &ca_pem, &key, request).await.unwrap();
    assert_eq!(identity.subject().node_id, id("joined"));

    let renewed = join::renew_certificate(addr, &identity, &NodeKey::generate().unwrap()).await.unwrap();
    assert_eq!(renewed.subject().node_id, id("joined"));
    assert_ne!(renewed.key_pem(), identity.key_pem());

    let request = IssueRequest { token: "SWMTKN-1-no".into(), ..IssueRequest::default() };
    let refused = join::request_certificate(addr, &ca_pem, &key, request).await.unwrap_err();
    assert_eq!(refused.to_string(), "no");
}

#[tokio::test]
async fn an_unverified_manager_is_nobody_and_gets_no_room() {
    let (addr, _, server) = accept_one(&manager("m1")).await;
    let mut client = Connection::dial_unverified(addr, SOON).await.unwrap();
    assert!(client.peer().is_none());
    let too_long = client.send_bytes(vec![b' '; Frames::UNTRUSTED + 1].into()).await;
    assert!(matches!(too_long, Err(FrameError::TooLong { limit: Frames::UNTRUSTED })));
    client.send(&Hello::RootCa).await.unwrap();
    let mut accepted = server.await.unwrap();
    assert!(accepted.connection.peer().is_none());
    let too_long = accepted.connection.send(&"x".repeat(Frames::UNTRUSTED)).await;
    assert!(matches!(too_long, Err(FrameError::TooLong { .. })), "nor does a stranger");
}

#[tokio::test]
async fn a_token_of_another_cluster_stops_the_join() {
    let root = Arc::new(root());
    let addr = serve_certificates(root.clone(), JoinToken::generate(root.cert_pem())).await;
    let other = JoinToken::new(CaDigest([0xcc; 32]), [1; 16]);
    let error = join::fetch_and_check_ca(addr, &other).await.unwrap_err();
    assert!(matches!(error, JoinError::WrongCluster { .. }));
    let expected = "cc".repeat(32);
    assert_eq!(error.to_string(), format!("remote CA does not match fingerprint. Expected: {expected}"));
}

// --- helpers ---

const SOON: Duration = Duration::from_secs(5);
const HOUR: Duration = Duration::from_secs(3600);

/// One root for the whole file: drawn once.
fn root() -> RootCa {
    static PEMS: std::sync::OnceLock<(String, String)> = std::sync::OnceLock::new();
    let (cert, key) = PEMS.get_or_init(|| {
        let root = RootCa::generate(SystemTime::now()).unwrap();
        (root.cert_pem().to_owned(), root.key_pem())
    });
    RootCa::from_pem(cert, key).unwrap()
}

/// An id that shows its name: `n1` is `n1` and 23 zeros.
fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(name: &str) -> T {
    format!("{name:0<25}").parse().unwrap()
}

fn certificate(node_id: &str, role: CertRole, cluster_id: &str) -> NodeCertificate {
    NodeCertificate { node_id: id(node_id), role, cluster_id: id(cluster_id) }
}

fn issue(root: &RootCa, node_id: &str, role: CertRole, cluster_id: &str, validity: Validity) -> NodeIdentity {
    let key = NodeKey::generate().unwrap();
    let cert = root.sign_csr(&key.csr().unwrap(), &certificate(node_id, role, cluster_id), validity).unwrap();
    NodeIdentity::new(root.cert_pem(), cert, key.pem()).unwrap()
}

fn manager(node_id: &str) -> NodeIdentity {
    issue(&root(), node_id, CertRole::Manager, "c1", Validity::of_node(SystemTime::now()))
}

fn worker(node_id: &str) -> NodeIdentity {
    issue(&root(), node_id, CertRole::Worker, "c1", Validity::of_node(SystemTime::now()))
}

async fn listen(identity: &NodeIdentity) -> (SocketAddr, ListenerHandle, Listener) {
    let config = tls::server_config(identity).unwrap();
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), config).await.unwrap();
    (listener.local_addr().unwrap(), listener.handle(), listener)
}

async fn accept_one(
    identity: &NodeIdentity,
) -> (SocketAddr, ListenerHandle, tokio::task::JoinHandle<Accepted>) {
    let (addr, handle, mut listener) = listen(identity).await;
    (addr, handle, tokio::spawn(async move { listener.accept().await }))
}

async fn dial(addr: SocketAddr, config: Arc<rustls::ClientConfig>) -> Result<Connection, DialError> {
    Connection::dial(addr, config, tls::SERVER_NAME, SOON).await
}

/// A client that shows its certificate and does not look at the server's cluster.
fn lenient_client(identity: &NodeIdentity) -> Arc<rustls::ClientConfig> {
    use rustls::pki_types::pem::PemObject;
    let mut config = (*tls::client_config_anonymous(root().cert_pem()).unwrap()).clone();
    let certified = rustls::sign::CertifiedKey::from_der(
        vec![rustls::pki_types::CertificateDer::from_pem_slice(identity.cert_pem().as_bytes()).unwrap()],
        rustls::pki_types::PrivateKeyDer::from_pem_slice(identity.key_pem().as_bytes()).unwrap(),
        &rustls::crypto::ring::default_provider(),
    );
    let resolver = rustls::sign::SingleCertAndKey::from(certified.unwrap());
    config.client_auth_cert_resolver = Arc::new(resolver);
    Arc::new(config)
}

/// The client's handshake ends before the server has judged its certificate.
async fn refused_by_server(addr: SocketAddr, config: Arc<rustls::ClientConfig>) {
    let mut client = dial(addr, config).await.unwrap();
    let _ = client.send(&Hello::Session).await;
    assert!(client.recv::<u8>(SOON).await.is_err());
}

async fn wait_for(
    handle: &ListenerHandle,
    reached: impl Fn(&swarm_node::rpc::ListenerStats) -> bool,
) -> swarm_node::rpc::ListenerStats {
    for _ in 0..500 {
        if reached(&handle.stats()) {
            return handle.stats();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never reached: {:?}", handle.stats());
}

/// A manager that certifies whoever has the token as the node `joined`.
async fn serve_certificates(root: Arc<RootCa>, token: JoinToken) -> SocketAddr {
    let (addr, _, mut listener) = listen(&manager("m1")).await;
    tokio::spawn(async move {
        loop {
            let Accepted { mut connection, hello } = listener.accept().await;
            let csr = match hello {
                Hello::RootCa => {
                    let ca_pem = root.cert_pem().to_owned();
                    connection.send(&RootCaReply { ca_pem }).await.unwrap();
                    continue;
                }
                Hello::IssueCertificate(request) => {
                    let offered = request.token.parse::<JoinToken>();
                    offered.is_ok_and(|offered| offered.matches(&token)).then_some(request.csr_pem)
                }
                Hello::RenewCertificate(request) => {
                    assert_eq!(connection.peer().unwrap().node_id, id("joined"));
                    Some(request.csr_pem)
                }
                other => panic!("{other:?}"),
            };
            let reply = match csr {
                None => IssueReply::Refused { reason: "no".into() },
                Some(csr) => {
                    let node = certificate("joined", CertRole::Worker, "c1");
                    let validity = Validity::of_node(SystemTime::now());
                    IssueReply::Issued(Issued {
                        node_id: node.node_id,
                        cluster_id: node.cluster_id,
                        cert_pem: root.sign_csr(&csr, &node, validity).unwrap(),
                        ca_pem: root.cert_pem().to_owned(),
                    })
                }
            };
            connection.send(&reply).await.unwrap();
        }
    });
    addr
}

fn pem_to_der(pem: &str) -> Vec<u8> {
    let (_, der) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
    der.contents
}

/// Base64 by hand, as no crate for it is needed elsewhere.
fn der_to_pem(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    for chunk in der.chunks(3) {
        let bits = chunk.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte))
            << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let digit = char::from(DIGITS[bits >> (18 - 6 * position) & 63]);
            text.push(if position <= chunk.len() { digit } else { '=' });
        }
    }
    text.push_str(&format!("\n-----END {label}-----\n"));
    text
}

fn damage(der: &mut Vec<u8>, at: usize, byte: u8, cut: usize) {
    let len = der.len();
    der[at % len] = byte;
    if cut < len {
        der.truncate(len - cut / 4);
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
