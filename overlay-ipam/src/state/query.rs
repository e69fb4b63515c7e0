//! What can be asked without changing anything.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use crate::{
    Census, Config, Ipam, Lease, Moment, NetworkKey, Owner, OwnerKey, Resting, Subnet, Usage,
    state::space::Space,
};

impl Ipam {
    /// The networks, by key.
    pub fn networks(&self) -> impl Iterator<Item = &NetworkKey> {
        self.names.keys()
    }

    /// The subnets of a network, in the order of the requests; none if there is no such network.
    pub fn subnets(&self, network: &NetworkKey) -> &[Subnet] {
        self.known(network).map_or(&[], |(_, network)| &network.subnets)
    }

    /// The lease of an owner in a network; the first one if it has both families.
    pub fn lease(&self, network: &NetworkKey, owner: &Owner) -> Option<Lease> {
        self.leases(network, owner).into_iter().next()
    }

    /// The leases of an owner in a network: one for each family; for gateways and auxiliary addresses one for
    /// each subnet.
    pub fn leases(&self, network: &NetworkKey, owner: &Owner) -> Vec<Lease> {
        let known =
            self.known(network).and_then(|(id, network)| Some((id, network, self.leases.pack(owner)?)));
        let Some((id, network, packed)) = known else { return Vec::new() };
        let leases = self.leases.of_grant(id, packed);
        let mut leases: Vec<Lease> = leases.map(|(_, entry)| network.lease(entry, owner.clone())).collect();
        network.sort(owner, &mut leases);
        leases
    }

    /// All leases of a network, by owner.
    pub fn all_leases(&self, network: &NetworkKey) -> impl Iterator<Item = Lease> + use<> {
        let mut leases = Vec::new();
        if let Some((_, network)) = self.known(network) {
            let numbers = network.spaces.iter().flat_map(Space::leases);
            let entries = numbers.filter_map(|number| self.leases.get(number));
            leases.extend(entries.map(|entry| network.lease(entry, self.leases.owner(entry))));
            leases.sort_by_cached_key(|lease| {
                (lease.owner.clone(), network.rank(&lease.owner, lease.addr), lease.addr)
            });
        }
        leases.into_iter()
    }

    /// Who holds an address of a network.
    pub fn holder(&self, network: &NetworkKey, addr: IpAddr) -> Option<Owner> {
        let (_, network) = self.known(network)?;
        let number = network.spaces.iter().find_map(|space| space.lease_at(space.offset(addr)?))?;
        self.leases.get(number).map(|entry| self.leases.owner(entry))
    }

    /// Who has leases anywhere, in order, without gateways and auxiliary addresses: what to compare with what
    /// exists.
    pub fn owners(&self) -> impl Iterator<Item = Owner> + use<> {
        self.leases.owners().collect::<BTreeSet<_>>().into_iter()
    }

    /// How many addresses and blocks are leased, gateways and auxiliary addresses included.
    pub fn count(&self) -> usize {
        self.leases.len()
    }

    /// How full each subnet of a network is, as of the last command.
    pub fn usage(&self, network: &NetworkKey) -> Vec<Usage> {
        self.spaces(network).iter().map(|space| space.usage(&self.moment)).collect()
    }

    /// Pools and quarantine as they are now.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The mark of the last command that freed something. Who has forgotten everything about earlier holders as of
    /// now acknowledges this one.
    pub fn mark(&self) -> u64 {
        self.mark
    }

    /// Up to which mark all nodes have acknowledged at once.
    pub fn settled(&self) -> u64 {
        self.moment.settled
    }

    /// The present: what is over by time, and what by acknowledgement. For what rests elsewhere on the same terms, as in
    /// an [`IdSpace`](crate::IdSpace).
    pub fn moment(&self) -> Moment {
        self.moment
    }

    /// Up to which mark the node has acknowledged; `None` if it is not in the set.
    pub fn acked(&self, node: &OwnerKey) -> Option<u64> {
        self.acks.get(node)
    }

    /// The nodes whose acknowledgements count, and up to which mark they have given them.
    pub fn nodes(&self) -> impl Iterator<Item = (&OwnerKey, u64)> {
        self.acks.iter()
    }

    /// What is kept out of new subnets, by whom.
    pub fn exclusions(&self) -> impl Iterator<Item = (&OwnerKey, &[IpNet])> {
        self.exclusions.iter().map(|(by, nets)| (by, nets.as_slice()))
    }

