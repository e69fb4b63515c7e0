//! Two owners of one UDP port: some VXLAN networks go to a socket, the others to the kernel's tunnel.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, reason = "tests")]
#![allow(clippy::disallowed_types, clippy::cast_possible_truncation, reason = "tests send real traffic")]

mod common;

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use common::{name, netns, settle, tcp, vni, wire};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType,
    SockaddrStorage, recvmsg, sendmsg, sendto, setsockopt, socket, sockopt::UdpGroSegment,
};
use overlay_core::{MacAddr, VXLAN_PORT};
use overlay_linux::link::{Desired, FdbEntry, Link, NeighbourKey, Netlink, Vxlan};
use overlay_linux::netns::NetNs;
use overlay_linux::nft::{
    BaseChain, Chain, Field, Hook, Nft, Rule, Ruleset, Set, Stmt, TableKey, Target, Type, Verdict,
};

/// The network of the socket, and the kernel's.
const OURS: u32 = 0x00_ab_cd;
const KERNELS: u32 = 0x00_ab_ce;
const SOCKET_PORT: u16 = 4790;

#[test]
fn a_socket_and_a_tunnel_share_a_port_over_ipv4() {
    shared_port("a_socket_and_a_tunnel_share_a_port_over_ipv4", "10.77.0.1/24", "10.77.0.2/24");
}

#[test]
fn a_socket_and_a_tunnel_share_a_port_over_ipv6() {
    shared_port("a_socket_and_a_tunnel_share_a_port_over_ipv6", "fd77::1/64", "fd77::2/64");
}

fn shared_port(test: &str, one: &str, other: &str) {
    let (Some(a), Some(b)) = (netns(test), netns(test)) else { return };
    wire((&a, one), (&b, other));
    let ip = |net: &str| net.parse::<ipnet::IpNet>().unwrap().addr();
    let (ip_a, ip_b) = (ip(one), ip(other));
    tunnel(&a, (ip_a, 1), (ip_b, 2));
    tunnel(&b, (ip_b, 2), (ip_a, 1));
    let receiver = b.run(|| UdpSocket::bind((ip_b, SOCKET_PORT))).unwrap().unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    setsockopt(&receiver, UdpGroSegment, &true).unwrap();
    let mut nft = Nft::open_in(&b).unwrap();
    nft.sync(&steer("eth0")).unwrap();
    assert!(nft.sync(&steer("eth0")).unwrap().ops.is_empty(), "the kernel shows what was written");

    let sender = a.run(|| UdpSocket::bind((ip_a, 0))).unwrap().unwrap();
    let to = SocketAddr::new(ip_b, VXLAN_PORT);
    let hello = datagram(OURS, 100);
    tcp(&a, &b, ip_b); // the wire carries: what is sent from here on arrives
    sender.send_to(&hello, to).unwrap();
    assert_eq!(receive(&receiver), (hello.clone(), None, sender.local_addr().unwrap().port()));

    // Joined datagrams arrive as they were sent.
    let large: Vec<u8> = (0..40).flat_map(|at| datagram(OURS, if at < 39 { 1400 } else { 700 })).collect();
    let message = [ControlMessage::UdpGsoSegments(&1400)];
    let address = SockaddrStorage::from(to);
    let iov = [IoSlice::new(&large)];
    sendmsg(sender.as_raw_fd(), &iov, &message, MsgFlags::empty(), Some(&address)).unwrap();
    let (received, segment, _) = receive(&receiver);
    assert_eq!((received.len(), segment), (large.len(), Some(1400)));
    assert!(received == large);

    // A checksum that is already in the datagram is corrected, so that a wrong one stays wrong.
    send_raw(&a, (ip_a, ip_b), &hello, Checksum::Right);
    assert_eq!(receive(&receiver).0, hello);
    send_raw(&a, (ip_a, ip_b), &datagram(OURS, 200), Checksum::Wrong);
    if ip_b.is_ipv4() {
        // IPv6 sockets take no datagrams without a checksum.
        send_raw(&a, (ip_a, ip_b), &hello, Checksum::None);
        assert_eq!(receive(&receiver).0, hello);
    }

    // Of other networks the socket sees nothing, and the tunnel misses nothing.
    for stranger in [datagram(KERNELS, 100), datagram(OURS << 1, 100), vec![8; 9]] {
        sender.send_to(&stranger, to).unwrap();
    }
    let (task_a, task_b) = (Ipv4Addr::new(10, 0, 1, 1), Ipv4Addr::new(10, 0, 1, 2));
    assert_eq!(tcp(&a, &b, task_b.into()), IpAddr::from(task_a));
    assert_eq!(tcp(&b, &a, task_a.into()), IpAddr::from(task_b));
    sender.send_to(&hello, to).unwrap();
    assert_eq!(receive(&receiver).0, hello, "nothing came between");
}

