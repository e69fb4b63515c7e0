//! Small worlds for the tests: namespaces, an underlay between two hosts, traffic.
#![allow(dead_code, unreachable_pub, clippy::print_stdout, reason = "each test uses a part of it")]
#![allow(clippy::disallowed_types, clippy::unwrap_used, reason = "tests send real traffic")]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use overlay_core::{MacAddr, Vni};
use overlay_linux::link::{
    Desired, FdbEntry, Link, LinkName, NeighbourKey, Netlink, Peer, Report, Route, Scope, Vxlan,
};
use overlay_linux::netns::NetNs;

/// A fresh namespace, or a line that says that the test cannot run.
pub fn netns(test: &str) -> Option<Arc<NetNs>> {
    match NetNs::create() {
        Ok(netns) => Some(Arc::new(netns)),
        Err(error) => {
            println!("skipped: {test} (no namespace: {error})");
            None
        }
    }
}

pub fn name(name: &str) -> LinkName {
    LinkName::new(name).unwrap()
}

pub fn vni(vni: u32) -> Vni {
    Vni::new(vni).unwrap()
}

pub fn scope() -> Scope {
    Scope::links(["ob", "ov", "ve", "ofabric", "un"]).with_tables(1000..=1999).with_rules(0..=199)
}

pub fn converge(netlink: &Netlink, desired: &Desired) -> Report {
    let report = netlink.converge(&scope(), desired).unwrap();
    assert!(report.is_clean(), "{report}");
    report
}

/// Once to do it, once to see that nothing is left.
pub fn settle(netlink: &Netlink, desired: &Desired) {
    converge(netlink, desired);
    let again = converge(netlink, desired);
    assert!(again.is_idle(), "{again}");
}

/// One task of the overlay test network 10.0.1.0/24.
#[derive(Clone)]
pub struct Task {
    pub netns: Arc<NetNs>,
    pub ip: Ipv4Addr,
}

/// A host's part of an overlay network with VNI 4097: bridge, tunnel, its task, and the way to the other task.
pub fn overlay(host: IpAddr, task: &Task, other_host: IpAddr, other: Ipv4Addr) -> Desired {
    let (bridge, tunnel) = (name("ob001001"), name("ov001001"));
    let mut desired = Desired::default();
    desired.links.insert(bridge.clone(), Link::bridge().with_mtu(1450_u32));
    let vxlan = Link::vxlan(Vxlan::new(vni(4097), host).proxied());
    desired.links.insert(tunnel.clone(), vxlan.with_mtu(1450_u32).with_master(bridge.clone()));
    let peer = Peer::new(task.netns.clone(), name("eth0"))
        .with_mac(MacAddr::from_ipv4(task.ip))
        .with_mtu(1450_u32)
        .with_address(ipnet::Ipv4Net::new(task.ip, 24).map(ipnet::IpNet::V4).unwrap())
        .with_route(Route::default_via("10.0.1.1".parse().unwrap()));
    desired.links.insert(name("ve1"), Link::veth(peer).with_mtu(1450_u32).with_master(bridge));
    let mac = MacAddr::from_ipv4(other);
    desired.neighbours.insert(NeighbourKey { dev: tunnel.clone(), ip: other.into() }, mac);
    desired.fdb.insert(FdbEntry { dev: tunnel, mac, dst: other_host, vni: None });
    desired
}

/// Joins two hosts by a wire; `a` and `b` are their addresses with the length of the network.
pub fn wire(a: (&NetNs, &str), b: (&Arc<NetNs>, &str)) {
    let peer = Peer::new(b.0.clone(), name("eth0")).with_address(b.1.parse::<ipnet::IpNet>().unwrap());
    let mut desired = Desired::default();
    desired.links.insert(name("un0"), Link::veth(peer).with_address(a.1.parse::<ipnet::IpNet>().unwrap()));
    let report = Netlink::open_in(a.0).unwrap().converge(&Scope::links(["un"]), &desired).unwrap();
    assert!(report.is_clean(), "{report}");
}

/// A megabyte from `client` to a server in `server`; returns what the server believes to be the client's address.
pub fn tcp(client: &NetNs, server: &NetNs, ip: IpAddr) -> IpAddr {
    const LEN: usize = 1 << 20;
    let listener = server.run(|| TcpListener::bind(SocketAddr::new(ip, 0))).unwrap().unwrap();
    let to = listener.local_addr().unwrap();
    let served = thread::spawn(move || {
        let (mut stream, from) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), LEN);
        stream.write_all(b"done").unwrap();
        from.ip()
    });
    let mut stream = client.run(|| TcpStream::connect_timeout(&to, PATIENCE)).unwrap().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&vec![7; LEN]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "done");
    served.join().unwrap()
}

/// An ICMP echo with `len` bytes of payload. Needs `net.ipv4.ping_group_range` in the namespace.
pub fn ping(from: &NetNs, to: IpAddr, len: usize) {
    use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
    let socket = from
        .run(|| socket(AddressFamily::Inet, SockType::Datagram, SockFlag::empty(), SockProtocol::Icmp))
        .unwrap()
        .unwrap();
    let socket = UdpSocket::from(socket);
    socket.connect(SocketAddr::new(to, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut echo = vec![0; 8 + len];
    echo[0] = 8;
    let mut reply = vec![0; 65536];
    // The kernel may take up to a second to notice that a new veth has a carrier; until then it drops.
    let received = (0..50).find_map(|_| {
        socket.send(&echo).unwrap();
        socket.recv(&mut reply).ok()
    });
    assert_eq!((received, reply[0]), (Some(8 + len), 0), "an echo reply as long as the request");
}

pub const PATIENCE: Duration = Duration::from_secs(5);
