//! What went wrong in Swarm's allocator, as stories. Each is told twice: to a re-creation of the rule that was to
//! blame, where it must go wrong, and to this crate, where it must not.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "tests"
)]

mod exhibits;

use std::net::IpAddr;

use exhibits::{Rule, Swarm};
use ipnet::IpNet;
use overlay_ipam::{Command, Config, Denied, Family, Granted, Ipam, Owner, PoolSpec, SubnetRequest, Want};

/// What the stories need.
trait Cluster {
    /// Asks for a network, with an `--ip-range` or "".
    fn create(&mut self, network: &str, subnets: &[&str], range: &str) -> Result<(), String>;
    fn subnets(&self, network: &str) -> Vec<IpNet>;
    fn remove(&mut self, network: &str);
    /// Asks for a task ("node/name") in networks, maybe with an address of its own.
    fn start(&mut self, task: &str, networks: &[&str], addr: Option<&str>) -> Result<(), String>;
    /// The request is in the store, but the leader fails before it gets to it; the next one does.
    fn fail_over(&mut self, pending: &[(&str, &str)]);
    fn addrs(&self, task: &str) -> Vec<IpAddr>;
    fn stop(&mut self, task: &str);
    /// The task's object is gone, with its node, before anything was released.
    fn lose(&mut self, task: &str);
    /// Addresses in the hands of tasks.
    fn in_use(&self, network: &str) -> usize;
    fn add_pool(&mut self, base: &str) -> Result<(), String>;
}

type Story = fn(&mut dyn Cluster) -> Result<(), String>;

fn told_to_both(rule: Rule, wrong: &str, story: Story) {
    assert_eq!(story(&mut Swarm::new(rule)), Err(wrong.to_owned()), "what the rule leads to");
    let mut ours = Ours(Ipam::new(config()));
    assert_eq!(story(&mut ours), Ok(()));
    assert_eq!(ours.0.audit(), Ok(()));
}

/// moby#37338: release stops at the first network that is gone, and the address in ingress stays taken.
#[test]
fn addresses_leak_when_a_network_goes_before_its_tasks() {
    told_to_both(Rule::Default, "the address in ingress is lost", |cluster| {
        cluster.create("a", &[], "")?;
        cluster.create("ingress", &[], "")?;
        cluster.start("n1/t", &["a", "ingress"], None)?;
        cluster.remove("a");
        cluster.stop("n1/t");
        ensure(cluster.in_use("ingress") == 0, "the address in ingress is lost")
    });
}

/// moby#31694: whoever disappears without a release keeps the addresses for ever.
#[test]
fn addresses_leak_when_a_task_is_lost() {
    told_to_both(Rule::Default, "nobody holds the address, and nobody gets it", |cluster| {
        cluster.create("a", &[], "")?;
        cluster.start("n1/t", &["a"], None)?;
        cluster.lose("n1/t");
        ensure(cluster.in_use("a") == 0, "nobody holds the address, and nobody gets it")
    });
}

/// moby#43052: a full network is told to the leader's journal only.
#[test]
fn a_full_network_says_nothing() {
    told_to_both(Rule::Default, "accepted, and waits without a word", |cluster| {
        cluster.create("a", &["192.168.0.0/29"], "")?;
        let refused = (0..9).find_map(|n| cluster.start(&format!("n1/t{n}"), &["a"], None).err());
        let text = refused.ok_or("accepted, and waits without a word")?;
        ensure(text.contains("5 in use"), &text)
    });
}

/// moby#46756: with an `--ip-range` the subnet itself is not checked.
#[test]
fn a_range_hides_an_overlap() {
    told_to_both(Rule::Default, "two networks share addresses", |cluster| {
        cluster.create("a", &["10.5.0.0/24"], "")?;
        let answer = cluster.create("b", &["10.5.0.0/16"], "10.5.0.128/25");
        let overlap = cluster.subnets("b").contains(&"10.5.0.0/16".parse().unwrap());
        ensure(answer.is_err() && !overlap, "two networks share addresses")
    });
}

