//! A million single steps against maps, with every property checked after each of them.
//!
//! `IPAM_CHURN_STEPS=1000000000 cargo test --release -p overlay-ipam --test churn` is the long form. It took 45 minutes on
//! a machine that did other things as well: 1.4 s of processor time for a million steps.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests"
)]

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use overlay_ipam::{
    Command, Config, Denied, Granted, Hold, Ipam, Lease, NetworkKey, Owner, PoolSpec, SubnetRequest, Want,
};

/// What must be true, by the simplest means.
struct World {
    ipam: Ipam,
    networks: Vec<Known>,
    /// P1: one holder each. P8: one address each.
    holders: HashMap<IpAddr, (usize, Owner)>,
    leases: BTreeMap<(usize, Owner), Lease>,
    /// P12: ready then, or when all nodes have acknowledged.
    resting: BTreeMap<IpAddr, (u64, u64)>,
    now: u64,
    mark: u64,
    settled: u64,
    generation: u64,
    random: u64,
    full: u64,
}

struct Known {
    key: NetworkKey,
    /// All of it, and what is handed out dynamically.
    net: (u32, u32),
    range: (u32, u32),
    fixed: Vec<IpAddr>,
    in_use: u128,
}

#[test]
fn a_million_steps_keep_every_property() {
    let steps: u64 =
        std::env::var("IPAM_CHURN_STEPS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let start = std::time::Instant::now();
    let mut world = World::new(7);
    for step in 0..steps {
        world.step();
        if step % 20_000 == 0 {
            // P4, P6 and the indices; P11 and P14 at the same time
            assert_eq!(world.ipam.audit(), Ok(()), "step {step}");
            let restored = Ipam::restore(&world.ipam.snapshot()).unwrap();
            assert_eq!(restored.snapshot(), world.ipam.snapshot());
            world.ipam = restored;
        }
    }
    assert!(world.full > steps / 1000, "the networks were full {} times", world.full);
    world.everything_comes_back();
    let million = start.elapsed().as_secs_f64() * 1e6 / steps as f64;
    println!("{steps} steps, {million:.2} s for a million");
}

impl World {
    fn new(seed: u64) -> Self {
        let hold = Hold { address_ms: 40, vip_ms: 90, subnet_ms: 50 };
        let pools = vec![PoolSpec { base: "10.0.0.0/16".parse().unwrap(), piece: 26 }];
        let mut world = Self {
            ipam: Ipam::new(Config { pools, hold }),
            networks: Vec::new(),
            holders: HashMap::new(),
            leases: BTreeMap::new(),
            resting: BTreeMap::new(),
            now: 0,
            mark: 0,
            settled: 0,
            generation: 0,
            random: seed,
            full: 0,
        };
        world.ok(&Command::SetNodes { nodes: vec!["n1".into(), "n2".into()] });
        let named = |subnet: &str, range: &str| SubnetRequest {
            subnet: subnet.parse().ok(),
            range: range.parse().ok(),
            aux: [(
                "router".to_owned(),
                subnet.replace(".0/", ".9/").split('/').next().unwrap().parse().unwrap(),
            )]
            .into(),
            ..SubnetRequest::default()
        };
        let requests =
            [None, None, Some(named("172.16.0.0/24", "172.16.0.128/26")), Some(named("172.17.0.0/22", ""))];
        for (index, request) in requests.into_iter().enumerate() {
            let key = NetworkKey::new(format!("net{index}"));
            let command =
                Command::CreateNetwork { network: key.clone(), subnets: request.into_iter().collect() };
            let Granted::Network(subnets) = world.ok(&command) else { panic!() };
            world.generation += 1;
            let bounds = |net: ipnet::IpNet| match net {
                ipnet::IpNet::V4(net) => (net.network().to_bits(), net.broadcast().to_bits()),
                ipnet::IpNet::V6(_) => panic!(),
            };
            let net = bounds(subnets[0].net);
            let range = subnets[0].range.map_or(net, bounds);
            let fixed = world.ipam.all_leases(&key).map(|lease| lease.addr).collect();
            world.networks.push(Known { key, net, range, fixed, in_use: 0 });
        }
        // P5: they are disjoint
        for (a, b) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
            let (a, b) = (world.networks[a].net, world.networks[b].net);
            assert!(a.1 < b.0 || b.1 < a.0);
        }
        world
    }

    fn step(&mut self) {
        self.now += self.below(2);
        let network = self.below(4) as usize;
        let owner = self.owner();
        match self.below(20) {
            0..=8 => self.acquire(network, owner, None),
            9 => {
                let prefer = self.some_addr(network);
                self.acquire(network, owner, Some(prefer));
            }
            10..=15 => {
                let held = self.leases.get(&(network, owner.clone())).map(|lease| lease.generation);
                let stale = self.below(8) == 0;
                let generation = held.unwrap_or(1) + u64::from(stale);
                let key = self.networks[network].key.clone();
                self.ok(&Command::Release { network: key, owner: owner.clone(), generation });
                // P7: a stale one is inert, and so is a second one
                if held.is_some() && !stale {
                    self.released(&[network], &owner);
                }
            }
            16 | 17 => {
                self.ok(&Command::ReleaseOwner { owner: owner.clone() });
                let held = |network: &usize| self.leases.contains_key(&(*network, owner.clone()));
                let held: Vec<usize> = (0..4).filter(held).collect();
                self.released(&held, &owner);
            }
            18 => {
                let (node, behind) = (if self.below(2) == 0 { "n1" } else { "n2" }, self.below(40));
                let before = self.ipam.settled();
                self.ok(&Command::Ack { node: node.into(), through: self.mark.saturating_sub(behind) });
                self.settled = self.ipam.settled();
                assert!((before..=self.mark).contains(&self.settled));
            }
            _ => self.batch(network, owner),
        }
        self.check(network);
    }

    fn acquire(&mut self, network: usize, owner: Owner, prefer: Option<IpAddr>) {
        let key = self.networks[network].key.clone();
        let command = Command::Acquire { wants: vec![Want { network: key, owner: owner.clone(), prefer }] };
        let answer = self.ipam.apply(self.now, &command);
        match (answer, self.leases.get(&(network, owner.clone()))) {
            (Ok(Granted::Leases(leases)), Some(lease)) => {
                assert_eq!(leases, std::slice::from_ref(lease), "P8")
            }
            (Ok(Granted::Leases(leases)), None) => {
                assert!(prefer.is_none_or(|addr| leases[0].addr == addr));
                self.granted(network, owner, leases, prefer.is_some());
            }
            (Err(Denied::AddressesExhausted { in_use, held, ready_ms, .. }), None) => {
                // P9: only if nothing is left
                let known = &self.networks[network];
                assert_eq!((u128::from(in_use), prefer), (known.in_use, None));
                let free = (known.range.0..=known.range.1).find(|at| self.is_free(network, *at));
                assert_eq!(free, None, "P9");
                assert_eq!(held > 0, ready_ms.is_some());
                self.full += 1;
            }
            (Err(Denied::InUse { addr, holder, .. }), None) => {
                let known = self.holders.get(&addr).map(|(_, owner)| owner.clone());
                assert!(known == Some(holder) || self.networks[network].fixed.contains(&addr));
            }
            (Err(Denied::Held { addr, ready_ms, .. }), None) => {
                assert_eq!(self.resting[&addr].0, ready_ms, "P12");
            }
            (Err(Denied::Reserved { addr, .. }), None) => assert!(!self.is_host(network, addr), "P3"),
            (answer, lease) => panic!("{answer:?} {lease:?}"),
        }
    }

    /// P: all or nothing, over networks.
    fn batch(&mut self, network: usize, owner: Owner) {
        let other = (network + 1) % 4;
        let want = |network: usize| Want {
            network: self.networks[network].key.clone(),
            owner: owner.clone(),
            prefer: None,
        };
        let command = Command::Acquire { wants: vec![want(network), want(other)] };
        let foreseen = self.ipam.check(self.now, &command);
        match self.ipam.apply(self.now, &command) {
            Ok(Granted::Leases(leases)) => {
                assert_eq!((foreseen, leases.len()), (Ok(()), 2));
                for (network, lease) in [network, other].into_iter().zip(leases) {
                    match self.leases.get(&(network, owner.clone())) {
                        Some(known) => assert_eq!(*known, lease, "P8"),
                        None => self.granted(network, owner.clone(), vec![lease], false),
                    }
                }
            }
            Err(denied) => {
                assert_eq!(foreseen, Err(denied));
                for network in [network, other] {
                    let held = self.ipam.lease(&self.networks[network].key, &owner);
                    assert_eq!(held.as_ref(), self.leases.get(&(network, owner.clone())));
                }
            }
            answer => panic!("{answer:?}"),
        }
    }

    fn granted(&mut self, network: usize, owner: Owner, leases: Vec<Lease>, named: bool) {
        let [lease] = &leases[..] else { panic!("{leases:?}") };
        let IpAddr::V4(v4) = lease.addr else { panic!() };
        let (known, at) = (&self.networks[network], v4.to_bits());
        assert!(self.is_host(network, lease.addr) && !known.fixed.contains(&lease.addr), "P3");
        assert!(named || (known.range.0..=known.range.1).contains(&at), "P4");
        assert!((known.net.0..=known.net.1).contains(&at), "P4");
        if let Some((ready, mark)) = self.resting.remove(&lease.addr) {
            assert!(ready <= self.now || mark <= self.settled, "P12");
        }
        self.generation += 1;
        assert_eq!(lease.generation, self.generation);
        let before = self.holders.insert(lease.addr, (network, owner.clone()));
        assert_eq!(before, None, "P1");
        self.networks[network].in_use += 1;
        self.leases.insert((network, owner), lease.clone());
    }

    fn released(&mut self, networks: &[usize], owner: &Owner) {
        if networks.is_empty() {
            return;
        }
        self.mark += 1;
        let hold = self.ipam.config().hold;
        let hold_ms = if matches!(owner, Owner::Vip(_)) { hold.vip_ms } else { hold.address_ms };
        for network in networks {
            let lease = self.leases.remove(&(*network, owner.clone())).unwrap();
            self.holders.remove(&lease.addr).unwrap();
            self.networks[*network].in_use -= 1;
            self.resting.insert(lease.addr, (self.now + hold_ms, self.mark));
        }
    }

    /// P2, and what the books say about one owner and one address.
    fn check(&mut self, network: usize) {
        self.ok(&Command::Tick);
        let (owner, addr) = (self.owner(), self.some_addr(network));
        let known = &self.networks[network];
        let usage = &self.ipam.usage(&known.key)[0];
        assert_eq!(usage.in_use, known.in_use, "P2");
        assert_eq!(usage.reserved, known.fixed.len() as u128 + 2, "P2");
        assert_eq!(usage.in_use + usage.held + usage.reserved + usage.free, usage.capacity, "P2");
        assert!(usage.available <= usage.free);
        assert_eq!(self.ipam.mark(), self.mark);
        assert_eq!(self.ipam.lease(&known.key, &owner).as_ref(), self.leases.get(&(network, owner)));
        let holder = self.ipam.holder(&known.key, addr).filter(|owner| !owner.is_fixed());
        assert_eq!(holder.as_ref(), self.holders.get(&addr).map(|(_, owner)| owner), "P1");
    }

    /// P10.
    fn everything_comes_back(mut self) {
        for owner in self.ipam.owners() {
            self.ok(&Command::ReleaseOwner { owner });
        }
        self.now += 1000;
        for known in &self.networks {
            self.ipam.apply(self.now, &Command::Tick).unwrap();
            let usage = &self.ipam.usage(&known.key)[0];
            assert_eq!((usage.in_use, usage.held), (0, 0), "P10");
            assert_eq!(usage.free, usage.capacity - 2 - known.fixed.len() as u128, "P10");
        }
        assert_eq!(self.ipam.audit(), Ok(()));
    }

    fn is_host(&self, network: usize, addr: IpAddr) -> bool {
        let (first, last) = self.networks[network].net;
        ![first, last].iter().any(|edge| IpAddr::from(Ipv4Addr::from_bits(*edge)) == addr)
    }

    fn is_free(&self, network: usize, at: u32) -> bool {
        let addr = IpAddr::from(Ipv4Addr::from_bits(at));
        let over = |(ready, mark): &(u64, u64)| *ready <= self.now || *mark <= self.settled;
        self.is_host(network, addr)
            && !self.networks[network].fixed.contains(&addr)
            && !self.holders.contains_key(&addr)
            && self.resting.get(&addr).is_none_or(over)
    }

    fn some_addr(&mut self, network: usize) -> IpAddr {
        let (first, last) = self.networks[network].net;
        Ipv4Addr::from_bits(first + self.below(u64::from(last - first + 1)) as u32).into()
    }

    fn owner(&mut self) -> Owner {
        let key = format!("{:025}", self.below(150)).as_str().into();
        match self.below(4) {
            0 => Owner::Vip(key),
            1 => Owner::Static(format!("slot {key}").as_str().into()),
            _ => Owner::Task(key),
        }
    }

    fn ok(&mut self, command: &Command) -> Granted {
        self.ipam.apply(self.now, command).unwrap()
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % end
    }
}
