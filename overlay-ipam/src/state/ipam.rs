//! The state machine: what is held, and how commands change it.

use std::{borrow::Cow, collections::BTreeMap};

use ipnet::IpNet;

use crate::{
    Command, Config, Denied, Granted, Lane, Moment, NetworkKey, OwnerKey, Rest, SubnetPool,
    pool::clock::Queue,
    state::{acks::Acks, leases::Leases, network::Network, space::Space},
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
    pub(crate) acks: Acks,
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
            acks: Acks::default(),
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
                self.acks.replace(nodes);
                self.settle();
                Ok(Granted::Done)
            }
            Command::Ack { node, through } => {
                self.acks.raise(node, (*through).min(self.mark));
                self.settle();
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
        self.moment.settled = self.moment.settled.max(self.acks.lowest().unwrap_or(0));
    }
}

impl PartialEq for Ipam {
    /// Whether the snapshots are equal: what is derived, and where it lies in memory, does not count.
    fn eq(&self, other: &Self) -> bool {
        self.snapshot() == other.snapshot()
    }
}

impl Eq for Ipam {}

/// Whose a resting subnet is.
pub(crate) const NOBODY: u32 = u32::MAX;
