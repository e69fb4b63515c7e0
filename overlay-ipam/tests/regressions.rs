//! What went wrong in the field once, each as the smallest log that showed it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "tests"
)]

use std::collections::BTreeMap;

use ipnet::IpNet;
use overlay_ipam::{
    AddrSet, Command, Config, Denied, Family, Granted, Hold, IdSpace, Ipam, Lease, NetworkKey, Owner,
    OwnerKey, PoolSpec, Subnet, SubnetPool, SubnetRequest, Want,
};

#[test]
fn releasing_an_owner_frees_all_its_addresses_although_one_network_is_gone() {
    let mut ipam = ipam();
    create(&mut ipam, "ingress", &[]);
    create(&mut ipam, "web", &[]);
    acquire(&mut ipam, 0, &[want("ingress", "t", None), want("web", "t", None)]).unwrap();
    ipam.apply(0, &Command::DeleteNetwork { network: "web".into() }).unwrap();
    ipam.apply(0, &Command::ReleaseOwner { owner: task("t") }).unwrap();
    assert_eq!(ipam.usage(&"ingress".into())[0].in_use, 0);
    assert_eq!(ipam.owners().count(), 0);
    assert_eq!(ipam.audit(), Ok(()));
}

#[test]
fn an_overlap_is_refused_although_a_range_is_given() {
    let mut ipam = ipam();
    create(&mut ipam, "a", &[named("10.5.0.0/24")]);
    let ranged = SubnetRequest { range: Some(net("10.5.0.128/25")), ..named("10.5.0.0/16") };
    let denied = ipam.apply(0, &create_command("b", &[ranged])).unwrap_err();
    let Denied::Overlap { wanted, network, subnet, next_free } = denied else { panic!("{denied}") };
    assert_eq!((wanted, network, subnet), (net("10.5.0.0/16"), "a".into(), net("10.5.0.0/24")));
    assert_eq!(next_free, Some(net("10.0.0.0/16")));
}

#[test]
fn a_picked_subnet_is_not_used_again_while_the_old_network_is_torn_down() {
    let mut ipam = ipam();
    create(&mut ipam, "a", &[]);
    ipam.apply(1_000, &Command::DeleteNetwork { network: "a".into() }).unwrap();
    let granted = ipam.apply(60_999, &create_command("b", &[])).unwrap();
    assert_eq!(subnets(granted)[0].net, net("10.0.1.0/24"));
    let granted = ipam.apply(61_000, &create_command("c", &[])).unwrap();
    assert_eq!(subnets(granted)[0].net, net("10.0.0.0/24"));
}

#[test]
fn a_named_subnet_can_be_created_again_at_once() {
    let mut ipam = ipam();
    create(&mut ipam, "a", &[named("172.19.0.0/24")]);
    ipam.apply(0, &Command::DeleteNetwork { network: "a".into() }).unwrap();
    create(&mut ipam, "a", &[named("172.19.0.0/16")]);
    assert_eq!(ipam.audit(), Ok(()));
}

#[test]
fn a_refusal_comes_with_the_answer_and_says_what_would_help() {
    let mut ipam = ipam();
    create(&mut ipam, "a", &[named("192.168.0.0/30")]);
    acquire(&mut ipam, 0, &[want("a", "t1", None)]).unwrap();
    let denied = acquire(&mut ipam, 0, &[want("a", "t2", None)]).unwrap_err();
    let full = Denied::AddressesExhausted {
        network: "a".into(),
        family: Family::V4,
        in_use: 1,
        held: 0,
        reserved: 3,
        outside: 0,
        ready_ms: None,
    };
    assert_eq!(denied, full);
    ipam.apply(500, &Command::ReleaseOwner { owner: task("t1") }).unwrap();
    let denied = acquire(&mut ipam, 501, &[want("a", "t2", None)]).unwrap_err();
    assert!(matches!(denied, Denied::AddressesExhausted { in_use: 0, held: 1, ready_ms: Some(30_500), .. }));
    acquire(&mut ipam, 30_500, &[want("a", "t2", None)]).unwrap();
}

#[test]
fn a_refusal_tells_of_what_is_free_outside_of_the_range() {
    let mut ipam = ipam();
    let range = Some(net("10.20.0.128/30"));
    create(&mut ipam, "a", &[SubnetRequest { range, ..named("10.20.0.0/24") }]);
    for task in ["t1", "t2", "t3"] {
        acquire(&mut ipam, 0, &[want("a", task, None)]).unwrap(); // the gateway has the first one
    }
    let denied = acquire(&mut ipam, 0, &[want("a", "t4", None)]).unwrap_err();
    let text =
        "network a has no free IPv4 address (3 in use, 0 resting, 3 reserved, 250 free outside of its range)";
    assert_eq!(denied.to_string(), text);
}

