//! Addresses that were given back: the managers hand them out again when every node has forgotten who had them.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use swarm_state::{Assignment, NetworkId};
use tokio::{sync::watch, time::timeout};

use super::{Worker, endpoints::Tables};

/// How soon it is tried again after the kernel could not be brought to the tables.
const AGAIN: Duration = Duration::from_secs(2);

/// Says up to which mark this node has forgotten, for as long as the worker lives.
pub(super) async fn run(worker: Arc<Worker>) {
    let mut assignments = worker.assignment.subscribe();
    let mut tables = worker.tables.subscribe();
    loop {
        let assignment = assignments.borrow_and_update().clone();
        tables.mark_unchanged();
        let done = *worker.forgotten.borrow();
        let mut pause = None;
        if let Some(assignment) = assignment.filter(|assignment| assignment.mark > done) {
            let pass = async { worker.plane().sync().await.failures.is_empty() };
            match look(&tables, &assignment, pass).await {
                Look::Forgotten => drop(worker.forgotten.send_replace(assignment.mark)),
                Look::Shown => {}
                Look::Failed => pause = Some(AGAIN),
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

/// What one look found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Look {
    Forgotten,
    /// The tables have to change first.
    Shown,
    /// The pass did not succeed.
    Failed,
}

/// Whether no table names an address or a network of the assignment's lists any more, and a pass of the data plane that
/// began after that has succeeded.
///
/// Tables that were read before the assignment came may lead to the virtual IPs of services that are gone. Those that
/// come while the pass is awaited count too: after a restart it begins when the others have told what they know.
async fn look(
    tables: &watch::Receiver<Arc<Tables>>,
    assignment: &Arc<Assignment>,
    pass: impl Future<Output = bool>,
) -> Look {
    let shown = tables.borrow().clone();
    let is_read = shown.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, assignment));
    if !is_read || shows(&shown, assignment) {
        return Look::Shown;
    }
    if !pass.await {
        return Look::Failed;
    }
    let later = tables.borrow().clone();
    if shows(&later, assignment) { Look::Shown } else { Look::Forgotten }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::dataplane::scene::RemoteEndpoint;

    const FREED: &str = "10.0.1.7";

    fn assignment() -> Arc<Assignment> {
        let network = NetworkId::from_random([1; 16]);
        let assignment = json!({
            "node": swarm_state::NodeId::from_random([2; 16]), "desired_role": "worker", "role": "worker",
            "availability": "active", "attachments": {}, "tasks": [], "networks": [], "services": [], "secrets": [],
            "configs": [], "managers": [], "peers": [], "gossip_keys": [], "data_path_port": 4789, "heartbeat_period": 5,
            "resting": [{"network": network, "addr": FREED, "mark": 3}], "mark": 3,
        });
        Arc::new(serde_json::from_value(assignment).unwrap())
    }

    fn tables(of: &Arc<Assignment>, shown: bool) -> Arc<Tables> {
        let (ip, vtep) = (FREED.parse().unwrap(), "192.0.2.1".parse().unwrap());
        let remote = RemoteEndpoint { ip, mac: [2, 0x42, 10, 0, 1, 7].into(), vtep };
        let network = of.resting[0].network;
        let remote = BTreeMap::from([(network, shown.then_some(remote).into_iter().collect())]);
        Arc::new(Tables { of: Some(Arc::clone(of)), remote, ..Tables::default() })
    }

    #[tokio::test]
    async fn what_is_heard_while_the_pass_is_awaited_counts() {
        let assignment = assignment();
        let (tell, seen) = watch::channel(tables(&assignment, false));
        assert_eq!(look(&seen, &assignment, async { true }).await, Look::Forgotten);
        assert_eq!(look(&seen, &assignment, async { false }).await, Look::Failed);
        let pass = async {
            tell.send_replace(tables(&assignment, true));
            true
        };
        assert_eq!(look(&seen, &assignment, pass).await, Look::Shown);
        assert_eq!(look(&seen, &assignment, async { unreachable!() }).await, Look::Shown);
    }

    #[tokio::test]
    async fn tables_from_before_the_assignment_do_not_count() {
        let (before, now) = (assignment(), assignment());
        let (_tell, seen) = watch::channel(tables(&before, false));
        assert_eq!(look(&seen, &now, async { true }).await, Look::Shown);
    }
}
