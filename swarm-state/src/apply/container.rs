//! Containers outside of services, in attachable networks.

use overlay_ipam::{Denied, Lease, Want};

use super::address::{attachments, network_key, task_owner};
use super::{change, not_found};
use crate::object::{AttachedContainer, Meta};
use crate::{
    AttachContainer, Change, ChangeEvent, NodeId, ObjectKind, Rejection, RejectionKind, State, TaskId, Value,
};

impl State {
    pub(super) fn attach_container(
        &mut self,
        out: &mut Vec<Change>,
        attach: &AttachContainer,
    ) -> Result<Value, Rejection> {
        let network = self
            .networks
            .get(&attach.network)
            .ok_or_else(|| not_found(ObjectKind::Network, attach.network))?;
        let name = network.spec.name.clone();
        if !network.spec.attachable {
            let text = format!("network {name} not manually attachable");
            return Err(Rejection::rpc(RejectionKind::PermissionDenied, text));
        }
        if !self.nodes.contains_key(&attach.node) {
            return Err(not_found(ObjectKind::Node, attach.node));
        }
        if self.containers.contains_key(&attach.id) || self.tasks.contains_key(&attach.id) {
            let text = format!("task {} already exists", attach.id);
            return Err(Rejection::rpc(RejectionKind::AlreadyExists, text));
        }
        let denied = |state: &Self, denied: &Denied| {
            let (container, reason) = (&attach.name, state.in_words(denied));
            let text =
                format!("failed to allocate network IP for container {container} network {name}: {reason}");
            Rejection::rpc(RejectionKind::ResourceExhausted, text)
        };
        let (network, owner) = (network_key(attach.network), task_owner(attach.id));
        let mut wants = vec![Want { network, owner: owner.clone(), prefer: attach.address }];
        wants.extend(self.node_wants(attach.node, &[attach.network]));
        let leases = self.acquire(wants).map_err(|refused| denied(self, &refused))?;
        let node = self.attached(attach.node, &[attach.network], &leases);
        let leases: Vec<Lease> = leases.into_iter().filter(|lease| lease.owner == owner).collect();
        let Some(attachment) = attachments(&[(attach.network, attach.aliases.clone())], &leases).pop() else {
            return Err(not_found(ObjectKind::Network, attach.network));
        };
        let container = AttachedContainer {
            id: attach.id,
            meta: Meta::new(self.index, self.now),
            node_id: attach.node,
            container: attach.container.clone(),
            name: attach.name.clone(),
            attachment,
        };
        self.containers.insert(attach.id, container);
        out.push(change(ObjectKind::Task, attach.id, &attach.name, ChangeEvent::Created));
        if node {
            self.node_changed(out, attach.node);
        }
        Ok(Value::Done)
    }

    pub(super) fn detach_container(&mut self, out: &mut Vec<Change>, id: TaskId) -> Value {
        if let Some(container) = self.containers.remove(&id) {
            self.release_all(task_owner(id));
            out.push(change(ObjectKind::Task, id, &container.name, ChangeEvent::Removed));
            if self.detach_node(container.node_id) {
                self.node_changed(out, container.node_id);
            }
        }
        Value::Done
    }

    /// The node is gone, and its containers with it.
    pub(super) fn detach_containers_of(&mut self, out: &mut Vec<Change>, node: NodeId) {
        let here = self.containers.values().filter(|container| container.node_id == node);
        let ids: Vec<TaskId> = here.map(|container| container.id).collect();
        for id in ids {
            self.detach_container(out, id);
        }
    }

    /// Tells that a node has got or lost an address.
    pub(super) fn node_changed(&self, out: &mut Vec<Change>, node: NodeId) {
        let name = self.nodes.get(&node).map_or("", |node| node.description.hostname.as_str());
        out.push(change(ObjectKind::Node, node, name, ChangeEvent::Updated));
    }
}
