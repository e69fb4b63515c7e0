//! The obvious allocator: lists, scans, no index.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use overlay_ipam::{
    Command, Config, Denied, Family, Granted, Ipam, Lease, NetworkKey, Owner, OwnerKey, PoolSpec, Subnet,
    SubnetRequest, Want,
};

mod grow;
mod network;
mod usage;

#[derive(Clone)]
pub(crate) struct Model {
    config: Config,
    now: u64,
    generation: u64,
    mark: u64,
    settled: u64,
    networks: BTreeMap<NetworkKey, Network>,
    resting: Vec<(IpNet, Rest)>,
    exclusions: BTreeMap<OwnerKey, Vec<IpNet>>,
    nodes: BTreeMap<OwnerKey, u64>,
}

#[derive(Clone, Default)]
struct Network {
    subnets: Vec<Space>,
    /// Generation and addresses, first and last of each.
    leases: BTreeMap<Owner, (u64, Vec<Span>)>,
}

#[derive(Clone)]
struct Space {
    subnet: Subnet,
    cursor: u128,
    resting: Vec<(Span, Rest)>,
}

/// First and last.
type Span = (IpAddr, IpAddr);
/// Ready at that time, or when that mark is settled.
type Rest = (u64, u64);
type Answer = Result<Granted, &'static str>;

impl Model {
    pub(crate) fn new(config: Config) -> Self {
        let (networks, resting, exclusions, nodes) = Default::default();
        Self { config, now: 0, generation: 0, mark: 0, settled: 0, networks, resting, exclusions, nodes }
    }

    pub(crate) fn apply(&mut self, now: u64, command: &Command) -> Answer {
        self.now = self.now.max(now);
        let (now, settled) = (self.now, self.settled);
        let rests = |(ready, mark): Rest| ready > now && mark > settled;
        self.resting.retain(|(_, rest)| rests(*rest));
        for space in self.networks.values_mut().flat_map(|network| &mut network.subnets) {
            space.resting.retain(|(_, rest)| rests(*rest));
        }
        match command {
            Command::CreateNetwork { network, subnets } => {
                if self.networks.contains_key(network) {
                    return Err("NetworkExists");
                }
                let default = [SubnetRequest::default()];
                let requests = if subnets.is_empty() { &default } else { subnets.as_slice() };
                self.add_subnets(network, Network::default(), requests)
            }
            Command::GrowNetwork { network, subnet } => self.grow(network, subnet),
            Command::DeleteNetwork { network } => {
                let gone = self.networks.remove(network).ok_or("NoSuchNetwork")?;
                let rest = (now + self.config.hold.subnet_ms, self.mark + 1);
                if self.config.hold.subnet_ms > 0 {
                    self.resting.extend(gone.subnets.iter().map(|space| (space.subnet.net, rest)));
                }
                self.mark += 1;
                Ok(Granted::Done)
            }
            Command::Acquire { wants } => {
                let mut next = self.clone();
                let mut leases = Vec::new();
                for want in wants {
                    leases.extend(next.acquire(want)?);
                }
                *self = next;
                Ok(Granted::Leases(leases))
            }
            Command::Delegate { network, to, family, prefix_len } => {
                self.delegate(network, to, *family, *prefix_len)
            }
            Command::Shrink { network, from, generation, keep } => {
                self.shrink(network, from, *generation, *keep)
            }
            Command::Release { network, owner, generation } => {
                if self.generation(network, owner) == Some(*generation) && self.release(network, owner) {
                    self.mark += 1;
                }
                Ok(Granted::Done)
            }
            Command::ReleaseOwner { owner } => {
                let keys: Vec<NetworkKey> = self.networks.keys().cloned().collect();
                if keys.iter().filter(|network| self.release(network, owner)).count() > 0 {
                    self.mark += 1;
                }
                Ok(Granted::Done)
            }
            _ => self.set(command),
        }
    }

    /// What is no grant.
    fn set(&mut self, command: &Command) -> Answer {
        match command {
            Command::Exclude { by, nets } => {
                let nets = nets.iter().map(IpNet::trunc).filter(|net| net.prefix_len() > 0).collect();
                self.exclusions.insert(by.clone(), nets);
                Ok(Granted::Done)
            }
            Command::SetPools { pools } => {
                self.config.pools.clone_from(pools);
                Ok(Granted::Done)
            }
            Command::AddPool { pool } => {
                let pool = PoolSpec { base: pool.base.trunc(), ..*pool };
                let pools = &mut self.config.pools;
                if !pools.contains(&pool) {
                    if pools.iter().any(|other| overlap(other.base, pool.base)) {
                        return Err("PoolOverlap");
                    }
                    pools.push(pool);
                }
                Ok(Granted::Done)
            }
            Command::DisablePool { base } => {
                self.config.pools.retain(|pool| pool.base != *base);
                Ok(Granted::Done)
            }
            Command::SetNodes { nodes } => {
                let old = std::mem::take(&mut self.nodes);
                self.nodes =
                    nodes.iter().map(|node| (node.clone(), old.get(node).copied().unwrap_or(0))).collect();
                self.settle();
                Ok(Granted::Done)
            }
            Command::Ack { node, through } => {
                let mark = self.mark;
                self.nodes.entry(node.clone()).and_modify(|acked| *acked = (*acked).max(mark.min(*through)));
                if !self.nodes.contains_key(node) {
                    return Ok(Granted::Done);
                }
                self.settle();
                Ok(Granted::Done)
            }
            _ => Ok(Granted::Done),
        }
    }

