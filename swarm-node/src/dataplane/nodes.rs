//! What nodes say of themselves to each other: a record in the tables of the ingress network.
//!
//! Only what harms the one who lies, or diverts connections into the swarm's own published ports: whether a node takes
//! IPv6 from the fabric, and which addresses it answers at.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
};

use overlay_gossip::{NetworkId, Phase, tokio::Agent};
use serde::{Deserialize, Serialize};
use swarm_state::Assignment;

use super::scene::Underlay;

const TABLE: &str = "nodes";
/// Addresses of one node that others take notice of.
const MAX_ADDRESSES: usize = 32;

/// One node's word.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct NodeRecord {
    /// Whether it takes IPv6 from the fabric.
    pub(crate) ipv6: bool,
    /// Where clients reach it over IPv6. Private IPv4 addresses mean another host on each machine; the one that counts
    /// is known from the managers.
    pub(crate) addresses: BTreeSet<Ipv6Addr>,
}

impl NodeRecord {
    fn of(underlay: &Underlay) -> Self {
        let second = |ip| if let IpAddr::V6(ip) = ip { Some(ip) } else { None };
        let addresses = underlay.reachable().filter_map(second).take(MAX_ADDRESSES).collect();
        Self { ipv6: underlay.ipv6.is_on(), addresses }
    }

    /// Whether clients may come to it over IPv6.
    pub(crate) fn is_asked_over_ipv6(&self) -> bool {
        self.ipv6 && !self.addresses.is_empty()
    }
}

/// Tells the others about this node, if they do not know yet.
pub(crate) fn tell(agent: &Agent, assignment: &Assignment, underlay: &Underlay) {
    let Some(network) = ingress(assignment) else { return };
    let Ok(value) = serde_json::to_vec(&NodeRecord::of(underlay)) else { return };
    let me = assignment.node.as_str();
    let records = agent.records(&network, TABLE);
    if !records.iter().any(|record| record.owner.as_str() == me && record.value == value) {
        agent.publish(network, TABLE, me, Phase::Ready, value.into());
    }
}

/// What the nodes of the swarm say, by id; this one included once it has spoken.
pub(crate) fn read(agent: &Agent, assignment: &Assignment) -> BTreeMap<String, NodeRecord> {
    let Some(network) = ingress(assignment) else { return BTreeMap::new() };
    let known = |id: &str| assignment.peers.iter().any(|peer| peer.id.as_str() == id);
    let mut nodes = BTreeMap::new();
    for record in agent.records(&network, TABLE).iter().filter(|record| known(record.owner.as_str())) {
        let Ok(mut said) = serde_json::from_slice::<NodeRecord>(&record.value) else { continue };
        let reachable = said.addresses.into_iter().filter(|ip| is_reachable(&IpAddr::V6(*ip)));
        said.addresses = reachable.take(MAX_ADDRESSES).collect();
        nodes.insert(record.owner.to_string(), said);
    }
    nodes
}

/// Whether other hosts may use an address without naming an interface.
pub(crate) fn is_reachable(ip: &IpAddr) -> bool {
    let narrow = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(narrow || ip.is_loopback() || ip.is_unspecified() || ip.is_multicast())
}

fn ingress(assignment: &Assignment) -> Option<NetworkId> {
    let network = assignment.networks.iter().find(|network| network.ingress)?;
    NetworkId::new(network.id.as_str()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_mean_nothing_elsewhere_are_not_told() {
        let reachable = |ip: &str| is_reachable(&ip.parse().unwrap());
        assert!(reachable("192.0.2.1") && reachable("fd99::100") && reachable("2001:db8::1"));
        for ip in ["169.254.1.1", "fe80::1", "127.0.0.1", "::1", "::", "0.0.0.0", "ff02::1", "224.0.0.1"] {
            assert!(!reachable(ip), "{ip}");
        }
    }
}
