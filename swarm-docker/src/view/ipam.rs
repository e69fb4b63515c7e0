//! Addresses: how full networks are, whether the books are sound, who has one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use overlay_ipam::{NetworkKey, Owner, OwnerKey};
use serde::Serialize;
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
    /// When the holder was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When it is free by time if not all nodes say so before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
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
        use overlay_ipam::State as Is;
        let told = state.ipam().explain(address);
        let within = |network, subnet| Self::within(state, address, network, subnet);
        let mut view = match &told.state {
            Is::Leased { network, subnet, owner, .. } => {
                let (holder, since) = holder(state, owner);
                Self { state: "leased", holder, since, ..within(network, subnet) }
            }
            Is::Rests { network, subnet, ready_ms, .. } => {
                Self { state: "resting", until: Some(time(*ready_ms)), ..within(network, subnet) }
            }
            Is::Free { network, subnet, .. } => Self { state: "free", ..within(network, subnet) },
            Is::Edge { network, subnet } => Self { state: "edge", ..within(network, subnet) },
            Is::SubnetRests { subnet, ready_ms } => Self {
                state: "resting",
                subnet: subnet.to_string(),
                until: Some(time(*ready_ms)),
                ..Self::outside(address)
            },
            Is::Outside | _ => Self::outside(address),
        };
        view.text = view.sentence(matches!(told.state, Is::Free { dynamic: false, .. }));
        if let Some((by, route)) = &told.excluded {
            let who = node(state, by);
            view.text.push_str(&format!("; {who} reaches {route}, which new networks keep clear of"));
        }
        view
    }

    fn outside(address: IpAddr) -> Self {
        let (network, subnet, holder, text) = Default::default();
        Self { address, network, subnet, state: "outside", holder, since: None, until: None, text }
    }

    fn within(state: &State, address: IpAddr, network: &NetworkKey, subnet: &IpNet) -> Self {
        let known = network.as_str().parse().ok().and_then(|id: NetworkId| state.network(id));
        let name = known.map_or(network.as_str(), |network| network.spec.name.as_str()).to_owned();
        Self { network: name, subnet: subnet.to_string(), ..Self::outside(address) }
    }

    fn sentence(&self, out_of_range: bool) -> String {
        let Self { address, network, subnet, holder, .. } = self;
        let since = self.since.map(|since| format!(" since {since}")).unwrap_or_default();
        let until = self.until.map(|until| until.to_string()).unwrap_or_default();
        let place = match network.as_str() {
            "" => format!("{address} is in {subnet}, whose network was removed"),
            name => format!("{address} is in {subnet} of network {name}"),
        };
        match self.state {
            "leased" => format!("{place}: held by {holder}{since}"),
            "resting" => format!("{place}: free again at {until}, or when all nodes have forgotten it"),
            "free" if out_of_range => format!("{place}: free, outside of the range that is handed out"),
            "free" => format!("{place}: free"),
            "edge" => format!("{place}: its first or last, which nobody gets"),
            _ => format!("{address} is in no network of the swarm"),
        }
    }
}

fn time(since_1970_ms: u64) -> Timestamp {
    let nanos = i64::try_from(since_1970_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    Timestamp::from_nanos(nanos)
}

/// Who has an address, by name, and since when there is such a one.
fn holder(state: &State, owner: &Owner) -> (String, Option<Timestamp>) {
    match owner {
        Owner::Task(id) => {
            let id = id.to_string().parse().ok();
            let task = id.and_then(|id| state.task(id));
            let container = id.and_then(|id| state.containers().get(&id));
            let (name, at, since) = match (task, container) {
                (Some(task), _) => (&task.name, task.node_id, Some(task.meta.created_at)),
                (None, Some(container)) => (&container.name, Some(container.node_id), None),
                (None, None) => return (owner.to_string(), None),
            };
            let place = at.and_then(|at| state.node(at));
            let place = place.map(|node| format!(" on {}", node.description.hostname)).unwrap_or_default();
            (format!("task {name}{place}"), since)
        }
        Owner::Vip(id) => {
            let service = id.to_string().parse().ok().and_then(|id| state.service(id));
            let Some(service) = service else { return (owner.to_string(), None) };
            (format!("service {}", service.spec.name), Some(service.meta.created_at))
        }
        Owner::Lb(id) => (node(state, id), None),
        Owner::Gateway | Owner::Static(_) | Owner::Aux(_) | Owner::Delegation(_) => (owner.to_string(), None),
    }
}

fn node(state: &State, id: &OwnerKey) -> String {
    let known = id.to_string().parse().ok().and_then(|id| state.node(id));
    known.map_or_else(|| id.to_string(), |node| format!("node {}", node.description.hostname))
}