    pub(crate) fn generation(&self, network: &NetworkKey, owner: &Owner) -> Option<u64> {
        self.networks.get(network)?.leases.get(owner).map(|(generation, _)| *generation)
    }

    pub(crate) fn mark(&self) -> u64 {
        self.mark
    }

    /// One of the first addresses of one of the subnets, or one just outside.
    pub(crate) fn some_addr(&self, network: &NetworkKey, c: u16) -> Option<IpAddr> {
        let subnets = &self.networks.get(network)?.subnets;
        let net = subnets[usize::from(c) % subnets.len()].subnet.net;
        let first = bits(net.network());
        let at = first + u128::from(c >> 8) % (bits(net.broadcast()) - first + 2);
        Some(addr(net, at))
    }

    /// The block of a node, or a subnet.
    pub(crate) fn some_net(&self, network: &NetworkKey, owner: &Owner, c: u16) -> Option<IpNet> {
        let known = self.networks.get(network)?;
        let span = known.leases.get(owner).map(|(_, spans)| spans[usize::from(c) % spans.len()]);
        Some(span.map_or_else(|| known.subnets[usize::from(c) % known.subnets.len()].subnet.net, block_of))
    }

    fn settle(&mut self) {
        self.settled = self.settled.max(self.nodes.values().min().copied().unwrap_or(0));
    }

    fn add_subnets(&mut self, key: &NetworkKey, mut network: Network, requests: &[SubnetRequest]) -> Answer {
        let (before, generation) = (network.subnets.len(), self.generation + 1);
        for request in requests {
            let net = self.choose(&network.subnets[before..], request)?;
            let range = request.range.map(|range| range.trunc());
            if range.is_some_and(|range| !net.contains(&range)) {
                return Err("RangeOutside");
            }
            let cursor = bits(range.unwrap_or(net).network());
            let gateway = request.gateway.unwrap_or(net.network());
            let normalised_from =
                request.subnet.filter(|given| !given.network().is_unspecified() && *given != net);
            let subnet = Subnet { net, gateway, normalised_from, range };
            network.subnets.push(Space { subnet, cursor, resting: Vec::new() });
            if let Some(gateway) = request.gateway {
                network.fix(Owner::Gateway, gateway, (generation, "GatewayOutside"))?;
            }
            for (name, addr) in &request.aux {
                network.fix(Owner::Aux(OwnerKey::new(name.as_str())), *addr, (generation, "AuxOutside"))?;
            }
            if request.gateway.is_none() {
                let index = network.subnets.len() - 1;
                let gateway = network.pick(index).ok_or("AddressesExhausted")?;
                network.subnets[index].subnet.gateway = gateway;
                network.fix(Owner::Gateway, gateway, (generation, ""))?;
            }
        }
        self.generation += 1;
        let subnets: Vec<Subnet> = network.subnets.iter().map(|space| space.subnet.clone()).collect();
        self.resting.retain(|(net, _)| !subnets[before..].iter().any(|subnet| overlap(subnet.net, *net)));
        self.networks.insert(key.clone(), network);
        Ok(Granted::Network(subnets))
    }

