use std::net::Ipv4Addr;

use overlay_core::wire::{
    ArpOperation, ArpPacket, EtherType, EthernetFrame, EthernetHeader, Ipv6Packet, NeighbourAdvertisement,
    protocol,
};
use overlay_core::{Discard, Encap, Location, MacAddr, Network, NetworkError, Verdict, Vtep};
use proptest::prelude::*;

use crate::world::*;

#[test]
fn a_frame_for_another_host_is_sent_there_with_its_vni() {
    let mut vtep = vtep();
    let frame = frame(mac(A), mac(C), b"hi");
    let Verdict::Send { encap, source_port, endpoints, .. } = send(&mut vtep, port(1), &frame) else {
        panic!()
    };
    assert_eq!((encap, endpoints), (plain(1), &[THERE][..]));
    assert!(source_port >= 49152);
    assert_eq!(vtep.stats().sent, 1);
}

#[test]
fn a_frame_for_a_neighbour_on_this_host_stays_here() {
    let mut vtep = vtep();
    let bytes = frame(mac(A), mac(B), b"hi");
    assert_eq!(delivered(send(&mut vtep, port(1), &bytes)), Some((vec![port(2)], bytes.clone())));
    let back = frame(mac(A), mac(A), b"me");
    assert_eq!(dropped(send(&mut vtep, port(1), &back)), Some(Discard::Hairpin));
}

#[test]
fn what_one_host_sends_another_delivers() {
    let (mut here, mut there) = (vtep(), Vtep::new());
    let mut network = network();
    network.stations = [(mac(A), Location::Endpoint(SILENT)), (mac(C), Location::Port(port(9)))].into();
    there.set_network(vni(1), network).unwrap();

    let bytes = frame(mac(A), mac(C), b"hi");
    let Verdict::Send { encap: Encap::Plain(header), .. } = send(&mut here, port(1), &bytes) else {
        panic!()
    };
    let datagram = [&header.to_bytes()[..], &bytes].concat();
    assert_eq!(delivered(receive(&mut there, SILENT, &datagram)), Some((vec![port(9)], bytes)));
}

#[test]
fn arp_is_answered_on_the_spot() {
    let mut vtep = vtep();
    let Verdict::Answer(reply) = send(&mut vtep, port(1), &ask(A, C)) else { panic!() };
    let ethernet = EthernetFrame::parse(reply.frame()).unwrap();
    assert_eq!((ethernet.header.destination, ethernet.header.source), (mac(A), mac(C)));
    let arp = ArpPacket::parse(ethernet.payload).unwrap();
    assert_eq!((arp.operation, arp.sender_ip, arp.sender_mac), (ArpOperation::Reply, C, mac(C)));
    assert_eq!((arp.target_ip, arp.target_mac), (A, mac(A)));
}

#[test]
fn nobody_hears_an_unknown_or_own_address() {
    let mut vtep = vtep();
    let unknown = ask(A, Ipv4Addr::new(10, 0, 1, 99));
    assert_eq!(dropped(send(&mut vtep, port(1), &unknown)), Some(Discard::UnknownNeighbour));
    assert_eq!(dropped(send(&mut vtep, port(1), &ask(A, A))), Some(Discard::Announcement));
}

#[test]
fn an_ipv6_neighbour_is_answered_on_the_spot() {
    let mut vtep = vtep();
    let question = solicitation(mac(A), A6, C6);
    let Verdict::Answer(reply) = send(&mut vtep, port(1), &question) else { panic!() };
    assert_eq!(reply.frame().len(), EthernetHeader::LEN + NeighbourAdvertisement::LEN);
    let packet = Ipv6Packet::parse(&reply.frame()[EthernetHeader::LEN..]).unwrap();
    assert_eq!(packet.header.source, C6);
    assert_eq!(packet.payload[26..], mac(C).octets());
}

#[test]
fn no_station_speaks_for_another() {
    let mut vtep = vtep();
    let as_b = frame(mac(B), mac(C), b"");
    assert_eq!(dropped(send(&mut vtep, port(1), &as_b)), Some(Discard::Spoofed));
    let from_outside = datagram(vni(1), &frame(mac(A), mac(B), b""));
    assert_eq!(dropped(receive(&mut vtep, THERE, &from_outside)), Some(Discard::Spoofed));
    let mut arp_as_b = ask(B, C);
    arp_as_b[6..12].copy_from_slice(&mac(A).octets());
    assert_eq!(dropped(send(&mut vtep, port(1), &arp_as_b)), Some(Discard::Spoofed));
}

#[test]
fn only_hosts_of_the_network_may_send_into_it() {
    let mut vtep = vtep();
    let bytes = datagram(vni(1), &frame(mac(C), mac(A), b""));
    assert!(delivered(receive(&mut vtep, THERE, &bytes)).is_some());
    assert!(delivered(receive(&mut vtep, SILENT, &bytes)).is_some(), "a peer without stations");
    assert!(delivered(receive(&mut vtep, "::ffff:192.0.2.2".parse().unwrap(), &bytes)).is_some());
    let stranger = Ipv4Addr::new(192, 0, 2, 66).into();
    assert_eq!(dropped(receive(&mut vtep, stranger, &bytes)), Some(Discard::ForeignSource));
    assert_eq!(vtep.stats().dropped(Discard::ForeignSource), 1);
}

#[test]
fn a_network_is_one_vlan() {
    let tagged = framed(mac(A), mac(C), EtherType::VLAN, &[0, 7, 8, 0]);
    assert_eq!(dropped(send(&mut vtep(), port(1), &tagged)), Some(Discard::Tagged));
    let tagged = datagram(vni(1), &framed(mac(C), mac(A), EtherType::VLAN, &[0, 7, 8, 0]));
    assert_eq!(dropped(receive(&mut vtep(), THERE, &tagged)), Some(Discard::Tagged));
}

