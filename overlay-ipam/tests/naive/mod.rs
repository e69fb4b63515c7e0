//! The obvious allocator: lists, scans, no index.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use overlay_ipam::{
    Command, Config, Denied, Granted, Ipam, Lease, NetworkKey, Owner, OwnerKey, Subnet, SubnetRequest, Want,
};

#[derive(Clone)]
pub(crate) struct Model {
    config: Config,
    now: u64,
    generation: u64,
    networks: BTreeMap<NetworkKey, Network>,
    resting: Vec<(IpNet, u64)>,
    exclusions: BTreeMap<OwnerKey, Vec<IpNet>>,
}

#[derive(Clone, Default)]
struct Network {
    subnets: Vec<Space>,
    leases: BTreeMap<Owner, (u64, Vec<IpAddr>)>,
}

#[derive(Clone)]
struct Space {
    subnet: Subnet,
    cursor: u128,
    /// Address, and when it is ready.
    resting: Vec<(IpAddr, u64)>,
}

type Answer = Result<Granted, &'static str>;

impl Model {
    pub(crate) fn new(config: Config) -> Self {
        let (networks, resting, exclusions) = Default::default();
        Self { config, now: 0, generation: 0, networks, resting, exclusions }
    }

    pub(crate) fn apply(&mut self, now: u64, command: &Command) -> Answer {
        self.now = self.now.max(now);
        let now = self.now;
        self.resting.retain(|(_, ready)| *ready > now);
        for space in self.networks.values_mut().flat_map(|network| &mut network.subnets) {
            space.resting.retain(|(_, ready)| *ready > now);
        }
        match command {
            Command::CreateNetwork { network, subnets } => self.create(network, subnets),
            Command::DeleteNetwork { network } => {
                let gone = self.networks.remove(network).ok_or("NoSuchNetwork")?;
                if self.config.hold.subnet_ms > 0 {
                    let ready = now + self.config.hold.subnet_ms;
                    self.resting.extend(gone.subnets.iter().map(|space| (space.subnet.net, ready)));
                }
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
            Command::Release { network, owner, generation } => {
                if self.generation(network, owner) == Some(*generation) {
                    self.release(network, owner);
                }
                Ok(Granted::Done)
            }
            Command::ReleaseOwner { owner } => {
                for network in self.networks.keys().cloned().collect::<Vec<_>>() {
                    self.release(&network, owner);
                }
                Ok(Granted::Done)
            }
            Command::Exclude { by, nets } => {
                let nets = nets.iter().map(IpNet::trunc).filter(|net| net.prefix_len() > 0).collect();
                self.exclusions.insert(by.clone(), nets);
                Ok(Granted::Done)
            }
            Command::SetPools { pools } => {
                self.config.pools.clone_from(pools);
                Ok(Granted::Done)
            }
        }
    }

    pub(crate) fn generation(&self, network: &NetworkKey, owner: &Owner) -> Option<u64> {
        self.networks.get(network)?.leases.get(owner).map(|(generation, _)| *generation)
    }

    /// One of the first addresses of one of the subnets, or one just outside.
    pub(crate) fn some_addr(&self, network: &NetworkKey, c: u16) -> Option<IpAddr> {
        let subnets = &self.networks.get(network)?.subnets;
        let net = subnets[usize::from(c) % subnets.len()].subnet.net;
        let first = bits(net.network());
        let at = first + u128::from(c >> 8) % (bits(net.broadcast()) - first + 2);
        Some(addr(net, at))
    }

    pub(crate) fn assert_usage(&self, ipam: &Ipam) {
        for (key, network) in &self.networks {
            for (space, usage) in network.subnets.iter().zip(ipam.usage(key)) {
                let net = space.subnet.net;
                let within = |owner: &&Owner| network.leases[*owner].1.iter().any(|addr| net.contains(addr));
                let (fixed, leased): (Vec<&Owner>, Vec<&Owner>) =
                    network.leases.keys().filter(within).partition(|owner| owner.is_fixed());
                let edges =
                    [net.network(), net.broadcast()].into_iter().filter(|addr| is_edge(net, *addr)).count();
                assert_eq!(usage.capacity, bits(net.broadcast()) - bits(net.network()) + 1);
                assert_eq!(usage.in_use, leased.len() as u128);
                assert_eq!(usage.held, space.resting.len() as u128);
                assert_eq!(usage.reserved, (fixed.len() + edges) as u128);
                assert_eq!(usage.free + usage.in_use + usage.held + usage.reserved, usage.capacity);
                assert!(usage.available <= usage.free);
            }
        }
    }

    fn create(&mut self, key: &NetworkKey, requests: &[SubnetRequest]) -> Answer {
        if self.networks.contains_key(key) {
            return Err("NetworkExists");
        }
        let default = [SubnetRequest::default()];
        let requests = if requests.is_empty() { &default } else { requests };
        let mut network = Network::default();
        for request in requests {
            let net = self.choose(&network, request)?;
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
                network.fix(Owner::Gateway, gateway, "GatewayOutside")?;
            }
            for (name, addr) in &request.aux {
                network.fix(Owner::Aux(OwnerKey::new(name.as_str())), *addr, "AuxOutside")?;
            }
            if request.gateway.is_none() {
                let index = network.subnets.len() - 1;
                let gateway = network.pick(index).ok_or("AddressesExhausted")?;
                network.subnets[index].subnet.gateway = gateway;
                network.fix(Owner::Gateway, gateway, "")?;
            }
        }
        self.generation += 1;
        network.leases.values_mut().for_each(|(generation, _)| *generation = self.generation);
        let subnets: Vec<Subnet> = network.subnets.iter().map(|space| space.subnet.clone()).collect();
        self.resting.retain(|(net, _)| !subnets.iter().any(|subnet| overlap(subnet.net, *net)));
        self.networks.insert(key.clone(), network);
        Ok(Granted::Network(subnets))
    }