#[test]
fn exhausted_pools_are_told_with_what_rests() {
    let pools = vec![PoolSpec { base: net("10.0.0.0/23"), piece: 24 }];
    let mut ipam = Ipam::new(Config { pools, hold: Hold::default() });
    create(&mut ipam, "a", &[]);
    create(&mut ipam, "b", &[]);
    ipam.apply(7, &Command::DeleteNetwork { network: "b".into() }).unwrap();
    let denied = ipam.apply(8, &create_command("c", &[])).unwrap_err();
    let expected = Denied::PoolsExhausted {
        family: Family::V4,
        prefix_len: None,
        taken: 1,
        held: 1,
        ready_ms: Some(60_007),
    };
    assert_eq!(denied, expected);
    assert_eq!(denied.to_string(), "no IPv4 pool has a free subnet (1 in use, 1 resting)");
}

#[test]
fn a_new_leader_goes_on_where_the_old_one_stopped() {
    let mut old = ipam();
    create(&mut old, "a", &[]);
    for index in 0..5 {
        acquire(&mut old, 0, &[want("a", &format!("t{index}"), None)]).unwrap();
    }
    old.apply(1, &Command::ReleaseOwner { owner: task("t4") }).unwrap();
    let mut new: Ipam = serde_json::from_str(&serde_json::to_string(&old).unwrap()).unwrap();
    assert_eq!(new, old);
    let next = acquire(&mut new, 2, &[want("a", "t5", None)]).unwrap();
    assert_eq!(next[0].addr.to_string(), "10.0.0.7", "neither in use nor just freed");
    assert_eq!(next, acquire(&mut old, 2, &[want("a", "t5", None)]).unwrap());
}

#[test]
fn a_task_gets_both_families_or_none() {
    let mut ipam = ipam();
    create(&mut ipam, "dual", &[named("10.7.0.0/29"), named("fd00:7::/64")]);
    let leases = acquire(&mut ipam, 0, &[want("dual", "t", None)]).unwrap();
    let addrs: Vec<_> = leases.iter().map(|lease| lease.addr.to_string()).collect();
    assert_eq!(addrs, ["10.7.0.2", "fd00:7::2"]);
    for index in 0..4 {
        acquire(&mut ipam, 0, &[want("dual", &format!("u{index}"), None)]).unwrap();
    }
    assert!(acquire(&mut ipam, 0, &[want("dual", "late", Some("fd00:7::99"))]).is_err());
    assert_eq!(ipam.usage(&"dual".into())[1].in_use, 5, "no IPv6 address without its IPv4 one");
}

#[test]
fn a_batch_is_all_or_nothing() {
    let mut ipam = ipam();
    create(&mut ipam, "wide", &[]);
    create(&mut ipam, "tiny", &[named("192.168.0.0/31")]);
    acquire(&mut ipam, 0, &[want("tiny", "t1", None)]).unwrap();
    let before = ipam.clone();
    assert!(acquire(&mut ipam, 0, &[want("wide", "t2", None), want("tiny", "t2", None)]).is_err());
    assert_eq!(ipam, before);
}

#[test]
fn a_late_release_does_not_hit_the_next_lease() {
    let mut ipam = ipam();
    create(&mut ipam, "a", &[]);
    let first = acquire(&mut ipam, 0, &[want("a", "t", None)]).unwrap().remove(0);
    let release = Command::Release { network: "a".into(), owner: task("t"), generation: first.generation };
    ipam.apply(0, &release).unwrap();
    let second = acquire(&mut ipam, 0, &[want("a", "t", None)]).unwrap().remove(0);
    assert_ne!(first.addr, second.addr);
    ipam.apply(0, &release).unwrap();
    assert_eq!(ipam.lease(&"a".into(), &task("t")), Some(second));
}

#[test]
fn host_bits_are_cleared_and_reported() {
    let mut ipam = ipam();
    let request = SubnetRequest { gateway: "172.19.0.1".parse().ok(), ..named("172.19.0.1/24") };
    let subnet = create(&mut ipam, "a", &[request]).remove(0);
    assert_eq!(subnet.net, net("172.19.0.0/24"));
    assert_eq!(subnet.normalised_from, Some(net("172.19.0.1/24")));
    assert_eq!(acquire(&mut ipam, 0, &[want("a", "t", None)]).unwrap()[0].addr.to_string(), "172.19.0.2");
}

