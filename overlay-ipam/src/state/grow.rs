//! More addresses for a network that exists.

use ipnet::IpNet;

use crate::{
    AddrPool, Denied, Granted, Ipam, Moment, NetworkKey, Owner, OwnerKey, Subnet, SubnetRequest, bits,
    pool::addr_pool::Span,
    state::create::{Draft, range_in},
    state::leases::Place,
    state::space::Space,
};

/// What a growth comes to.
pub(crate) enum Growth {
    /// The network has it already.
    Nothing,
    InPlace(Box<Grown>),
    Extra(Draft),
}

/// A subnet in its new size.
pub(crate) struct Grown {
    index: usize,
    subnet: Subnet,
    pool: AddrPool,
    /// How far every address is farther from the first one.
    shift: u128,
    /// New auxiliary addresses.
    aux: Vec<(Owner, u128)>,
}

impl Ipam {
    /// Decides without changing anything.
    pub(crate) fn plan_grow(
        &self,
        moment: Moment,
        key: &NetworkKey,
        request: &SubnetRequest,
    ) -> Result<Growth, Denied> {
        let (_, network) = self.find(key)?;
        let named = request.subnet.filter(|given| !given.network().is_unspecified()).map(|net| net.trunc());
        let own = |net: IpNet| network.subnets.iter().position(move |own| net.contains(&own.net));
        match named.and_then(|net| Some((net, own(net)?))) {
            Some((net, index)) if network.subnets.get(index).is_some_and(|own| own.net == net) => {
                Ok(Growth::Nothing)
            }
            Some((net, index)) => self.plan_in_place(moment, key, request, (index, net)),
            None => {
                let requests = std::slice::from_ref(request);
                Ok(Growth::Extra(self.plan_subnets(moment, key, requests)?))
            }
        }
    }

    pub(crate) fn grow(&mut self, key: &NetworkKey, request: &SubnetRequest) -> Result<Granted, Denied> {
        let (id, _) = self.find(key)?;
        self.thaw_network(id);
        match self.plan_grow(self.moment, key, request)? {
            Growth::Nothing => {}
            Growth::Extra(draft) => drop(self.commit_subnets(id, draft)),
            Growth::InPlace(grown) => self.commit_in_place(id, *grown),
        }
        Ok(Granted::Network(self.subnets(key).to_vec()))
    }

    fn plan_in_place(
        &self,
        moment: Moment,
        key: &NetworkKey,
        request: &SubnetRequest,
        (index, net): (usize, IpNet),
    ) -> Result<Growth, Denied> {
        let (_, network) = self.find(key)?;
        let missing = || Denied::NoSuchNetwork { network: key.clone() };
        let (old, space) = network.subnets.get(index).zip(network.spaces.get(index)).ok_or_else(missing)?;
        let pool = self.pool_at(moment);
        self.check_named(&pool, net, Some(old.net))
            .map_err(|denied| denied.with_next_free(&pool, net, &[]))?;
        if let Some(gateway) = request.gateway.filter(|gateway| *gateway != old.gateway) {
            return Err(if net.contains(&gateway) {
                Denied::GatewayStays { subnet: net, gateway: old.gateway }
            } else {
                Denied::GatewayOutside { gateway, subnet: net }
            });
        }
        let range = range_in(net, request.range.or(old.range))?;
        let shift = bits::first(old.net) - bits::first(net);
        let old_pool = network.pool_at(index, &moment).ok_or_else(missing)?;
        let pool = self.resized(space, &old_pool, (net, range))?;
        let given = request.subnet.filter(|given| *given != net);
        let subnet =
            Subnet { net, gateway: old.gateway, normalised_from: given.or(old.normalised_from), range };
        let mut grown = Grown { index, subnet, pool, shift, aux: Vec::new() };
        self.add_aux(&mut grown, key, request)?;
        Ok(Growth::InPlace(Box::new(grown)))
    }

    /// The same addresses in use and at rest, in a larger prefix.
    fn resized(
        &self,
        space: &Space,
        old: &AddrPool,
        (net, range): (IpNet, Option<IpNet>),
    ) -> Result<AddrPool, Denied> {
        let shift = bits::first(old.net()) - bits::first(net);
        let moved = |span: Span| Span { first: span.first + shift, last: span.last + shift };
        let mut pool = AddrPool::new(net, range);
        for entry in space.leases().filter_map(|number| self.leases.get(number)) {
            let span = moved(entry.span());
            if !pool.take_span(span) {
                // only in prefixes so long that they had no edges before
                return Err(Denied::Reserved { addr: pool.addr(span.first), subnet: net });
            }
        }
        for (lane, span, rest) in old.rests() {
            pool.put_to_rest(moved(span), lane, rest); // or it is an edge from now on
        }
        pool.set_cursor(old.cursor() + shift);
        Ok(pool)
    }

    fn add_aux(&self, grown: &mut Grown, key: &NetworkKey, request: &SubnetRequest) -> Result<(), Denied> {
        let Grown { subnet, pool, aux, .. } = grown;
        for (name, addr) in &request.aux {
            let owner = Owner::Aux(OwnerKey::new(name.as_str()));
            if self.holder(key, *addr).as_ref() == Some(&owner) {
                continue;
            }
            let outside = || Denied::AuxOutside { name: name.clone(), addr: *addr, subnet: subnet.net };
            let offset = pool.offset(*addr).ok_or_else(outside)?;
            if pool.is_edge(offset) {
                return Err(Denied::Reserved { addr: *addr, subnet: subnet.net });
            }
            let (network, addr, rest) = (key.clone(), *addr, pool.rest_of(offset));
            if !pool.take_span(Span::new(offset, 0)) {
                let next_free = pool.peek().map(|offset| pool.addr(offset));
                let in_request = aux.iter().find(|(_, at)| *at == offset).map(|(owner, _)| owner.clone());
                let holder = in_request.or_else(|| self.holder(key, addr)).unwrap_or(Owner::Gateway);
                return Err(match rest {
                    Some(rest) => Denied::Held { network, addr, ready_ms: rest.ready_ms, next_free },
                    None => Denied::InUse { network, addr, holder, next_free },
                });
            }
            aux.push((owner, offset));
        }
        Ok(())
    }

    fn commit_in_place(&mut self, id: u32, grown: Grown) {
        let Grown { index, subnet, pool, shift, aux } = grown;
        let at = u16::try_from(index).unwrap_or(u16::MAX);
        let net = subnet.net;
        let old = self.network(id).and_then(|network| network.subnets.get(index)).map(|old| old.net);
        if let Some(old) = old {
            self.pool.release(old);
        }
        self.claim(id, net);
        let Some(network) = self.network_mut(id) else { return };
        let Some((old, space)) = network.subnets.get_mut(index).zip(network.spaces.get_mut(index)) else {
            return;
        };
        *old = subnet;
        let numbers: Vec<u32> = std::mem::replace(space, Space::of(pool)).leases().collect();
        for number in numbers {
            let Some(entry) = self.leases.get(number).copied() else { continue };
            let offset = entry.offset() + shift;
            self.leases.moved(number, offset, entry.log2);
            if let Some(space) = self.space_mut(id, at) {
                space.assign(Span::new(offset, entry.log2), number, entry.is_fixed());
            }
        }
        if !aux.is_empty() {
            self.generation = self.generation.saturating_add(1);
        }
        for (owner, offset) in aux {
            let generation = self.generation;
            self.record(&owner, Place { network: id, subnet: at, offset, log2: 0, generation });
        }
    }
}
