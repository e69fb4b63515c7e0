//! What other managers ask the leader.

use std::sync::Arc;

use overlay_raft::{MemberId, tokio::ProposeError};
use swarm_state::{Action, NodeId, Rejection, RejectionKind};

use super::{
    Answered, Manager, MemberContext, logs,
    wire::{ControlReply, ControlRequest},
};
use crate::{clock, credentials::parse_addr, rpc::Connection};

/// How long a control connection may be silent.
const IDLE: std::time::Duration = std::time::Duration::from_secs(30);

/// Serves one control connection.
pub(super) async fn serve(manager: Arc<Manager>, mut connection: Connection) {
    while let Ok(request) = connection.recv::<ControlRequest>(IDLE).await {
        let reply = match request {
            ControlRequest::Logs { tasks, options } => {
                logs::stream_to_peer(&manager, connection, (tasks, options)).await;
                return;
            }
            ControlRequest::Propose(mut command) => {
                // One clock counts: by one that is ahead, all that was freed would have rested long enough.
                command.at = clock::now();
                match manager.propose_here(&command).await {
                    Ok((index, Ok(reply))) => ControlReply::Applied { index, reply },
                    Ok((_, Err(rejection))) => ControlReply::Rejected(rejection),
                    Err(error) => failed(&error),
                }
            }
            // A joining manager knows one manager, which need not be the leader.
            request @ (ControlRequest::JoinRaft { .. } | ControlRequest::LeaveRaft { .. })
                if !manager.is_leader() =>
            {
                match manager.ask_leader(&request).await {
                    Answered::Reply(reply) => reply,
                    Answered::Unreached | Answered::Silence => ControlReply::NotLeader,
                }
            }
            ControlRequest::JoinRaft { node, addr } => admit(&manager, node, addr).await,
            ControlRequest::LeaveRaft { node } => match dismiss(&manager, node).await {
                Ok(()) => ControlReply::Done,
                Err(reply) => reply,
            },
        };
        if connection.send(&reply).await.is_err() {
            return;
        }
    }
}

/// Makes a node a member of the log. From now on the log may need its vote, so it is answered at once; the node itself
/// writes down that it is a manager.
async fn admit(manager: &Manager, node: NodeId, addr: String) -> ControlReply {
    // A member that nobody can reach would cost the others their majority.
    let reachable = match parse_addr(&addr) {
        Some(addr) => manager.credentials().reaches(addr).await,
        None => false,
    };
    if !reachable {
        let text = format!("the leader cannot reach the new manager at {addr}; is its port open?");
        return ControlReply::Rejected(Rejection::rpc(RejectionKind::Unavailable, text));
    }
    let raft_id = match member_of(manager, node) {
        Some(known) => known, // its request came before, and the answer was lost
        None => {
            let number = u64::from_be_bytes(clock::random()) >> 1; // 63 bits, never used again, as SwarmKit
            let Ok(raft_id) = MemberId::new(number.max(1)) else { return ControlReply::NotLeader };
            let context = MemberContext { node, addr };
            if let Err(error) = manager.raft.add_member(raft_id, context.to_bytes()).await {
                return failed(&error);
            }
            raft_id
        }
    };
    let status = manager.raft.status();
    let members = status.borrow().members.clone();
    let address =
        |(id, context): (MemberId, Vec<u8>)| Some((id.get(), MemberContext::from_bytes(&context)?.addr));
    ControlReply::Joined {
        raft_id: raft_id.get(),
        members: members.into_iter().filter_map(address).collect(),
    }
}

/// The node's number in the log, whether or not the state knows of it yet.
fn member_of(manager: &Manager, node: NodeId) -> Option<MemberId> {
    let status = manager.raft.status();
    let status = status.borrow();
    let is_it =
        |context: &[u8]| MemberContext::from_bytes(context).is_some_and(|context| context.node == node);
    status.members.iter().find(|(_, context)| is_it(context)).map(|(id, _)| *id)
}

/// Takes a node out of the log. The leader itself is taken out by its successor.
pub(super) async fn dismiss(manager: &Manager, node: NodeId) -> Result<(), ControlReply> {
    if let Some(raft_id) = member_of(manager, node) {
        manager.raft.remove_member(raft_id).await.map_err(|error| failed(&error))?;
    }
    if manager.read(|state| state.node(node).is_none_or(|node| node.manager.is_none())) {
        return Ok(());
    }
    let unseated = Action::UnsetManager { node }.at(clock::now());
    let (_, result) = manager.propose_here(&unseated).await.map_err(|error| failed(&error))?;
    result.map(drop).map_err(ControlReply::Rejected)
}

fn failed(error: &ProposeError) -> ControlReply {
    if matches!(error, ProposeError::NotLeader { .. }) {
        return ControlReply::NotLeader;
    }
    ControlReply::Rejected(Rejection::rpc(RejectionKind::Unavailable, error))
}
