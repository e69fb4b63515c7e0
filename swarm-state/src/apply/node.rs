//! Nodes: they join, report in, change and go.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::address::{ingress_of, node_owner, task_owner};
use super::{change, in_sequence, not_found};
use crate::object::{ManagerStatus, Meta, Node, NodeStatus, TaskState};
use crate::spec::{NodeDescription, NodeRole, NodeSpec, NodeState};
use crate::{
    Change, ChangeEvent, NewNode, NodeId, NodeStatusUpdate, ObjectKind, Rejection, RejectionKind, State,
    TaskId, Value,
};

/// Where a node is reached.
#[derive(Clone, Copy)]
pub(super) struct Paths {
    pub(super) addr: IpAddr,
    pub(super) data: Option<IpAddr>,
}

impl State {
    pub(super) fn join_node(&mut self, out: &mut Vec<Change>, node: &NewNode) -> Result<Value, Rejection> {
        if self.removed_nodes.contains(&node.id) {
            let text = format!("node {} was removed from the swarm", node.id);
            return Err(Rejection::rpc(RejectionKind::PermissionDenied, text));
        }
        if self.nodes.contains_key(&node.id) {
            return Ok(Value::Done);
        }
        let spec = NodeSpec { role: node.role, availability: node.availability, ..NodeSpec::default() };
        let description = NodeDescription { hostname: node.hostname.clone(), ..NodeDescription::default() };
        let status = NodeStatus { addr: node.addr, since: self.now, ..NodeStatus::default() };
        let joined = Node {
            id: node.id,
            meta: Meta::new(self.index, self.now),
            spec,
            role: node.role,
            description,
            status,
            manager: None,
            attachments: BTreeMap::new(),
            data_path_addr: node.addr,
        };
        self.nodes.insert(node.id, joined);
        let ingress: Vec<_> = ingress_of(self).map(|network| network.id).into_iter().collect();
        if let Err(denied) = self.attach_node(node.id, &ingress) {
            self.nodes.remove(&node.id);
            let text = format!("no address for the node in the ingress network: {}", self.in_words(&denied));
            return Err(Rejection::rpc(RejectionKind::ResourceExhausted, text));
        }
        out.push(change(ObjectKind::Node, node.id, &node.hostname, ChangeEvent::Created));
        Ok(Value::Done)
    }

    pub(super) fn register_node(
        &mut self,
        out: &mut Vec<Change>,
        id: NodeId,
        description: &NodeDescription,
        paths: Paths,
    ) -> Result<Value, Rejection> {
        let (index, now) = (self.index, self.now);
        let node = self.nodes.get_mut(&id).ok_or_else(|| not_found(ObjectKind::Node, id))?;
        node.description = description.clone();
        node.status.addr = Some(paths.addr);
        node.data_path_addr = paths.data.or(Some(paths.addr));
        node.meta.touch(index, now);
        let mut update = change(ObjectKind::Node, id, &node.description.hostname, ChangeEvent::Updated);
        update.details.extend(set_state(node, NodeState::Ready, "", now));
        out.push(update);
        Ok(Value::Done)
    }

    pub(super) fn set_node_status(
        &mut self,
        out: &mut Vec<Change>,
        updates: &[NodeStatusUpdate],
    ) -> Result<Value, Rejection> {
        let (index, now) = (self.index, self.now);
        for update in updates {
            let Some(node) = self.nodes.get_mut(&update.id) else { continue };
            if node.status.state == update.state && node.status.message == update.message {
                continue;
            }
            let details = set_state(node, update.state, &update.message, now);
            node.meta.touch(index, now);
            let mut updated =
                change(ObjectKind::Node, node.id, &node.description.hostname, ChangeEvent::Updated);
            updated.details.extend(details);
            out.push(updated);
        }
        Ok(Value::Done)
    }

    pub(super) fn update_node(
        &mut self,
        out: &mut Vec<Change>,
        id: NodeId,
        version: u64,
        spec: &NodeSpec,
    ) -> Result<Value, Rejection> {
        let node = self.nodes.get(&id).ok_or_else(|| not_found(ObjectKind::Node, id))?;
        in_sequence(version, node.meta.version)?;
        if node.spec.role == NodeRole::Manager && spec.role == NodeRole::Worker && self.managers_wanted() <= 1
        {
            let text = "attempting to demote the last manager of the swarm";
            return Err(Rejection::rpc(RejectionKind::FailedPrecondition, text));
        }
        let mut updated = change(ObjectKind::Node, id, &node.description.hostname, ChangeEvent::Updated);
        updated.details.extend(detail("availability", node.spec.availability, spec.availability));
        updated.details.extend(detail("role", node.spec.role, spec.role));
        let (index, now) = (self.index, self.now);
        if let Some(node) = self.nodes.get_mut(&id) {
            node.spec = spec.clone();
            node.meta.touch(index, now);
        }
        out.push(updated);
        Ok(Value::Done)
    }

