//! The state as it travels: only what cannot be derived, no map with a key that is not text.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::{
    AuditError, Config, Ipam, NetworkKey, Owner, OwnerKey, Subnet,
    ipam::{Grant, Network},
    space::{Freed, Space},
};

impl Serialize for Ipam {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Snapshot::of(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Ipam {
    /// Refuses a state that does not pass [`Ipam::audit`].
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Snapshot::deserialize(deserializer)?.restore().map_err(D::Error::custom)
    }
}

#[derive(Serialize, Deserialize)]
struct Snapshot {
    config: Config,
    now_ms: u64,
    generation: u64,
    networks: Vec<StoredNetwork>,
    resting: VecDeque<(IpNet, u64)>,
    exclusions: BTreeMap<OwnerKey, Vec<IpNet>>,
}

#[derive(Serialize, Deserialize)]
struct StoredNetwork {
    key: NetworkKey,
    subnets: Vec<StoredSubnet>,
    leases: Vec<(Owner, u64, Vec<IpAddr>)>,
}

#[derive(Serialize, Deserialize)]
struct StoredSubnet {
    subnet: Subnet,
    cursor: IpAddr,
    resting: Vec<(IpAddr, u64)>,
    resting_vips: Vec<(IpAddr, u64)>,
}

impl Snapshot {
    fn of(ipam: &Ipam) -> Self {
        Self {
            config: ipam.config.clone(),
            now_ms: ipam.now_ms,
            generation: ipam.generation,
            networks: ipam.networks.iter().map(|(key, network)| StoredNetwork::of(key, network)).collect(),
            resting: ipam.resting.clone(),
            exclusions: ipam.exclusions.clone(),
        }
    }

    fn restore(self) -> Result<Ipam, AuditError> {
        let mut ipam = Ipam::new(self.config);
        (ipam.now_ms, ipam.generation) = (self.now_ms, self.generation);
        ipam.exclusions = self.exclusions;
        for (net, _) in &self.resting {
            if !ipam.pool.claim(*net) {
                return Err(AuditError::Pool);
            }
        }
        ipam.resting = self.resting;
        for stored in self.networks {
            let key = stored.key.clone();
            for StoredSubnet { subnet, .. } in &stored.subnets {
                if !ipam.pool.claim(subnet.net) {
                    return Err(AuditError::Overlap { network: key, subnet: subnet.net });
                }
            }
            let network = stored.restore()?;
            for owner in network.grants.keys().filter(|owner| !owner.is_fixed()) {
                ipam.owners.entry(owner.clone()).or_default().insert(key.clone());
            }
            ipam.networks.insert(key, network);
        }
        ipam.audit()?;
        Ok(ipam)
    }
}

impl StoredNetwork {
    fn of(key: &NetworkKey, network: &Network) -> Self {
        let subnets = network.subnets.iter().zip(&network.spaces);
        let leases = network.grants.iter();
        Self {
            key: key.clone(),
            subnets: subnets.map(|(subnet, space)| StoredSubnet::of(subnet, space)).collect(),
            leases: leases
                .map(|(owner, grant)| (owner.clone(), grant.generation, grant.addrs.clone()))
                .collect(),
        }
    }

    fn restore(self) -> Result<Network, AuditError> {
        let mut network = Network::default();
        for stored in self.subnets {
            let (subnet, space) = stored.restore(&self.key)?;
            network.subnets.push(subnet);
            network.spaces.push(space);
        }
        for (owner, generation, addrs) in self.leases {
            for addr in &addrs {
                let holder =
                    || AuditError::Holder { network: self.key.clone(), addr: *addr, owner: owner.clone() };
                let place = network.spaces.iter_mut().find_map(|space| Some((space.offset(*addr)?, space)));
                let (offset, space) =
                    place.ok_or_else(|| AuditError::Outside { network: self.key.clone(), addr: *addr })?;
                if !space.take(offset, owner.clone()) {
                    return Err(holder());
                }
            }
            network.grants.insert(owner, Grant { generation, addrs });
        }
        Ok(network)
    }
}

impl StoredSubnet {
    fn of(subnet: &Subnet, space: &Space) -> Self {
        let addrs = |queue: &VecDeque<Freed>| {
            queue.iter().map(|freed| (space.addr(freed.offset), freed.at_ms)).collect()
        };
        Self {
            subnet: subnet.clone(),
            cursor: space.addr(space.cursor),
            resting: addrs(&space.resting.plain),
            resting_vips: addrs(&space.resting.virtual_),
        }
    }

    fn restore(self, network: &NetworkKey) -> Result<(Subnet, Space), AuditError> {
        let outside = |addr| AuditError::Outside { network: network.clone(), addr };
        let Subnet { net, range, .. } = self.subnet;
        let misplaced = net != net.trunc() || net.prefix_len() == 0;
        if misplaced || range.is_some_and(|range| range != range.trunc() || !net.contains(&range)) {
            return Err(AuditError::Overlap { network: network.clone(), subnet: net });
        }
        let mut space = Space::new(net, range);
        space.cursor = space.offset(self.cursor).ok_or_else(|| outside(self.cursor))?;
        let plain = self.resting.into_iter().map(|entry| (entry, false));
        let virtual_ = self.resting_vips.into_iter().map(|entry| (entry, true));
        for ((addr, at_ms), is_virtual) in plain.chain(virtual_) {
            let offset = space.offset(addr).ok_or_else(|| outside(addr))?;
            if !space.rest(Freed { offset, at_ms }, is_virtual) {
                return Err(AuditError::Count { network: network.clone(), subnet: net });
            }
        }
        Ok((self.subnet, space))
    }
}
