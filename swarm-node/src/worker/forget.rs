//! Addresses that were given back: the managers hand them out again when every node has forgotten who had them.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use swarm_state::{Assignment, NetworkId};
use tokio::time::timeout;

use super::{Worker, endpoints::Tables};

/// How soon it is tried again after the kernel could not be brought to the tables.
const AGAIN: Duration = Duration::from_secs(2);

/// Says up to which mark this node has forgotten, for as long as the worker lives.
///
/// That is so when no table names an address or a network of the assignment's lists any more, and a pass of the data plane
/// that began after that has succeeded.
pub(super) async fn run(worker: Arc<Worker>) {
    let mut assignments = worker.assignment.subscribe();
    let mut tables = worker.tables.subscribe();
    loop {
        let assignment = assignments.borrow_and_update().clone();
        let shown = tables.borrow_and_update().clone();
        let done = *worker.forgotten.borrow();
        let asked = assignment.filter(|assignment| assignment.mark > done);
        let mut pause = None;
        if let Some(assignment) = asked.filter(|assignment| !shows(&shown, assignment)) {
            if worker.plane().sync().await.failures.is_empty() {
                worker.forgotten.send_replace(assignment.mark);
            } else {
                pause = Some(AGAIN);
            }
        }
        let changed = async {
            tokio::select! {
                changed = assignments.changed() => changed.is_ok(),
                changed = tables.changed() => changed.is_ok(),
            }
        };
        let goes_on = match pause {
            Some(pause) => timeout(pause, changed).await.unwrap_or(true),
            None => changed.await,
        };
        if !goes_on {
            return;
        }
    }
}

/// Whether forwarding, balancer or names still know one of the addresses that were given back, or a network that was left.
fn shows(tables: &Tables, assignment: &Assignment) -> bool {
    let left = assignment.leaving.iter().map(|left| left.network);
    let mut left = left.filter(|left| !assignment.networks.iter().any(|network| network.id == *left));
    if left.any(|left| tables.views.contains_key(&left)) {
        return true;
    }
    let own = assignment.tasks.iter().flat_map(|assigned| &assigned.task.networks);
    let own = own.flat_map(|at| at.addresses.iter().map(|addr| (at.network_id, addr.addr())));
    let remote = tables.remote.iter().flat_map(|(network, all)| all.iter().map(|it| (*network, it.ip)));
    let seen = tables.views.iter().flat_map(|(network, view)| {
        let endpoints = view.endpoints().flat_map(|it| it.addresses.iter().chain(&it.vips));
        endpoints.map(|addr| (*network, *addr))
    });
    let shown: BTreeSet<(NetworkId, IpAddr)> = own.chain(remote).chain(seen).collect();
    assignment.resting.iter().any(|resting| shown.contains(&(resting.network, resting.addr)))
}