#[test]
fn the_first_addresses_are_those_of_docker() {
    let mut ipam = ipam();
    let ingress = create(&mut ipam, "ingress", &[]).remove(0);
    assert_eq!((ingress.net, ingress.gateway.to_string()), (net("10.0.0.0/24"), "10.0.0.1".to_owned()));
    assert_eq!(create(&mut ipam, "web", &[])[0].net, net("10.0.1.0/24"));
    let vip = Want { network: "web".into(), owner: Owner::Vip("s".into()), prefer: None };
    let leases = acquire(&mut ipam, 0, &[vip, want("web", "t1", None), want("web", "t2", None)]).unwrap();
    let addrs: Vec<_> = leases.iter().map(|lease| lease.addr.to_string()).collect();
    assert_eq!(addrs, ["10.0.1.2", "10.0.1.3", "10.0.1.4"]);
}

#[test]
fn auxiliary_addresses_are_never_handed_out() {
    let mut ipam = ipam();
    let aux = BTreeMap::from([("router".to_owned(), "10.8.0.2".parse().unwrap())]);
    create(&mut ipam, "a", &[SubnetRequest { aux, ..named("10.8.0.0/29") }]);
    assert_eq!(acquire(&mut ipam, 0, &[want("a", "t", None)]).unwrap()[0].addr.to_string(), "10.8.0.3");
    let denied = acquire(&mut ipam, 0, &[want("a", "u", Some("10.8.0.2"))]).unwrap_err();
    let expected = "10.8.0.2 in network a is in use by auxiliary address router; 10.8.0.4 is free";
    assert_eq!(denied.to_string(), expected);
    ipam.apply(0, &Command::ReleaseOwner { owner: Owner::Aux("router".into()) }).unwrap();
    assert_eq!(ipam.holder(&"a".into(), "10.8.0.2".parse().unwrap()), Some(Owner::Aux("router".into())));
}

#[test]
fn subnets_of_hosts_are_avoided() {
    let mut ipam = ipam();
    let nets = vec![net("10.0.0.0/23"), net("0.0.0.0/0")];
    ipam.apply(0, &Command::Exclude { by: "node1".into(), nets }).unwrap();
    assert_eq!(create(&mut ipam, "a", &[])[0].net, net("10.0.2.0/24"));
    let denied = ipam.apply(0, &create_command("b", &[named("10.0.1.0/24")])).unwrap_err();
    assert_eq!(denied.to_string(), "10.0.1.0/24 overlaps 10.0.0.0/23, which node1 uses; 10.0.3.0/24 is free");
}

#[test]
fn tiny_subnets_use_every_address() {
    let mut ipam = ipam();
    for (name, subnet, gateway) in [
        ("a", "192.168.0.0/31", "192.168.0.0"),
        ("b", "192.168.0.2/32", "192.168.0.2"),
        ("c", "fd00::/127", "fd00::"),
        ("d", "fd00::9/128", "fd00::9"),
        ("e", "fd00:1::/126", "fd00:1::1"),
    ] {
        assert_eq!(create(&mut ipam, name, &[named(subnet)])[0].gateway.to_string(), gateway);
    }
    let leases = ["x", "y"].map(|task| acquire(&mut ipam, 0, &[want("e", task, None)]).unwrap().remove(0));
    assert_eq!(leases[1].addr.to_string(), "fd00:1::3", "IPv6 has no broadcast address");
    assert!(acquire(&mut ipam, 0, &[want("b", "t", None)]).is_err());
}

#[test]
fn pools_can_be_added_to_a_running_cluster() {
    let mut ipam = ipam();
    create(&mut ipam, "a", &[]);
    let pools =
        ["172.30.0.0/16", "10.0.0.0/23", "fd00::/8"].map(|base| PoolSpec { base: net(base), piece: 24 });
    ipam.apply(0, &Command::SetPools { pools: pools.to_vec() }).unwrap();
    assert_eq!(create(&mut ipam, "b", &[])[0].net, net("10.0.1.0/24"));
    assert_eq!(create(&mut ipam, "c", &[])[0].net, net("172.30.0.0/24"));
    assert_eq!(create(&mut ipam, "d", &[named("::/64")])[0].net, net("fd00::/64"));
    assert_eq!(ipam.audit(), Ok(()));
}