#[test]
fn a_datagram_never_goes_back_into_the_tunnel() {
    let bytes = datagram(vni(1), &frame(MacAddr::new([2; 6]), mac(C), b""));
    assert_eq!(dropped(receive(&mut vtep(), THERE, &bytes)), Some(Discard::Hairpin));
}

#[test]
fn a_group_is_reached_only_where_the_network_floods() {
    let everyone = frame(mac(A), MacAddr::BROADCAST, b"");
    assert_eq!(dropped(send(&mut vtep(), port(1), &everyone)), Some(Discard::Group));

    let mut vtep = vtep();
    vtep.set_network(vni(1), Network { flood: true, ..network() }).unwrap();
    let Verdict::Flood { ports, endpoints, .. } = send(&mut vtep, port(1), &everyone) else { panic!() };
    assert_eq!((ports.collect::<Vec<_>>(), endpoints), (vec![port(2)], &[THERE, SILENT][..]));
    let from_outside = datagram(vni(1), &frame(mac(C), MacAddr::BROADCAST, b""));
    let (ports, _) = delivered(receive(&mut vtep, THERE, &from_outside)).unwrap();
    assert_eq!(ports, [port(1), port(2)]);
}

#[test]
fn a_port_belongs_to_one_network() {
    let mut vtep = vtep();
    let taken = NetworkError::PortTaken { port: port(1), vni: vni(1) };
    assert_eq!(vtep.set_network(vni(3), network()), Err(taken));
    assert!(vtep.remove_network(vni(1)) && !vtep.remove_network(vni(1)));
    let bytes = frame(mac(A), mac(C), b"");
    assert_eq!(dropped(send(&mut vtep, port(1), &bytes)), Some(Discard::UnknownPort));
    vtep.set_network(vni(3), network()).unwrap();
    assert!(matches!(send(&mut vtep, port(1), &bytes), Verdict::Send { .. }));
}

proptest! {
    /// Two networks with the same addresses on the same hosts: nothing crosses, whatever is sent.
    #[test]
    fn networks_never_meet(
        frames in prop::collection::vec((1u32..5, 0usize..4, any::<bool>(), any::<bool>()), 1..50),
        flood: bool,
    ) {
        let mut vtep = Vtep::new();
        for (id, first) in [(1, 1), (2, 3)] {
            let mut network = network();
            network.flood = flood;
            network.stations.insert(mac(A), Location::Port(port(first)));
            network.stations.insert(mac(B), Location::Port(port(first + 1)));
            vtep.set_network(vni(id), network).unwrap();
        }
        let ports_of = |id: u32| if id == 1 { [port(1), port(2)] } else { [port(3), port(4)] };
        let destinations = [mac(A), mac(B), mac(C), MacAddr::BROADCAST];
        for (from, to, as_datagram, other) in frames {
            let id = if as_datagram { 1 + u32::from(other) } else { 1 + (from - 1) / 2 };
            let source = if as_datagram { mac(C) } else { mac(if from % 2 == 1 { A } else { B }) };
            let bytes = frame(source, destinations[to], b"payload");
            let wrapped = datagram(vni(id), &bytes);
            let verdict = if as_datagram {
                receive(&mut vtep, THERE, &wrapped)
            } else {
                send(&mut vtep, port(from), &bytes)
            };
            match verdict {
                Verdict::Deliver { mut ports, .. } => prop_assert!(ports.all(|port| ports_of(id).contains(&port))),
                Verdict::Send { encap, .. } => prop_assert_eq!(encap, plain(id)),
                Verdict::Flood { mut ports, encap, .. } => {
                    prop_assert_eq!(encap, plain(id));
                    prop_assert!(ports.all(|to| to != port(from) && ports_of(id).contains(&to)));
                }
                Verdict::Answer(_) | Verdict::Drop(_) => {}
            }
        }
    }

    #[test]
    fn every_frame_is_counted_once_and_none_panics(inputs in prop::collection::vec(any::<Vec<u8>>(), 1..20)) {
        let mut vtep = vtep();
        for bytes in &inputs {
            let _ = send(&mut vtep, port(1), bytes);
            let _ = send(&mut vtep, port(1), &frame(mac(A), mac(C), bytes));
            let _ = receive(&mut vtep, THERE, bytes);
            let _ = receive(&mut vtep, THERE, &datagram(vni(1), bytes));
        }
        let stats = vtep.stats();
        let drops: u64 = stats.drops().map(|(_, count)| count).sum();
        let all = stats.delivered + stats.sent + stats.flooded + stats.answered + drops;
        prop_assert_eq!(all, 4 * inputs.len() as u64);
    }
}

#[test]
fn flows_are_spread_over_source_ports_and_keep_theirs() {
    let mut vtep = vtep();
    let mut port_of = |flow: u16, payload: u8| {
        let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol::TCP, 0, 0, 10, 0, 1, 3, 10, 0, 1, 5];
        packet.extend(flow.to_be_bytes());
        packet.extend([0, 80, payload, payload]);
        let bytes = frame(mac(A), mac(C), &packet);
        let Verdict::Send { source_port, .. } = send(&mut vtep, port(1), &bytes) else { panic!() };
        source_port
    };
    let ports: std::collections::BTreeSet<u16> = (0..1000).map(|flow| port_of(40_000 + flow, 0)).collect();
    assert!(ports.len() > 900, "{} ports for 1000 flows", ports.len());
    assert_eq!(port_of(40_000, 1), port_of(40_000, 2));
}

fn vtep() -> Vtep {
    vtep_with(network())
}

fn ask(sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    arp(ArpOperation::Request, (sender, mac(sender)), target)
}