    pub(super) fn remove_node(
        &mut self,
        out: &mut Vec<Change>,
        id: NodeId,
        force: bool,
    ) -> Result<Value, Rejection> {
        let node = self.nodes.get(&id).ok_or_else(|| not_found(ObjectKind::Node, id))?;
        let refuse = |text: String| Err(Rejection::rpc(RejectionKind::FailedPrecondition, text));
        if node.manager.is_some() {
            return refuse(format!(
                "node {id} is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal"
            ));
        }
        if !force && node.status.state == NodeState::Ready {
            return refuse(format!("node {id} is not down and can't be removed"));
        }
        let name = node.description.hostname.clone();
        let here = self.tasks.values().filter(|task| task.node_id == Some(id) && !task.has_ended());
        let lost: Vec<TaskId> = here.map(|task| task.id).collect();
        for task in lost {
            self.end_task(out, task, TaskState::Orphaned, "Task belonged to a node that has been deleted");
        }
        self.detach_containers_of(out, id);
        self.release_all(node_owner(id));
        self.exclude(id, &[]);
        self.leaving.remove(&id);
        self.nodes.remove(&id);
        self.removed_nodes.insert(id);
        self.hasten_rotations();
        out.push(change(ObjectKind::Node, id, &name, ChangeEvent::Removed));
        Ok(Value::Done)
    }

    pub(super) fn set_manager(
        &mut self,
        out: &mut Vec<Change>,
        id: NodeId,
        raft_id: u64,
        addr: &str,
    ) -> Result<Value, Rejection> {
        let manager = ManagerStatus { raft_id, addr: addr.to_owned() };
        self.change_role(out, id, NodeRole::Manager, Some(manager))
    }

    pub(super) fn unset_manager(&mut self, out: &mut Vec<Change>, id: NodeId) -> Result<Value, Rejection> {
        self.change_role(out, id, NodeRole::Worker, None)
    }

    fn change_role(
        &mut self,
        out: &mut Vec<Change>,
        id: NodeId,
        role: NodeRole,
        manager: Option<ManagerStatus>,
    ) -> Result<Value, Rejection> {
        let (index, now) = (self.index, self.now);
        let node = self.nodes.get_mut(&id).ok_or_else(|| not_found(ObjectKind::Node, id))?;
        if node.role != role || node.manager != manager {
            node.role = role;
            node.manager = manager;
            node.meta.touch(index, now);
            out.push(change(ObjectKind::Node, id, &node.description.hostname, ChangeEvent::Updated));
        }
        Ok(Value::Done)
    }

    /// A task is over without its node saying so.
    pub(super) fn end_task(&mut self, out: &mut Vec<Change>, id: TaskId, state: TaskState, message: &str) {
        let (index, now) = (self.index, self.now);
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.status.state = task.status.state.max(state);
        task.status.timestamp = now;
        task.ended_at = Some(now);
        message.clone_into(&mut task.status.message);
        task.networks.clear();
        task.meta.touch(index, now);
        out.push(change(ObjectKind::Task, id, &task.name, ChangeEvent::Updated));
        self.release_all(task_owner(id));
    }

    fn managers_wanted(&self) -> usize {
        self.nodes.values().filter(|node| node.spec.role == NodeRole::Manager).count()
    }
}

fn set_state(
    node: &mut Node,
    state: NodeState,
    message: &str,
    now: crate::Timestamp,
) -> Option<(String, String, String)> {
    let before = node.status.state;
    message.clone_into(&mut node.status.message);
    if before != state {
        node.status.state = state;
        node.status.since = now;
    }
    detail("state", before, state)
}

fn detail<T: PartialEq + ToString>(what: &str, before: T, after: T) -> Option<(String, String, String)> {
    (before != after).then(|| (what.to_owned(), before.to_string(), after.to_string()))
}
