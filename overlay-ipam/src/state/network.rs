//! One network: its subnets and their addresses.

use std::{borrow::Cow, net::IpAddr};

use ipnet::IpNet;

use crate::{
    AddrPool, Lease, Moment, NetworkKey, Owner, Subnet,
    pool::addr_pool::Span,
    state::{leases::Entry, space::Space},
};

#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) key: NetworkKey,
    pub(crate) subnets: Vec<Subnet>,
    /// One for each subnet.
    pub(crate) spaces: Vec<Space>,
}

impl Network {
    pub(crate) fn lease(&self, entry: &Entry, owner: Owner) -> Lease {
        let space = self.spaces.get(usize::from(entry.subnet));
        let net = space.map(Space::net).unwrap_or_default();
        let addr = space.map_or_else(|| net.addr(), |space| space.pool.addr(entry.offset()));
        let block = matches!(owner, Owner::Delegation(_)).then(|| {
            let len = net.max_prefix_len().saturating_sub(entry.log2);
            IpNet::new(addr, len).unwrap_or_else(|_| addr.into())
        });
        Lease {
            network: self.key.clone(),
            owner,
            addr,
            prefix_len: net.prefix_len(),
            generation: entry.generation,
            block,
        }
    }

    /// Leases of one owner: by subnet, or the family of the first subnet first.
    pub(crate) fn sort(&self, owner: &Owner, leases: &mut [Lease]) {
        if leases.len() > 1 {
            leases.sort_by_key(|lease| (self.rank(owner, lease.addr), lease.addr));
        }
    }

    pub(crate) fn rank(&self, owner: &Owner, addr: IpAddr) -> usize {
        let first = self.subnets.first().map(|subnet| subnet.net.addr().is_ipv4());
        match owner.is_fixed() {
            true => self.subnets.iter().position(|subnet| subnet.net.contains(&addr)).unwrap_or(0),
            false => usize::from(first != Some(addr.is_ipv4())),
        }
    }

    pub(crate) fn pool_at(&self, subnet: usize, moment: &Moment) -> Option<Cow<'_, AddrPool>> {
        let mut pool = Cow::Borrowed(&self.spaces.get(subnet)?.pool);
        if pool.is_due(moment) {
            pool.to_mut().thaw(moment);
        }
        Some(pool)
    }
}

impl Entry {
    pub(crate) fn span(&self) -> Span {
        Span::new(self.offset(), self.log2)
    }
}
