//! Swarm's allocator, as far as its rules were to blame: a new copy of the rules, not of the code.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

use crate::Cluster;

/// The rule of the time; the others are always in force.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Rule {
    Default,
    /// Pools of both families are looked up among those of IPv4.
    OneSpace,
    /// IPv6 addresses come from each node's own allocator.
    NodesNumberIpv6,
    /// A new leader allocates for every object again.
    NewLeaderStartsAnew,
    /// A new leader goes through the objects once: it claims what they have and allocates what they lack.
    NewLeaderReadsOnce,
}

pub(crate) struct Swarm {
    rule: Rule,
    networks: BTreeMap<String, Network>,
    tasks: BTreeMap<String, Vec<(String, IpAddr)>>,
    /// Where failures go.
    journal: Vec<String>,
}

#[derive(Default)]
struct Network {
    subnets: Vec<IpNet>,
    used: BTreeSet<IpAddr>,
    /// Next-fit; not in the store, so it starts at the first address on a new leader.
    cursors: BTreeMap<IpNet, u128>,
}

impl Swarm {
    pub(crate) fn new(rule: Rule) -> Self {
        Self { rule, networks: BTreeMap::new(), tasks: BTreeMap::new(), journal: Vec::new() }
    }

    /// The lowest gap, whoever had it a moment ago.
    fn lowest(&self) -> Option<IpNet> {
        let taken = |net: &IpNet| {
            self.networks.values().flat_map(|known| &known.subnets).any(|own| overlap(own, net))
        };
        "10.0.0.0/20".parse::<IpNet>().unwrap().subnets(24).unwrap().find(|net| !taken(net))
    }

    /// Runs after the answer was given.
    fn allocate_network(&mut self, name: &str, subnets: &[&str], range: &str) -> Result<(), String> {
        let mut nets: Vec<IpNet> = subnets.iter().map(|net| net.parse().unwrap()).collect();
        if nets.is_empty() {
            nets.extend(self.lowest());
        }
        let mut others = self.networks.values().flat_map(|known| &known.subnets);
        // the parent of a range is not looked at
        if range.is_empty() && others.any(|own| nets.iter().any(|net| overlap(own, net))) {
            return Err("Pool overlaps with other one on this address space".to_owned());
        }
        if nets.is_empty() {
            return Err("all predefined address pools have been fully subnetted".to_owned());
        }
        let known = self.networks.entry(name.to_owned()).or_default();
        for net in nets {
            known.subnets.push(net);
            known.request(net); // the gateway
        }
        Ok(())
    }

    /// Returns after the first success, so there is one address for each network.
    fn allocate_task(&mut self, task: &str, network: &str) -> Result<(), String> {
        let (rule, node) = (self.rule, task.split('/').next().unwrap().to_owned());
        let before = self.tasks.keys().filter(|other| other.starts_with(&node) && *other != task).count();
        let known = self.networks.get_mut(network).ok_or("network not found")?;
        let v6 = known.subnets.iter().copied().find(|net| net.addr().is_ipv6());
        let mut addrs = Vec::new();
        match (rule, v6) {
            (Rule::OneSpace, Some(net)) => return Err(format!("cannot find address pool for poolID:{net}")),
            (Rule::NodesNumberIpv6, Some(net)) => addrs.push(at(net, 2 + before as u128)),
            _ => {}
        }
        let first = known.subnets.first().copied().ok_or("network is not allocated")?;
        addrs.push(known.request(first).ok_or("could not find an available IP")?);
        self.tasks
            .entry(task.to_owned())
            .or_default()
            .extend(addrs.into_iter().map(|addr| (network.to_owned(), addr)));
        Ok(())
    }
}

impl Network {
    fn request(&mut self, net: IpNet) -> Option<IpAddr> {
        let span = bits(net.broadcast()) - bits(net.network());
        let cursor = *self.cursors.get(&net).unwrap_or(&1);
        let found = (cursor..span).chain(1..cursor).find(|offset| !self.used.contains(&at(net, *offset)))?;
        self.cursors.insert(net, found + 1);
        self.used.insert(at(net, found));
        Some(at(net, found))
    }
}

impl Cluster for Swarm {
    /// Always accepted: the allocator comes later.
    fn create(&mut self, network: &str, subnets: &[&str], range: &str) -> Result<(), String> {
        let result = self.allocate_network(network, subnets, range);
        self.journal.extend(result.err());
        Ok(())
    }

    fn subnets(&self, network: &str) -> Vec<IpNet> {
        self.networks.get(network).map(|known| known.subnets.clone()).unwrap_or_default()
    }

    fn remove(&mut self, network: &str) {
        self.networks.remove(network);
    }

    fn start(&mut self, task: &str, networks: &[&str], addr: Option<&str>) -> Result<(), String> {
        if addr.is_some() {
            return Err("there is no such option".to_owned());
        }
        self.tasks.insert(task.to_owned(), Vec::new());
        for network in networks {
            let result = self.allocate_task(task, network);
            if self.rule == Rule::OneSpace {
                result?;
            } else {
                self.journal.extend(result.err());
            }
        }
        Ok(())
    }

    fn fail_over(&mut self, pending: &[(&str, &str)]) {
        let mut objects = self.tasks.clone();
        objects.extend(pending.iter().map(|(task, network)| (format!("{task} {network}"), Vec::new())));
        for known in self.networks.values_mut() {
            known.used.clear();
            known.cursors.clear();
            for net in known.subnets.clone() {
                known.request(net);
            }
        }
        self.tasks.clear();
        for (task, addrs) in objects {
            let keep = self.rule != Rule::NewLeaderStartsAnew;
            let (name, wanted) = task.split_once(' ').unwrap_or((&task, ""));
            if let Some(known) = self.networks.get_mut(wanted) {
                let addr = known.request(known.subnets[0]).unwrap();
                self.tasks.insert(name.to_owned(), vec![(wanted.to_owned(), addr)]);
            }
            for (network, addr) in addrs {
                let known = self.networks.get_mut(&network).unwrap();
                let addr = if keep { addr } else { known.request(known.subnets[0]).unwrap() };
                known.used.insert(addr);
                self.tasks.entry(task.clone()).or_default().push((network, addr));
            }
        }
    }

    fn addrs(&self, task: &str) -> Vec<IpAddr> {
        self.tasks.get(task).into_iter().flatten().map(|(_, addr)| *addr).collect()
    }

    fn stop(&mut self, task: &str) {
        for (network, addr) in self.tasks.remove(task).unwrap_or_default() {
            let Some(known) = self.networks.get_mut(&network) else {
                self.journal.push(format!("network {network} not found"));
                return; // and the rest stays
            };
            known.used.remove(&addr);
        }
    }

    /// The addresses were known to the object alone.
    fn lose(&mut self, task: &str) {
        self.tasks.remove(task);
    }

    /// Without the gateways.
    fn in_use(&self, network: &str) -> usize {
        self.networks.get(network).map_or(0, |known| known.used.len() - known.subnets.len())
    }

    fn add_pool(&mut self, _base: &str) -> Result<(), String> {
        Err("set when the swarm is initialised".to_owned())
    }
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

fn bits(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(addr) => addr.to_bits().into(),
        IpAddr::V6(addr) => addr.to_bits(),
    }
}

fn at(net: IpNet, offset: u128) -> IpAddr {
    let bits = bits(net.network()) + offset;
    match net {
        IpNet::V4(_) => Ipv4Addr::from_bits(u32::try_from(bits).unwrap()).into(),
        IpNet::V6(_) => Ipv6Addr::from_bits(bits).into(),
    }
}
