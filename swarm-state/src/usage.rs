//! How full networks are.

use ipnet::IpNet;
use overlay_ipam::Census;
use serde::{Deserialize, Serialize};

use crate::apply::network_key;
use crate::{NetworkId, State, Timestamp};

/// How full a subnet is, and with what.
///
/// The capacity is the sum of all others but `available`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct SubnetUsage {
    /// The subnet.
    pub subnet: IpNet,
    /// All addresses of the prefix.
    pub capacity: u128,
    /// Network and broadcast address, or the anycast address of IPv6.
    pub edges: u128,
    /// Its gateway.
    pub gateways: u128,
    /// Named when the network was made, and used by something outside.
    pub aux: u128,
    /// Of services.
    pub vips: u128,
    /// Of nodes.
    pub nodes: u128,
    /// Of tasks and of containers outside of services.
    pub tasks: u128,
    /// In blocks that nodes hand out by themselves.
    pub delegated: u128,
    /// Freed, and given to nobody yet.
    pub resting: u128,
    /// Nobody's.
    pub free: u128,
    /// Those of the free ones that are given to who asks for any address: they lie in the range.
    pub available: u128,
}

impl SubnetUsage {
    /// What cannot be had now, for whatever reason: Docker's `IPsInUse`.
    pub const fn unavailable(&self) -> u128 {
        self.capacity.saturating_sub(self.free)
    }
}

impl State {
    /// How full each subnet of a network is, in their order; none if there is no such network.
    pub fn network_usage(&self, network: NetworkId) -> Vec<SubnetUsage> {
        self.network_usage_at(network, self.now)
    }

    /// The same at a later time: what rests becomes free although nothing is applied.
    pub fn network_usage_at(&self, network: NetworkId, now: Timestamp) -> Vec<SubnetUsage> {
        self.ipam.census(&network_key(network), now.as_millis()).into_iter().map(usage).collect()
    }
}

fn usage(census: Census) -> SubnetUsage {
    SubnetUsage {
        subnet: census.usage.subnet,
        capacity: census.usage.capacity,
        edges: census.edges,
        gateways: census.gateways,
        aux: census.aux,
        vips: census.vips,
        nodes: census.nodes,
        tasks: census.tasks.saturating_add(census.statics),
        delegated: census.delegated,
        resting: census.usage.held,
        free: census.usage.free,
        available: census.usage.available,
    }
}
