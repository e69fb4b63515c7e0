//! Frames as senders build them, and hosts that receive them.
#![allow(dead_code, reason = "each test uses some of it")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use overlay_core::offload::Offload;
use overlay_core::wire::{
    ArpOperation, ArpPacket, Checksum, EtherType, EthernetHeader, Ipv4Header, Ipv6Header, TcpFlags,
    TcpHeader, VxlanHeader, protocol,
};
use overlay_core::{Discard, Encap, Location, MacAddr, Network, PortId, Verdict, Vni, Vtep};

pub const A: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 3); // on port 1
pub const B: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 4); // on port 2
pub const C: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 5); // on another host
pub const A6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 3);
pub const C6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 5);
pub const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
pub const SILENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3));

/// A and B here, C there, one more host that is silent.
pub fn network() -> Network {
    Network {
        peers: [SILENT].into(),
        stations: [
            (mac(A), Location::Port(port(1))),
            (mac(B), Location::Port(port(2))),
            (mac(C), Location::Endpoint(THERE)),
        ]
        .into(),
        neighbours: [(A.into(), mac(A)), (B.into(), mac(B)), (C.into(), mac(C)), (C6.into(), mac(C))].into(),
        ..Network::default()
    }
}

pub fn vtep_with(network: Network) -> Vtep {
    let mut vtep = Vtep::new();
    vtep.set_network(vni(1), network).unwrap();
    vtep
}

/// Some seconds after the start of the test.
pub fn at(seconds: u64) -> Instant {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    *START + Duration::from_secs(seconds)
}

/// The frame lives as long as the test: a verdict borrows it.
pub fn send_at<'a>(vtep: &'a mut Vtep, now: Instant, port: PortId, frame: &[u8]) -> Verdict<'a> {
    vtep.handle_frame(now, port, Offload::NONE, frame.to_vec().leak())
}

pub fn send<'a>(vtep: &'a mut Vtep, port: PortId, frame: &[u8]) -> Verdict<'a> {
    send_at(vtep, at(0), port, frame)
}

pub fn receive_at<'a>(vtep: &'a mut Vtep, now: Instant, from: IpAddr, frame: &[u8]) -> Verdict<'a> {
    vtep.handle_datagram(now, from, datagram(vni(1), frame).leak())
}

pub fn receive<'a>(vtep: &'a mut Vtep, from: IpAddr, payload: &[u8]) -> Verdict<'a> {
    vtep.handle_datagram(at(0), from, payload.to_vec().leak())
}

/// A frame with a payload that is not even IPv4.
pub fn frame(source: MacAddr, destination: MacAddr, payload: &[u8]) -> Vec<u8> {
    framed(source, destination, EtherType::IPV4, payload)
}

pub fn framed(source: MacAddr, destination: MacAddr, ethertype: EtherType, payload: &[u8]) -> Vec<u8> {
    let mut header = [0; EthernetHeader::LEN];
    EthernetHeader { destination, source, ethertype }.emit(&mut header);
    [&header[..], payload].concat()
}

pub fn arp(operation: ArpOperation, sender: (Ipv4Addr, MacAddr), target: Ipv4Addr) -> Vec<u8> {
    let mut packet = [0; ArpPacket::LEN];
    let (sender_ip, sender_mac) = sender;
    ArpPacket { operation, sender_mac, sender_ip, target_mac: MacAddr::ZERO, target_ip: target }
        .emit(&mut packet);
    framed(sender_mac, MacAddr::BROADCAST, EtherType::ARP, &packet)
}

pub fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = [0; Ipv4Header::LEN];
    Ipv4Header {
        traffic_class: 0,
        payload_len: payload.len() as u16,
        identification: 7,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl,
        protocol,
        source,
        destination,
    }
    .emit(&mut header);
    [&header[..], payload].concat()
}

pub fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, next: u8, hops: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = [0; Ipv6Header::LEN];
    Ipv6Header {
        traffic_class: 0,
        flow_label: 0,
        payload_len: payload.len() as u16,
        next_header: next,
        hop_limit: hops,
        source,
        destination,
    }
    .emit(&mut header);
    [&header[..], payload].concat()
}

/// A message with its checksum at byte 2.
pub fn icmpv6(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    let sum = Checksum::new()
        .add_pseudo_header(source.into(), destination.into(), protocol::ICMPV6, message.len() as u16)
        .add_bytes(&message)
        .finish();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// "Who has `target`?"
pub fn solicitation(from: MacAddr, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    neighbour_message(135, from, source, target)
}

pub fn neighbour_message(kind: u8, from: MacAddr, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let destination = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 5);
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    let packet = ipv6(source, destination, protocol::ICMPV6, 255, &icmpv6(source, destination, &message));
    framed(from, MacAddr::new([0x33, 0x33, 0xff, 0, 0, 5]), EtherType::IPV6, &packet)
}

/// A packet to a group, in a frame to its MAC address.
pub fn to_group(from: MacAddr, source: IpAddr, group: IpAddr, payload: &[u8]) -> Vec<u8> {
    match (source, group) {
        (IpAddr::V4(source), IpAddr::V4(group)) => framed(
            from,
            group_mac(group.into()),
            EtherType::IPV4,
            &ipv4(source, group, 17, 64, &udp(payload)),
        ),
        (IpAddr::V6(source), IpAddr::V6(group)) => framed(
            from,
            group_mac(group.into()),
            EtherType::IPV6,
            &ipv6(source, group, 17, 64, &udp(payload)),
        ),
        _ => panic!("addresses of two families"),
    }
}

pub fn udp(payload: &[u8]) -> Vec<u8> {
    [&[0x9c, 0x40, 0, 53][..], &(payload.len() as u16 + 8).to_be_bytes(), &[0, 0], payload].concat()
}

