//! The networks that this node knows, and how they are found by name or id.

use swarm_node::LocalState;
use swarm_state::NetworkId;
use swarm_state::spec::Labels;

use crate::app::App;
use crate::error::ApiError;
use crate::view::{NetworkView, SubnetView};

/// All networks: a manager knows those of the swarm, a worker those of its tasks.
pub(super) fn all(app: &App) -> Vec<NetworkView> {
    let mut networks = match app.node.read(|state| state.networks().values().map(NetworkView::new).collect())
    {
        Ok(networks) => networks,
        Err(_) => app.node.networks().iter().map(NetworkView::assigned).collect::<Vec<_>>(),
    };
    networks.extend(local(app));
    networks
}

/// The network of that id, else of that name, else whose id begins so.
pub(super) fn find(all: Vec<NetworkView>, term: &str, scope: &str) -> Result<NetworkView, ApiError> {
    let mut all: Vec<NetworkView> =
        all.into_iter().filter(|network| scope.is_empty() || network.scope == scope).collect();
    if let Some(at) = all.iter().position(|network| network.id == term) {
        return Ok(all.swap_remove(at));
    }
    let missing = || ApiError::not_found(format!("network {term} not found"));
    let named = all.iter().filter(|network| network.name == term).count();
    let (fits, how): (fn(&NetworkView, &str) -> bool, _) = match named {
        0 => (|network, term| !term.is_empty() && network.id.starts_with(term), "ID prefix"),
        _ => (|network, term| network.name == term, "name"),
    };
    all.retain(|network| fits(network, term));
    match all.len() {
        1 => all.pop().ok_or_else(missing),
        0 => Err(missing()),
        several => {
            let text = format!("{several} matches found based on {how}: network {term} is ambiguous");
            Err(ApiError::bad_request(text))
        }
    }
}

/// The id of a network that a service names, which must be one of the swarm.
pub(crate) fn swarm_network(app: &App, term: &str) -> Result<NetworkId, ApiError> {
    app.read(|_| ())?;
    let network = find(all(app), term, "")?;
    let id = network.id.parse::<NetworkId>();
    id.map_err(|_| {
        ApiError::forbidden(format!(
            "The network {term} cannot be used with services. Only networks scoped to the swarm can be used, such as those created with the overlay driver."
        ))
    })
}

/// Whether a network is always there and cannot be created or removed.
pub(super) fn is_builtin(name: &str) -> bool {
    BUILTIN.iter().any(|(builtin, _)| *builtin == name)
}

/// The networks of this host.
fn local(app: &App) -> Vec<NetworkView> {
    let view = |name: &str, driver: &str| NetworkView::local(name, driver, app.local_id(name), app.started);
    let mut networks: Vec<_> = BUILTIN.iter().map(|(name, driver)| view(name, driver)).collect();
    if app.node.local().state == LocalState::Active {
        let mut gwbridge = view(GWBRIDGE, "bridge");
        gwbridge.ipam.config.push(SubnetView {
            subnet: "172.18.0.0/16".to_owned(),
            gateway: "172.18.0.1".to_owned(),
            ..SubnetView::default()
        });
        let option =
            |(name, value): (&str, &str)| (format!("com.docker.network.bridge.{name}"), value.to_owned());
        gwbridge.options = GWBRIDGE_OPTIONS.into_iter().map(option).collect::<Labels>();
        networks.push(gwbridge);
    }
    networks
}

/// The bridge through which tasks reach the world.
pub(super) const GWBRIDGE: &str = "docker_gwbridge";

const BUILTIN: [(&str, &str); 3] = [("none", "null"), ("host", "host"), ("bridge", "bridge")];

const GWBRIDGE_OPTIONS: [(&str, &str); 3] =
    [("enable_icc", "false"), ("enable_ip_masquerade", "true"), ("name", GWBRIDGE)];

#[cfg(test)]
mod tests {
    use swarm_state::Timestamp;

    use super::*;

    fn networks(names: &[(&str, &str)]) -> Vec<NetworkView> {
        let view = |(name, id): &(&str, &str)| {
            NetworkView::local(name, "bridge", (*id).to_owned(), Timestamp::default())
        };
        names.iter().map(view).collect()
    }

    #[test]
    fn ids_come_before_names_and_names_before_beginnings() {
        let all = networks(&[("a", "b1"), ("b1", "c1"), ("b", "c2")]);
        let id = |term: &str| find(all.clone(), term, "").map(|network| network.id);
        assert_eq!(id("b1"), Ok("b1".to_owned()));
        assert_eq!(id("b"), Ok("c2".to_owned()));
        assert_eq!(
            id("c").unwrap_err().message,
            "2 matches found based on ID prefix: network c is ambiguous"
        );
        for missing in ["", "x"] {
            assert_eq!(id(missing).unwrap_err().message, format!("network {missing} not found"));
        }
        assert_eq!(find(all.clone(), "b", "swarm").unwrap_err().status, 404);
    }
}
