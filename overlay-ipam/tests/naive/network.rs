//! One network: who has which address, and which one is next.

use super::*;

impl Network {
    pub(super) fn leases_of(&self, key: &NetworkKey, owner: &Owner) -> Vec<Lease> {
        let (generation, spans) = &self.leases[owner];
        let index =
            |addr: IpAddr| self.subnets.iter().position(|space| space.subnet.net.contains(&addr)).unwrap();
        let mut spans = spans.clone();
        spans.sort_by_key(|(addr, _)| match owner.is_fixed() {
            true => (index(*addr), *addr),
            false => (usize::from(addr.is_ipv4() != families_first(self)), *addr),
        });
        let lease = |(first, last): Span| Lease {
            network: key.clone(),
            owner: owner.clone(),
            addr: first,
            prefix_len: self.subnets[index(first)].subnet.net.prefix_len(),
            generation: *generation,
            block: matches!(owner, Owner::Delegation(_)).then(|| block_of((first, last))),
        };
        spans.into_iter().map(lease).collect()
    }

    pub(super) fn rest(&mut self, span: Span, hold_ms: u64, rest: Rest) {
        let space = self.subnets.iter_mut().find(|space| space.subnet.net.contains(&span.0)).unwrap();
        if hold_ms > 0 {
            space.resting.push((span, rest));
        }
    }

    pub(super) fn space_of(&self, addr: IpAddr) -> Option<&Space> {
        self.subnets.iter().find(|space| space.subnet.net.contains(&addr))
    }

    pub(super) fn obstacle(&self, addr: IpAddr, outside: &'static str) -> Result<(), &'static str> {
        let space = self.space_of(addr).ok_or(outside)?;
        let within = |(first, last): &Span| (*first..=*last).contains(&addr);
        if is_edge(space.subnet.net, addr) {
            Err("Reserved")
        } else if self.leases.values().any(|(_, spans)| spans.iter().any(within)) {
            Err("InUse")
        } else if space.resting.iter().any(|(span, _)| within(span)) {
            Err("Held")
        } else {
            Ok(())
        }
    }

    pub(super) fn pick(&mut self, index: usize) -> Option<IpAddr> {
        let net = self.subnets[index].subnet.net;
        let range = self.subnets[index].subnet.range.unwrap_or(net);
        let (low, high) = (bits(range.network()), bits(range.broadcast()));
        let cursor = self.subnets[index].cursor;
        let search = |mut at: u128, end: u128| {
            while at <= end {
                let candidate = addr(net, at);
                if self.obstacle(candidate, "").is_ok() {
                    return Some(candidate);
                }
                // a block may be too large to be walked through
                let spans = self.leases.values().flat_map(|(_, spans)| spans);
                let mut spans = spans.chain(self.subnets[index].resting.iter().map(|(span, _)| span));
                let around = spans.find(|(first, last)| (*first..=*last).contains(&candidate));
                at = around.map_or(at, |(_, last)| bits(*last)) + 1;
            }
            None
        };
        let found = search(cursor, high).or_else(|| search(low, cursor.saturating_sub(1)))?;
        self.subnets[index].cursor = if bits(found) == high { low } else { bits(found) + 1 };
        Some(found)
    }

    /// Only the subnet that was added last counts.
    pub(super) fn fix(
        &mut self,
        owner: Owner,
        addr: IpAddr,
        (now, outside): (u64, &'static str),
    ) -> Result<(), &'static str> {
        if !self.subnets.last().unwrap().subnet.net.contains(&addr) {
            return Err(outside);
        }
        self.obstacle(addr, outside)?;
        self.leases.entry(owner).or_insert((now, Vec::new())).1.push((addr, addr));
        Ok(())
    }
}

impl Space {
    pub(super) fn is_v4(&self) -> bool {
        self.subnet.net.addr().is_ipv4()
    }
}
