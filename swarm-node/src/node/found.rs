//! Founding and joining a swarm.

use std::{io::ErrorKind, net::SocketAddr, sync::Arc, time::Duration};

use overlay_raft::{MemberId, tokio::Start};
use swarm_state::{
    Action, Change, ClusterId, NetworkId, NewNode, NodeId, Rejection, RejectionKind, State,
    object::{Cluster, GossipKey, JoinTokens, Meta, RootCa as StoredCa},
    spec::{Availability, NodeRole, NodeState},
};
use tokio::{
    sync::broadcast,
    time::{sleep, timeout},
};

use super::{
    advertise::{self, Addresses},
    ingress,
    member::{Member, internal, listen, seat},
    record::{NodeRecord, forget, identity_dir, raft_dir},
    texts::TIMEOUT_TEXT,
};
use crate::{
    clock,
    config::{InitRequest, JoinRequest, NodeConfig},
    credentials::{Credentials, parse_addr},
    manager::{
        Manager, MemberContext,
        wire::{ControlReply, ControlRequest},
    },
    rpc::{
        DialError,
        messages::{Hello, IssueRequest},
    },
    security::{
        CertRole, JoinError, JoinToken, NodeCertificate, NodeIdentity, NodeKey, RootCa, Validity, join, store,
    },
};

/// Founds a swarm. On an error nothing is left behind.
pub(super) async fn found(
    config: &NodeConfig,
    request: &InitRequest,
    changes: broadcast::Sender<Change>,
) -> Result<Member, Rejection> {
    let texts =
        (request.listen_addr.as_str(), request.advertise_addr.as_str(), request.data_path_addr.as_str());
    let addresses = advertise::resolve(texts, config.manager_port, None)?;
    let availability = availability(&request.availability)?;
    check_data_path_port(config, request.data_path_port)?;
    forget(&config.data_dir);
    let member = establish(config, request, (addresses, availability), changes).await;
    if member.is_err() {
        forget(&config.data_dir);
    }
    member
}

/// The kernel's tunnels take the port, and the user plane the one after it.
fn check_data_path_port(config: &NodeConfig, port: u16) -> Result<(), Rejection> {
    let taken = |port: u16| port == config.gossip_port;
    if port == u16::MAX || taken(port) || taken(port.saturating_add(1)) {
        let gossip = config.gossip_port;
        let text = format!(
            "data path port {port} is not possible: it and the next one must be free, and the gossip has {gossip}"
        );
        return Err(Rejection::plain(RejectionKind::InvalidArgument, text));
    }
    Ok(())
}

async fn establish(
    config: &NodeConfig,
    request: &InitRequest,
    (addresses, availability): (Addresses, Availability),
    changes: broadcast::Sender<Change>,
) -> Result<Member, Rejection> {
    let node = NodeId::from_random(clock::random());
    let cluster_id = ClusterId::from_random(clock::random());
    let (root, identity) = certify(node, cluster_id).map_err(|error| internal(error.to_string()))?;
    let credentials = Credentials::new(identity.clone()).map_err(|error| internal(error.to_string()))?;
    let record = record(&addresses, Some(random_member()?), Vec::new());
    let addr = SocketAddr::new(addresses.advertise, addresses.port).to_string();
    let context = MemberContext { node, addr: addr.clone() }.to_bytes();
    let start = (Start::Bootstrap { context }, changes, Vec::new());
    let listener = listen(&credentials, &record).await?;
    let manager = seat(config, (&credentials, listener), &record, start)?;
    let tokens = JoinTokens {
        worker: JoinToken::generate(root.cert_pem()).to_string(),
        manager: JoinToken::generate(root.cert_pem()).to_string(),
    };
    let cluster = Cluster {
        id: cluster_id,
        meta: Meta::default(),
        spec: request.spec.clone(),
        root_ca: StoredCa { certificate: root.cert_pem().to_owned(), key: root.key_pem() },
        tokens,
        default_pools: request.default_pools.clone(),
        subnet_size: if request.subnet_size == 0 { 24 } else { request.subnet_size },
        data_path_port: if request.data_path_port == 0 { 4789 } else { request.data_path_port },
        gossip_keys: vec![GossipKey(clock::random())],
    };
    let first = NewNode {
        id: node,
        role: NodeRole::Manager,
        availability,
        hostname: config.hostname.clone(),
        addr: Some(addresses.advertise),
    };
    let ingress = NetworkId::from_random(clock::random());
    let raft_id = record.raft_id.unwrap_or_default();
    let founded = async {
        manager.propose(Action::InitCluster { cluster: Box::new(cluster), node: first, ingress }).await?;
        manager.propose(Action::SetManager { node, raft_id, addr }).await?;
        ingress::keep_clear(config, &manager, ingress).await
    };
    if let Err(rejection) = founded.await {
        manager.stop().await;
        return Err(rejection);
    }
    let member = Member::start(config, credentials, &record, Some(manager));
    let complete = async {
        member.ready().await?;
        keep(config, &identity, &record)
    };
    if let Err(rejection) = complete.await {
        member.remove().await;
        return Err(rejection);
    }
    Ok(member)
}

