//! The state machine: what is held, and how commands change it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use crate::{
    AddrPool, Command, Config, Denied, Granted, Lane, Lease, Moment, NetworkKey, Owner, OwnerKey, Rest,
    Subnet, SubnetPool, Usage,
    pool::addr_pool::Span,
    pool::clock::Queue,
    state::leases::{Entry, Leases},
    state::space::Space,
};

/// All networks of a cluster, their subnets and who holds which address.
///
/// It is a fold: [`apply`](Self::apply) reads no clock and no chance, so replicas that apply the same commands
/// are equal, and so is one that was restored from a [snapshot](Self::snapshot) on the way. Cursor, quarantine and
/// generations are part of the state; a new leader never repeats the addresses of the old one.
///
/// ```
/// use overlay_ipam::{Command, Config, Ipam, NetworkKey};
///
/// let mut ipam = Ipam::new(Config::default());
/// let create = Command::CreateNetwork { network: NetworkKey::new("ingress"), subnets: vec![] };
/// ipam.check(0, &create)?;
/// ipam.apply(0, &create)?;
/// assert_eq!(ipam.subnets(&NetworkKey::new("ingress"))[0].net.to_string(), "10.0.0.0/24");
/// assert!(ipam.check(0, &create).is_err()); // exists
/// # Ok::<(), overlay_ipam::Denied>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ipam {
    pub(crate) config: Config,
    /// The highest time of all commands, and what all nodes have acknowledged.
    pub(crate) moment: Moment,
    /// That of the last lease.
    pub(crate) generation: u64,
    /// That of the last command that freed something.
    pub(crate) mark: u64,
    pub(crate) names: BTreeMap<NetworkKey, u32>,
    pub(crate) networks: Vec<Option<Network>>,
    pub(crate) vacant: Vec<u32>,
    pub(crate) leases: Leases,
    pub(crate) pool: SubnetPool,
    /// Freed subnets; still taken in the pool, by [`NOBODY`].
    pub(crate) resting: Queue<IpNet>,
    pub(crate) exclusions: BTreeMap<OwnerKey, Vec<IpNet>>,
    /// How many exclude each prefix.
    pub(crate) excluded: BTreeMap<IpNet, usize>,
    /// Nodes whose acknowledgement counts, and up to which mark they have given it.
    pub(crate) nodes: BTreeMap<OwnerKey, u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) key: NetworkKey,
    pub(crate) subnets: Vec<Subnet>,
    /// One for each subnet.
    pub(crate) spaces: Vec<Space>,
}

impl Ipam {
    /// No networks.
    pub fn new(config: Config) -> Self {
        Self {
            pool: SubnetPool::new(&config.pools),
            config,
            moment: Moment::default(),
            generation: 0,
            mark: 0,
            names: BTreeMap::new(),
            networks: Vec::new(),
            vacant: Vec::new(),
            leases: Leases::default(),
            resting: Queue::default(),
            exclusions: BTreeMap::new(),
            excluded: BTreeMap::new(),
            nodes: BTreeMap::new(),
        }
    }

    /// Does the command, completely or not at all. `at_ms` is the time by the proposer's clock; if it goes
    /// back, the highest one so far counts.
    ///
    /// # Errors
    ///
    /// If it cannot be done: the error has the reason and, where there is one, the next free choice.
    pub fn apply(&mut self, at_ms: u64, command: &Command) -> Result<Granted, Denied> {
        self.moment.now_ms = self.moment.now_ms.max(at_ms);
        self.thaw_subnets();
        match command {
            Command::CreateNetwork { network, subnets } => {
                let draft = self.plan_create(self.moment, network, subnets)?;
                Ok(self.commit_create(network, draft))
            }
            Command::GrowNetwork { network, subnet } => self.grow(network, subnet),
            Command::DeleteNetwork { network } => self.delete(network),
            Command::Acquire { wants } => self.acquire(wants),
            Command::Delegate { network, to, family, prefix_len } => {
                self.delegate(network, to, *family, *prefix_len)
            }
            Command::Shrink { network, from, generation, keep } => {
                self.shrink(network, from, *generation, *keep)
            }
            Command::Release { network, owner, generation } => {
                self.release(network, owner, *generation);
                Ok(Granted::Done)
            }
            Command::ReleaseOwner { owner } => {
                self.release_owner(owner);
                Ok(Granted::Done)
            }
            Command::Exclude { by, nets } => {
                self.exclude(by, nets);
                Ok(Granted::Done)
            }
            Command::SetPools { pools } => {
                self.config.pools.clone_from(pools);
                self.pool.set_pools(pools);
                Ok(Granted::Done)
            }
            Command::AddPool { .. } | Command::DisablePool { .. } => {
                let pools = self.plan_pools(command)?;
                self.pool.set_pools(&pools);
                self.config.pools = pools;
                Ok(Granted::Done)
            }
            Command::SetNodes { nodes } => {
                let acked = |node: &OwnerKey| self.nodes.get(node).copied().unwrap_or(0);
                self.nodes = nodes.iter().map(|node| (node.clone(), acked(node))).collect();
                self.settle();
                Ok(Granted::Done)
            }
            Command::Ack { node, through } => {
                if let Some(acked) = self.nodes.get_mut(node) {
                    *acked = (*acked).max((*through).min(self.mark));
                    self.settle();
                }
                Ok(Granted::Done)
            }
            Command::Tick => Ok(Granted::Done),
        }
    }