/// What a node would install on each device through which tunnels reach it.
fn steer(device: &str) -> Ruleset {
    let ours = || {
        Rule::new()
            .when(Field::UdpDestination, VXLAN_PORT)
            .when_in_set(Field::VxlanVni, "vnis")
            .then(Stmt::Counter)
    };
    let ingress = Chain::base(BaseChain::filter(Hook::Ingress { device: device.into() }, 0))
        .rule(ours().set(Target::UdpDestination, SOCKET_PORT).verdict(Verdict::Accept))
        .rule(ours().set(Target::UnsummedUdpDestination, SOCKET_PORT).verdict(Verdict::Accept));
    let mut ruleset = Ruleset::default();
    let table = ruleset.table(TableKey::netdev("steer"));
    table.set("vnis", Set::keys([Type::Vni]).member(vni(OURS)).member(vni(7))).chain("ingress", ingress);
    ruleset
}

/// The kernel's tunnel between the hosts, with the address 10.0.1.`number` at this end.
fn tunnel(host: &NetNs, (local, number): (IpAddr, u8), (remote, other): (IpAddr, u8)) {
    let address = |number| Ipv4Addr::new(10, 0, 1, number);
    let dev = name("ov1");
    let mut desired = Desired::default();
    let link = Link::vxlan(Vxlan::new(vni(KERNELS), local)).with_mtu(1430_u32);
    let net = ipnet::Ipv4Net::new(address(number), 24).unwrap();
    desired.links.insert(dev.clone(), link.with_mac(MacAddr::from_ipv4(address(number))).with_address(net));
    let mac = MacAddr::from_ipv4(address(other));
    desired.neighbours.insert(NeighbourKey { dev: dev.clone(), ip: address(other).into() }, mac);
    desired.fdb.insert(FdbEntry { dev, mac, dst: remote, vni: None });
    let netlink = Netlink::open_in(host).unwrap();
    if netlink.interface("un0").unwrap().is_some() {
        desired.links.insert(name("un0"), Link::existing());
    }
    settle(&netlink, &desired);
}

/// A VXLAN datagram of `len` bytes whose frame nobody could use.
fn datagram(vni: u32, len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..len).map(|at| (at * 7 + len) as u8).collect();
    let [_, high, mid, low] = vni.to_be_bytes();
    bytes[..8].copy_from_slice(&[8, 0, 0, 0, high, mid, low, 0]);
    bytes
}

/// One datagram or several joined ones: the bytes, the length of each, and the sender's port.
fn receive(socket: &UdpSocket) -> (Vec<u8>, Option<i32>, u16) {
    let mut bytes = vec![0; 65536];
    let mut iov = [IoSliceMut::new(&mut bytes)];
    let mut space = nix::cmsg_space!(i32);
    let received =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut iov, Some(&mut space), MsgFlags::empty())
            .unwrap();
    let segment = received.cmsgs().unwrap().find_map(|message| {
        if let ControlMessageOwned::UdpGroSegments(size) = message { Some(size) } else { None }
    });
    let (from, len) = (received.address.unwrap(), received.bytes);
    let port = from.as_sockaddr_in().map(nix::sys::socket::SockaddrIn::port);
    let port = port.or_else(|| from.as_sockaddr_in6().map(nix::sys::socket::SockaddrIn6::port)).unwrap();
    bytes.truncate(len);
    (bytes, segment, port)
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Checksum {
    Right,
    Wrong,
    None,
}

/// Sends to the tunnels' port with a checksum that no device computes any more.
fn send_raw(host: &Arc<NetNs>, (from, to): (IpAddr, IpAddr), payload: &[u8], checksum: Checksum) {
    let len = (payload.len() + 8) as u16;
    let mut bytes = Vec::new();
    for field in [40_000, VXLAN_PORT, len, 0] {
        bytes.extend(u16::to_be_bytes(field));
    }
    bytes.extend(payload);
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let mut summed: Vec<u8> = [octets(from), octets(to), vec![0, 17], len.to_be_bytes().to_vec()].concat();
    summed.extend(&bytes);
    let mut sum: u32 =
        summed.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = match checksum {
        Checksum::Right => !(sum as u16),
        Checksum::Wrong => !(sum as u16) ^ 0x0100,
        Checksum::None => 0,
    };
    bytes[6..8].copy_from_slice(&sum.to_be_bytes());
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let raw: OwnedFd =
        host.run(|| socket(family, SockType::Raw, SockFlag::empty(), SockProtocol::Udp)).unwrap().unwrap();
    let address = SockaddrStorage::from(SocketAddr::new(to, 0));
    sendto(raw.as_raw_fd(), &bytes, &address, MsgFlags::empty()).unwrap();
}
