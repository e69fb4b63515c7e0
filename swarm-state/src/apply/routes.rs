//! What hosts reach without the swarm: new subnets keep clear of it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use overlay_ipam::{Command as IpamCommand, OwnerKey};

use super::address::node_key;
use super::not_found;
use crate::{NodeId, ObjectKind, Rejection, RejectionKind, State, Value};

impl State {
    pub(super) fn report_routes(&mut self, node: NodeId, nets: &[IpNet]) -> Result<Value, Rejection> {
        let known = self.nodes.get(&node).ok_or_else(|| not_found(ObjectKind::Node, node))?;
        if nets.len() > LIMIT {
            let (name, count) = (known.display_name(), nets.len());
            let text = format!("node {name} reports {count} routes: at most {LIMIT} are taken");
            return Err(Rejection::rpc(RejectionKind::InvalidArgument, text));
        }
        let nets: BTreeSet<IpNet> = nets.iter().map(IpNet::trunc).filter(|net| is_foreign(*net)).collect();
        let nets: Vec<IpNet> = nets.into_iter().collect();
        if self.routes(node) != nets {
            self.exclude(node, &nets);
        }
        Ok(Value::Done)
    }

    /// What the node has reported, without what does not matter.
    pub fn routes(&self, node: NodeId) -> &[IpNet] {
        let key = node_key(node);
        self.ipam.exclusions().find(|(by, _)| **by == key).map_or(&[], |(_, nets)| nets)
    }

    /// Who reaches all of a pool, for whoever wonders why it is empty.
    pub(super) fn pool_in_the_way(&self) -> Option<String> {
        let pools = &self.ipam.config().pools;
        let covers = |route: &&IpNet| pools.iter().any(|pool| route.contains(&pool.base));
        let mut all = self.ipam.exclusions().flat_map(|(by, routes)| routes.iter().map(move |net| (by, net)));
        let (by, route) = all.find(|(_, route)| covers(route))?;
        let name = self.node_name(by);
        Some(format!("; node {name} uses {route}: name a subnet that no node uses"))
    }

    /// The name of the node that a key of the allocator means.
    pub(crate) fn node_name(&self, key: &OwnerKey) -> String {
        let id = key.to_string();
        let node = id.parse().ok().and_then(|id: NodeId| self.nodes.get(&id));
        node.map_or_else(|| id.clone(), |node| node.display_name().to_owned())
    }

    pub(super) fn exclude(&mut self, node: NodeId, nets: &[IpNet]) {
        let command = IpamCommand::Exclude { by: node_key(node), nets: nets.to_vec() };
        let _ = self.ipam.apply(self.now.as_millis(), &command); // never refused
    }
}

/// Whether a network of these addresses would cut a host off from something. A route over a subnet of the swarm counts:
/// it is told of, and keeps the subnet free when its network is removed. Nodes do not report their routes into the swarm.
fn is_foreign(net: IpNet) -> bool {
    let internal = NOWHERE.iter().map(|(net, _)| net).chain([&RESERVED]);
    !is_default(net) && !internal.into_iter().any(|internal| internal.contains(&net))
}

/// What the addresses of a prefix are for, if no task can have them.
pub(super) fn purpose(net: IpNet) -> Option<&'static str> {
    let overlaps = |other: &IpNet| other.contains(&net) || net.contains(other);
    NOWHERE.iter().find(|(other, _)| overlaps(other)).map(|(_, purpose)| *purpose)
}

/// A default route, or one of the parts into which VPNs cut it.
fn is_default(net: IpNet) -> bool {
    net.prefix_len() <= if net.addr().is_ipv4() { 1 } else { 3 }
}

/// Where no network can be, and what is there instead.
const NOWHERE: [(IpNet, &str); 7] = [
    (v4([0, 0, 0, 0], 8), "the host itself"),
    (v4([127, 0, 0, 0], 8), "the host itself"),
    (v4([169, 254, 0, 0], 16), "a single link"),
    (v4([224, 0, 0, 0], 4), "groups"),
    (v6(0, 127), "the host itself"), // unspecified and loopback
    (v6(0xfe80 << 112, 10), "a single link"),
    (v6(0xff00 << 112, 8), "groups"),
];

/// Of no use to hosts, but a network may be there.
const RESERVED: IpNet = v4([240, 0, 0, 0], 4);

/// Prefixes of one node.
const LIMIT: usize = 1024;

const fn v4([a, b, c, d]: [u8; 4], len: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), len))
}

const fn v6(bits: u128, len: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), len))
}
