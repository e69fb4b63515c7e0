//! Two hosts with a task each, joined by an overlay network of which each end is a user-space or a kernel plane.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "tests")]
#![allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::print_stdout, reason = "real traffic")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use overlay_core::seal::{Algorithm, KeyId, SealKey};
use overlay_core::{Location, MacAddr, Network, PortId, mtu};
use overlay_linux::link::{Desired, FdbEntry, Link, NeighbourKey, Netlink, Peer, Scope, Vxlan};
use overlay_linux::netns::NetNs;
use overlay_linux::user::{
    Attachment, Integrity, PacketSocket, PlaneConfig, PlaneStats, Tap, UserPlane, limit_gso,
};

use crate::common::{PATIENCE, name, netns, vni, wire};

pub const VNI: u32 = 4097;
pub const PORT: PortId = PortId::new(7);

/// What one end of the network is made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    Packet,
    Tap,
    Kernel,
}

#[derive(Clone)]
pub struct Plan {
    pub ends: [End; 2],
    pub underlay_v6: bool,
    pub sealed: Option<Algorithm>,
    /// The MTU of the tasks' interfaces; `None`: what fits.
    pub mtu: Option<u16>,
    pub config: PlaneConfig,
}

impl Plan {
    pub fn new(a: End, b: End) -> Self {
        Self { ends: [a, b], underlay_v6: false, sealed: None, mtu: None, config: PlaneConfig::default() }
    }

    pub fn inner(mut self) -> Self {
        self.config.integrity = Integrity::Inner;
        self
    }
}

pub struct Side {
    pub host: Arc<NetNs>,
    pub netlink: Netlink,
    pub ip: IpAddr,
    pub task: Arc<NetNs>,
    pub addrs: [IpAddr; 2],
    pub mac: MacAddr,
    pub plane: Option<UserPlane>,
}

pub struct World {
    pub a: Side,
    pub b: Side,
    pub plan: Plan,
}

pub fn world(test: &str, plan: Plan) -> Option<World> {
    let (a, b) = (netns(test)?, netns(test)?);
    let tap = || std::fs::File::options().read(true).write(true).open("/dev/net/tun");
    if plan.ends.contains(&End::Tap)
        && let Err(error) = tap()
    {
        println!("skipped: {test} (/dev/net/tun: {error})");
        return None;
    }
    let (ip_a, ip_b, len) =
        if plan.underlay_v6 { ("fd77::1", "fd77::2", 64) } else { ("10.77.0.1", "10.77.0.2", 24) };
    wire((&a, &format!("{ip_a}/{len}")), (&b, &format!("{ip_b}/{len}")));
    let side = |host: Arc<NetNs>, ip: &str, number: u8| Side {
        netlink: Netlink::open_in(&host).unwrap(),
        host,
        ip: ip.parse().unwrap(),
        task: netns(test).unwrap(),
        addrs: [format!("10.0.1.{number}").parse().unwrap(), format!("fd01::{number}").parse().unwrap()],
        mac: MacAddr::new([2, 0x42, 10, 0, 1, number]),
        plane: None,
    };
    let mut world = World { a: side(a, ip_a, 5), b: side(b, ip_b, 6), plan };
    let World { a, b, plan } = &mut world;
    set_up(a, b, plan, plan.ends[0]);
    set_up(b, a, plan, plan.ends[1]);
    for task in [&world.a.task, &world.b.task] {
        let mut inside = Desired::default();
        inside.sysctls.insert("net.ipv4.ping_group_range".to_owned(), "0 0".to_owned());
        apply(&Netlink::open_in(task).unwrap(), &inside);
    }
    Some(world)
}