    /// Tells whether [`apply`](Self::apply) would do the command now.
    ///
    /// # Errors
    ///
    /// The same as there.
    pub fn check(&self, at_ms: u64, command: &Command) -> Result<(), Denied> {
        let moment = Moment { now_ms: self.moment.now_ms.max(at_ms), ..self.moment };
        match command {
            Command::CreateNetwork { network, subnets } => {
                self.plan_create(moment, network, subnets).map(|_| ())
            }
            Command::GrowNetwork { network, subnet } => self.plan_grow(moment, network, subnet).map(|_| ()),
            Command::DeleteNetwork { network } => self.find(network).map(|_| ()),
            Command::Acquire { wants } => self.check_acquire(moment, wants),
            Command::Delegate { network, to, family, prefix_len } => {
                self.plan_delegate(moment, network, to, (*family, *prefix_len)).map(|_| ())
            }
            Command::Shrink { network, from, generation, keep } => {
                self.plan_shrink(network, from, *generation, *keep).map(|_| ())
            }
            Command::AddPool { .. } | Command::DisablePool { .. } => self.plan_pools(command).map(|_| ()),
            Command::Release { .. }
            | Command::ReleaseOwner { .. }
            | Command::Exclude { .. }
            | Command::SetPools { .. }
            | Command::SetNodes { .. }
            | Command::Ack { .. }
            | Command::Tick => Ok(()),
        }
    }

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
        let spaces = self.known(network).map_or(&[][..], |(_, network)| &network.spaces);
        spaces.iter().map(|space| space.usage(&self.moment)).collect()
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

    pub(crate) fn known(&self, network: &NetworkKey) -> Option<(u32, &Network)> {
        let id = *self.names.get(network)?;
        Some((id, self.network(id)?))
    }

    pub(crate) fn find(&self, network: &NetworkKey) -> Result<(u32, &Network), Denied> {
        self.known(network).ok_or_else(|| Denied::NoSuchNetwork { network: network.clone() })
    }

    #[inline]
    pub(crate) fn network(&self, id: u32) -> Option<&Network> {
        self.networks.get(usize::try_from(id).ok()?)?.as_ref()
    }

    #[inline]
    pub(crate) fn network_mut(&mut self, id: u32) -> Option<&mut Network> {
        self.networks.get_mut(usize::try_from(id).ok()?)?.as_mut()
    }

    #[inline]
    pub(crate) fn space_mut(&mut self, id: u32, subnet: u16) -> Option<&mut Space> {
        self.network_mut(id)?.spaces.get_mut(usize::from(subnet))
    }

    /// Puts a network into an unused place.
    pub(crate) fn settle_in(&mut self, network: Network) -> u32 {
        let id = self.vacant.pop().unwrap_or_else(|| {
            self.networks.push(None);
            u32::try_from(self.networks.len() - 1).unwrap_or(NOBODY)
        });
        self.names.insert(network.key.clone(), id);
        if let Some(place) = usize::try_from(id).ok().and_then(|id| self.networks.get_mut(id)) {
            *place = Some(network);
        }
        id
    }

