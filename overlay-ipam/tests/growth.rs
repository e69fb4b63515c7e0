//! Growth, delegation, acknowledgements, explanations: what they do, as the smallest log that shows it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "tests"
)]

use ipnet::IpNet;
use overlay_ipam::{
    AddrPool, Command, Config, Denied, Family, Granted, Ipam, Lane, Lease, NetworkKey, Owner, PoolSpec,
    State, Subnet, SubnetRequest, Want,
};

#[test]
fn a_full_network_grows_in_place_and_no_address_changes() {
    let mut ipam = Ipam::new(Config::default());
    create(&mut ipam, "a", "10.0.0.0/29");
    let before: Vec<Lease> = (0..5).map(|n| acquire(&mut ipam, &format!("t{n}")).unwrap()).collect();
    let full = acquire(&mut ipam, "t5").unwrap_err();
    assert_eq!(full.to_string(), "network a has no free IPv4 address (5 in use, 0 resting, 3 reserved)");
    let subnets = grow(&mut ipam, "a", "10.0.0.0/28").unwrap();
    assert_eq!(
        (subnets.len(), subnets[0].net, subnets[0].gateway.to_string().as_str()),
        (1, net("10.0.0.0/28"), "10.0.0.1")
    );
    for lease in before {
        let now = ipam.lease(&"a".into(), &lease.owner).unwrap();
        assert_eq!(now, Lease { prefix_len: 28, ..lease });
    }
    // the broadcast address of before is one like any other
    assert_eq!(acquire(&mut ipam, "t5").unwrap().addr.to_string(), "10.0.0.7");
    assert_eq!(grow(&mut ipam, "a", "10.0.0.0/28").unwrap(), subnets, "once more is no error");
    assert_eq!(ipam.audit(), Ok(()));
}

#[test]
fn a_subnet_can_grow_downwards() {
    let mut ipam = Ipam::new(Config::default());
    create(&mut ipam, "a", "10.0.1.0/24");
    let lease = acquire(&mut ipam, "t").unwrap();
    release(&mut ipam, 5, "t");
    let gateway = grow(&mut ipam, "a", "10.0.0.0/23").unwrap()[0].gateway;
    assert_eq!(gateway.to_string(), "10.0.1.1");
    let explanation = ipam.explain(lease.addr);
    assert!(matches!(explanation.state, State::Rests { ready_ms: 30_005, .. }), "{explanation}");
    assert_eq!(acquire(&mut ipam, "u").unwrap().addr.to_string(), "10.0.1.3");
    assert_eq!(ipam.audit(), Ok(()));
}

#[test]
fn a_growth_that_is_in_the_way_names_who_and_what_is_free_instead() {
    let mut ipam = Ipam::new(Config::default());
    create(&mut ipam, "a", "10.0.0.0/24");
    create(&mut ipam, "b", "10.0.1.0/24");
    let denied = grow(&mut ipam, "a", "10.0.0.0/23").unwrap_err();
    assert_eq!(denied.to_string(), "10.0.0.0/23 overlaps 10.0.1.0/24 of network b; 10.0.2.0/23 is free");
    // the free one becomes a second subnet, which is used when the first one is full
    let subnets = grow(&mut ipam, "a", "10.0.2.0/23").unwrap();
    assert_eq!(
        subnets.iter().map(|subnet| subnet.net).collect::<Vec<_>>(),
        [net("10.0.0.0/24"), net("10.0.2.0/23")]
    );
    let leases: Vec<Lease> = (0..254).map(|n| acquire(&mut ipam, &format!("t{n}")).unwrap()).collect();
    assert_eq!(leases[252].addr.to_string(), "10.0.0.254");
    assert_eq!((leases[253].addr.to_string().as_str(), leases[253].prefix_len), ("10.0.2.2", 23));
    assert_eq!(ipam.audit(), Ok(()));
}

#[test]
fn another_family_can_be_added() {
    let mut ipam = Ipam::new(Config::default());
    create(&mut ipam, "a", "10.0.0.0/24");
    let old = acquire(&mut ipam, "old").unwrap();
    grow(&mut ipam, "a", "fd00::/64").unwrap();
    let owner = Owner::Task("new".into());
    acquire(&mut ipam, "new").unwrap();
    let addrs: Vec<String> =
        ipam.leases(&"a".into(), &owner).iter().map(|lease| lease.addr.to_string()).collect();
    assert_eq!(addrs, ["10.0.0.3", "fd00::2"]);
    assert_eq!(ipam.leases(&"a".into(), &old.owner), [old]);
}

