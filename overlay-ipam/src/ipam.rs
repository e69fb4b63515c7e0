//! The state machine: what is held, and how commands change it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
};

use ipnet::IpNet;

use crate::{
    Command, Config, Denied, Granted, Lease, NetworkKey, Owner, OwnerKey, Subnet, SubnetPool, Usage,
    space::Space,
};

/// All networks of a cluster, their subnets and who holds which address.
///
/// It is a fold: [`apply`](Self::apply) reads no clock and no chance, so replicas that apply the same commands
/// are equal, and so is one that was restored from a snapshot (through serde) on the way. Cursor, quarantine and
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
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ipam {
    pub(crate) config: Config,
    /// The highest time of all commands.
    pub(crate) now_ms: u64,
    /// That of the last lease.
    pub(crate) generation: u64,
    pub(crate) networks: BTreeMap<NetworkKey, Network>,
    /// Where an owner has leases; without fixed owners.
    pub(crate) owners: BTreeMap<Owner, BTreeSet<NetworkKey>>,
    pub(crate) pool: SubnetPool,
    /// Freed subnets, in the order of their release; still taken in the pool.
    pub(crate) resting: VecDeque<(IpNet, u64)>,
    pub(crate) exclusions: BTreeMap<OwnerKey, Vec<IpNet>>,
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Network {
    pub(crate) subnets: Vec<Subnet>,
    /// One for each subnet.
    pub(crate) spaces: Vec<Space>,
    pub(crate) grants: BTreeMap<Owner, Grant>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Grant {
    pub(crate) generation: u64,
    pub(crate) addrs: Vec<IpAddr>,
}

impl Ipam {
    /// No networks.
    pub fn new(config: Config) -> Self {
        Self {
            pool: SubnetPool::new(&config.pools),
            config,
            now_ms: 0,
            generation: 0,
            networks: BTreeMap::new(),
            owners: BTreeMap::new(),
            resting: VecDeque::new(),
            exclusions: BTreeMap::new(),
        }
    }

    /// Does the command, completely or not at all. `at_ms` is the time by the proposer's clock; if it goes
    /// back, the highest one so far counts.
    ///
    /// # Errors
    ///
    /// If it cannot be done: the error has the reason and, where there is one, the next free choice.
    pub fn apply(&mut self, at_ms: u64, command: &Command) -> Result<Granted, Denied> {
        self.now_ms = self.now_ms.max(at_ms);
        self.thaw_subnets();
        match command {
            Command::CreateNetwork { network, subnets } => {
                let draft = self.plan_create(self.now_ms, network, subnets)?;
                Ok(self.commit_create(network, draft))
            }
            Command::DeleteNetwork { network } => self.delete(network),
            Command::Acquire { wants } => {
                for want in wants {
                    self.thaw_network(&want.network);
                }
                let steps = self.plan_acquire(self.now_ms, wants)?;
                Ok(self.commit_acquire(steps))
            }
            Command::Release { network, owner, generation } => {
                let held = self.networks.get(network).and_then(|network| network.grants.get(owner));
                if held.is_some_and(|grant| grant.generation == *generation) {
                    self.release(network, owner);
                }
                Ok(Granted::Done)
            }
            Command::ReleaseOwner { owner } => {
                for network in self.owners.get(owner).cloned().unwrap_or_default() {
                    self.release(&network, owner);
                }
                Ok(Granted::Done)
            }
            Command::Exclude { by, nets } => {
                let nets: BTreeSet<IpNet> =
                    nets.iter().map(IpNet::trunc).filter(|net| net.prefix_len() > 0).collect();
                match nets.is_empty() {
                    true => self.exclusions.remove(by),
                    false => self.exclusions.insert(by.clone(), nets.into_iter().collect()),
                };
                Ok(Granted::Done)
            }
            Command::SetPools { pools } => {
                self.config.pools.clone_from(pools);
                self.rebuild_pool();
                Ok(Granted::Done)
            }
        }
    }

    /// Tells whether [`apply`](Self::apply) would do the command now.
    ///
    /// # Errors
    ///
    /// The same as there.
    pub fn check(&self, at_ms: u64, command: &Command) -> Result<(), Denied> {
        let now_ms = self.now_ms.max(at_ms);
        match command {
            Command::CreateNetwork { network, subnets } => {
                self.plan_create(now_ms, network, subnets).map(|_| ())
            }
            Command::DeleteNetwork { network } => self.find(network).map(|_| ()),
            Command::Acquire { wants } => self.plan_acquire(now_ms, wants).map(|_| ()),
            Command::Release { .. }
            | Command::ReleaseOwner { .. }
            | Command::Exclude { .. }
            | Command::SetPools { .. } => Ok(()),
        }
    }

    /// The networks, by key.
    pub fn networks(&self) -> impl Iterator<Item = &NetworkKey> {
        self.networks.keys()
    }

    /// The subnets of a network, in the order of the requests; none if there is no such network.
    pub fn subnets(&self, network: &NetworkKey) -> &[Subnet] {
        self.networks.get(network).map_or(&[], |network| &network.subnets)
    }

    /// The lease of an owner in a network; the first one if it has both families.
    pub fn lease(&self, network: &NetworkKey, owner: &Owner) -> Option<Lease> {
        self.leases(network, owner).into_iter().next()
    }

    /// The leases of an owner in a network: one for each family; for gateways and auxiliary addresses one for
    /// each subnet.
    pub fn leases(&self, network: &NetworkKey, owner: &Owner) -> Vec<Lease> {
        let grant = self.networks.get(network).and_then(|found| Some((found, found.grants.get(owner)?)));
        grant.map(|(found, grant)| found.leases(network, owner, grant)).unwrap_or_default()
    }

    /// All leases of a network, by owner.
    pub fn all_leases(&self, network: &NetworkKey) -> impl Iterator<Item = Lease> {
        let found = self.networks.get_key_value(network).into_iter();
        found.flat_map(|(key, network)| {
            network.grants.iter().flat_map(|(owner, grant)| network.leases(key, owner, grant))
        })
    }

    /// Who holds an address of a network.
    pub fn holder(&self, network: &NetworkKey, addr: IpAddr) -> Option<&Owner> {
        let spaces = &self.networks.get(network)?.spaces;
        spaces.iter().find_map(|space| space.holders.get(&space.offset(addr)?))
    }

    /// Who has leases anywhere, without gateways and auxiliary addresses: what to compare with what exists.
    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.owners.keys()
    }

    /// How full each subnet of a network is, as of the last command.
    pub fn usage(&self, network: &NetworkKey) -> Vec<Usage> {
        let spaces = self.networks.get(network).map_or(&[][..], |network| &network.spaces);
        spaces.iter().map(|space| space.usage(self.now_ms, &self.config.hold)).collect()
    }

    /// Pools and quarantine as they are now.
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn find(&self, network: &NetworkKey) -> Result<&Network, Denied> {
        self.networks.get(network).ok_or_else(|| Denied::NoSuchNetwork { network: network.clone() })
    }

    /// The pool as it is at that time.
    pub(crate) fn pool_at(&self, now_ms: u64) -> Cow<'_, SubnetPool> {
        let due: Vec<IpNet> =
            self.resting_until().take_while(|(_, ready)| *ready <= now_ms).map(|it| it.0).collect();
        let mut pool = Cow::Borrowed(&self.pool);
        for net in due {
            pool.to_mut().release(net);
        }
        pool
    }

    /// Freed subnets with the time when their hold is over.
    pub(crate) fn resting_until(&self) -> impl Iterator<Item = (IpNet, u64)> {
        let hold_ms = self.config.hold.subnet_ms;
        self.resting.iter().map(move |(net, at_ms)| (*net, at_ms.saturating_add(hold_ms)))
    }

    fn thaw_subnets(&mut self) {
        let (now_ms, hold_ms) = (self.now_ms, self.config.hold.subnet_ms);
        while let Some((net, at_ms)) = self.resting.front().copied() {
            if at_ms.saturating_add(hold_ms) > now_ms {
                break;
            }
            self.pool.release(net);
            self.resting.pop_front();
        }
    }

    fn thaw_network(&mut self, network: &NetworkKey) {
        let spaces = self.networks.get_mut(network).map(|network| &mut network.spaces);
        for space in spaces.into_iter().flatten() {
            space.thaw(self.now_ms, &self.config.hold);
        }
    }

    fn delete(&mut self, key: &NetworkKey) -> Result<Granted, Denied> {
        self.find(key)?;
        let network = self.networks.remove(key).unwrap_or_default();
        for owner in network.grants.keys() {
            self.forget(owner, key);
        }
        for subnet in network.subnets {
            self.resting.push_back((subnet.net, self.now_ms));
        }
        self.thaw_subnets();
        Ok(Granted::Done)
    }

    fn release(&mut self, key: &NetworkKey, owner: &Owner) {
        if owner.is_fixed() {
            return;
        }
        let (now_ms, hold) = (self.now_ms, self.config.hold);
        let Some(network) = self.networks.get_mut(key) else { return };
        let addrs = network.grants.remove(owner).map(|grant| grant.addrs).unwrap_or_default();
        for space in &mut network.spaces {
            for offset in addrs.iter().filter_map(|addr| space.offset(*addr)).collect::<Vec<_>>() {
                space.free(offset, now_ms, &hold);
            }
        }
        self.forget(owner, key);
    }

    fn forget(&mut self, owner: &Owner, network: &NetworkKey) {
        if let Some(networks) = self.owners.get_mut(owner) {
            networks.remove(network);
            if networks.is_empty() {
                self.owners.remove(owner);
            }
        }
    }

    fn rebuild_pool(&mut self) {
        self.pool = SubnetPool::new(&self.config.pools);
        let live = self.networks.values().flat_map(|network| &network.subnets).map(|subnet| subnet.net);
        for net in live.chain(self.resting.iter().map(|(net, _)| *net)) {
            self.pool.claim(net);
        }
    }
}

impl Network {
    pub(crate) fn leases(&self, network: &NetworkKey, owner: &Owner, grant: &Grant) -> Vec<Lease> {
        let lease = |addr: &IpAddr| {
            let subnet = self.subnets.iter().find(|subnet| subnet.net.contains(addr));
            Lease {
                network: network.clone(),
                owner: owner.clone(),
                addr: *addr,
                prefix_len: subnet.map_or(0, |subnet| subnet.net.prefix_len()),
                generation: grant.generation,
            }
        };
        grant.addrs.iter().map(lease).collect()
    }
}