fn set_up(own: &mut Side, other: &Side, plan: &Plan, end: End) {
    let inner = match plan.sealed {
        Some(_) => mtu::inner_sealed(1500, plan.underlay_v6),
        None => mtu::inner(1500, plan.underlay_v6),
    };
    let inner = plan.mtu.unwrap_or(inner);
    let peer = Peer::new(own.task.clone(), name("eth0"))
        .with_mac(own.mac)
        .with_mtu(inner)
        .with_address(IpNet::new(own.addrs[0], 24).unwrap())
        .with_address(IpNet::new(own.addrs[1], 64).unwrap());
    let mut desired = Desired::default();
    if end == End::Kernel {
        kernel(own, other, &mut desired, peer);
        apply(&own.netlink, &desired);
        return;
    }
    let device = if end == End::Packet {
        desired.links.insert(name("ve1"), Link::veth(peer).with_mtu(inner));
        for value in ["ipv6/conf/ve1/disable_ipv6 1", "ipv4/conf/ve1/arp_ignore 8"] {
            let (key, value) = value.split_once(' ').unwrap();
            desired.sysctls.insert(format!("net/{key}"), value.to_owned());
        }
        apply(&own.netlink, &desired);
        let index = own.netlink.interface("ve1").unwrap().unwrap().index;
        Attachment::Packet(own.host.run(|| PacketSocket::open(index)).unwrap().unwrap())
    } else {
        let tap = own.task.run(|| Tap::open(&name("eth0"))).unwrap().unwrap();
        let mut link = Link::existing().with_mac(own.mac).with_mtu(inner);
        link.addresses = peer.addresses;
        desired.links.insert(name("eth0"), link);
        let inside = Netlink::open_in(&own.task).unwrap();
        assert!(inside.converge(&Scope::links(["eth"]), &desired).unwrap().is_clean());
        Attachment::Tap(tap)
    };
    let inside = Netlink::open_in(&own.task).unwrap();
    limit_gso(&own.task, inside.interface("eth0").unwrap().unwrap().index).unwrap();
    let mut config = plan.config.clone();
    config.local = SocketAddr::new(if plan.underlay_v6 { "::" } else { "0.0.0.0" }.parse().unwrap(), 4789);
    config.session = PlaneConfig::default().session;
    let plane = own.host.run(|| UserPlane::start(config)).unwrap().unwrap();
    plane.attach(PORT, device).unwrap();
    if let Some(algorithm) = plan.sealed {
        plane.set_keys(vni(VNI), KeyId::new(1), keys(algorithm, &[1])).unwrap();
    }
    plane.set_network(vni(VNI), network(own, other, plan.sealed.is_some())).unwrap();
    own.plane = Some(plane);
}

pub fn network(own: &Side, other: &Side, sealed: bool) -> Network {
    let neighbours = |side: &Side| side.addrs.map(|addr| (addr, side.mac));
    Network {
        stations: [(own.mac, Location::Port(PORT)), (other.mac, Location::Endpoint(other.ip))].into(),
        neighbours: [neighbours(own), neighbours(other)].concat().into_iter().collect(),
        sealed,
        ..Network::default()
    }
}

pub fn keys(algorithm: Algorithm, ids: &[u16]) -> BTreeMap<KeyId, SealKey> {
    let key = |id: u16| SealKey::new(algorithm, &vec![id as u8; algorithm.key_len()]).unwrap();
    ids.iter().map(|id| (KeyId::new(*id), key(*id))).collect()
}

fn kernel(own: &Side, other: &Side, desired: &mut Desired, peer: Peer) {
    let mtu = peer.mtu.unwrap();
    let (bridge, tunnel) = (name("ob1"), name("ov1"));
    desired.links.insert(bridge.clone(), Link::bridge().with_mtu(mtu));
    let vxlan = Link::vxlan(Vxlan::new(vni(VNI), own.ip).proxied()).with_mtu(mtu);
    desired.links.insert(tunnel.clone(), vxlan.with_master(bridge.clone()));
    desired.links.insert(name("ve1"), Link::veth(peer).with_mtu(mtu).with_master(bridge));
    for ip in other.addrs {
        desired.neighbours.insert(NeighbourKey { dev: tunnel.clone(), ip }, other.mac);
    }
    desired.fdb.insert(FdbEntry { dev: tunnel, mac: other.mac, dst: other.ip, vni: None });
}

pub fn apply(netlink: &Netlink, desired: &Desired) {
    let report = netlink.converge(&Scope::links(["ob", "ov", "ve"]), desired).unwrap();
    assert!(report.is_clean(), "{report}");
}

impl World {
    /// Everything that two tasks do with each other, in both directions.
    pub fn exercise(&self, bytes: usize) {
        for family in [0, 1] {
            for (from, to) in [(&self.a, &self.b), (&self.b, &self.a)] {
                ping(&from.task, to.addrs[family], 56);
                datagrams(&from.task, &to.task, to.addrs[family]);
                transfer(&from.task, &to.task, to.addrs[family], bytes);
            }
        }
    }

    pub fn stats(&self) -> [PlaneStats; 2] {
        [&self.a, &self.b].map(|side| side.plane.as_ref().map(UserPlane::stats).unwrap_or_default())
    }
}