fn certify(
    node_id: NodeId,
    cluster_id: ClusterId,
) -> Result<(RootCa, NodeIdentity), Box<dyn std::error::Error>> {
    let now = clock::system_now();
    let root = RootCa::generate(now)?;
    let key = NodeKey::generate()?;
    let subject = NodeCertificate { node_id, role: CertRole::Manager, cluster_id };
    let cert_pem = root.sign_csr(&key.csr()?, &subject, Validity::of_node(now))?;
    let identity = NodeIdentity::new(root.cert_pem(), cert_pem, key.pem())?;
    Ok((root, identity))
}

/// Joins a swarm. On an error nothing is left behind.
pub(super) async fn join_swarm(
    config: &NodeConfig,
    request: &JoinRequest,
    changes: broadcast::Sender<Change>,
) -> Result<Member, Rejection> {
    let availability = availability(&request.availability)?;
    if request.token.is_empty() {
        let text = "A valid join token is necessary to join this cluster";
        return Err(Rejection::rpc(RejectionKind::InvalidArgument, text));
    }
    let token: JoinToken = request.token.parse().map_err(|_| internal("invalid join token"))?;
    let remotes: Vec<SocketAddr> =
        request.remote_addrs.iter().filter_map(|addr| remote(addr, config)).collect();
    let Some(first) = remotes.first() else {
        return Err(Rejection::plain(
            RejectionKind::InvalidArgument,
            "at least one RemoteAddr is required to join",
        ));
    };
    let texts =
        (request.listen_addr.as_str(), request.advertise_addr.as_str(), request.data_path_addr.as_str());
    let addresses = advertise::resolve(texts, config.manager_port, Some(first.ip()))?;
    let (identity, through) = certificate(&remotes, &token, (addresses, availability)).await?;
    forget(&config.data_dir);
    let member = enter(config, (identity, through), addresses, changes).await;
    if member.is_err() {
        forget(&config.data_dir);
    }
    member
}

/// The manager that answers gives the certificate.
async fn certificate(
    remotes: &[SocketAddr],
    token: &JoinToken,
    (addresses, availability): (Addresses, Availability),
) -> Result<(NodeIdentity, SocketAddr), Rejection> {
    let mut reason = internal("no manager was asked");
    for remote in remotes {
        let asked = async {
            let ca_pem = join::fetch_and_check_ca(*remote, token).await?;
            let key = NodeKey::generate()?;
            let addr = Some(addresses.advertise.to_string());
            let request =
                IssueRequest { token: token.to_string(), availability, addr, ..IssueRequest::default() };
            join::request_certificate(*remote, &ca_pem, &key, request).await
        };
        match asked.await {
            Ok(identity) => return Ok((identity, *remote)),
            Err(error) => reason = refusal(error),
        }
    }
    Err(reason)
}

/// Docker's class and text for each way to fail.
fn refusal(error: JoinError) -> Rejection {
    let unreachable = |kind| matches!(kind, ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable);
    if matches!(&error, JoinError::Dial(DialError::Timeout { .. }))
        || matches!(&error, JoinError::Dial(DialError::Connect { source, .. }) if unreachable(source.kind()))
    {
        return Rejection::plain(RejectionKind::Unavailable, TIMEOUT_TEXT);
    }
    if let JoinError::Dial(error) = error {
        let text = format!("connection error: desc = \"transport: Error while dialing {error}\"");
        return Rejection::rpc(RejectionKind::Unavailable, text);
    }
    if let JoinError::Refused { reason } = error {
        return Rejection::plain(RejectionKind::InvalidArgument, reason);
    }
    internal(error.to_string())
}

