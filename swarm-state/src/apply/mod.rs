//! The fold: one command, one answer. Everything is checked before anything is changed.

mod acks;
mod address;
mod cluster;
mod container;
mod grow;
mod keys;
mod names;
mod network;
mod node;
mod plan;
mod ports;
mod routes;
mod secret;
mod service;
mod task;

use crate::{
    Action, Change, ChangeEvent, Command, ObjectKind, Rejection, RejectionKind, Reply, State, Value,
};

pub(crate) use acks::Left;
pub(crate) use address::{
    first_task_wants, ingress_of, network_key, node_key, node_owner, task_owner, task_wants, vip_owner,
};
pub(crate) use ports::DYNAMIC_PORTS;

impl State {
    /// Applies the entry `index` of the log.
    ///
    /// # Errors
    ///
    /// If the command does not fit the state. Then nothing but the clock has changed.
    pub fn apply(&mut self, index: u64, command: &Command) -> Result<Reply, Rejection> {
        self.index = self.index.max(index);
        self.now = self.now.max(command.at);
        if self.cluster.is_none() && !matches!(command.action, Action::InitCluster { .. } | Action::Tick {}) {
            return Err(Rejection::plain(RejectionKind::Unavailable, NO_SWARM));
        }
        let mut changes = Vec::new();
        let mark = self.ipam.mark();
        let value = self.dispatch(&mut changes, command)?;
        self.follow(&command.action, mark);
        Ok(Reply { value, changes })
    }

    fn dispatch(&mut self, out: &mut Vec<Change>, command: &Command) -> Result<Value, Rejection> {
        let mut random = command.random.iter();
        match &command.action {
            Action::InitCluster { cluster, node, ingress } => self.init_cluster(out, cluster, node, *ingress),
            Action::UpdateCluster { version, spec, tokens } => {
                self.update_cluster(out, *version, spec, tokens.as_ref())
            }
            Action::SetGossipKeys { keys } => self.set_gossip_keys(out, keys),
            Action::SetRootCa { root_ca, tokens } => self.set_root_ca(out, root_ca, tokens),
            Action::JoinNode { node } => self.join_node(out, node),
            Action::RegisterNode { id, description, addr, data_path_addr } => {
                let paths = node::Paths { addr: *addr, data: *data_path_addr };
                self.register_node(out, *id, description, paths)
            }
            Action::SetNodeStatus { nodes } => self.set_node_status(out, nodes),
            Action::UpdateNode { id, version, spec } => self.update_node(out, *id, *version, spec),
            Action::ReportRoutes { node, nets } => self.report_routes(*node, nets),
            Action::AckAddresses { acks } => Ok(self.ack_addresses(acks)),
            Action::RemoveNode { id, force } => self.remove_node(out, *id, *force),
            Action::SetManager { node, raft_id, addr } => self.set_manager(out, *node, *raft_id, addr),
            Action::UnsetManager { node } => self.unset_manager(out, *node),
            Action::CreateNetwork { id, spec } => self.create_network(out, *id, spec, random.next()),
            Action::GrowNetwork { id, subnet } => self.grow_network(out, *id, subnet),
            Action::RemoveNetwork { id } => self.remove_network(out, *id),
            Action::RotateNetworkKeys { id, grace } => self.rotate_keys(out, *id, *grace, random.next()),
            Action::CreateService { id, spec } => self.create_service(out, *id, spec),
            Action::UpdateService { id, version, spec, rollback } => {
                let spec = if *rollback { None } else { Some(&**spec) };
                self.update_service(out, *id, *version, spec)
            }
            Action::RemoveService { id } => self.remove_service(out, *id),
            Action::UpdateTaskStatuses { node, updates } => {
                Ok(self.update_task_statuses(out, *node, updates))
            }
            Action::Plan { ops } => Ok(self.plan(out, ops, random)),
            Action::AttachContainer(attach) => self.attach_container(out, attach),
            Action::DetachContainer { id } => Ok(self.detach_container(out, *id)),
            Action::CreateSecret { id, spec } => self.create_secret(out, *id, spec),
            Action::UpdateSecret { id, version, labels } => self.update_secret(out, *id, *version, labels),
            Action::RemoveSecret { id } => self.remove_secret(out, *id),
            Action::CreateConfig { id, spec } => self.create_config(out, *id, spec),
            Action::UpdateConfig { id, version, labels } => self.update_config(out, *id, *version, labels),
            Action::RemoveConfig { id } => self.remove_config(out, *id),
            Action::Tick {} => {
                self.tick();
                Ok(Value::Done)
            }
        }
    }
}

/// A change without details.
fn change(kind: ObjectKind, id: impl ToString, name: &str, event: ChangeEvent) -> Change {
    Change { kind, id: id.to_string(), name: name.to_owned(), event, details: Vec::new() }
}

/// Compares the version that an update names.
fn in_sequence(named: u64, present: u64) -> Result<(), Rejection> {
    if named == present {
        Ok(())
    } else {
        Err(Rejection::rpc(RejectionKind::OutOfSequence, "update out of sequence"))
    }
}

fn not_found(kind: ObjectKind, id: impl ToString) -> Rejection {
    Rejection::plain(RejectionKind::NotFound, format!("{kind} {} not found", id.to_string()))
}

const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";
