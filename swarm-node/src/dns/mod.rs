//! Names inside of tasks: a server at 127.0.0.11 in each task's namespace.
//!
//! Names of services and tasks are answered from the same views as the balancer's; other names go to the host's name
//! servers, several at once, the first good answer wins. Names of our own are never forwarded.

mod answer;
mod server;
mod upstream;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use overlay_lb::View;
use overlay_linux::netns::NetNs;
use swarm_state::TaskId;
use tokio::task::JoinSet;

use crate::worker::{Worker, upstreams};

/// Where a task asks. As Docker.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// A task's `/etc/resolv.conf`.
pub(crate) fn resolv_conf(task: &str) -> String {
    format!("# names of {task} are answered by the swarm\nnameserver {ADDRESS}\noptions ndots:0\n")
}

/// The name servers of the host that a task's questions can be passed to.
pub(crate) fn host_resolvers() -> Vec<IpAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse().ok());
    servers.take(3).collect()
}

/// Answers the questions of one task until dropped.
pub(crate) fn serve(worker: &Arc<Worker>, task: TaskId, netns: &Arc<NetNs>) -> JoinSet<()> {
    let (worker, netns) = (Arc::clone(worker), Arc::clone(netns));
    let servers: Arc<[IpAddr]> = upstreams(&worker.post.config).into();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let views = move || views(&worker, task);
        server::run(Arc::new(views), &netns, servers).await;
    });
    serving
}

/// The views of the networks that the task is in; names do not cross networks.
fn views(worker: &Worker, task: TaskId) -> Vec<Arc<View>> {
    let tables = worker.tables.borrow().clone();
    let assignment = worker.assignment.borrow().clone();
    let Some(assignment) = assignment else { return Vec::new() };
    let Some(assigned) = assignment.tasks.iter().find(|assigned| assigned.task.id == task) else {
        return Vec::new();
    };
    let user = |id| assignment.networks.iter().any(|network| network.id == id && !network.ingress);
    let networks = assigned.task.networks.iter().map(|attachment| attachment.network_id);
    networks.filter(|id| user(*id)).filter_map(|id| tables.views.get(&id).cloned()).collect()
}