#[test]
fn an_odd_length_jumps_over_what_is_taken() {
    let mut pool = SubnetPool::new(&[PoolSpec { base: net("fd00::/8"), piece: 64 }]);
    assert!(pool.claim(net("fd00::/9")));
    assert_eq!(pool.pick(None, Some(127), &[]), Some(net("fd80::/127")));
    assert_eq!(pool.pick(None, None, &[net("fd80::/10")]), Some(net("fdc0::/64")));
    assert_eq!(pool.pick(Some(Family::V4), None, &[]), None);
    assert!(pool.release(net("fd00::/9")));
    assert_eq!(pool, SubnetPool::new(&[PoolSpec { base: net("fd00::/8"), piece: 64 }]));
}

#[test]
fn identifiers_go_round_and_survive_a_snapshot() {
    let mut vnis = IdSpace::new(4096..1 << 24);
    assert_eq!([vnis.take_next(), vnis.take_next()], [Some(4096), Some(4097)]);
    assert!(vnis.release(4096));
    assert!(!vnis.release(4096));
    let mut restored: IdSpace = serde_json::from_str(&serde_json::to_string(&vnis).unwrap()).unwrap();
    assert_eq!(restored, vnis);
    assert_eq!(restored.take_next(), Some(4098));

    let mut few = IdSpace::new(1..=3);
    few.claim(2).unwrap();
    assert!(few.claim(2).is_err() && few.claim(4).is_err() && few.claim(0).is_err());
    assert_eq!([few.take_next(), few.take_next(), few.take_next()], [Some(1), Some(3), None]);
    few.release(2);
    assert_eq!(few.take_next(), Some(2));
}

#[test]
fn both_kinds_of_set_agree_with_a_list() {
    for last in [0_u128, 62, 63, 64, 4095, 4096, 65_535, 65_536] {
        let mut set = AddrSet::new(last);
        let mut list = std::collections::BTreeSet::new();
        let mut seed = 1_u128;
        for _ in 0..600 {
            seed = seed * 6_364_136_223_846_793_005 % (1 << 61) + 1_442_695_041;
            let n = (seed >> 20) % (last + 2);
            let present = !(seed >> 9).is_multiple_of(3);
            if present {
                assert_eq!(set.insert(n), n <= last && list.insert(n));
            } else {
                assert_eq!(set.remove(n), list.remove(&n));
            }
            let from = (seed >> 33) % (last + 2);
            assert_eq!(set.next_absent(from), (from..=last).find(|n| !list.contains(n)));
            assert_eq!(set.count(), list.len() as u128);
        }
        set.insert_range(last / 3, last + 9);
        assert_eq!(set.next_absent(last / 3), None);
        set.remove_range(0, last);
        assert_eq!(set, AddrSet::new(last));
    }
}

#[test]
fn the_widest_set_can_be_filled() {
    let mut set = AddrSet::new(u128::MAX);
    set.insert_range(0, u128::MAX);
    assert_eq!(set.next_absent(0), None);
    assert_eq!(set.count(), u128::MAX);
    assert!(set.remove(7));
    assert_eq!(set.next_absent(0), Some(7));
}

fn ipam() -> Ipam {
    Ipam::new(Config::default())
}

fn create(ipam: &mut Ipam, network: &str, requests: &[SubnetRequest]) -> Vec<Subnet> {
    subnets(ipam.apply(0, &create_command(network, requests)).unwrap())
}

fn create_command(network: &str, requests: &[SubnetRequest]) -> Command {
    Command::CreateNetwork { network: network.into(), subnets: requests.to_vec() }
}

fn acquire(ipam: &mut Ipam, at_ms: u64, wants: &[Want]) -> Result<Vec<Lease>, Denied> {
    match ipam.apply(at_ms, &Command::Acquire { wants: wants.to_vec() })? {
        Granted::Leases(leases) => Ok(leases),
        other => panic!("{other:?}"),
    }
}

fn subnets(granted: Granted) -> Vec<Subnet> {
    match granted {
        Granted::Network(subnets) => subnets,
        other => panic!("{other:?}"),
    }
}

fn named(subnet: &str) -> SubnetRequest {
    SubnetRequest { subnet: Some(net(subnet)), ..SubnetRequest::default() }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn want(network: &str, name: &str, prefer: Option<&str>) -> Want {
    Want {
        network: NetworkKey::new(network),
        owner: task(name),
        prefer: prefer.map(|addr| addr.parse().unwrap()),
    }
}

fn task(name: &str) -> Owner {
    Owner::Task(OwnerKey::new(name))
}