    fn choose(&self, draft: &Network, request: &SubnetRequest) -> Result<IpNet, &'static str> {
        let live = || {
            self.networks
                .values()
                .chain([draft])
                .flat_map(|network| &network.subnets)
                .map(|space| space.subnet.net)
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
            if want.owner.is_fixed() {
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
                    addrs.push(addr);
                    continue;
                }
                let of_family =
                    (0..network.subnets.len()).filter(|index| network.subnets[*index].is_v4() == v4);
                let picked = of_family.collect::<Vec<_>>().into_iter().find_map(|index| network.pick(index));
                addrs.push(picked.ok_or("AddressesExhausted")?);
            }
            self.generation += 1;
            network.leases.insert(want.owner.clone(), (self.generation, addrs));
        }
        let (generation, addrs) = &network.leases[&want.owner];
        let lease = |addr: &IpAddr| Lease {
            network: want.network.clone(),
            owner: want.owner.clone(),
            addr: *addr,
            prefix_len: network.space_of(*addr).unwrap().subnet.net.prefix_len(),
            generation: *generation,
        };
        Ok(addrs.iter().map(lease).collect())
    }

    fn release(&mut self, key: &NetworkKey, owner: &Owner) {
        let network = self.networks.get_mut(key).unwrap();
        if owner.is_fixed() {
            return;
        }
        let hold = self.config.hold;
        let hold_ms = if matches!(owner, Owner::Vip(_)) { hold.vip_ms } else { hold.address_ms };
        for addr in network.leases.remove(owner).map(|(_, addrs)| addrs).unwrap_or_default() {
            let space = network.subnets.iter_mut().find(|space| space.subnet.net.contains(&addr)).unwrap();
            if hold_ms > 0 {
                space.resting.push((addr, self.now + hold_ms));
            }
        }
    }
}

impl Network {
    fn space_of(&self, addr: IpAddr) -> Option<&Space> {
        self.subnets.iter().find(|space| space.subnet.net.contains(&addr))
    }

    fn obstacle(&self, addr: IpAddr, outside: &'static str) -> Result<(), &'static str> {
        let space = self.space_of(addr).ok_or(outside)?;
        if is_edge(space.subnet.net, addr) {
            Err("Reserved")
        } else if self.leases.values().any(|(_, addrs)| addrs.contains(&addr)) {
            Err("InUse")
        } else if space.resting.iter().any(|(resting, _)| *resting == addr) {
            Err("Held")
        } else {
            Ok(())
        }
    }

    fn pick(&mut self, index: usize) -> Option<IpAddr> {
        let net = self.subnets[index].subnet.net;
        let range = self.subnets[index].subnet.range.unwrap_or(net);
        let (low, high) = (bits(range.network()), bits(range.broadcast()));
        let cursor = self.subnets[index].cursor;
        let mut order = (cursor..=high).chain(low..cursor).map(|at| addr(net, at));
        let found = order.find(|addr| self.obstacle(*addr, "").is_ok())?;
        self.subnets[index].cursor = if bits(found) == high { low } else { bits(found) + 1 };
        Some(found)
    }

    /// Only the subnet that was added last counts.
    fn fix(&mut self, owner: Owner, addr: IpAddr, outside: &'static str) -> Result<(), &'static str> {
        if !self.subnets.last().unwrap().subnet.net.contains(&addr) {
            return Err(outside);
        }
        self.obstacle(addr, outside)?;
        self.leases.entry(owner).or_default().1.push(addr);
        Ok(())
    }
}

impl Space {
    fn is_v4(&self) -> bool {
        self.subnet.net.addr().is_ipv4()
    }
}

pub(crate) fn kind(denied: &Denied) -> &'static str {
    match denied {
        Denied::Overlap { .. } => "Overlap",
        Denied::Excluded { .. } => "Excluded",
        Denied::PoolsExhausted { .. } => "PoolsExhausted",
        Denied::AddressesExhausted { .. } => "AddressesExhausted",
        Denied::InUse { .. } => "InUse",
        Denied::Held { .. } => "Held",
        Denied::Reserved { .. } => "Reserved",
        Denied::OutsideSubnet { .. } => "OutsideSubnet",
        Denied::GatewayOutside { .. } => "GatewayOutside",
        Denied::AuxOutside { .. } => "AuxOutside",
        Denied::RangeOutside { .. } => "RangeOutside",
        Denied::NoSuchNetwork { .. } => "NoSuchNetwork",
        Denied::NetworkExists { .. } => "NetworkExists",
        Denied::Fixed { .. } => "Fixed",
        _ => "unknown",
    }
}

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