    fn choose(&self, draft: &[Space], request: &SubnetRequest) -> Result<IpNet, &'static str> {
        let live = || {
            let known = self.networks.values().flat_map(|network| &network.subnets);
            known.chain(draft).map(|space| space.subnet.net)
        };
        let excluded = |net| self.exclusions.values().flatten().any(|route| overlap(*route, net));
        if let Some(given) = request.subnet.filter(|given| !given.network().is_unspecified()) {
            let net = given.trunc();
            return if live().any(|taken| overlap(taken, net)) {
                Err("Overlap")
            } else if excluded(net) {
                Err("Excluded")
            } else {
                Ok(net)
            };
        }
        let mut pools = self.config.pools.clone();
        pools.sort_by_key(|pool| pool.base);
        let free = |net| {
            let resting = self.resting.iter().any(|(resting, _)| overlap(*resting, net));
            !resting && !excluded(net) && !live().any(|taken| overlap(taken, net))
        };
        for (index, pool) in pools.iter().enumerate() {
            let covered = pools[..index].iter().any(|before| before.base.contains(&pool.base));
            let other = request.subnet.is_some_and(|any| any.addr().is_ipv4() != pool.base.addr().is_ipv4());
            let len = request.subnet.map(|any| any.prefix_len()).filter(|len| *len > 0).unwrap_or(pool.piece);
            if covered || other || len < pool.base.prefix_len() {
                continue;
            }
            if let Some(net) = pool.base.subnets(len).unwrap().find(|net| free(*net)) {
                return Ok(net);
            }
        }
        Err("PoolsExhausted")
    }

    fn acquire(&mut self, want: &Want) -> Result<Vec<Lease>, &'static str> {
        let network = self.networks.get_mut(&want.network).ok_or("NoSuchNetwork")?;
        if !network.leases.contains_key(&want.owner) {
            if want.owner.is_fixed() || matches!(want.owner, Owner::Delegation(_)) {
                return Err("Fixed");
            }
            let preferred =
                want.prefer.map(|addr| network.obstacle(addr, "OutsideSubnet").map(|()| addr)).transpose()?;
            let mut addrs = Vec::new();
            let mut families: Vec<bool> = network.subnets.iter().map(|space| space.is_v4()).collect();
            families.sort_by_key(|v4| *v4 != families_first(network));
            families.dedup();
            for v4 in families {
                if let Some(addr) = preferred.filter(|addr| addr.is_ipv4() == v4) {
                    addrs.push((addr, addr));
                    continue;
                }
                let of_family =
                    (0..network.subnets.len()).filter(|index| network.subnets[*index].is_v4() == v4);
                let picked = of_family.collect::<Vec<_>>().into_iter().find_map(|index| network.pick(index));
                let picked = picked.ok_or("AddressesExhausted")?;
                addrs.push((picked, picked));
            }
            self.generation += 1;
            network.leases.insert(want.owner.clone(), (self.generation, addrs));
        }
        Ok(network.leases_of(&want.network, &want.owner))
    }

    /// Whether there was anything.
    fn release(&mut self, key: &NetworkKey, owner: &Owner) -> bool {
        let network = self.networks.get_mut(key).unwrap();
        if owner.is_fixed() {
            return false;
        }
        let Some((_, spans)) = network.leases.remove(owner) else { return false };
        let hold = self.config.hold;
        let hold_ms = if matches!(owner, Owner::Vip(_)) { hold.vip_ms } else { hold.address_ms };
        for span in spans {
            network.rest(span, hold_ms, (self.now + hold_ms, self.mark + 1));
        }
        true
    }
}

pub(crate) fn kind(denied: &Denied) -> &'static str {
    let text = format!("{denied:?}");
    let name = text.split(' ').next().unwrap().to_owned();
    KINDS.into_iter().find(|kind| *kind == name).unwrap_or("unknown")
}

/// All refusals but the one that takes 65,536 subnets.
pub(crate) const KINDS: [&str; 19] = [
    "AddressesExhausted",
    "AuxOutside",
    "BlockLength",
    "Excluded",
    "Fixed",
    "GatewayOutside",
    "GatewayStays",
    "Held",
    "InUse",
    "NetworkExists",
    "NoBlock",
    "NoSuchNetwork",
    "OutsideBlock",
    "OutsideSubnet",
    "Overlap",
    "PoolOverlap",
    "PoolsExhausted",
    "RangeOutside",
    "Reserved",
];

fn families_first(network: &Network) -> bool {
    network.subnets[0].is_v4()
}

fn is_edge(net: IpNet, addr: IpAddr) -> bool {
    let tiny = net.prefix_len() + 1 >= net.max_prefix_len();
    !tiny && (addr == net.network() || addr == net.broadcast() && addr.is_ipv4())
}

fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// How many addresses both have.
fn common(a: Span, b: Span) -> u128 {
    if a.0.is_ipv4() != b.0.is_ipv4() {
        return 0;
    }
    (bits(a.1).min(bits(b.1)) + 1).saturating_sub(bits(a.0).max(bits(b.0)))
}

fn block_of((first, last): Span) -> IpNet {
    let max = if first.is_ipv4() { 32 } else { 128 };
    IpNet::new(first, max - (bits(last) - bits(first) + 1).trailing_zeros() as u8).unwrap()
}

pub(crate) fn bits(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

pub(crate) fn addr(net: IpNet, bits: u128) -> IpAddr {
    match net {
        IpNet::V4(_) => std::net::Ipv4Addr::from_bits(bits as u32).into(),
        IpNet::V6(_) => std::net::Ipv6Addr::from_bits(bits).into(),
    }
}
