//! The ingress network of a new swarm is clear of what the founder's host reaches: unlike others it is on the host itself.

use ipnet::IpNet;
use swarm_state::{Action, NetworkId, Rejection, State, spec::NetworkSpec};
use tokio::task::spawn_blocking;

use crate::{clock, config::NodeConfig, manager::Manager, worker::routes};

/// Reports the founder's routes; an ingress network that one of them overlaps is made anew.
///
/// # Errors
/// The host reaches all of the pools by itself.
pub(super) async fn keep_clear(
    config: &NodeConfig,
    manager: &Manager,
    ingress: NetworkId,
) -> Result<(), Rejection> {
    let looking = config.clone();
    let Ok(Ok(nets)) = spawn_blocking(move || routes::seen(&looking)).await else { return Ok(()) };
    let spec = manager.read(|state| overlapped(state, ingress, &nets));
    if spec.is_some() {
        manager.propose(Action::RemoveNetwork { id: ingress }).await?;
    }
    manager.propose(Action::ReportRoutes { node: manager.node, nets }).await?;
    if let Some(spec) = spec {
        let id = NetworkId::from_random(clock::random());
        let created = manager.propose(Action::CreateNetwork { id, spec: Box::new(spec) }).await;
        created.map_err(|rejection| Rejection::plain(rejection.kind, format!("{ELSEWHERE}: {rejection}")))?;
    }
    Ok(())
}

const ELSEWHERE: &str =
    "this host reaches every address of the swarm's pools by itself; give others with --default-addr-pool";

fn overlapped(state: &State, ingress: NetworkId, nets: &[IpNet]) -> Option<NetworkSpec> {
    let network = state.network(ingress)?;
    let overlaps = |net: &IpNet| {
        let overlaps = |own: &IpNet| own.contains(net) || net.contains(own);
        network.subnets.iter().any(|subnet| overlaps(&subnet.net))
    };
    nets.iter().any(overlaps).then(|| network.spec.clone())
}
