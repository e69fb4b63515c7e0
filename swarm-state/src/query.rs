//! Questions about the state.

use crate::object::{Cluster, Config, Network, Node, Secret, Service, Task, TaskState};
use crate::spec::{Mode, NodeRole};
use crate::{
    ConfigId, NetworkId, NodeId, ObjectKind, Rejection, RejectionKind, SecretId, ServiceId, State, TaskId,
    reconcile,
};

/// How many tasks a service has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ServiceCounts {
    /// Those that run.
    pub running: u64,
    /// Those that should run.
    pub desired: u64,
    /// Those of a job that have completed.
    pub completed: u64,
}

/// Who uses a network.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum NetworkUser {
    /// A service names it.
    Service(ServiceId),
    /// A task has an address in it.
    Task(TaskId),
}

/// Lookups by whatever a user types: a full id, else a full name, else the beginning of an id that fits one object.
///
/// Each answers `… not found` or `… is ambiguous (N matches found)` as Docker does.
impl State {
    /// Finds a node; its name is its host name.
    ///
    /// # Errors
    ///
    /// If none or several fit.
    pub fn find_node(&self, term: &str) -> Result<&Node, Rejection> {
        find(ObjectKind::Node, term, self.nodes.values(), |n| (n.id.as_str(), &n.description.hostname))
    }

    /// Finds a service.
    ///
    /// # Errors
    ///
    /// If none or several fit.
    pub fn find_service(&self, term: &str) -> Result<&Service, Rejection> {
        find(ObjectKind::Service, term, self.services.values(), |s| (s.id.as_str(), &s.spec.name))
    }

    /// Finds a task.
    ///
    /// # Errors
    ///
    /// If none or several fit.
    pub fn find_task(&self, term: &str) -> Result<&Task, Rejection> {
        find(ObjectKind::Task, term, self.tasks.values(), |t| (t.id.as_str(), &t.name))
    }

    /// Finds a network.
    ///
    /// # Errors
    ///
    /// If none or several fit.
    pub fn find_network(&self, term: &str) -> Result<&Network, Rejection> {
        find(ObjectKind::Network, term, self.networks.values(), |n| (n.id.as_str(), &n.spec.name))
    }

    /// Finds a secret.
    ///
    /// # Errors
    ///
    /// If none or several fit.
    pub fn find_secret(&self, term: &str) -> Result<&Secret, Rejection> {
        find(ObjectKind::Secret, term, self.secrets.values(), |s| (s.id.as_str(), &s.spec.name))
    }

    /// Finds a config.
    ///
    /// # Errors
    ///
    /// If none or several fit.
    pub fn find_config(&self, term: &str) -> Result<&Config, Rejection> {
        find(ObjectKind::Config, term, self.configs.values(), |c| (c.id.as_str(), &c.spec.name))
    }

    /// The node of that id.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// The service of that id.
    pub fn service(&self, id: ServiceId) -> Option<&Service> {
        self.services.get(&id)
    }

    /// The task of that id.
    pub fn task(&self, id: TaskId) -> Option<&Task> {
        self.tasks.get(&id)
    }

    /// The network of that id.
    pub fn network(&self, id: NetworkId) -> Option<&Network> {
        self.networks.get(&id)
    }

    /// The secret of that id.
    pub fn secret(&self, id: SecretId) -> Option<&Secret> {
        self.secrets.get(&id)
    }

    /// The config of that id.
    pub fn config(&self, id: ConfigId) -> Option<&Config> {
        self.configs.get(&id)
    }

    /// The network of the routing mesh.
    pub fn ingress(&self) -> Option<&Network> {
        crate::apply::ingress_of(self)
    }

    /// All tasks of a service, in no useful order.
    pub fn tasks_of(&self, service: ServiceId) -> impl Iterator<Item = &Task> {
        self.tasks.values().filter(move |task| task.service_id == service)
    }

    /// All tasks on a node, in no useful order.
    pub fn tasks_on(&self, node: NodeId) -> impl Iterator<Item = &Task> {
        self.tasks.values().filter(move |task| task.node_id == Some(node))
    }

    /// All managers by desired role.
    pub fn managers(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(|node| node.spec.role == NodeRole::Manager)
    }

    /// Tasks kept per slot; `None`: all of them.
    pub fn history_limit(&self) -> Option<usize> {
        self.cluster.as_ref().map_or(Some(5), |cluster: &Cluster| cluster.spec.history_limit())
    }

    /// Counts for `docker service ls`.
    pub fn service_counts(&self, service: &Service) -> ServiceCounts {
        let mut counts = ServiceCounts::default();
        let mut wanted = 0;
        for task in self.tasks_of(service.id) {
            counts.running += u64::from(task.status.state == TaskState::Running && task.is_wanted());
            counts.completed += u64::from(task.status.state == TaskState::Complete);
            wanted += u64::from(task.is_wanted());
        }
        counts.desired = match &service.spec.mode {
            Mode::Replicated(mode) => mode.replicas.unwrap_or(1),
            Mode::ReplicatedJob(mode) => mode.max_concurrent.unwrap_or(1),
            Mode::Global(_) | Mode::GlobalJob(_) => wanted,
        };
        if !service.spec.mode.is_job() {
            counts.completed = 0;
        }
        counts
    }

    /// Whether the task has what its service asks for now (the filter `_up-to-date`).
    pub fn is_up_to_date(&self, task: &Task) -> bool {
        self.services.get(&task.service_id).is_some_and(|service| !reconcile::is_dirty(self, service, task))
    }

    /// Who uses a network.
    pub fn network_users(&self, network: NetworkId) -> Vec<NetworkUser> {
        let names =
            |service: &&Service| service.spec.task_networks().iter().any(|n| n.target == network.as_str());
        let services = self.services.values().filter(names).map(|service| NetworkUser::Service(service.id));
        let tasks = self.tasks.values().filter(|task| task.attachment(network).is_some());
        services.chain(tasks.map(|task| NetworkUser::Task(task.id))).collect()
    }
}

fn find<'a, T: 'a>(
    kind: ObjectKind,
    term: &str,
    all: impl Iterator<Item = &'a T> + Clone,
    keys: impl Fn(&'a T) -> (&'a str, &'a String),
) -> Result<&'a T, Rejection> {
    let missing = || Rejection::plain(RejectionKind::NotFound, format!("{kind} {term} not found"));
    if let Some(found) = all.clone().find(|item| keys(item).0 == term) {
        return Ok(found);
    }
    let mut found: Vec<&T> = all.clone().filter(|item| keys(item).1 == term).collect();
    if found.is_empty() && !term.is_empty() {
        found = all.filter(|item| keys(item).0.starts_with(term)).collect();
    }
    match found.as_slice() {
        [] => Err(missing()),
        [one] => Ok(one),
        several => {
            let text = format!("{kind} {term} is ambiguous ({} matches found)", several.len());
            Err(Rejection::plain(RejectionKind::InvalidArgument, text))
        }
    }
}
