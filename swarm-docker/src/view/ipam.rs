//! Addresses: how full networks are, whether the books are sound, who has one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use overlay_ipam::{NetworkKey, Owner, OwnerKey};
use serde::Serialize;
use swarm_state::object::Network;
use swarm_state::{NetworkId, State, SubnetUsage, Timestamp};

/// How a network is, as Docker's API 1.52 shows it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct NetworkStatusView {
    #[serde(rename = "IPAM")]
    pub ipam: IpamStatusView,
}

/// How full its subnets are.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct IpamStatusView {
    pub subnets: BTreeMap<String, SubnetStatusView>,
}

/// How full one is. What was given back and rests is in use: nobody can have it now.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct SubnetStatusView {
    #[serde(rename = "IPsInUse")]
    pub ips_in_use: u64,
    #[serde(rename = "DynamicIPsAvailable")]
    pub dynamic_ips_available: u64,
}

/// What was proved, and what is wrong.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AuditView {
    pub networks: usize,
    pub subnets: usize,
    pub addresses: usize,
    pub vnis: usize,
    pub ports: usize,
    pub findings: Vec<String>,
    pub warnings: Vec<String>,
}

/// What an address is.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExplanationView {
    pub address: IpAddr,
    /// Name of the network.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub network: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subnet: String,
    /// One word: `outside`, `edge`, `free`, `resting`, `leased`.
    pub state: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub holder: String,
    /// All of it as a sentence.
    pub text: String,
}

impl NetworkStatusView {
    /// As of what this manager has applied.
    pub fn new(state: &State, network: NetworkId, now: Timestamp) -> Self {
        let usage = state.network_usage_at(network, now);
        let row = |subnet: &SubnetUsage| {
            let view = SubnetStatusView {
                ips_in_use: saturating(subnet.unavailable()),
                dynamic_ips_available: saturating(subnet.available),
            };
            (subnet.subnet.to_string(), view)
        };
        Self { ipam: IpamStatusView { subnets: usage.iter().map(row).collect() } }
    }
}

fn saturating(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX) // as Docker
}

impl AuditView {
    /// As of what this manager has applied.
    pub fn new(state: &State) -> Self {
        let networks = || state.networks().values();
        let published = state.services().values().flat_map(|service| &service.endpoint.ports);
        Self {
            networks: networks().count(),
            subnets: networks().map(|network| network.subnets.len()).sum(),
            addresses: state.ipam().count(),
            vnis: networks().map(|network| network.vnis.len()).sum(),
            ports: published.filter(|port| port.published_port != 0).count(),
            findings: state.audit(),
            warnings: state.overlaps(),
        }
    }
}

impl ExplanationView {
    /// As of what this manager has applied.
    pub fn new(state: &State, address: IpAddr) -> Self {
        let told = state.ipam().explain(address);
        let mut view = match &told.state {
            overlay_ipam::State::Leased { network, subnet, owner, .. } => {
                let view = Self::within(state, address, (network, subnet));
                Self { state: "leased", holder: holder(state, owner), ..view }
            }
            overlay_ipam::State::Rests { network, subnet, .. } => {
                Self { state: "resting", ..Self::within(state, address, (network, subnet)) }
            }
            overlay_ipam::State::Free { network, subnet, .. } => {
                Self { state: "free", ..Self::within(state, address, (network, subnet)) }
            }
            overlay_ipam::State::Edge { network, subnet } => {
                Self { state: "edge", ..Self::within(state, address, (network, subnet)) }
            }
            overlay_ipam::State::SubnetRests { subnet, .. } => {
                Self { state: "resting", subnet: subnet.to_string(), ..Self::outside(address) }
            }
            overlay_ipam::State::Outside | _ => Self::outside(address),
        };
        view.text = sentence(&view, &told, state);
        view
    }

    fn outside(address: IpAddr) -> Self {
        let (network, subnet, holder, text) = Default::default();
        Self { address, network, subnet, state: "outside", holder, text }
    }

    fn within(state: &State, address: IpAddr, (network, subnet): (&NetworkKey, &ipnet::IpNet)) -> Self {
        let known = network.as_str().parse().ok().and_then(|id: NetworkId| state.network(id));
        let name = known.map_or(network.as_str(), |network: &Network| network.spec.name.as_str()).to_owned();
        Self { network: name, subnet: subnet.to_string(), ..Self::outside(address) }
    }
}

fn sentence(view: &ExplanationView, told: &overlay_ipam::Explanation, state: &State) -> String {
    let ExplanationView { address, network, subnet, holder, .. } = view;
    let place = format!("{address} is in {subnet} of network {network}");
    let rest = |ready_ms: u64| format!("not given to anybody before {}", time(ready_ms));
    let mut text = match &told.state {
        overlay_ipam::State::Leased { .. } => format!("{place}: {holder} has it"),
        overlay_ipam::State::Rests { ready_ms, .. } => {
            format!("{place}: given back, and {} or all nodes have forgotten who had it", rest(*ready_ms))
        }
        overlay_ipam::State::Free { dynamic: true, .. } => format!("{place}: free"),
        overlay_ipam::State::Free { .. } => format!("{place}: free, outside of the range that is handed out"),
        overlay_ipam::State::Edge { .. } => format!("{place}: its first or last, which nobody gets"),
        overlay_ipam::State::SubnetRests { ready_ms, .. } => {
            format!("{address} is in {subnet}, whose network was removed: {}", rest(*ready_ms))
        }
        overlay_ipam::State::Outside | _ => format!("{address} is in no network of the swarm"),
    };
    if let Some((by, route)) = &told.excluded {
        text.push_str(&format!("; {} reaches {route}, which new networks keep clear of", node(state, by)));
    }
    text
}

fn time(since_1970_ms: u64) -> Timestamp {
    let nanos = i64::try_from(since_1970_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    Timestamp::from_nanos(nanos)
}

/// Who has an address, by name.
fn holder(state: &State, owner: &Owner) -> String {
    match owner {
        Owner::Task(id) => {
            let task = id.to_string().parse().ok().and_then(|id| state.task(id));
            let Some(task) = task else { return owner.to_string() };
            let place = state.nodes().values().find(|node| Some(node.id) == task.node_id);
            let place = place.map(|node| format!(" on {}", node.description.hostname)).unwrap_or_default();
            format!("task {}{place}, since {}", task.name, task.meta.created_at)
        }
        Owner::Vip(id) => {
            let service = id.to_string().parse().ok().and_then(|id| state.service(id));
            let Some(service) = service else { return owner.to_string() };
            format!("service {}, since {}", service.spec.name, service.meta.created_at)
        }
        Owner::Lb(id) => node(state, id),
        Owner::Gateway | Owner::Static(_) | Owner::Aux(_) | Owner::Delegation(_) => owner.to_string(),
    }
}

fn node(state: &State, id: &OwnerKey) -> String {
    let known = id.to_string().parse().ok().and_then(|id| state.node(id));
    known.map_or_else(|| id.to_string(), |node| format!("node {}", node.description.hostname))
}
