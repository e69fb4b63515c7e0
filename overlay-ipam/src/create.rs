//! A new network: choose its subnets, then install them.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use crate::{
    Denied, Family, Granted, Ipam, NetworkKey, Owner, OwnerKey, Subnet, SubnetPool, SubnetRequest, bits,
    ipam::{Grant, Network},
    space::{Obstacle, Space},
};

/// Subnets with gateways and auxiliary addresses set.
pub(crate) struct Draft {
    subnets: Vec<Subnet>,
    spaces: Vec<Space>,
    fixed: BTreeMap<Owner, Vec<IpAddr>>,
}

impl Ipam {
    /// Decides without changing anything.
    pub(crate) fn plan_create(
        &self,
        now_ms: u64,
        network: &NetworkKey,
        requests: &[SubnetRequest],
    ) -> Result<Draft, Denied> {
        if self.networks.contains_key(network) {
            return Err(Denied::NetworkExists { network: network.clone() });
        }
        let pool = self.pool_at(now_ms);
        let default = [SubnetRequest::default()];
        let requests = if requests.is_empty() { &default } else { requests };
        let mut draft = Draft { subnets: Vec::new(), spaces: Vec::new(), fixed: BTreeMap::new() };
        for request in requests {
            let (net, normalised_from) = self.choose(&pool, network, request, &draft)?;
            draft.add(network, request, net, normalised_from)?;
        }
        Ok(draft)
    }

    pub(crate) fn commit_create(&mut self, network: &NetworkKey, draft: Draft) -> Granted {
        for subnet in &draft.subnets {
            // a subnet that was asked for by name may still rest
            let overlapping: Vec<IpNet> = self.pool.overlapping(subnet.net).collect();
            for resting in overlapping {
                self.pool.release(resting);
                self.resting.retain(|(net, _)| *net != resting);
            }
            self.pool.claim(subnet.net);
        }
        self.generation = self.generation.saturating_add(1);
        let generation = self.generation;
        let grants =
            draft.fixed.into_iter().map(|(owner, addrs)| (owner, Grant { generation, addrs })).collect();
        let granted = Granted::Network(draft.subnets.clone());
        self.networks
            .insert(network.clone(), Network { subnets: draft.subnets, spaces: draft.spaces, grants });
        granted
    }

    /// The prefix for a request, and what it was normalised from.
    fn choose(
        &self,
        pool: &SubnetPool,
        network: &NetworkKey,
        request: &SubnetRequest,
        draft: &Draft,
    ) -> Result<(IpNet, Option<IpNet>), Denied> {
        let mut avoid: Vec<IpNet> = self.exclusions.values().flatten().copied().collect();
        avoid.extend(draft.subnets.iter().map(|subnet| subnet.net));
        let (family, len) = match request.subnet {
            None => (request.family(), None),
            Some(any) if any.network().is_unspecified() => {
                (Some(Family::of(any)), Some(any.prefix_len()).filter(|len| *len > 0))
            }
            Some(given) => {
                let net = given.trunc();
                self.check_named(pool, network, net, draft).map_err(|denied| {
                    denied.with_next_free(|| pool.pick(Some(Family::of(net)), Some(net.prefix_len()), &avoid))
                })?;
                return Ok((net, Some(given).filter(|given| *given != net)));
            }
        };
        let picked = pool.pick(family, len, &avoid).ok_or_else(|| self.pools_exhausted(family, len))?;
        Ok((picked, None))
    }

    fn check_named(
        &self,
        pool: &SubnetPool,
        network: &NetworkKey,
        wanted: IpNet,
        draft: &Draft,
    ) -> Result<(), Denied> {
        let overlap = |network: &NetworkKey, subnet| {
            Err(Denied::Overlap { wanted, network: network.clone(), subnet, next_free: None })
        };
        if let Some(own) = draft.subnets.iter().find(|own| bits::overlap(own.net, wanted)) {
            return overlap(network, own.net);
        }
        for subnet in pool.overlapping(wanted) {
            // otherwise it rests, and the user knows what they ask for
            if let Some(holder) = self.network_of(subnet) {
                return overlap(holder, subnet);
            }
        }
        for (by, routes) in &self.exclusions {
            if let Some(route) = routes.iter().find(|route| bits::overlap(**route, wanted)) {
                return Err(Denied::Excluded { wanted, by: by.clone(), route: *route, next_free: None });
            }
        }
        Ok(())
    }

