//! Ports of a user-space plane: several on one host, devices that vanish, floods.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "real traffic")]

mod common;
mod user_support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::{name, netns, vni};
use ipnet::IpNet;
use overlay_core::{Location, MacAddr, Network, PortId};
use overlay_linux::link::{Desired, Link, Netlink, Peer, Scope};
use overlay_linux::netns::NetNs;
use overlay_linux::user::{Attachment, PacketSocket, PlaneConfig, PlaneError, PlaneStats, UserPlane};
use user_support::{VNI, ping, transfer};

/// A host with a plane and tasks 1, 2, ... with addresses 10.0.1.1, 10.0.1.2, ...
struct Host {
    netns: Arc<NetNs>,
    tasks: Vec<Arc<NetNs>>,
    plane: UserPlane,
}

#[test]
fn tasks_of_one_host_reach_each_other() {
    let Some(host) = Host::new("tasks_of_one_host_reach_each_other", 2, false) else { return };
    for (from, to) in [(0, 1), (1, 0)] {
        ping(&host.tasks[from], ip(to), 56);
        transfer(&host.tasks[from], &host.tasks[to], ip(to), 10 << 20);
    }
    let stats = host.plane.stats();
    let port = &stats.ports[&port(1)];
    assert!(port.sent_frames * 10_000 < port.sent_bytes, "super-frames stay whole: {port:?}");
    assert_eq!((stats.underlay.sent_datagrams, stats.vtep.delivered > 0), (0, true));
}

#[test]
fn a_flood_reaches_every_other_task() {
    let Some(host) = Host::new("a_flood_reaches_every_other_task", 3, true) else { return };
    ping(&host.tasks[0], ip(1), 56);
    let bind = |task: &NetNs| task.run(|| UdpSocket::bind("0.0.0.0:67")).unwrap().unwrap();
    let sockets: Vec<_> = host.tasks.iter().map(|task| bind(task)).collect();
    sockets[0].set_broadcast(true).unwrap();
    let mut buffer = [0; 16];
    for socket in &sockets[1..] {
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let heard = (0..50).any(|_| {
            sockets[0].send_to(b"who is there", "10.0.1.255:67").unwrap();
            socket.recv(&mut buffer).is_ok()
        });
        assert!(heard && buffer.starts_with(b"who is there"));
    }
}

#[test]
fn a_port_whose_device_vanished_is_detached_and_can_come_back() {
    let test = "a_port_whose_device_vanished_is_detached_and_can_come_back";
    let Some(mut host) = Host::new(test, 2, false) else { return };
    ping(&host.tasks[0], ip(1), 56);
    let netlink = Netlink::open_in(&host.netns).unwrap();
    netlink.delete_link(&name("ve1")).unwrap();
    let gone = wait(&host.plane, |stats| stats.ports[&port(1)].gone);
    assert!(!gone.ports[&port(0)].gone);
    host.tasks[1] = netns(test).unwrap();
    host.attach(1);
    ping(&host.tasks[0], ip(1), 56);
    assert!(!host.plane.stats().ports[&port(1)].gone);

    // An interface that is down comes up again: its port stays.
    let mut down = Desired::default();
    down.links.insert(name("ve1"), Link { up: false, ..Link::existing() });
    let scope = Scope::links(["zz"]);
    assert!(netlink.converge(&scope, &down).unwrap().is_clean());
    thread::sleep(Duration::from_millis(50));
    netlink.set_up(&name("ve1")).unwrap();
    ping(&host.tasks[0], ip(1), 56);
    host.plane.detach(port(1));
    assert!(!host.plane.stats().ports.contains_key(&port(1)));
}

#[test]
fn a_port_belongs_to_one_plane_and_an_address_to_one_listener() {
    let test = "a_port_belongs_to_one_plane_and_an_address_to_one_listener";
    let Some(host) = Host::new(test, 1, false) else { return };
    let second = host.netns.run(|| UserPlane::start(PlaneConfig::default())).unwrap();
    assert!(matches!(second, Err(PlaneError::Listen { .. })));
    let group =
        Network { stations: [(MacAddr::new([1; 6]), Location::Port(port(0)))].into(), ..Network::default() };
    assert!(matches!(host.plane.set_network(vni(9), group), Err(PlaneError::Network(_))));
}

impl Host {
    fn new(test: &str, tasks: u8, flood: bool) -> Option<Self> {
        let netns = netns(test)?;
        let plane = netns.run(|| UserPlane::start(PlaneConfig::default())).unwrap().unwrap();
        let tasks: Vec<_> = (0..tasks).map(|_| common::netns(test).unwrap()).collect();
        let host = Self { netns, tasks, plane };
        let all = || 0..host.tasks.len();
        all().for_each(|number| host.attach(number));
        let network = Network {
            stations: all().map(|number| (mac(number), Location::Port(port(number)))).collect(),
            neighbours: all().map(|number| (ip(number), mac(number))).collect(),
            flood,
            ..Network::default()
        };
        host.plane.set_network(vni(VNI), network).unwrap();
        for task in &host.tasks {
            allow_ping(task);
        }
        Some(host)
    }

    fn attach(&self, number: usize) {
        let peer = Peer::new(self.tasks[number].clone(), name("eth0"))
            .with_mac(mac(number))
            .with_address(IpNet::new(ip(number), 24).unwrap());
        let link = format!("ve{number}");
        let mut desired = Desired::default();
        desired.links.insert(name(&link), Link::veth(peer));
        desired.sysctls.insert(format!("net/ipv6/conf/{link}/disable_ipv6"), "1".to_owned());
        desired.sysctls.insert(format!("net/ipv4/conf/{link}/arp_ignore"), "8".to_owned());
        let netlink = Netlink::open_in(&self.netns).unwrap();
        assert!(netlink.converge(&Scope::links([&link]), &desired).unwrap().is_clean());
        let index = netlink.interface(&link).unwrap().unwrap().index;
        let socket = self.netns.run(|| PacketSocket::open(index)).unwrap().unwrap();
        self.plane.attach(port(number), Attachment::Packet(socket)).unwrap();
        allow_ping(&self.tasks[number]);
    }
}

fn allow_ping(task: &NetNs) {
    let mut inside = Desired::default();
    inside.sysctls.insert("net.ipv4.ping_group_range".to_owned(), "0 0".to_owned());
    user_support::apply(&Netlink::open_in(task).unwrap(), &inside);
}

fn wait(plane: &UserPlane, until: impl Fn(&PlaneStats) -> bool) -> PlaneStats {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let stats = plane.stats();
        if until(&stats) {
            return stats;
        }
        assert!(Instant::now() < deadline, "{stats:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn port(number: usize) -> PortId {
    PortId::new(u32::try_from(number).unwrap())
}

fn ip(number: usize) -> IpAddr {
    let SocketAddr::V4(first) = "10.0.1.1:0".parse().unwrap() else { unreachable!() };
    Ipv4Addr::from_bits(first.ip().to_bits() + u32::try_from(number).unwrap()).into()
}

fn mac(number: usize) -> MacAddr {
    MacAddr::new([2, 0x42, 10, 0, 1, u8::try_from(number).unwrap() + 1])
}