/// swarmkit#2398: an overlap is found after the network was created, and told to nobody.
#[test]
fn an_overlap_is_told_to_nobody() {
    told_to_both(Rule::Default, "created, and never allocated", |cluster| {
        cluster.create("a", &["10.5.0.0/24"], "")?;
        let text = cluster.create("b", &["10.5.0.0/16"], "").err().ok_or("created, and never allocated")?;
        ensure(text.contains("10.5.0.0/24 of network a"), &text)
    });
}

/// swarmkit#2657: a subnet is used again while the hosts still tear the old network down.
#[test]
fn a_subnet_is_used_again_at_once() {
    told_to_both(Rule::Default, "the routes of the old network are still there", |cluster| {
        cluster.create("a", &[], "")?;
        let old = cluster.subnets("a");
        cluster.remove("a");
        cluster.create("b", &[], "")?;
        ensure(cluster.subnets("b") != old, "the routes of the old network are still there")
    });
}

/// moby#48116: with two families an attachment gets one address, of whichever family comes first.
#[test]
fn a_task_gets_one_family_only() {
    told_to_both(Rule::Default, "an address is missing", |cluster| {
        cluster.create("a", &["10.5.0.0/24", "fd00::/64"], "")?;
        cluster.start("n1/t", &["a"], None)?;
        let families: Vec<bool> = cluster.addrs("n1/t").iter().map(IpAddr::is_ipv4).collect();
        ensure(families == [true, false], "an address is missing")
    });
}

/// moby#52469: an IPv6 pool is asked for in the space of IPv4, after the network was accepted.
#[test]
fn an_ipv6_pool_is_looked_up_among_those_of_ipv4() {
    told_to_both(Rule::OneSpace, "cannot find address pool for poolID:fd00::/64", |cluster| {
        cluster.create("a", &["10.5.0.0/24", "fd00::/64"], "")?;
        cluster.start("n1/t", &["a"], None)
    });
}

/// for-linux#973: every node numbers its own IPv6 addresses, from the start.
#[test]
fn two_nodes_give_the_same_ipv6_address() {
    told_to_both(Rule::NodesNumberIpv6, "two tasks have one address", |cluster| {
        cluster.create("a", &["10.5.0.0/24", "fd00::/64"], "")?;
        cluster.start("n1/t", &["a"], None)?;
        cluster.start("n2/u", &["a"], None)?;
        let (t, u) = (cluster.addrs("n1/t"), cluster.addrs("n2/u"));
        ensure(t.iter().all(|addr| !u.contains(addr)), "two tasks have one address")
    });
}

/// moby#33795: a new leader hands everything out anew, in the order of its store.
#[test]
fn addresses_change_when_a_manager_restarts() {
    told_to_both(Rule::NewLeaderStartsAnew, "a running task has another address", |cluster| {
        cluster.create("a", &[], "")?;
        cluster.start("n1/first", &["a"], None)?;
        cluster.start("n1/second", &["a"], None)?;
        cluster.stop("n1/first");
        let before = cluster.addrs("n1/second");
        cluster.fail_over(&[]);
        ensure(cluster.addrs("n1/second") == before, "a running task has another address")
    });
}

/// swarmkit#2237: a new leader serves what is pending before it has seen all that is held.
#[test]
fn a_new_leader_gives_away_what_is_held() {
    told_to_both(Rule::NewLeaderReadsOnce, "two tasks have one address", |cluster| {
        cluster.create("a", &[], "")?;
        cluster.start("n1/z", &["a"], None)?;
        cluster.fail_over(&[("n1/b", "a")]);
        ensure(cluster.addrs("n1/b") != cluster.addrs("n1/z"), "two tasks have one address")
    });
}

/// moby#38158: the pools of a cluster are those of its first day.
#[test]
fn a_running_cluster_cannot_have_another_pool() {
    told_to_both(Rule::Default, "set when the swarm is initialised", |cluster| {
        for n in 0..16 {
            cluster.create(&format!("a{n}"), &[], "")?;
        }
        cluster.add_pool("10.77.0.0/20")?;
        cluster.create("more", &[], "")?;
        ensure(cluster.subnets("more") == ["10.77.0.0/24".parse().unwrap()], "no subnet")
    });
}