async fn enter(
    config: &NodeConfig,
    (identity, through): (NodeIdentity, SocketAddr),
    addresses: Addresses,
    changes: broadcast::Sender<Change>,
) -> Result<Member, Rejection> {
    let credentials = Credentials::new(identity.clone()).map_err(|error| internal(error.to_string()))?;
    let mut record = record(&addresses, None, vec![through.to_string()]);
    let mut manager = None;
    if identity.subject().role == CertRole::Manager {
        manager = Some(become_manager(config, &credentials, through, (&mut record, changes)).await?);
    }
    let member = Member::start(config, credentials, &record, manager);
    let complete = async {
        member.ready().await?;
        if let Some(manager) = &member.manager {
            let ready = |state: &State| {
                state.node(member.node_id).is_some_and(|node| node.status.state == NodeState::Ready)
            };
            let there = async {
                while !manager.read(ready) {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            let _ = timeout(SEATED, there).await; // the others know it already
        }
        keep(config, &identity, &record)
    };
    if let Err(rejection) = complete.await {
        member.remove().await;
        return Err(rejection);
    }
    Ok(member)
}

/// Time for a new manager to have the log.
const SEATED: Duration = Duration::from_secs(15);

/// Becomes a member of the log, or leaves no trace in it.
pub(super) async fn become_manager(
    config: &NodeConfig,
    credentials: &Credentials,
    through: SocketAddr,
    (record, changes): (&mut NodeRecord, broadcast::Sender<Change>),
) -> Result<Arc<Manager>, Rejection> {
    let _ = std::fs::remove_dir_all(raft_dir(&config.data_dir)); // of an attempt that failed
    let seated = take_a_seat(config, credentials, through, (record, changes)).await;
    if seated.is_err() {
        let node = credentials.identity.subject().node_id;
        let _ = ask(credentials, through, &ControlRequest::LeaveRaft { node }).await; // no ghost with a vote
    }
    seated
}

/// The port is open before the others count this vote.
async fn take_a_seat(
    config: &NodeConfig,
    credentials: &Credentials,
    through: SocketAddr,
    (record, changes): (&mut NodeRecord, broadcast::Sender<Change>),
) -> Result<Arc<Manager>, Rejection> {
    let listener = listen(credentials, record).await?;
    let addr = SocketAddr::new(record.addr, record.port).to_string();
    let (raft_id, members) = admitted(credentials, through, addr.clone()).await?;
    record.raft_id = Some(raft_id);
    let manager = seat(config, (credentials, listener), record, (Start::Join, changes, members))?;
    let node = credentials.identity.subject().node_id;
    let told = timeout(SEATED, manager.propose(Action::SetManager { node, raft_id, addr })).await;
    let silent =
        || Rejection::plain(RejectionKind::Unavailable, "the other managers cannot reach this node's port");
    if let Err(rejection) = told.unwrap_or_else(|_| Err(silent())) {
        manager.stop().await;
        return Err(rejection);
    }
    Ok(manager)
}

async fn admitted(
    credentials: &Credentials,
    through: SocketAddr,
    addr: String,
) -> Result<(u64, Vec<(u64, String)>), Rejection> {
    let node = credentials.identity.subject().node_id;
    let request = ControlRequest::JoinRaft { node, addr };
    let mut reason = "the managers did not answer".to_owned();
    for _ in 0..20 {
        match ask(credentials, through, &request).await {
            Some(ControlReply::Joined { raft_id, members }) => return Ok((raft_id, members)),
            Some(ControlReply::Rejected(rejection)) => reason = rejection.message,
            _ => {}
        }
        sleep(Duration::from_millis(250)).await;
    }
    Err(Rejection::rpc(RejectionKind::Unavailable, reason))
}

async fn ask(
    credentials: &Credentials,
    through: SocketAddr,
    request: &ControlRequest,
) -> Option<ControlReply> {
    let mut connection = credentials.dial(through, &Hello::Control).await.ok()?;
    connection.send(request).await.ok()?;
    connection.recv::<ControlReply>(Duration::from_secs(20)).await.ok()
}

fn keep(config: &NodeConfig, identity: &NodeIdentity, record: &NodeRecord) -> Result<(), Rejection> {
    store::save(&identity_dir(&config.data_dir), identity).map_err(|error| internal(error.to_string()))?;
    record.save(&config.data_dir).map_err(|error| internal(error.to_string()))
}

fn record(addresses: &Addresses, raft_id: Option<u64>, managers: Vec<String>) -> NodeRecord {
    NodeRecord {
        addr: addresses.advertise,
        data_path_addr: addresses.data_path,
        listen: addresses.listen,
        port: addresses.port,
        raft_id,
        managers,
    }
}

fn random_member() -> Result<u64, Rejection> {
    let number = u64::from_be_bytes(clock::random()) >> 1;
    MemberId::new(number.max(1)).map(MemberId::get).map_err(|error| internal(error.to_string()))
}

fn availability(text: &str) -> Result<Availability, Rejection> {
    if text.is_empty() {
        return Ok(Availability::Active);
    }
    text.parse().map_err(|_| {
        let text = format!("invalid Availability: {text:?}");
        Rejection::plain(RejectionKind::InvalidArgument, text)
    })
}

/// `host:port`, the port may be missing.
fn remote(text: &str, config: &NodeConfig) -> Option<SocketAddr> {
    parse_addr(text).or_else(|| Some(SocketAddr::new(text.parse().ok()?, config.manager_port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_path_keeps_clear_of_the_gossip() {
        let config = NodeConfig::new("/nonexistent");
        for port in [0, 4789, 7947, 49151] {
            assert!(check_data_path_port(&config, port).is_ok(), "{port}");
        }
        for port in [7945, 7946, u16::MAX] {
            assert!(check_data_path_port(&config, port).is_err(), "{port}");
        }
    }
}