    /// The pool as it is at that moment.
    pub(crate) fn pool_at(&self, moment: Moment) -> Cow<'_, SubnetPool> {
        let mut pool = Cow::Borrowed(&self.pool);
        for net in self.resting.due(moment) {
            pool.to_mut().release(net);
        }
        pool
    }

    pub(crate) fn thaw_network(&mut self, id: u32) {
        let moment = self.moment;
        for space in self.network_mut(id).into_iter().flat_map(|network| &mut network.spaces) {
            space.pool.thaw(&moment);
        }
    }

    /// What is freed by the present command rests on these terms.
    pub(crate) fn rest(&self, hold_ms: u64) -> Option<Rest> {
        let ready_ms = self.moment.now_ms.saturating_add(hold_ms);
        (hold_ms > 0).then_some(Rest { ready_ms, mark: self.mark.saturating_add(1) })
    }

    pub(crate) fn rest_in(&self, lane: Lane) -> Option<Rest> {
        self.rest(match lane {
            Lane::Plain => self.config.hold.address_ms,
            Lane::Virtual => self.config.hold.vip_ms,
        })
    }

    /// The command has freed something.
    pub(crate) fn next_mark(&mut self) {
        self.mark = self.mark.saturating_add(1);
    }

    fn thaw_subnets(&mut self) {
        while let Some(net) = self.resting.pop(&self.moment) {
            self.pool.release(net);
        }
    }

    fn settle(&mut self) {
        let all = self.nodes.values().min().copied();
        self.moment.settled = self.moment.settled.max(all.unwrap_or(0));
    }

    fn delete(&mut self, key: &NetworkKey) -> Result<Granted, Denied> {
        let (id, network) = self.find(key)?;
        let numbers: Vec<u32> = network.spaces.iter().flat_map(Space::leases).collect();
        let nets: Vec<IpNet> = network.subnets.iter().map(|subnet| subnet.net).collect();
        for number in numbers {
            self.leases.remove(number);
        }
        self.names.remove(key);
        if let Some(place) = usize::try_from(id).ok().and_then(|id| self.networks.get_mut(id)) {
            *place = None;
        }
        self.vacant.push(id);
        let rest = self.rest(self.config.hold.subnet_ms);
        for net in nets {
            match rest {
                Some(rest) => {
                    self.pool.pass_to(net, NOBODY);
                    self.resting.push(net, rest);
                }
                None => drop(self.pool.release(net)),
            }
        }
        self.next_mark();
        Ok(Granted::Done)
    }

    fn release(&mut self, network: &NetworkKey, owner: &Owner, generation: u64) {
        let Some((id, _)) = self.known(network).filter(|_| !owner.is_fixed()) else { return };
        let Some(packed) = self.leases.pack(owner) else { return };
        let mut released = false;
        loop {
            let next = self.leases.of_grant(id, packed).next().map(|(number, entry)| (number, *entry));
            let Some((number, entry)) = next.filter(|(_, entry)| entry.generation == generation) else {
                break;
            };
            self.free(number, &entry);
            released = true;
        }
        if released {
            self.next_mark();
        }
    }

    fn release_owner(&mut self, owner: &Owner) {
        let Some(packed) = self.leases.pack(owner).filter(|_| !owner.is_fixed()) else { return };
        let mut released = false;
        loop {
            let next = self.leases.of_owner(packed).next().map(|(number, entry)| (number, *entry));
            let Some((number, entry)) = next else { break };
            self.free(number, &entry);
            released = true;
        }
        if released {
            self.next_mark();
        }
    }

    /// Ends a lease; its addresses rest.
    fn free(&mut self, number: u32, entry: &Entry) {
        let lane = entry.lane();
        let rest = self.rest_in(lane);
        if let Some(space) = self.space_mut(entry.network, entry.subnet) {
            space.unassign(entry.span(), entry.is_fixed());
            space.pool.free(entry.span(), lane, rest);
        }
        self.leases.remove(number);
    }
}

impl PartialEq for Ipam {
    /// Whether the snapshots are equal: what is derived, and where it lies in memory, does not count.
    fn eq(&self, other: &Self) -> bool {
        self.snapshot() == other.snapshot()
    }
}

impl Eq for Ipam {}

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

    fn rank(&self, owner: &Owner, addr: IpAddr) -> usize {
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

/// Whose a resting subnet is.
pub(crate) const NOBODY: u32 = u32::MAX;
