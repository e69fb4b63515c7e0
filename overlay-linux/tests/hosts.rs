//! Traffic over what was built: two hosts, joined by a wire, with tasks.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "tests")]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests send real traffic"
)]

mod common;

use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::{Task, converge, name, netns, overlay, ping, settle, tcp, vni, wire};
use nix::sys::socket::{getsockopt, sockopt::IpMtu};
use overlay_core::MacAddr;
use overlay_linux::link::{
    Change, Desired, Family, FdbEntry, Link, NeighbourKey, Netlink, Op, Peer, Route, Rule, Scope, Vxlan,
};
use overlay_linux::netns::NetNs;
use overlay_linux::nft::{BaseChain, Chain, Hook, Nft, Policy, Ruleset, TableKey};

struct Host {
    netns: Arc<NetNs>,
    netlink: Netlink,
    ip: IpAddr,
}

/// Two hosts at 10.77.0.1 and 10.77.0.2.
fn hosts(test: &str) -> Option<(Host, Host)> {
    let (a, b) = (netns(test)?, netns(test)?);
    wire((&a, "10.77.0.1/24"), (&b, "10.77.0.2/24"));
    let host = |netns: Arc<NetNs>, ip: &str| Host {
        netlink: Netlink::open_in(&netns).unwrap(),
        netns,
        ip: ip.parse().unwrap(),
    };
    Some((host(a, "10.77.0.1"), host(b, "10.77.0.2")))
}

/// The wire is ours by name; keep it.
fn keep_wire(mut desired: Desired) -> Desired {
    desired.links.insert(name("un0"), Link::existing());
    desired
}

#[test]
fn tasks_on_two_hosts_reach_each_other() {
    let Some((a, b)) = hosts("tasks_on_two_hosts_reach_each_other") else { return };
    let task = |ip: &str| Task { netns: Arc::new(NetNs::create().unwrap()), ip: ip.parse().unwrap() };
    let (one, two) = (task("10.0.1.5"), task("10.0.1.6"));
    let on_a = keep_wire(overlay(a.ip, &one, b.ip, two.ip));
    let on_b = overlay(b.ip, &two, a.ip, one.ip);
    settle(&a.netlink, &on_a);
    settle(&b.netlink, &on_b);

    for task in [&one, &two] {
        let mut inside = Desired::default();
        inside.sysctls.insert("net.ipv4.ping_group_range".to_owned(), "0 0".to_owned());
        settle(&Netlink::open_in(&task.netns).unwrap(), &inside);
    }
    ping(&one.netns, two.ip.into(), 56);
    ping(&two.netns, one.ip.into(), 1450 - 28);
    assert_eq!(tcp(&one.netns, &two.netns, two.ip.into()), IpAddr::from(one.ip));
    assert_eq!(tcp(&two.netns, &one.netns, one.ip.into()), IpAddr::from(two.ip));
    assert_eq!(path_mtu(&one.netns, two.ip.into()), 1450);

    let inside = Netlink::open_in(&one.netns).unwrap();
    let eth0 = inside.interface("eth0").unwrap().unwrap();
    assert_eq!((eth0.mtu, eth0.mac, eth0.up), (1450, Some("02:42:0a:00:01:05".parse().unwrap()), true));
    let route = inside.route_to("192.0.2.7".parse().unwrap()).unwrap().unwrap();
    assert_eq!((route.via, route.mtu), (Some("10.0.1.1".parse().unwrap()), 1450));
    assert_eq!(inside.default_route(Family::V4).unwrap().unwrap().dev, Some(name("eth0")));

    // Somebody removes what leads to the other task: the next audit brings it back.
    let key = NeighbourKey { dev: name("ov001001"), ip: two.ip.into() };
    let entry = on_a.fdb.first().unwrap().clone();
    let broken = [Change::DeleteNeighbour { key }, Change::DeleteFdb { entry }].map(Op::here);
    assert!(a.netlink.apply(&broken).is_clean());
    assert_eq!(converge(&a.netlink, &on_a).done.len(), 2);
    assert_eq!(tcp(&one.netns, &two.netns, two.ip.into()), IpAddr::from(one.ip));
    assert!(converge(&a.netlink, &on_a).is_idle());
}

