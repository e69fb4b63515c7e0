//! Growth and delegation.

use super::*;

impl Model {
    pub(super) fn grow(&mut self, key: &NetworkKey, request: &SubnetRequest) -> Answer {
        let mut network = self.networks.get(key).ok_or("NoSuchNetwork")?.clone();
        let given = request.subnet.filter(|given| !given.network().is_unspecified());
        let net = given.map(|given| given.trunc());
        let index = net.and_then(|net| network.subnets.iter().position(|own| net.contains(&own.subnet.net)));
        let (Some(net), Some(index)) = (net, index) else {
            return self.add_subnets(key, network, std::slice::from_ref(request));
        };
        let old = network.subnets[index].subnet.clone();
        if old.net != net {
            let live =
                self.networks.values().flat_map(|network| &network.subnets).map(|space| space.subnet.net);
            if live.filter(|live| *live != old.net).any(|live| overlap(live, net)) {
                return Err("Overlap");
            }
            let mut routes = self.exclusions.values().flatten();
            if routes.any(|route| overlap(*route, net) && !overlap(*route, old.net)) {
                return Err("Excluded");
            }
            if let Some(gateway) = request.gateway.filter(|gateway| *gateway != old.gateway) {
                return Err(if net.contains(&gateway) { "GatewayStays" } else { "GatewayOutside" });
            }
            let range = request.range.or(old.range).map(|range| range.trunc());
            if range.is_some_and(|range| !net.contains(&range)) {
                return Err("RangeOutside");
            }
            let edges: Vec<IpAddr> =
                [net.network(), net.broadcast()].into_iter().filter(|addr| is_edge(net, *addr)).collect();
            let on_edge = |(first, last): &Span| edges.iter().any(|edge| (*first..=*last).contains(edge));
            if network.leases.values().any(|(_, spans)| spans.iter().any(on_edge)) {
                return Err("Reserved");
            }
            let space = &mut network.subnets[index];
            space.resting.retain(|(span, _)| !on_edge(span));
            let limits = range.unwrap_or(net);
            space.cursor = space.cursor.clamp(bits(limits.network()), bits(limits.broadcast()));
            let normalised_from = given.filter(|given| *given != net).or(old.normalised_from);
            space.subnet = Subnet { net, gateway: old.gateway, normalised_from, range };
            let before = self.generation;
            for (name, addr) in &request.aux {
                let owner = Owner::Aux(OwnerKey::new(name.as_str()));
                let own =
                    network.leases.get(&owner).is_some_and(|(_, spans)| spans.contains(&(*addr, *addr)));
                if own {
                    continue;
                }
                if !net.contains(addr) {
                    return Err("AuxOutside");
                }
                network.obstacle(*addr, "AuxOutside")?;
                self.generation = before + 1;
                network.leases.entry(owner).or_insert((before + 1, Vec::new())).1.push((*addr, *addr));
            }
            self.resting.retain(|(resting, _)| !overlap(*resting, net));
        }
        let subnets = network.subnets.iter().map(|space| space.subnet.clone()).collect();
        self.networks.insert(key.clone(), network);
        Ok(Granted::Network(subnets))
    }

    pub(super) fn delegate(&mut self, key: &NetworkKey, to: &OwnerKey, family: Family, len: u8) -> Answer {
        let network = self.networks.get_mut(key).ok_or("NoSuchNetwork")?;
        let owner = Owner::Delegation(to.clone());
        let v4 = family == Family::V4;
        let of_family =
            |leases: Vec<Lease>| leases.into_iter().filter(|lease| lease.addr.is_ipv4() == v4).collect();
        let held = network.leases.get(&owner).map_or(&[][..], |(_, spans)| spans);
        if held.iter().any(|(first, _)| first.is_ipv4() == v4) {
            return Ok(Granted::Leases(of_family(network.leases_of(key, &owner))));
        }
        let fits = |space: &&Space| {
            let net = space.subnet.net;
            space.is_v4() == v4 && net.prefix_len() < len && len <= net.max_prefix_len()
        };
        if !network.subnets.iter().any(|space| fits(&space)) {
            return Err("BlockLength");
        }
        let free = |space: &Space, span: Span| {
            let net = space.subnet.net;
            let edge = [net.network(), net.broadcast()]
                .into_iter()
                .any(|at| is_edge(net, at) && common(span, (at, at)) > 0);
            let leased =
                network.leases.values().flat_map(|(_, spans)| spans).any(|other| common(*other, span) > 0);
            !edge && !leased && !space.resting.iter().any(|(other, _)| common(*other, span) > 0)
        };
        let found = network.subnets.iter().filter(fits).find_map(|space| {
            let net = space.subnet.net;
            let range = space.subnet.range.unwrap_or(net);
            let size = 1_u128 << (net.max_prefix_len() - len);
            let mut first = bits(range.network()).next_multiple_of(size);
            while first + size - 1 <= bits(range.broadcast()) {
                let span = (addr(net, first), addr(net, first + size - 1));
                if free(space, span) {
                    return Some(span);
                }
                first += size;
            }
            None
        });
        let span = found.ok_or("NoBlock")?;
        self.generation += 1;
        let network = self.networks.get_mut(key).unwrap();
        network.leases.entry(owner.clone()).or_insert((self.generation, Vec::new())).1.push(span);
        Ok(Granted::Leases(of_family(network.leases_of(key, &owner))))
    }

    pub(super) fn shrink(
        &mut self,
        key: &NetworkKey,
        from: &OwnerKey,
        generation: u64,
        keep: IpNet,
    ) -> Answer {
        let keep = keep.trunc();
        let owner = Owner::Delegation(from.clone());
        if self.generation(key, &owner) != Some(generation) {
            return Ok(Granted::Done);
        }
        let rest = (self.now + self.config.hold.address_ms, self.mark + 1);
        let network = self.networks.get_mut(key).unwrap();
        let (_, spans) = network.leases.get_mut(&owner).unwrap();
        let span = spans.iter_mut().find(|span| block_of(**span).contains(&keep)).ok_or("OutsideBlock")?;
        let (old, new) = (*span, (keep.network(), keep.broadcast()));
        if old == new {
            return Ok(Granted::Done);
        }
        *span = new;
        let hold_ms = self.config.hold.address_ms;
        if old.0 < new.0 {
            network.rest((old.0, addr(keep, bits(new.0) - 1)), hold_ms, rest);
        }
        if new.1 < old.1 {
            network.rest((addr(keep, bits(new.1) + 1), old.1), hold_ms, rest);
        }
        self.mark += 1;
        Ok(Granted::Done)
    }
}
