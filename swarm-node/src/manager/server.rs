//! Port 2377: who knocks, and who serves them.

use std::{sync::Arc, time::Duration};

use swarm_state::{Action, NewNode, NodeId, spec::NodeRole};

use super::{Manager, control, session};
use crate::{
    clock,
    rpc::{
        Accepted, Connection, Listener,
        messages::{Hello, IssueReply, IssueRequest, Issued, RenewRequest, RootCaReply},
    },
    security::{CertRole, JoinToken, NodeCertificate, RootCa, Validity},
};

/// Silence after which a peer's log connection is given up; heartbeats come far more often.
const RAFT_IDLE: Duration = Duration::from_secs(60);

/// Accepts until the manager stops.
pub(super) async fn run(manager: Arc<Manager>, mut listener: Listener) {
    loop {
        let accepted = listener.accept().await;
        let serving = Arc::clone(&manager);
        manager.spawn(serve(serving, accepted));
        while manager
            .tasks
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .try_join_next()
            .is_some()
        {}
    }
}

async fn serve(manager: Arc<Manager>, Accepted { mut connection, hello }: Accepted) {
    let peer = connection.peer().map(|peer| peer.node_id);
    // The certificate of a removed node is not accepted any more, and its role counts only as long as the managers agree.
    let (removed, demoted) = manager.read(|state| {
        let known = peer.and_then(|node| state.node(node));
        let demoted = known.is_some_and(|node| node.spec.role == NodeRole::Worker);
        (peer.is_some_and(|node| state.was_removed(node)), demoted)
    });
    let wants_managers = matches!(hello, Hello::Raft | Hello::Control);
    if wants_managers && (removed || demoted) || removed && !matches!(hello, Hello::Session) {
        return;
    }
    match hello {
        Hello::RootCa => {
            let ca_pem = manager.credentials().identity.ca_pem().to_owned();
            let _ = connection.send(&RootCaReply { ca_pem }).await;
        }
        Hello::IssueCertificate(request) => {
            let reply = issue(&manager, &connection, request).await;
            let _ = connection.send(&reply).await;
        }
        Hello::RenewCertificate(request) => {
            let reply = renew(&manager, peer, &request);
            let _ = connection.send(&reply).await;
        }
        Hello::Raft => {
            while let Ok(message) = connection.recv_bytes(RAFT_IDLE).await {
                manager.raft.receive(message.freeze());
            }
        }
        Hello::Session => {
            if let Some(node) = peer {
                session::serve(manager, connection, node).await;
            }
        }
        Hello::Control => control::serve(manager, connection).await,
    }
}

/// The reasons of a refusal are Docker's.
async fn issue(manager: &Manager, connection: &Connection, request: IssueRequest) -> IssueReply {
    let refused = |reason: &str| IssueReply::Refused { reason: reason.to_owned() };
    let wrong =
        "rpc error: code = InvalidArgument desc = A valid join token is necessary to join this cluster";
    let Ok(shown) = request.token.parse::<JoinToken>() else { return refused(wrong) };
    let Some(tokens) = manager.read(|state| Some(state.cluster()?.tokens.clone())) else {
        return refused("the manager does not know the cluster yet; try again");
    };
    let matches = |token: &str| token.parse::<JoinToken>().is_ok_and(|token| token.matches(&shown));
    let role = match (matches(&tokens.manager), matches(&tokens.worker)) {
        (true, _) => CertRole::Manager,
        (false, true) => CertRole::Worker,
        (false, false) => return refused(wrong),
    };
    let node = NodeId::from_random(clock::random());
    let issued = match sign(manager, node, role, &request.csr_pem) {
        Ok(issued) => issued,
        Err(reason) => return refused(&reason),
    };
    let availability = request.availability;
    let role = if role == CertRole::Manager { NodeRole::Manager } else { NodeRole::Worker };
    let addr = Some(connection.remote().ip());
    let node = NewNode { id: node, role, availability, hostname: String::new(), addr };
    match manager.propose(Action::JoinNode { node }).await {
        Ok(_) => IssueReply::Issued(issued),
        Err(rejection) => refused(&rejection.message),
    }
}

/// The role is the one that the managers have agreed on, not the one in the old certificate.
fn renew(manager: &Manager, peer: Option<NodeId>, request: &RenewRequest) -> IssueReply {
    let known = peer.and_then(|node| manager.read(|state| Some((node, state.node(node)?.spec.role))));
    let Some((node, role)) = known else {
        return IssueReply::Refused { reason: "the node is not part of this cluster".to_owned() };
    };
    let role = if role == NodeRole::Manager { CertRole::Manager } else { CertRole::Worker };
    match sign(manager, node, role, &request.csr_pem) {
        Ok(issued) => IssueReply::Issued(issued),
        Err(reason) => IssueReply::Refused { reason },
    }
}

fn sign(manager: &Manager, node: NodeId, role: CertRole, csr_pem: &str) -> Result<Issued, String> {
    let cluster = manager.read(|state| state.cluster().map(|cluster| (cluster.id, cluster.root_ca.clone())));
    let (cluster_id, root) = cluster.ok_or("the manager does not know the cluster yet; try again")?;
    let ca = RootCa::from_pem(&root.certificate, &root.key).map_err(|error| error.to_string())?;
    let subject = NodeCertificate { node_id: node, role, cluster_id };
    let validity = Validity::of_node(clock::system_now());
    let cert_pem = ca.sign_csr(csr_pem, &subject, validity).map_err(|error| error.to_string())?;
    Ok(Issued { node_id: node, cluster_id, cert_pem, ca_pem: root.certificate })
}