    fn network_of(&self, subnet: IpNet) -> Option<&NetworkKey> {
        let holds = |network: &Network| network.subnets.iter().any(|own| own.net == subnet);
        self.networks.iter().find(|(_, network)| holds(network)).map(|(key, _)| key)
    }

    fn pools_exhausted(&self, family: Option<Family>, prefix_len: Option<u8>) -> Denied {
        let family = family.unwrap_or(Family::V4);
        let live = self.networks.values().flat_map(|network| &network.subnets);
        let mut resting = self.resting_until().filter(|(net, _)| Family::of(*net) == family).peekable();
        Denied::PoolsExhausted {
            family,
            prefix_len,
            taken: count(live.filter(|subnet| Family::of(subnet.net) == family)),
            ready_ms: resting.peek().map(|(_, ready_ms)| *ready_ms),
            held: count(resting),
        }
    }
}

impl Draft {
    fn add(
        &mut self,
        network: &NetworkKey,
        request: &SubnetRequest,
        net: IpNet,
        normalised_from: Option<IpNet>,
    ) -> Result<(), Denied> {
        let range = request.range.map(|range| range.trunc());
        if let Some(range) = range.filter(|range| !net.contains(range)) {
            return Err(Denied::RangeOutside { range, subnet: net });
        }
        let mut space = Space::new(net, range);
        if let Some(gateway) = request.gateway {
            let offset = space.offset(gateway).ok_or(Denied::GatewayOutside { gateway, subnet: net })?;
            self.fix(network, &mut space, offset, Owner::Gateway)?;
        }
        for (name, addr) in &request.aux {
            let outside = || Denied::AuxOutside { name: name.clone(), addr: *addr, subnet: net };
            let offset = space.offset(*addr).ok_or_else(outside)?;
            self.fix(network, &mut space, offset, Owner::Aux(OwnerKey::new(name.as_str())))?;
        }
        let gateway = match request.gateway {
            Some(gateway) => gateway,
            None => self.pick_gateway(network, &mut space)?,
        };
        self.subnets.push(Subnet { net, gateway, normalised_from, range });
        self.spaces.push(space);
        Ok(())
    }

    fn pick_gateway(&mut self, network: &NetworkKey, space: &mut Space) -> Result<IpAddr, Denied> {
        let Some(offset) = space.pick(space.cursor, |_| false) else {
            let usage = space.usage(0, &crate::Hold::OFF);
            return Err(Denied::AddressesExhausted {
                network: network.clone(),
                family: Family::of(space.net()),
                in_use: 0,
                held: 0,
                reserved: bits::saturate(usage.reserved),
                ready_ms: None,
            });
        };
        self.fix(network, space, offset, Owner::Gateway)?;
        space.cursor = space.after(offset);
        Ok(space.addr(offset))
    }

    fn fix(
        &mut self,
        network: &NetworkKey,
        space: &mut Space,
        offset: u128,
        owner: Owner,
    ) -> Result<(), Denied> {
        let addr = space.addr(offset);
        match space.obstacle(offset, &crate::Hold::OFF) {
            None | Some(Obstacle::Resting { .. }) => {}
            Some(Obstacle::Edge) => return Err(Denied::Reserved { addr, subnet: space.net() }),
            Some(Obstacle::Holder(holder)) => {
                let next_free = space.pick(space.cursor, |_| false).map(|offset| space.addr(offset));
                return Err(Denied::InUse { network: network.clone(), addr, holder, next_free });
            }
        }
        space.take(offset, owner.clone());
        self.fixed.entry(owner).or_default().push(addr);
        Ok(())
    }
}

impl SubnetRequest {
    /// The family that the other fields imply.
    fn family(&self) -> Option<Family> {
        let addr = self.gateway.or_else(|| self.aux.values().next().copied());
        self.range.map(Family::of).or_else(|| addr.map(bits::family))
    }
}

impl Denied {
    fn with_next_free(mut self, pick: impl FnOnce() -> Option<IpNet>) -> Self {
        if let Self::Overlap { next_free, .. } | Self::Excluded { next_free, .. } = &mut self {
            *next_free = pick();
        }
        self
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> u64 {
    u64::try_from(items.count()).unwrap_or(u64::MAX)
}
