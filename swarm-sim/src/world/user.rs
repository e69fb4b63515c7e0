//! What users ask for: one request after another, each until a leader has answered it.

use std::time::{Duration, Instant};

use serde_json::json;
use swarm_state::object::Cluster;
use swarm_state::spec::NodeRole;
use swarm_state::{Action, ClusterId, NetworkId, NewNode, Rejection, RejectionKind, Reply, ServiceId, State};

use super::World;
use crate::Machine;
use crate::manager::{Refused, Request};
use rand::Rng;

/// Names a request of a user.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ticket(u64);

impl World {
    /// Asks for anything; waits behind earlier requests.
    pub fn ask(&mut self, action: Action) -> Ticket {
        self.queue_request(Request::Do(action))
    }

    /// What became of a request; `None` while it waits.
    pub fn answer(&self, ticket: Ticket) -> Option<&Result<Reply, Rejection>> {
        self.answers.get(&ticket)
    }

    /// Creates an overlay network.
    pub fn create_network(&mut self, name: &str) -> NetworkId {
        let id = NetworkId::from_random(self.rng.random());
        let spec = json!({"Name": name, "Driver": "overlay"});
        let spec = serde_json::from_value(spec).unwrap_or_default();
        self.note(format!("a user creates network {name}"));
        self.ask(Action::CreateNetwork { id, spec: Box::new(spec) });
        id
    }

    /// Creates a replicated service whose tasks are in these networks.
    pub fn create_service(&mut self, name: &str, replicas: u64, networks: &[NetworkId]) -> ServiceId {
        let id = ServiceId::from_random(self.rng.random());
        let targets: Vec<_> = networks.iter().map(|id| json!({"Target": id.as_str()})).collect();
        let spec = json!({
            "Name": name,
            "TaskTemplate": {
                "ContainerSpec": {"Image": "hello"},
                "Networks": targets,
                "RestartPolicy": {"Condition": "any", "Delay": 500_000_000},
            },
            "Mode": {"Replicated": {"Replicas": replicas}},
        });
        let spec = serde_json::from_value(spec).unwrap_or_default();
        self.note(format!("a user creates service {name} with {replicas} replicas"));
        self.ask(Action::CreateService { id, spec: Box::new(spec) });
        id
    }

    /// Asks for another number of replicas.
    pub fn scale(&mut self, service: &str, replicas: u64) -> Ticket {
        self.note(format!("a user scales service {service} to {replicas}"));
        self.queue_request(Request::Scale { service: service.to_owned(), replicas })
    }

    /// Removes a service.
    pub fn remove_service(&mut self, service: &str) -> Ticket {
        self.note(format!("a user removes service {service}"));
        self.queue_request(Request::RemoveService { service: service.to_owned() })
    }

    /// Asks the leader to hand over to another manager. It may not work.
    pub fn transfer_leadership(&mut self, to: Machine) {
        let now = self.now;
        let Some(leader) = self.leader() else { return };
        if let Some(manager) = self.node_mut(leader).parts.as_mut().and_then(|parts| parts.manager.as_mut()) {
            manager.transfer(now, to);
        }
        self.pump(leader);
    }

    pub(super) fn ask_to_found(&mut self, founder: Machine) {
        let cluster = Box::new(Cluster::new(ClusterId::from_random(self.rng.random())));
        let ingress = NetworkId::from_random(self.rng.random());
        self.ask(Action::InitCluster { cluster, node: new_node(founder, NodeRole::Manager), ingress });
        self.ask_to_seat(founder);
    }

    pub(super) fn ask_to_join(&mut self, machine: Machine, manager: bool) {
        let role = if manager { NodeRole::Manager } else { NodeRole::Worker };
        self.ask(Action::JoinNode { node: new_node(machine, role) });
        if manager {
            self.queue_request(Request::AddManager(machine));
            self.ask_to_seat(machine);
        }
    }

    /// When the next request may be made.
    pub(super) fn poll_ask(&self) -> Option<Instant> {
        self.requests.front()?;
        match self.asked {
            Some((_, since)) => Some(since + PATIENCE),
            None => Some(self.next_ask),
        }
    }

    pub(super) fn ask_next(&mut self) {
        if self.poll_ask().is_none_or(|at| at > self.now) {
            return;
        }
        self.asked = None;
        self.next_ask = self.now + RETRY;
        let (Some(leader), Some((ticket, request))) = (self.leader(), self.requests.front().cloned()) else {
            return;
        };
        self.asked = Some((self.node(leader).now_living(), self.now));
        let moment = self.moment();
        if let Some(manager) = self.node_mut(leader).parts.as_mut().and_then(|parts| parts.manager.as_mut()) {
            manager.ask(moment, ticket, request);
        }
        self.pump(leader);
    }

    pub(super) fn answered(&mut self, ticket: Ticket, result: Result<Reply, Refused>) {
        if self.requests.front().is_none_or(|(waiting, _)| *waiting != ticket) {
            return; // of an earlier attempt
        }
        self.asked = None;
        let result = match result {
            Ok(reply) => Ok(reply),
            Err(Refused::ByState(rejection)) if rejection.kind != RejectionKind::OutOfSequence => {
                Err(rejection)
            }
            Err(Refused::ByState(_) | Refused::NotNow) => {
                self.next_ask = self.now + RETRY;
                return;
            }
        };
        self.next_ask = self.now;
        self.requests.pop_front();
        self.answers.insert(ticket, result);
    }

    fn ask_to_seat(&mut self, machine: Machine) {
        let raft_id = machine.member_id().get();
        self.ask(Action::SetManager { node: machine.node_id(), raft_id, addr: machine.manager_addr() });
    }

    fn queue_request(&mut self, request: Request) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.requests.push_back((ticket, request));
        ticket
    }
}

/// What a request by name means now; `None`: there is nothing to be done.
pub(crate) fn resolve(state: &State, request: Request) -> Option<Action> {
    match request {
        Request::Do(action) => Some(action),
        Request::Scale { service, replicas } => {
            let service = state.find_service(&service).ok()?;
            let mut spec = serde_json::to_value(&service.spec).ok()?;
            *spec.pointer_mut("/Mode/Replicated/Replicas")? = json!(replicas);
            let spec = Box::new(serde_json::from_value(spec).ok()?);
            Some(Action::UpdateService {
                id: service.id,
                version: service.meta.version,
                spec,
                rollback: false,
            })
        }
        Request::RemoveService { service } => {
            Some(Action::RemoveService { id: state.find_service(&service).ok()?.id })
        }
        Request::AddManager(_) => None,
    }
}

fn new_node(machine: Machine, role: NodeRole) -> NewNode {
    NewNode {
        id: machine.node_id(),
        role,
        availability: Default::default(),
        hostname: machine.to_string(),
        addr: Some(machine.ip()),
    }
}

/// Pause between two attempts.
const RETRY: Duration = Duration::from_millis(100);
/// A leader that does not answer for so long is asked again.
const PATIENCE: Duration = Duration::from_secs(5);