/// Bytes over TCP, each checked for being the right one at its place.
pub fn transfer(client: &NetNs, server: &NetNs, ip: IpAddr, len: usize) -> Duration {
    let listener = server.run(|| TcpListener::bind(SocketAddr::new(ip, 0))).unwrap().unwrap();
    let to = listener.local_addr().unwrap();
    let pattern = Arc::new(pattern());
    let expected = pattern.clone();
    let served = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut at, mut buffer) = (0, vec![0; 256 << 10]);
        loop {
            let got = stream.read(&mut buffer).unwrap();
            if got == 0 {
                break;
            }
            let from = at % BLOCK;
            assert!(buffer[..got] == expected[from..from + got], "byte {at} and following {got} are wrong");
            at += got;
        }
        assert_eq!(at, len);
        stream.write_all(b"done").unwrap();
    });
    let mut stream = client.run(|| TcpStream::connect_timeout(&to, PATIENCE)).unwrap().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let (mut at, start) = (0, Instant::now());
    while at < len {
        let part = (len - at).min(BLOCK / 2);
        stream.write_all(&pattern[at % BLOCK..at % BLOCK + part]).unwrap();
        at += part;
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "done");
    served.join().unwrap();
    start.elapsed()
}

/// A block of noise, twice: any part of the repeated block is a slice of it.
fn pattern() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block: Vec<u8> = (0..BLOCK.div_ceil(8))
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .take(BLOCK)
        .collect();
    block.extend_from_within(..);
    block
}

/// Datagrams of many lengths, and bursts that the kernel hands over as one: each comes back as it was.
pub fn datagrams(client: &NetNs, server: &NetNs, ip: IpAddr) {
    let bind = |netns: &NetNs, ip: IpAddr| {
        let socket = netns.run(|| UdpSocket::bind(SocketAddr::new(ip, 0))).unwrap().unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        socket
    };
    let any: IpAddr = if ip.is_ipv4() { "0.0.0.0" } else { "::" }.parse().unwrap();
    let (client, server) = (bind(client, any), bind(server, ip));
    client.connect(server.local_addr().unwrap()).unwrap();
    let mut buffer = vec![0; 65536];
    for len in [0, 1, 17, 64, 511, 1000, 1300] {
        let sent: Vec<u8> = (0..len).map(|index| index as u8).collect();
        client.send(&sent).unwrap();
        let (got, from) = server.recv_from(&mut buffer).unwrap();
        assert!(buffer[..got] == sent, "{len} bytes of datagram arrive as {got}");
        server.send_to(&sent, from).unwrap();
        let got = client.recv(&mut buffer).unwrap();
        assert!(buffer[..got] == sent, "{len} bytes of datagram come back as {got}");
    }
    // Ten datagrams and a shorter one, as one super-frame.
    for size in [1000, 100] {
        let sent: Vec<u8> = (0..size * 10 + size / 3).map(|index| (index / 7) as u8).collect();
        let segment = i32::try_from(size).unwrap();
        nix::sys::socket::setsockopt(&client.as_fd(), nix::sys::socket::sockopt::UdpGsoSegment, &segment)
            .unwrap();
        client.send(&sent).unwrap();
        for part in sent.chunks(size) {
            let got = server.recv(&mut buffer).unwrap();
            assert!(buffer[..got] == *part, "{got} bytes of a burst of {size}");
        }
    }
}

/// An ICMP echo that is answered.
pub fn ping(from: &NetNs, to: IpAddr, len: usize) {
    use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
    let (family, protocol, kind) = if to.is_ipv4() {
        (AddressFamily::Inet, SockProtocol::Icmp, 8)
    } else {
        (AddressFamily::Inet6, SockProtocol::IcmpV6, 128)
    };
    let open = || socket(family, SockType::Datagram, SockFlag::empty(), protocol);
    let socket = UdpSocket::from(from.run(open).unwrap().unwrap());
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut echo = vec![0; 8 + len];
    echo[0] = kind;
    let mut reply = vec![0; 65536];
    // The kernel may take up to a second to notice that a new veth has a carrier; until then it drops.
    let received = (0..50).find_map(|_| {
        if socket.connect(SocketAddr::new(to, 0)).and_then(|()| socket.send(&echo)).is_err() {
            thread::sleep(Duration::from_millis(100));
        }
        socket.recv(&mut reply).ok()
    });
    assert_eq!(received, Some(8 + len), "an echo reply of {to} as long as the request");
}

const BLOCK: usize = 1_048_573;
