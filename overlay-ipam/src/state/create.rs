//! New subnets: choose them, then install them.

use ipnet::IpNet;

use crate::{
    AddrPool, Denied, Family, Granted, Ipam, Moment, NetworkKey, Owner, OwnerKey, Subnet, SubnetPool,
    SubnetRequest, bits, pool::addr_pool::Span, state::ipam::NOBODY, state::leases::Place,
    state::network::Network, state::space::Space,
};

/// Subnets with gateways and auxiliary addresses set.
pub(crate) struct Draft {
    subnets: Vec<Subnet>,
    pools: Vec<AddrPool>,
    /// Owner, index of the subnet, distance.
    fixed: Vec<(Owner, usize, u128)>,
}

impl Ipam {
    /// Decides without changing anything.
    pub(crate) fn plan_create(
        &self,
        moment: Moment,
        network: &NetworkKey,
        requests: &[SubnetRequest],
    ) -> Result<Draft, Denied> {
        if self.names.contains_key(network) {
            return Err(Denied::NetworkExists { network: network.clone() });
        }
        let default = [SubnetRequest::default()];
        self.plan_subnets(moment, network, if requests.is_empty() { &default } else { requests })
    }

    /// The same for a network that may be there already.
    pub(crate) fn plan_subnets(
        &self,
        moment: Moment,
        network: &NetworkKey,
        requests: &[SubnetRequest],
    ) -> Result<Draft, Denied> {
        let has = self.subnets(network).len();
        if has + requests.len() > usize::from(u16::MAX) {
            return Err(Denied::TooManySubnets { network: network.clone() });
        }
        let pool = self.pool_at(moment);
        let mut draft = Draft { subnets: Vec::new(), pools: Vec::new(), fixed: Vec::new() };
        for request in requests {
            let (net, normalised_from) = self.choose(&pool, network, request, &draft)?;
            draft.add(network, request, (net, normalised_from))?;
        }
        Ok(draft)
    }

    pub(crate) fn commit_create(&mut self, network: &NetworkKey, draft: Draft) -> Granted {
        let new = Network { key: network.clone(), subnets: Vec::new(), spaces: Vec::new() };
        let id = self.settle_in(new);
        Granted::Network(self.commit_subnets(id, draft))
    }

    /// Adds the subnets to the network and returns all that it has.
    pub(crate) fn commit_subnets(&mut self, id: u32, draft: Draft) -> Vec<Subnet> {
        for subnet in &draft.subnets {
            self.claim(id, subnet.net);
        }
        self.generation = self.generation.saturating_add(1);
        let Some(network) = self.network_mut(id) else { return Vec::new() };
        let before = network.subnets.len();
        network.subnets.extend(draft.subnets);
        network.spaces.extend(draft.pools.into_iter().map(Space::of));
        let subnets = network.subnets.clone();
        for (owner, index, offset) in draft.fixed {
            let subnet = u16::try_from(before + index).unwrap_or(u16::MAX); // the plan has counted
            self.record(&owner, Place { network: id, subnet, offset, log2: 0, generation: self.generation });
        }
        subnets
    }

    /// Takes a subnet out of the pool. One that was asked for by name may still rest.
    pub(crate) fn claim(&mut self, id: u32, net: IpNet) {
        let resting: Vec<IpNet> = self.pool.overlapping(net).collect();
        for resting in resting {
            self.pool.release(resting);
            self.resting.retain(|net| *net != resting);
        }
        self.pool.claim_for(net, id);
    }

    /// Writes down a lease of an address that the pool has given.
    pub(crate) fn record(&mut self, owner: &Owner, place: Place) -> u32 {
        let number = self.leases.insert(owner, place);
        if let Some(space) = self.space_mut(place.network, place.subnet) {
            space.assign(Span::new(place.offset, place.log2), number, owner.is_fixed());
        }
        number
    }

    /// The prefix for a request, and what it was normalised from.
    fn choose(
        &self,
        pool: &SubnetPool,
        network: &NetworkKey,
        request: &SubnetRequest,
        draft: &Draft,
    ) -> Result<(IpNet, Option<IpNet>), Denied> {
        let avoid: Vec<IpNet> = draft.subnets.iter().map(|subnet| subnet.net).collect();
        let (family, len) = match request.subnet {
            None => (request.family(), None),
            Some(any) if any.network().is_unspecified() => {
                (Some(Family::of(any)), Some(any.prefix_len()).filter(|len| *len > 0))
            }
            Some(given) => {
                let net = given.trunc();
                if let Some(own) = draft.subnets.iter().find(|own| bits::overlap(own.net, net)) {
                    let (network, subnet) = (network.clone(), own.net);
                    let denied = Denied::Overlap { wanted: net, network, subnet, next_free: None };
                    return Err(denied.with_next_free(pool, net, &avoid));
                }
                self.check_named(pool, net, None)
                    .map_err(|denied| denied.with_next_free(pool, net, &avoid))?;
                return Ok((net, Some(given).filter(|given| *given != net)));
            }
        };
        let picked = pool.pick(family, len, &avoid).ok_or_else(|| self.pools_exhausted(family, len))?;
        Ok((picked, None))
    }

