//! Proof that nothing is held twice.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{
    Ipam, Moment, NetworkKey, Owner, state::ipam::NOBODY, state::leases::Entry, state::network::Network,
    state::space::Space,
};

/// What is wrong with the state. It never should be; a snapshot that came from elsewhere can be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum AuditError {
    #[error("{addr} in network {network} has no single holder; {owner} claims it")]
    Holder { network: NetworkKey, addr: IpAddr, owner: Owner },
    #[error("the addresses of {subnet} in network {network} do not add up")]
    Count { network: NetworkKey, subnet: IpNet },
    #[error("{addr} in network {network} is leased but must not be")]
    Edge { network: NetworkKey, addr: IpAddr },
    #[error("{addr} is in no subnet of network {network}")]
    Outside { network: NetworkKey, addr: IpAddr },
    #[error("{subnet} of network {network} overlaps another subnet")]
    Overlap { network: NetworkKey, subnet: IpNet },
    #[error("{owner} in network {network} has more than one address of a family")]
    Twice { network: NetworkKey, owner: Owner },
    #[error("the index of owners is wrong")]
    Index,
    #[error("generation {generation} of {owner} in network {network} is not one that was given out")]
    Generation { network: NetworkKey, owner: Owner, generation: u64 },
    #[error("the pool does not match the subnets")]
    Pool,
    #[error("the acknowledgements or the exclusions do not match their sources")]
    Nodes,
    #[error("network {network} has no subnet, or one without a gateway")]
    Gateway { network: NetworkKey },
}

impl Ipam {
    /// Checks every invariant, in time linear in the state:
    ///
    /// 1. no address has two holders, no owner has two addresses of a family in a network;
    /// 2. leased, resting, reserved and free addresses add up to the capacity;
    /// 3. network, broadcast and anycast addresses are not leased;
    /// 4. every lease lies in a subnet of its network, and every subnet has its gateway;
    /// 5. live and resting subnets are disjoint and are exactly what blocks the pool;
    /// 6. every lease is found by its owner and by its address, and by nothing else.
    ///
    /// # Errors
    ///
    /// The first violation.
    pub fn audit(&self) -> Result<(), AuditError> {
        let mut leases = 0;
        for (key, id) in &self.names {
            let network = self.network(*id).filter(|network| network.key == *key).ok_or(AuditError::Index)?;
            if network.subnets.is_empty() || network.spaces.len() != network.subnets.len() {
                return Err(AuditError::Gateway { network: key.clone() });
            }
            for (index, space) in network.spaces.iter().enumerate() {
                leases += self.audit_space(*id, network, (index, space))?;
            }
        }
        let live = self.networks.iter().flatten().count();
        let places = self.networks.len() == live + self.vacant.len();
        if leases != self.leases.len() || live != self.names.len() || !places || !self.leases.is_consistent()
        {
            return Err(AuditError::Index);
        }
        self.audit_pool()?;
        self.audit_nodes()
    }

    /// How many leases it has.
    fn audit_space(
        &self,
        id: u32,
        network: &Network,
        (index, space): (usize, &Space),
    ) -> Result<usize, AuditError> {
        let (key, net) = (&network.key, space.net());
        let (mut count, mut fixed) = (0, 0);
        for number in space.leases() {
            let entry = self.leases.get(number).ok_or(AuditError::Index)?;
            if (entry.network, usize::from(entry.subnet)) != (id, index) {
                return Err(AuditError::Index);
            }
            self.audit_lease(network, space, (number, entry))?;
            count += 1;
            fixed += usize::from(entry.is_fixed());
        }
        let subnet = network.subnets.get(index);
        let gateway = subnet.and_then(|subnet| space.lease_at(space.offset(subnet.gateway)?));
        let gateway =
            gateway.and_then(|number| self.leases.get(number)).map(|entry| self.leases.owner(entry));
        if gateway != Some(Owner::Gateway) || subnet.map(|subnet| subnet.net) != Some(net) {
            return Err(AuditError::Gateway { network: key.clone() });
        }
        let usage = space.usage(&self.moment);
        let sum = usage.in_use + usage.held + usage.reserved + usage.free;
        if !space.is_consistent(fixed) || sum != usage.capacity || usage.available > usage.free {
            return Err(AuditError::Count { network: key.clone(), subnet: net });
        }
        Ok(count)
    }

    fn audit_lease(
        &self,
        network: &Network,
        space: &Space,
        (number, entry): (u32, &Entry),
    ) -> Result<(), AuditError> {
        let (key, owner) = (network.key.clone(), self.leases.owner(entry));
        let (span, addr) = (entry.span(), space.pool.addr(entry.offset()));
        if !space.net().contains(&addr) || space.pool.offset(space.pool.addr(span.last)) != Some(span.last) {
            return Err(AuditError::Outside { network: key, addr });
        }
        if space.pool.is_edge(span.first) || space.pool.is_edge(span.last) {
            return Err(AuditError::Edge { network: key, addr });
        }
        if space.lease_at(span.first) != Some(number) || space.lease_at(span.last) != Some(number) {
            return Err(AuditError::Holder { network: key, addr, owner });
        }
        let generation = entry.generation;
        if generation > self.generation {
            return Err(AuditError::Generation { network: key, owner, generation });
        }
        let grant = self.leases.pack(&owner).map(|packed| self.leases.of_grant(entry.network, packed));
        let is_v4 = |entry: &Entry| {
            network.subnets.get(usize::from(entry.subnet)).is_some_and(|subnet| subnet.net.addr().is_ipv4())
        };
        let same = grant.into_iter().flatten().filter(|(_, other)| is_v4(other) == is_v4(entry)).count();
        if same > 1 && !owner.is_fixed() {
            return Err(AuditError::Twice { network: key, owner });
        }
        Ok(())
    }

    fn audit_pool(&self) -> Result<(), AuditError> {
        let mut count = self.resting.len();
        for (key, id) in &self.names {
            for subnet in self.subnets(key) {
                count += 1;
                let mut overlapping = self.pool.holders(subnet.net);
                if overlapping.next() != Some((subnet.net, *id)) || overlapping.next().is_some() {
                    return Err(AuditError::Overlap { network: key.clone(), subnet: subnet.net });
                }
            }
        }
        let resting =
            self.resting.iter().all(|(net, _)| self.pool.holders(net).eq(std::iter::once((net, NOBODY))));
        // the pool is a set: equal counts mean that no two of us share an entry
        if resting && count == self.pool.count() && self.pool.is_consistent() && self.resting.is_sorted() {
            Ok(())
        } else {
            Err(AuditError::Pool)
        }
    }

    fn audit_nodes(&self) -> Result<(), AuditError> {
        let Moment { settled, .. } = self.moment;
        let acked = self.acks.iter().all(|(_, acked)| acked <= self.mark) && self.acks.is_consistent();
        let all = self.acks.lowest().is_none_or(|all| all <= settled);
        let mut excluded = std::collections::BTreeMap::new();
        for net in self.exclusions.values().flatten() {
            *excluded.entry(*net).or_insert(0) += 1;
        }
        if acked && all && settled <= self.mark && excluded == self.excluded {
            Ok(())
        } else {
            Err(AuditError::Nodes)
        }
    }
}