    /// What rests in a network and has a mark above `after`, by mark: what a node has to forget that has acknowledged
    /// up to there. The oldest ones: at most `most` of each subnet and kind of rest.
    ///
    /// ```
    /// use overlay_ipam::{Command, Config, Ipam, Owner, Want};
    ///
    /// let mut ipam = Ipam::new(Config::default());
    /// ipam.apply(0, &Command::CreateNetwork { network: "web".into(), subnets: vec![] })?;
    /// let owner = Owner::Task("web.1".into());
    /// let want = Want { network: "web".into(), owner: owner.clone(), prefer: None };
    /// ipam.apply(0, &Command::Acquire { wants: vec![want] })?;
    /// ipam.apply(0, &Command::ReleaseOwner { owner })?;
    /// let resting = ipam.resting(&"web".into(), 0, 10);
    /// assert_eq!(resting[0].first.to_string(), "10.0.0.2");
    /// assert!(ipam.resting(&"web".into(), resting[0].rest.mark, 10).is_empty());
    /// # Ok::<(), overlay_ipam::Denied>(())
    /// ```
    pub fn resting(&self, network: &NetworkKey, after: u64, most: usize) -> Vec<Resting> {
        let moment = self.after(after);
        let mut resting: Vec<Resting> = self
            .spaces(network)
            .iter()
            .flat_map(|space| {
                let addr = |offset| space.pool.addr(offset);
                let pending = space.pool.pending(&moment, most);
                pending.map(move |(span, rest)| Resting {
                    first: addr(span.first),
                    last: addr(span.last),
                    rest,
                })
            })
            .collect();
        resting.sort_by_key(|resting| (resting.rest.mark, resting.first));
        resting
    }

    /// The lowest mark above `after` with which something rests in a network, found without looking at the others.
    pub fn first_rest(&self, network: &NetworkKey, after: u64) -> Option<u64> {
        self.first_in(self.spaces(network), after)
    }

    /// The lowest mark with which something rests anywhere, subnets included. Acknowledgements below it free nothing.
    pub fn first_rest_of_all(&self) -> Option<u64> {
        let networks = self.networks.iter().flatten();
        let addresses = networks.filter_map(|network| self.first_in(&network.spaces, 0)).min();
        let subnet = self.resting.pending(&self.moment).next().map(|(_, rest)| rest.mark);
        addresses.into_iter().chain(subnet).min()
    }

    /// When the first of the addresses that rest in a network is ready by time.
    pub fn next_ready(&self, network: &NetworkKey) -> Option<u64> {
        let spaces = self.spaces(network).iter();
        let rests = spaces.flat_map(|space| space.pool.first_pending(&self.moment));
        rests.map(|rest| rest.ready_ms).min()
    }

    /// The subnets that overlap a prefix, in order; without a network those that rest.
    pub fn overlapping(&self, net: IpNet) -> impl Iterator<Item = (IpNet, Option<&NetworkKey>)> {
        self.pool.holders(net).map(|(net, whose)| (net, self.network(whose).map(|network| &network.key)))
    }

    /// How full each subnet of a network is and with what, at that time if it is later than that of the last command;
    /// in time linear in its leases.
    pub fn census(&self, network: &NetworkKey, at_ms: u64) -> Vec<Census> {
        let moment = Moment { now_ms: self.moment.now_ms.max(at_ms), ..self.moment };
        self.spaces(network)
            .iter()
            .map(|space| {
                let usage = space.usage(&moment);
                let edges = usage.reserved.saturating_sub(space.fixed().into());
                let mut census = Census {
                    usage,
                    edges,
                    gateways: 0,
                    aux: 0,
                    vips: 0,
                    nodes: 0,
                    tasks: 0,
                    statics: 0,
                    delegated: 0,
                };
                for entry in space.leases().filter_map(|number| self.leases.get(number)) {
                    let span = entry.span();
                    *census.count_of(&self.leases.owner(entry)) += (span.last - span.first).saturating_add(1);
                }
                census
            })
            .collect()
    }

    fn spaces(&self, network: &NetworkKey) -> &[Space] {
        self.known(network).map_or(&[], |(_, network)| &network.spaces)
    }

    /// The present for who has acknowledged so far.
    fn after(&self, acked: u64) -> Moment {
        Moment { settled: self.moment.settled.max(acked), ..self.moment }
    }

    fn first_in(&self, spaces: &[Space], after: u64) -> Option<u64> {
        let moment = self.after(after);
        spaces.iter().flat_map(|space| space.pool.first_pending(&moment)).map(|rest| rest.mark).min()
    }
}

impl Census {
    fn count_of(&mut self, owner: &Owner) -> &mut u128 {
        match owner {
            Owner::Gateway => &mut self.gateways,
            Owner::Vip(_) => &mut self.vips,
            Owner::Lb(_) => &mut self.nodes,
            Owner::Task(_) => &mut self.tasks,
            Owner::Static(_) => &mut self.statics,
            Owner::Aux(_) => &mut self.aux,
            Owner::Delegation(_) => &mut self.delegated,
        }
    }
}