    /// Whether a prefix can be had that was asked for by name, maybe in the place of a part of it.
    pub(crate) fn check_named(
        &self,
        pool: &SubnetPool,
        wanted: IpNet,
        grown_from: Option<IpNet>,
    ) -> Result<(), Denied> {
        for (subnet, whose) in pool.holders(wanted).filter(|(subnet, _)| Some(*subnet) != grown_from) {
            // otherwise it rests, and the user knows what they ask for
            if let Some(holder) = self.network(whose).filter(|_| whose != NOBODY) {
                let network = holder.key.clone();
                return Err(Denied::Overlap { wanted, network, subnet, next_free: None });
            }
        }
        match self.excluder(wanted, grown_from) {
            Some((by, route)) => Err(Denied::Excluded { wanted, by: by.clone(), route, next_free: None }),
            None => Ok(()),
        }
    }

    fn pools_exhausted(&self, family: Option<Family>, prefix_len: Option<u8>) -> Denied {
        let family = family.unwrap_or(Family::V4);
        let live = self.networks.iter().flatten().flat_map(|network| &network.subnets);
        let mut resting = self.resting.iter().filter(|(net, _)| Family::of(*net) == family).peekable();
        Denied::PoolsExhausted {
            family,
            prefix_len,
            taken: count(live.filter(|subnet| Family::of(subnet.net) == family)),
            ready_ms: resting.peek().map(|(_, rest)| rest.ready_ms),
            held: count(resting),
        }
    }
}

impl Draft {
    fn add(
        &mut self,
        network: &NetworkKey,
        request: &SubnetRequest,
        (net, normalised_from): (IpNet, Option<IpNet>),
    ) -> Result<(), Denied> {
        let range = range_in(net, request.range)?;
        let index = self.pools.len();
        let mut pool = AddrPool::new(net, range);
        if let Some(gateway) = request.gateway {
            let offset = pool.offset(gateway).ok_or(Denied::GatewayOutside { gateway, subnet: net })?;
            self.fix(network, &mut pool, (Owner::Gateway, offset))?;
        }
        for (name, addr) in &request.aux {
            let outside = || Denied::AuxOutside { name: name.clone(), addr: *addr, subnet: net };
            let offset = pool.offset(*addr).ok_or_else(outside)?;
            self.fix(network, &mut pool, (Owner::Aux(OwnerKey::new(name.as_str())), offset))?;
        }
        let gateway = match request.gateway {
            Some(gateway) => gateway,
            None => {
                let offset = pool.allocate_offset().ok_or_else(|| no_gateway(network, &pool))?;
                self.fixed.push((Owner::Gateway, index, offset));
                pool.addr(offset)
            }
        };
        self.subnets.push(Subnet { net, gateway, normalised_from, range });
        self.pools.push(pool);
        Ok(())
    }

    fn fix(
        &mut self,
        network: &NetworkKey,
        pool: &mut AddrPool,
        (owner, offset): (Owner, u128),
    ) -> Result<(), Denied> {
        let addr = pool.addr(offset);
        if pool.is_edge(offset) {
            return Err(Denied::Reserved { addr, subnet: pool.net() });
        }
        let index = self.pools.len();
        if !pool.take_span(Span::new(offset, 0)) {
            let holds = |(_, at, held): &&(Owner, usize, u128)| (*at, *held) == (index, offset);
            let holder = self.fixed.iter().find(holds).map_or(Owner::Gateway, |(owner, ..)| owner.clone());
            let next_free = pool.peek().map(|offset| pool.addr(offset));
            return Err(Denied::InUse { network: network.clone(), addr, holder, next_free });
        }
        self.fixed.push((owner, index, offset));
        Ok(())
    }
}

/// The range without host bits.
pub(crate) fn range_in(net: IpNet, range: Option<IpNet>) -> Result<Option<IpNet>, Denied> {
    match range.map(|range| range.trunc()) {
        Some(range) if !net.contains(&range) => Err(Denied::RangeOutside { range, subnet: net }),
        range => Ok(range),
    }
}

fn no_gateway(network: &NetworkKey, pool: &AddrPool) -> Denied {
    let usage = pool.usage(&Moment::default());
    Denied::AddressesExhausted {
        network: network.clone(),
        family: Family::of(pool.net()),
        in_use: 0,
        held: 0,
        reserved: bits::saturate(usage.reserved + usage.in_use),
        outside: bits::saturate(usage.free - usage.available),
        ready_ms: None,
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
    /// Names the lowest free prefix of the same length.
    pub(crate) fn with_next_free(mut self, pool: &SubnetPool, wanted: IpNet, avoid: &[IpNet]) -> Self {
        if let Self::Overlap { next_free, .. } | Self::Excluded { next_free, .. } = &mut self {
            *next_free = pool.pick(Some(Family::of(wanted)), Some(wanted.prefix_len()), avoid);
        }
        self
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> u64 {
    u64::try_from(items.count()).unwrap_or(u64::MAX)
}
