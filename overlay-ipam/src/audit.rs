//! Proof that nothing is held twice.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{
    Ipam, NetworkKey, Owner, bits,
    ipam::{Grant, Network},
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
    #[error("the index of owners is wrong for {owner} in network {network}")]
    Index { network: NetworkKey, owner: Owner },
    #[error("generation {generation} of {owner} in network {network} is not one that was given out")]
    Generation { network: NetworkKey, owner: Owner, generation: u64 },
    #[error("the pool does not match the subnets")]
    Pool,
    #[error("network {network} has no subnet, or one without a gateway")]
    Gateway { network: NetworkKey },
}

impl Ipam {
    /// Checks every invariant, in time linear in the state:
    ///
    /// 1. no address has two holders;
    /// 2. leased, resting, reserved and free addresses add up to the capacity;
    /// 3. network, broadcast and anycast addresses are not leased;
    /// 4. every lease lies in a subnet of its network, and every subnet has its gateway;
    /// 5. live and resting subnets are disjoint and are exactly what blocks the pool.
    ///
    /// # Errors
    ///
    /// The first violation.
    pub fn audit(&self) -> Result<(), AuditError> {
        for (key, network) in &self.networks {
            network.audit_spaces(key)?;
            for (owner, grant) in &network.grants {
                network.audit_grant(key, owner, grant, self.generation)?;
                let indexed = self.owners.get(owner).is_some_and(|networks| networks.contains(key));
                if indexed == owner.is_fixed() {
                    return Err(AuditError::Index { network: key.clone(), owner: owner.clone() });
                }
            }
        }
        for (owner, networks) in &self.owners {
            let stale = |key: &&NetworkKey| {
                self.networks.get(*key).is_none_or(|network| !network.grants.contains_key(owner))
            };
            if let Some(network) = networks.iter().find(stale) {
                return Err(AuditError::Index { network: network.clone(), owner: owner.clone() });
            }
        }
        self.audit_pool()
    }

    fn audit_pool(&self) -> Result<(), AuditError> {
        let mut count = self.resting.len();
        for (key, network) in &self.networks {
            for subnet in &network.subnets {
                count += 1;
                let mut overlapping = self.pool.overlapping(subnet.net);
                if overlapping.next() != Some(subnet.net) || overlapping.next().is_some() {
                    return Err(AuditError::Overlap { network: key.clone(), subnet: subnet.net });
                }
            }
        }
        let resting = self.resting.iter().all(|(net, _)| self.pool.contains(*net));
        // the pool is a set: equal counts mean that no two of us share an entry
        if resting && count == self.pool.count() && self.pool.is_consistent() {
            Ok(())
        } else {
            Err(AuditError::Pool)
        }
    }
}

impl Network {
    fn audit_spaces(&self, key: &NetworkKey) -> Result<(), AuditError> {
        let gateways: Vec<IpAddr> = self.subnets.iter().map(|subnet| subnet.gateway).collect();
        let granted = self.grants.get(&Owner::Gateway).map(|grant| grant.addrs.as_slice());
        if gateways.is_empty() || self.spaces.len() != gateways.len() || granted != Some(&gateways) {
            return Err(AuditError::Gateway { network: key.clone() });
        }
        for space in &self.spaces {
            if !space.is_consistent() {
                return Err(AuditError::Count { network: key.clone(), subnet: space.net() });
            }
        }
        let held: usize = self.spaces.iter().map(|space| space.holders.len()).sum();
        let leased: usize = self.grants.values().map(|grant| grant.addrs.len()).sum();
        match self.spaces.first() {
            Some(space) if held != leased => {
                Err(AuditError::Count { network: key.clone(), subnet: space.net() })
            }
            _ => Ok(()),
        }
    }

    fn audit_grant(
        &self,
        key: &NetworkKey,
        owner: &Owner,
        grant: &Grant,
        newest: u64,
    ) -> Result<(), AuditError> {
        if grant.generation > newest {
            let (network, owner, generation) = (key.clone(), owner.clone(), grant.generation);
            return Err(AuditError::Generation { network, owner, generation });
        }
        let mut families = Vec::new();
        for addr in &grant.addrs {
            let network = key.clone();
            let found = self.spaces.iter().find_map(|space| Some((space.offset(*addr)?, space)));
            let Some((offset, space)) = found else {
                return Err(AuditError::Outside { network, addr: *addr });
            };
            if space.is_edge(offset) {
                return Err(AuditError::Edge { network, addr: *addr });
            }
            let twice = families.contains(&bits::family(*addr)) && !owner.is_fixed();
            families.push(bits::family(*addr));
            if space.holders.get(&offset) != Some(owner) || twice {
                return Err(AuditError::Holder { network, addr: *addr, owner: owner.clone() });
            }
        }
        Ok(())
    }
}