#[test]
fn the_fabric_carries_traffic_of_the_hosts() {
    let Some((a, b)) = hosts("the_fabric_carries_traffic_of_the_hosts") else { return };
    let dev = name("ofabric");
    let fabric = |host: &Host, own: &str, other: &Host, others: &str| {
        let mac = |ip: &str| MacAddr::from_ipv4(ip.parse().unwrap());
        let mut desired = Desired::default();
        let address: ipnet::IpNet = format!("{own}/24").parse().unwrap();
        let link = Link::vxlan(Vxlan::new(vni(4096), host.ip)).with_mtu(1450_u32);
        desired.links.insert(dev.clone(), link.with_mac(mac(own)).with_address(address));
        let key = NeighbourKey { dev: dev.clone(), ip: others.parse().unwrap() };
        desired.neighbours.insert(key, mac(others));
        let entry = FdbEntry { dev: dev.clone(), mac: mac(others), dst: other.ip, vni: None };
        desired.fdb.insert(entry);
        let via = Route::default_via(others.parse().unwrap()).onlink(dev.clone()).in_table(1001);
        desired.routes.insert(via);
        desired.rules.insert(Rule::new(Family::V4, 10, 1001).with_iif(dev.clone()).with_mark(0x102, 0xfff));
        // The local table is asked after our rules: the rule with preference 0 goes when 100 is there.
        desired.rules.insert(Rule::new(Family::V4, 100, Route::LOCAL));
        desired.rules.insert(Rule::new(Family::V6, 100, Route::LOCAL));
        for value in ["rp_filter 0", "accept_local 1"] {
            let (key, value) = value.split_once(' ').unwrap();
            desired.sysctls.insert(format!("net.ipv4.conf.ofabric.{key}"), value.to_owned());
        }
        desired.sysctls.insert("net.ipv4.ip_forward".to_owned(), "1".to_owned());
        keep_wire(desired)
    };
    let on_a = fabric(&a, "10.0.0.2", &b, "10.0.0.3");
    let mut on_b = fabric(&b, "10.0.0.3", &a, "10.0.0.2");
    on_b.links.remove(&name("un0"));
    settle(&a.netlink, &on_a);
    settle(&b.netlink, &on_b);
    let (ip_a, ip_b): (IpAddr, IpAddr) = ("10.0.0.2".parse().unwrap(), "10.0.0.3".parse().unwrap());
    assert_eq!(tcp(&a.netns, &b.netns, ip_b), ip_a);
    assert_eq!(tcp(&b.netns, &a.netns, ip_a), ip_b);
    assert_eq!(tcp(&a.netns, &a.netns, "127.0.0.1".parse().unwrap()), "127.0.0.1".parse::<IpAddr>().unwrap());

    let read = |path: &str| a.netns.run(|| std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(read("/proc/sys/net/ipv4/conf/ofabric/accept_local").trim(), "1");
    let observed = a.netlink.observe(&common::scope(), &on_a).unwrap();
    assert_eq!(observed.rules, on_a.rules.iter().cloned().collect::<Vec<_>>());
    assert_eq!(observed.routes, on_a.routes);

    // With an empty desire all of ours goes, and the local table is asked first again.
    let mut nothing = keep_wire(Desired::default());
    for family in [Family::V4, Family::V6] {
        nothing.rules.insert(Rule::new(family, 0, Route::LOCAL));
    }
    settle(&a.netlink, &nothing);
    let names: Vec<String> =
        a.netlink.interfaces().unwrap().iter().map(|link| link.name.to_string()).collect();
    assert_eq!(names, ["lo", "un0"]);
    assert_eq!(a.netlink.on_link_networks().unwrap(), ["10.77.0.0/24".parse().unwrap()].into());
}

#[test]
fn ipv6_tasks_reach_each_other_over_an_ipv6_underlay() {
    let test = "ipv6_tasks_reach_each_other_over_an_ipv6_underlay";
    let (Some(a), Some(b)) = (netns(test), netns(test)) else { return };
    wire((&a, "fd77::1/64"), (&b, "fd77::2/64"));
    let net: ipnet::Ipv6Net = "fd01::/64".parse().unwrap();
    let side = |host: &str, task: &Arc<NetNs>, own: u8, other_host: &str, other: u8| {
        let ip = |n: u8| std::net::Ipv6Addr::from(u128::from(net.network()) + u128::from(n));
        let mac = |n: u8| MacAddr::new([2, 0x42, 0, 0, 0, n]);
        let (bridge, dev) = (name("ob2"), name("ov2"));
        let mut desired = keep_wire(Desired::default());
        desired.links.insert(bridge.clone(), Link::bridge());
        let vxlan = Vxlan::new(vni(4098), host.parse().unwrap()).proxied();
        let vxlan = Link::vxlan(vxlan).with_mtu(1430_u32).with_master(bridge.clone());
        desired.links.insert(dev.clone(), vxlan);
        let peer = Peer::new(task.clone(), name("eth0"))
            .with_mac(mac(own))
            .with_mtu(1430_u32)
            .with_address(ipnet::IpNet::new(ip(own).into(), 64).unwrap());
        desired.links.insert(name("ve2"), Link::veth(peer).with_master(bridge));
        desired.neighbours.insert(NeighbourKey { dev: dev.clone(), ip: ip(other).into() }, mac(other));
        let dst = other_host.parse().unwrap();
        desired.fdb.insert(FdbEntry { dev, mac: mac(other), dst, vni: None });
        (desired, IpAddr::from(ip(own)))
    };
    let (one, two) = (Arc::new(NetNs::create().unwrap()), Arc::new(NetNs::create().unwrap()));
    let (on_a, ip_one) = side("fd77::1", &one, 5, "fd77::2", 6);
    let (mut on_b, ip_two) = side("fd77::2", &two, 6, "fd77::1", 5);
    on_b.links.remove(&name("un0"));
    settle(&Netlink::open_in(&a).unwrap(), &on_a);
    settle(&Netlink::open_in(&b).unwrap(), &on_b);
    assert_eq!(tcp(&one, &two, ip_two), ip_one);
    assert_eq!(tcp(&two, &one, ip_one), ip_two);
}

#[test]
fn isolated_ports_reach_their_host_but_not_each_other() {
    let Some(host) = netns("isolated_ports_reach_their_host_but_not_each_other") else { return };
    let netlink = Netlink::open_in(&host).unwrap();
    let net = |text: &str| text.parse::<ipnet::IpNet>().unwrap();
    let bridge = name("obgw");
    let (one, two) = (Arc::new(NetNs::create().unwrap()), Arc::new(NetNs::create().unwrap()));
    let port = |task: &Arc<NetNs>, address: &str| {
        let peer = Peer::new(task.clone(), name("eth0")).with_address(net(address));
        Link::veth(peer).with_master(bridge.clone())
    };
    let (to_one, to_two) = (port(&one, "172.18.0.2/16"), port(&two, "172.18.0.3/16"));
    let mut desired = Desired::default();
    desired.links.insert(bridge.clone(), Link::bridge().with_address(net("172.18.0.1/16")));
    desired.links.insert(name("ve1"), to_one.clone().isolated());
    desired.links.insert(name("ve2"), to_two.isolated());
    settle(&netlink, &desired);
    tcp(&one, &host, "172.18.0.1".parse().unwrap());
    tcp(&host, &two, "172.18.0.3".parse().unwrap());
    let connect = || {
        let listener = two.run(|| TcpListener::bind("172.18.0.3:0")).unwrap().unwrap();
        let to = listener.local_addr().unwrap();
        one.run(|| TcpStream::connect_timeout(&to, Duration::from_millis(300)).is_ok()).unwrap()
    };
    assert!(!connect());
    desired.links.insert(name("ve1"), to_one);
    settle(&netlink, &desired);
    tcp(&one, &two, "172.18.0.3".parse().unwrap());
}

#[test]
fn a_bridge_asks_netfilter_only_if_its_namespace_says_so() {
    let Some(host) = netns("a_bridge_asks_netfilter_only_if_its_namespace_says_so") else { return };
    let key = |family: &str| format!("net.bridge.bridge-nf-call-{family}");
    if !host.run(|| std::path::Path::new("/proc/sys/net/bridge").exists()).unwrap() {
        println!("skipped: a_bridge_asks_netfilter_only_if_its_namespace_says_so (no br_netfilter)");
        return;
    }
    let netlink = Netlink::open_in(&host).unwrap();
    let (one, two) = (Arc::new(NetNs::create().unwrap()), Arc::new(NetNs::create().unwrap()));
    let port = |task: &Arc<NetNs>, address: &str| {
        let peer =
            Peer::new(task.clone(), name("eth0")).with_address(address.parse::<ipnet::IpNet>().unwrap());
        Link::veth(peer).with_master(name("ob1"))
    };
    let mut desired = Desired::default();
    desired.links.insert(name("ob1"), Link::bridge());
    desired.links.insert(name("ve1"), port(&one, "10.0.1.5/24"));
    desired.links.insert(name("ve2"), port(&two, "10.0.1.6/24"));
    for family in ["iptables", "ip6tables", "arptables"] {
        desired.sysctls.insert(key(family), "0".to_owned());
    }
    settle(&netlink, &desired);
    let mut closed = Ruleset::default();
    let policy = BaseChain { policy: Policy::Drop, ..BaseChain::filter(Hook::Forward, 0) };
    closed.table(TableKey::ip("closed")).chain("forward", Chain::base(policy));
    Nft::open_in(&host).unwrap().sync(&closed).unwrap();
    let to = "10.0.1.6".parse().unwrap();
    tcp(&one, &two, to);

    // As it is where nobody wrote it: the bridge's own switches, which are off, do not count.
    desired.sysctls.insert(key("iptables"), "1".to_owned());
    settle(&netlink, &desired);
    let listener = two.run(|| TcpListener::bind((to, 0))).unwrap().unwrap();
    let at = listener.local_addr().unwrap();
    let connect = || one.run(|| TcpStream::connect_timeout(&at, Duration::from_millis(300)).is_ok()).unwrap();
    assert!(!connect());
}

#[test]
fn a_namespace_goes_with_its_last_holder() {
    let Some((a, b)) = hosts("a_namespace_goes_with_its_last_holder") else { return };
    assert!(a.netlink.interface("un0").unwrap().is_some());
    drop(b);
    let deadline = Instant::now() + Duration::from_secs(10);
    while a.netlink.interface("un0").unwrap().is_some() {
        assert!(Instant::now() < deadline, "the wire's other end is still there");
        thread::sleep(Duration::from_millis(20));
    }
    let gone = a.netlink.converge(&Scope::links(["un"]), &keep_wire(Desired::default())).unwrap();
    assert_eq!(gone.failed[0].1.to_string(), "link \"un0\": set up: no link \"un0\"");
}

/// The longest packet that the kernel sends there in one piece.
fn path_mtu(from: &NetNs, to: IpAddr) -> i32 {
    let socket = from.run(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
    socket.connect((to, 9)).unwrap();
    getsockopt(&socket, IpMtu).unwrap()
}
