//! The same counts, by counting.

use super::*;

impl Model {
    pub(crate) fn assert_usage(&self, ipam: &Ipam) {
        assert_eq!((ipam.mark(), ipam.settled()), (self.mark, self.settled));
        for (key, network) in &self.networks {
            for (space, usage) in network.subnets.iter().zip(ipam.usage(key)) {
                let net = space.subnet.net;
                let all = (net.network(), net.broadcast());
                let range = space.subnet.range.unwrap_or(net);
                let range = (range.network(), range.broadcast());
                let spans = |fixed: bool| {
                    let leases = network.leases.iter().filter(move |(owner, _)| owner.is_fixed() == fixed);
                    leases.flat_map(|(_, (_, spans))| spans.clone())
                };
                let edges = || [net.network(), net.broadcast()].into_iter().filter(|at| is_edge(net, *at));
                let rests = || {
                    let over = |(ready, mark): Rest| ready <= self.now || mark <= self.settled;
                    space.resting.iter().filter(move |(_, rest)| !over(*rest)).map(|(span, _)| *span)
                };
                let size = |spans: &mut dyn Iterator<Item = Span>, within| -> u128 {
                    spans.map(|span| common(span, within)).sum()
                };
                let used = |within| {
                    let edges = size(&mut edges().map(|edge| (edge, edge)), within);
                    size(&mut spans(true), within)
                        + size(&mut spans(false), within)
                        + size(&mut rests(), within)
                        + edges
                };
                assert_eq!(usage.capacity, common(all, all));
                assert_eq!(usage.in_use, size(&mut spans(false), all));
                assert_eq!(usage.held, size(&mut rests(), all));
                assert_eq!(usage.reserved, size(&mut spans(true), all) + edges().count() as u128);
                assert_eq!(usage.free + usage.in_use + usage.held + usage.reserved, usage.capacity);
                assert_eq!(
                    usage.available,
                    common(range, range) - used(range),
                    "{net} {:?}",
                    space.subnet.range
                );
            }
        }
    }

    /// What rests and is not forgotten yet, by whom it was freed: marks and first addresses, by mark.
    pub(crate) fn assert_resting(&self, ipam: &Ipam, after: u64) {
        let after = after.max(self.settled);
        for (key, network) in &self.networks {
            let rests = network.subnets.iter().flat_map(|space| &space.resting);
            let pending = rests.filter(|(_, (ready, mark))| *ready > self.now && *mark > after);
            let mut pending: Vec<(u64, IpAddr)> =
                pending.map(|((first, _), (_, mark))| (*mark, *first)).collect();
            pending.sort();
            let seen = ipam.resting(key, after, usize::MAX);
            let seen: Vec<(u64, IpAddr)> = seen.iter().map(|rest| (rest.rest.mark, rest.first)).collect();
            assert_eq!(seen, pending);
            assert_eq!(ipam.first_rest(key, after), pending.first().map(|(mark, _)| *mark));
        }
        let rests =
            self.networks.values().flat_map(|network| &network.subnets).flat_map(|space| &space.resting);
        let rests = rests.map(|(_, rest)| rest).chain(self.resting.iter().map(|(_, rest)| rest));
        let pending = rests.filter(|(ready, mark)| *ready > self.now && *mark > self.settled);
        assert_eq!(ipam.first_rest_of_all(), pending.map(|(_, mark)| *mark).min());
    }

    pub(crate) fn assert_census(&self, ipam: &Ipam) {
        for (key, network) in &self.networks {
            for (space, census) in network.subnets.iter().zip(ipam.census(key, 0)) {
                let here = |owner: fn(&Owner) -> bool| -> u128 {
                    let leases = network.leases.iter().filter(|(of, _)| owner(of));
                    let spans = leases.flat_map(|(_, (_, spans))| spans);
                    let net = space.subnet.net;
                    spans.map(|span| common(*span, (net.network(), net.broadcast()))).sum()
                };
                let counts = [
                    here(|owner| matches!(owner, Owner::Gateway)),
                    here(|owner| matches!(owner, Owner::Aux(_))),
                    here(|owner| matches!(owner, Owner::Vip(_))),
                    here(|owner| matches!(owner, Owner::Lb(_))),
                    here(|owner| matches!(owner, Owner::Task(_))),
                    here(|owner| matches!(owner, Owner::Static(_))),
                    here(|owner| matches!(owner, Owner::Delegation(_))),
                ];
                let its = [
                    census.gateways,
                    census.aux,
                    census.vips,
                    census.nodes,
                    census.tasks,
                    census.statics,
                    census.delegated,
                ];
                assert_eq!(its, counts);
                let sum: u128 = its.iter().sum::<u128>() + census.edges;
                assert_eq!(sum + census.usage.held + census.usage.free, census.usage.capacity);
            }
        }
    }
}
