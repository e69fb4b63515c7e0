//! Promotion and demotion: a node becomes the manager or worker that the managers want it to be, while its tasks run on.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use swarm_state::{Rejection, spec::NodeRole};
use tokio::time::sleep;

use super::{
    Node, Phase,
    found::become_manager,
    member::{Member, internal},
    record::{NodeRecord, identity_dir, raft_dir},
};
use crate::{
    credentials::{Credentials, parse_addr},
    security::{NodeIdentity, NodeKey, join, store},
};

/// Pause after an attempt that failed.
const RETRY: Duration = Duration::from_secs(2);

/// What the assignment asks of this node's role.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wish {
    Nothing,
    Promotion,
    /// Somebody else must lead before this node can be taken out of the log.
    HandOver,
    Demotion,
}

/// Runs for the life of a membership.
pub(super) async fn follow(node: Node, member: Weak<Member>) {
    let Some(mut assignments) = member.upgrade().map(|member| member.worker.assignment.subscribe()) else {
        return;
    };
    loop {
        let Some(current) = member.upgrade() else { return };
        let done = match wish(&current) {
            Wish::Nothing => Ok(()),
            Wish::HandOver => {
                hand_over(&current).await;
                Err(internal("waits for another leader"))
            }
            Wish::Promotion | Wish::Demotion => match change(&node, &current).await {
                Ok(()) => return, // another membership has taken over
                Err(rejection) => Err(rejection),
            },
        };
        drop(current);
        match done {
            Ok(()) if assignments.changed().await.is_err() => return,
            Ok(()) => {}
            Err(_) => sleep(RETRY).await,
        }
    }
}

fn wish(member: &Member) -> Wish {
    let Some(assignment) = member.worker.assignment.borrow().clone() else { return Wish::Nothing };
    match (&member.manager, assignment.desired_role, assignment.role) {
        (None, NodeRole::Manager, _) => Wish::Promotion,
        (Some(manager), NodeRole::Worker, _) if manager.is_leader() => Wish::HandOver,
        (Some(_), NodeRole::Worker, NodeRole::Worker) => Wish::Demotion,
        _ => Wish::Nothing,
    }
}

async fn hand_over(member: &Member) {
    let Some(manager) = &member.manager else { return };
    let other = {
        let status = manager.raft.status();
        let status = status.borrow();
        let there = |voter: &overlay_raft::MemberId| status.reachable.get(voter).copied().unwrap_or(false);
        status.voters.iter().copied().find(|voter| *voter != status.id && there(voter))
    };
    if let Some(other) = other {
        manager.raft.transfer_leadership(other).await;
    }
}

async fn change(node: &Node, member: &Arc<Member>) -> Result<(), Rejection> {
    let _turn = node.inner.turn.lock().await;
    let is_current = matches!(node.phase(), Phase::Active(active) if Arc::ptr_eq(&active, member));
    if !is_current {
        return Ok(()); // the node has left, or changed already
    }
    let config = &node.inner.config;
    let record = NodeRecord::load(&config.data_dir).map_err(|error| internal(error.to_string()))?;
    let mut record = record.ok_or_else(|| internal("the node's record is missing"))?;
    let (identity, through) = recertified(member).await?;
    let credentials = Credentials::new(identity.clone()).map_err(|error| internal(error.to_string()))?;
    let promoted = member.manager.is_none();
    let mut manager = None;
    if promoted {
        let changes = node.inner.changes.clone();
        manager = Some(become_manager(config, &credentials, through, (&mut record, changes)).await?);
    } else {
        record.raft_id = None;
    }
    let kept = store::save(&identity_dir(&config.data_dir), &identity).map_err(|error| error.to_string());
    kept.map_err(internal)?;
    record.save(&config.data_dir).map_err(|error| internal(error.to_string()))?;
    member.stop().await;
    if !promoted {
        let _ = std::fs::remove_dir_all(raft_dir(&config.data_dir));
    }
    let next = Member::start(config, credentials, &record, manager);
    node.set(Phase::Active(node.guard(next)));
    Ok(())
}

/// A certificate with the role that the managers want, from whoever of them answers.
async fn recertified(member: &Member) -> Result<(NodeIdentity, std::net::SocketAddr), Rejection> {
    let old = member.worker.credentials().identity;
    let key = NodeKey::generate().map_err(|error| internal(error.to_string()))?;
    let managers = member.worker.known_managers();
    let mut reason = "no manager is known".to_owned();
    for addr in managers.iter().filter_map(|addr| parse_addr(addr)) {
        match join::renew_certificate(addr, &old, &key).await {
            Ok(identity) => return Ok((identity, addr)),
            Err(error) => reason = error.to_string(),
        }
    }
    Err(internal(reason))
}