/// moby#24170: a service or a slot cannot have an address of its own.
#[test]
fn nothing_in_a_service_has_a_fixed_address() {
    told_to_both(Rule::Default, "there is no such option", |cluster| {
        cluster.create("a", &["10.5.0.0/24"], "")?;
        cluster.start("n1/db", &["a"], Some("10.5.0.77"))?;
        ensure(cluster.addrs("n1/db") == ["10.5.0.77".parse::<IpAddr>().unwrap()], "some address")
    });
}

struct Ours(Ipam);

impl Ours {
    fn apply(&mut self, command: &Command) -> Result<Granted, String> {
        let foreseen = self.0.check(0, command);
        let answer = self.0.apply(0, command);
        assert_eq!(foreseen.is_err(), answer.is_err());
        answer.map_err(|denied: Denied| denied.to_string())
    }

    fn release(&mut self, task: &str) {
        self.apply(&Command::ReleaseOwner { owner: Owner::Task(task.into()) }).unwrap();
    }
}

impl Cluster for Ours {
    fn create(&mut self, network: &str, subnets: &[&str], range: &str) -> Result<(), String> {
        let request = |net: &&str| SubnetRequest {
            subnet: Some(net.parse().unwrap()),
            range: range.parse().ok(),
            ..SubnetRequest::default()
        };
        let subnets = subnets.iter().map(request).collect();
        self.apply(&Command::CreateNetwork { network: network.into(), subnets }).map(drop)
    }

    fn subnets(&self, network: &str) -> Vec<IpNet> {
        self.0.subnets(&network.into()).iter().map(|subnet| subnet.net).collect()
    }

    fn remove(&mut self, network: &str) {
        self.apply(&Command::DeleteNetwork { network: network.into() }).unwrap();
    }

    fn start(&mut self, task: &str, networks: &[&str], addr: Option<&str>) -> Result<(), String> {
        let want = |network: &&str| Want {
            network: (*network).into(),
            owner: Owner::Task(task.into()),
            prefer: addr.map(|addr| addr.parse().unwrap()),
        };
        self.apply(&Command::Acquire { wants: networks.iter().map(want).collect() }).map(drop)
    }

    fn fail_over(&mut self, pending: &[(&str, &str)]) {
        self.0 = Ipam::restore(&self.0.snapshot()).unwrap();
        for (task, network) in pending {
            self.start(task, &[network], None).unwrap();
        }
    }

    fn addrs(&self, task: &str) -> Vec<IpAddr> {
        let owner = Owner::Task(task.into());
        self.0.networks().flat_map(|network| self.0.leases(network, &owner)).map(|lease| lease.addr).collect()
    }

    fn stop(&mut self, task: &str) {
        self.release(task);
    }

    /// Whoever compares the owners with what exists finds it.
    fn lose(&mut self, task: &str) {
        let lost: Vec<Owner> = self.0.owners().filter(|owner| *owner == Owner::Task(task.into())).collect();
        assert_eq!(lost.len(), 1);
        self.release(task);
    }

    fn in_use(&self, network: &str) -> usize {
        self.0.usage(&network.into()).iter().map(|usage| usize::try_from(usage.in_use).unwrap()).sum()
    }

    fn add_pool(&mut self, base: &str) -> Result<(), String> {
        let pool = PoolSpec { base: base.parse().unwrap(), piece: 24 };
        assert_eq!(Family::of(pool.base), Family::V4);
        self.apply(&Command::AddPool { pool }).map(drop)
    }
}

fn config() -> Config {
    let pools = vec![PoolSpec { base: "10.0.0.0/20".parse().unwrap(), piece: 24 }];
    Config { pools, ..Config::default() }
}

fn ensure(right: bool, wrong: &str) -> Result<(), String> {
    if right { Ok(()) } else { Err(wrong.to_owned()) }
}