pub fn group_mac(group: IpAddr) -> MacAddr {
    match group {
        IpAddr::V4(group) => {
            let [_, b, c, d] = group.octets();
            MacAddr::new([1, 0, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V6(group) => {
            let [.., a, b, c, d] = group.octets();
            MacAddr::new([0x33, 0x33, a, b, c, d])
        }
    }
}

/// An IGMP message about one group (versions 1 and 2).
pub fn igmp(from: MacAddr, source: Ipv4Addr, kind: u8, group: Ipv4Addr) -> Vec<u8> {
    let mut message = vec![kind, 100, 0, 0];
    message.extend(group.octets());
    igmp_packet(from, source, if kind == 0x17 { Ipv4Addr::new(224, 0, 0, 2) } else { group }, message)
}

/// An IGMP report of version 3: each record has a kind, a group and a number of sources.
pub fn igmp_v3(from: MacAddr, source: Ipv4Addr, records: &[(u8, Ipv4Addr, u16)]) -> Vec<u8> {
    let mut message = vec![0x22, 0, 0, 0, 0, 0, 0, records.len() as u8];
    for (kind, group, sources) in records {
        message.extend([*kind, 0]);
        message.extend(sources.to_be_bytes());
        message.extend(group.octets());
        message.extend(vec![9; usize::from(*sources) * 4]);
    }
    igmp_packet(from, source, Ipv4Addr::new(224, 0, 0, 22), message)
}

fn igmp_packet(from: MacAddr, source: Ipv4Addr, to: Ipv4Addr, mut message: Vec<u8>) -> Vec<u8> {
    let to = if to.is_unspecified() { Ipv4Addr::new(224, 0, 0, 1) } else { to };
    let sum = Checksum::new().add_bytes(&message).finish();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    framed(from, group_mac(to.into()), EtherType::IPV4, &ipv4(source, to, protocol::IGMP, 1, &message))
}

/// An MLD message about one group (version 1).
pub fn mld(from: MacAddr, source: Ipv6Addr, kind: u8, group: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0x27, 0x10, 0, 0];
    message.extend(group.octets());
    let to = if group.is_unspecified() { Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1) } else { group };
    mld_packet(from, source, to, &message)
}

/// An MLD report of version 2.
pub fn mld_v2(from: MacAddr, source: Ipv6Addr, records: &[(u8, Ipv6Addr, u16)]) -> Vec<u8> {
    let mut message = vec![143, 0, 0, 0, 0, 0, 0, records.len() as u8];
    for (kind, group, sources) in records {
        message.extend([*kind, 0]);
        message.extend(sources.to_be_bytes());
        message.extend(group.octets());
        message.extend(vec![9; usize::from(*sources) * 16]);
    }
    mld_packet(from, source, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16), &message)
}

fn mld_packet(from: MacAddr, source: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let options = [protocol::ICMPV6, 0, 5, 2, 0, 0, 1, 0];
    let payload = [&options[..], &icmpv6(source, to, message)].concat();
    framed(from, group_mac(to.into()), EtherType::IPV6, &ipv6(source, to, 0, 1, &payload))
}

/// A `SYN` that announces a segment size.
pub fn syn(source: IpAddr, destination: IpAddr, mss: u16) -> Vec<u8> {
    let mut segment = vec![0; TcpHeader::LEN];
    let header = TcpHeader {
        source_port: 40_000,
        destination_port: 80,
        sequence: 1,
        acknowledgement: 0,
        flags: TcpFlags::SYN,
        window: 65_535,
        checksum: 0,
        urgent: 0,
        options_len: 4,
    };
    header.emit(segment.first_chunk_mut().unwrap());
    segment.extend([2, 4]);
    segment.extend(mss.to_be_bytes());
    let sum = Checksum::new()
        .add_pseudo_header(source, destination, protocol::TCP, segment.len() as u16)
        .add_bytes(&segment)
        .finish();
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            ipv4(source, destination, protocol::TCP, 64, &segment)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            ipv6(source, destination, protocol::TCP, 64, &segment)
        }
        _ => panic!("addresses of two families"),
    }
}

pub fn datagram(vni: Vni, frame: &[u8]) -> Vec<u8> {
    [&VxlanHeader { vni }.to_bytes()[..], frame].concat()
}

pub fn plain(id: u32) -> Encap {
    Encap::Plain(VxlanHeader { vni: vni(id) })
}

pub fn delivered(verdict: Verdict<'_>) -> Option<(Vec<PortId>, Vec<u8>)> {
    if let Verdict::Deliver { ports, frame } = verdict {
        Some((ports.collect(), frame.to_vec()))
    } else {
        None
    }
}

/// The ports and hosts that a frame goes to.
pub fn audience(verdict: Verdict<'_>) -> (Vec<PortId>, Vec<IpAddr>) {
    match verdict {
        Verdict::Deliver { ports, .. } => (ports.collect(), vec![]),
        Verdict::Send { endpoints, .. } => (vec![], endpoints.to_vec()),
        Verdict::Flood { ports, endpoints, .. } => (ports.collect(), endpoints.to_vec()),
        Verdict::Answer(_) | Verdict::Drop(_) => (vec![], vec![]),
    }
}

pub fn dropped(verdict: Verdict<'_>) -> Option<Discard> {
    if let Verdict::Drop(reason) = verdict { Some(reason) } else { None }
}

pub fn mac(addr: Ipv4Addr) -> MacAddr {
    MacAddr::from_ipv4(addr)
}

pub fn port(id: u32) -> PortId {
    PortId::new(id)
}

pub fn vni(id: u32) -> Vni {
    Vni::new(id).unwrap()
}