#[test]
fn a_node_hands_out_its_block_and_gives_back_what_it_does_not_need() {
    let mut ipam = Ipam::new(Config::default());
    create(&mut ipam, "a", "10.0.0.0/24");
    let delegate =
        Command::Delegate { network: "a".into(), to: "n1".into(), family: Family::V4, prefix_len: 28 };
    let lease = leases(ipam.apply(0, &delegate).unwrap()).remove(0);
    assert_eq!((lease.block, &lease.owner), (Some(net("10.0.0.16/28")), &Owner::Delegation("n1".into())));
    assert_eq!(leases(ipam.apply(0, &delegate).unwrap()), std::slice::from_ref(&lease));
    assert_eq!(ipam.usage(&"a".into())[0].in_use, 16);
    assert_eq!(ipam.holder(&"a".into(), "10.0.0.31".parse().unwrap()), Some(lease.owner.clone()));

    // every address of it can be used, and nobody else gets one
    let mut own = AddrPool::block(lease.block.unwrap());
    let addrs: Vec<_> = std::iter::from_fn(|| own.allocate()).collect();
    assert_eq!((addrs.len(), addrs[0].to_string().as_str()), (16, "10.0.0.16"));
    assert!(own.release(addrs[0], Lane::Plain, None));
    let others: Vec<_> = (0..40).map(|n| acquire(&mut ipam, &format!("t{n}")).unwrap().addr).collect();
    assert!(addrs.iter().all(|addr| !others.contains(addr)));

    let keep = net("10.0.0.24/30");
    let shrink = |generation| Command::Shrink { network: "a".into(), from: "n1".into(), generation, keep };
    ipam.apply(0, &shrink(lease.generation + 1)).unwrap(); // a stale one is inert
    assert_eq!(ipam.lease(&"a".into(), &lease.owner), Some(lease.clone()));
    ipam.apply(0, &shrink(lease.generation)).unwrap();
    assert_eq!(ipam.lease(&"a".into(), &lease.owner).unwrap().block, Some(keep));
    let usage = ipam.usage(&"a".into()).remove(0);
    assert_eq!((usage.in_use, usage.held), (44, 12));
    ipam.apply(30_000, &Command::Tick).unwrap();
    assert_eq!(ipam.usage(&"a".into())[0].held, 0);
    assert_eq!(ipam.audit(), Ok(()));

    let denied = ipam.apply(
        30_000,
        &Command::Delegate { network: "a".into(), to: "n2".into(), family: Family::V4, prefix_len: 25 },
    );
    assert_eq!(
        denied.unwrap_err().to_string(),
        "network a has no free block of length /25; 10.0.0.64/26 is free"
    );
}

#[test]
fn what_every_live_node_has_forgotten_is_free_at_once() {
    let mut ipam = Ipam::new(Config::default());
    create(&mut ipam, "a", "192.168.0.0/30");
    let nodes =
        |names: &[&str]| Command::SetNodes { nodes: names.iter().map(|name| (*name).into()).collect() };
    let ack = |node: &str, through| Command::Ack { node: node.into(), through };
    ipam.apply(0, &nodes(&["n1", "n2", "n3"])).unwrap();
    acquire(&mut ipam, "t").unwrap();
    release(&mut ipam, 0, "t");
    let mark = ipam.mark();
    for node in ["n1", "n2", "stranger"] {
        ipam.apply(1, &ack(node, mark)).unwrap();
        assert!(acquire(&mut ipam, "u").is_err(), "n3 may still send to the old task");
    }
    // n3 is dead: it does not count any more
    ipam.apply(2, &nodes(&["n1", "n2"])).unwrap();
    assert_eq!(ipam.settled(), mark);
    acquire(&mut ipam, "u").unwrap();
    // what is freed later needs another acknowledgement, and a new node cannot take one back
    release(&mut ipam, 3, "u");
    ipam.apply(3, &nodes(&["n1", "n2", "n4"])).unwrap();
    assert_eq!(ipam.settled(), mark);
    assert!(acquire(&mut ipam, "v").is_err());
    ipam.apply(30_003, &Command::Tick).unwrap();
    acquire(&mut ipam, "v").unwrap();
    // nobody acknowledges the future
    ipam.apply(30_003, &ack("n1", u64::MAX)).unwrap();
    assert_eq!(ipam.audit(), Ok(()));
}

#[test]
fn subnets_rest_until_all_nodes_have_forgotten_them() {
    let mut ipam = Ipam::new(Config::default());
    let create = |name: &str| Command::CreateNetwork { network: name.into(), subnets: vec![] };
    ipam.apply(0, &Command::SetNodes { nodes: vec!["n1".into()] }).unwrap();
    ipam.apply(0, &create("a")).unwrap();
    ipam.apply(0, &Command::DeleteNetwork { network: "a".into() }).unwrap();
    let explanation = ipam.explain("10.0.0.9".parse().unwrap());
    assert_eq!(
        explanation.to_string(),
        "10.0.0.9 lies in 10.0.0.0/24, which was freed recently and rests until 60000 ms"
    );
    ipam.apply(1, &Command::Ack { node: "n1".into(), through: ipam.mark() }).unwrap();
    ipam.apply(1, &create("b")).unwrap();
    assert_eq!(ipam.subnets(&"b".into())[0].net, net("10.0.0.0/24"));
}

#[test]
fn a_slot_keeps_its_address_from_one_task_to_the_next() {
    let mut ipam = Ipam::new(Config::default());
    create(&mut ipam, "a", "10.0.0.0/24");
    let want =
        Want { network: "a".into(), owner: Owner::Static("db.1".into()), prefer: "10.0.0.77".parse().ok() };
    let acquire = Command::Acquire { wants: vec![want] };
    let first = leases(ipam.apply(0, &acquire).unwrap());
    assert_eq!(first[0].addr.to_string(), "10.0.0.77");
    assert_eq!(leases(ipam.apply(9, &acquire).unwrap()), first);
    let other =
        Want { network: "a".into(), owner: Owner::Vip("web".into()), prefer: "10.0.0.77".parse().ok() };
    let denied = ipam.apply(9, &Command::Acquire { wants: vec![other] }).unwrap_err();
    assert_eq!(denied.to_string(), "10.0.0.77 in network a is in use by static db.1; 10.0.0.2 is free");
}

#[test]
fn pools_come_and_go() {
    let mut ipam = Ipam::new(Config::default());
    let pool = |base: &str| PoolSpec { base: net(base), piece: 24 };
    let create = |name: &str| Command::CreateNetwork { network: name.into(), subnets: vec![] };
    ipam.apply(0, &create("a")).unwrap();
    let denied = ipam.apply(0, &Command::AddPool { pool: pool("10.1.0.0/16") }).unwrap_err();
    assert_eq!(denied.to_string(), "pool 10.1.0.0/16 overlaps pool 10.0.0.0/8");
    ipam.apply(0, &Command::AddPool { pool: pool("172.30.0.0/16") }).unwrap();
    ipam.apply(0, &Command::DisablePool { base: net("10.0.0.0/8") }).unwrap();
    ipam.apply(0, &create("b")).unwrap();
    assert_eq!(ipam.subnets(&"b".into())[0].net, net("172.30.0.0/24"));
    assert_eq!(ipam.subnets(&"a".into())[0].net, net("10.0.0.0/24"), "what exists stays");
    assert_eq!(ipam.audit(), Ok(()));
}

#[test]
fn explanations_name_the_holder_the_route_and_the_pool() {
    let mut ipam = Ipam::new(Config::default());
    create(&mut ipam, "a", "192.168.0.0/24");
    ipam.apply(0, &Command::Exclude { by: "n1".into(), nets: vec![net("10.9.0.0/16")] }).unwrap();
    let explain = |addr: &str| ipam.explain(addr.parse().unwrap()).to_string();
    assert_eq!(
        explain("192.168.0.255"),
        "192.168.0.255 is the first or last address of 192.168.0.0/24 of network a"
    );
    assert_eq!(explain("192.168.0.7"), "192.168.0.7 lies in 192.168.0.0/24 of network a and is free");
    assert_eq!(
        explain("10.9.1.1"),
        "10.9.1.1 lies in no subnet; n1 uses 10.9.0.0/16; a subnet can be cut from 10.0.0.0/8"
    );
    assert_eq!(explain("fe80::1"), "fe80::1 lies in no subnet");
}

fn create(ipam: &mut Ipam, network: &str, subnet: &str) {
    let subnets = vec![SubnetRequest { subnet: Some(net(subnet)), ..SubnetRequest::default() }];
    ipam.apply(0, &Command::CreateNetwork { network: network.into(), subnets }).unwrap();
}

fn grow(ipam: &mut Ipam, network: &str, subnet: &str) -> Result<Vec<Subnet>, Denied> {
    let subnet = SubnetRequest { subnet: Some(net(subnet)), ..SubnetRequest::default() };
    match ipam.apply(0, &Command::GrowNetwork { network: network.into(), subnet })? {
        Granted::Network(subnets) => Ok(subnets),
        other => panic!("{other:?}"),
    }
}

fn acquire(ipam: &mut Ipam, task: &str) -> Result<Lease, Denied> {
    let want = Want { network: NetworkKey::new("a"), owner: Owner::Task(task.into()), prefer: None };
    ipam.apply(0, &Command::Acquire { wants: vec![want] }).map(|granted| leases(granted).remove(0))
}

fn release(ipam: &mut Ipam, at_ms: u64, task: &str) {
    ipam.apply(at_ms, &Command::ReleaseOwner { owner: Owner::Task(task.into()) }).unwrap();
}

fn leases(granted: Granted) -> Vec<Lease> {
    match granted {
        Granted::Leases(leases) => leases,
        other => panic!("{other:?}"),
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}
