use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use overlay_core::offload::{Offload, PartialChecksum, SegmentKind, Segmentation};
use overlay_core::wire::{
    Checksum, EtherType, EthernetFrame, FragmentationNeeded, Ipv4Packet, Ipv6Packet, PacketTooBig, TcpFlags,
    TcpHeader, protocol,
};
use overlay_core::{Discard, MacAddr, Network, NetworkError, Verdict, Vtep};

use crate::world::*;

const MTU: u16 = 1400;

#[test]
fn a_packet_that_fits_is_forwarded_and_one_byte_more_is_not() {
    let mut vtep = vtep();
    assert!(matches!(send(&mut vtep, port(1), &packet_v4(1400, mac(C))), Verdict::Send { .. }));
    assert!(matches!(send(&mut vtep, port(1), &packet_v4(1401, mac(C))), Verdict::Answer(_)));
    assert!(matches!(send(&mut vtep, port(1), &packet_v4(1401, mac(B))), Verdict::Answer(_)), "here, too");
    assert!(matches!(send(&mut vtep, port(1), &packet_v6(1400)), Verdict::Send { .. }));
    assert!(matches!(send(&mut vtep, port(1), &packet_v6(1401)), Verdict::Answer(_)));
}

#[test]
fn an_ipv4_sender_is_told_what_fits() {
    let (mut vtep, bytes) = (vtep(), packet_v4(1450, mac(C)));
    let Verdict::Answer(reply) = send(&mut vtep, port(1), &bytes) else { panic!() };
    let ethernet = EthernetFrame::parse(reply.frame()).unwrap();
    assert_eq!((ethernet.header.destination, ethernet.header.source), (mac(A), mac(C)));
    let packet = Ipv4Packet::parse(ethernet.payload).unwrap();
    let (message, quoted) = FragmentationNeeded::parse(&packet).unwrap();
    assert_eq!(message, FragmentationNeeded { source: C, destination: A, mtu: MTU });
    assert_eq!(quoted, &bytes[14..][..548]);
    assert_eq!(packet.payload.len() + 20, 576);
}

#[test]
fn an_ipv6_sender_is_told_what_fits() {
    let (mut vtep, bytes) = (vtep(), packet_v6(1450));
    let Verdict::Answer(reply) = send(&mut vtep, port(1), &bytes) else { panic!() };
    let packet = Ipv6Packet::parse(&reply.frame()[14..]).unwrap();
    let (message, quoted) = PacketTooBig::parse(&packet).unwrap();
    assert_eq!(message, PacketTooBig { source: C6, destination: A6, mtu: 1400 });
    assert_eq!(quoted, &bytes[14..][..1232]);
    assert_eq!(packet.payload.len() + 40, 1280);
}

#[test]
fn some_packets_are_dropped_without_a_word() {
    let mut may_be_fragmented = packet_v4(1450, mac(C));
    may_be_fragmented[20] = 0;
    let icmp_error = ip_v4(A, C, protocol::ICMP, &[&[3; 1][..], &[0; 1449]].concat());
    let to_group = to_group(mac(A), A.into(), Ipv4Addr::new(239, 1, 1, 1).into(), &[0; 1450]);
    let from_nobody = ip_v4(Ipv4Addr::UNSPECIFIED, C, 17, &[0; 1450]);
    let not_ip = framed(mac(A), mac(C), EtherType::new(0x88b5), &[0; 1450]);
    let other_v6_error = ipv6(A6, C6, protocol::ICMPV6, 64, &[1; 1450]);
    let other_v6_error = framed(mac(A), mac(C), EtherType::IPV6, &other_v6_error);
    for bytes in [may_be_fragmented, icmp_error, to_group, from_nobody, not_ip, other_v6_error] {
        let mut vtep = vtep();
        // The flags of one packet were changed, and with them its sum.
        let bytes = with_header_sum(bytes);
        assert_eq!(dropped(send(&mut vtep, port(1), &bytes)), Some(Discard::TooBig));
    }
}

#[test]
fn a_super_frame_is_judged_by_its_segments() {
    let mut vtep = vtep();
    for (size, fits) in [(1348, true), (1349, false)] {
        let mut bytes = stream(30_000);
        let segmentation = Segmentation { kind: SegmentKind::Tcp4, size, header_len: 66, ecn: false };
        let offload = Offload { segmentation: Some(segmentation), ..Offload::NONE };
        let verdict = vtep.handle_frame(at(0), port(1), offload, &mut bytes);
        assert_eq!(matches!(verdict, Verdict::Send { .. }), fits, "{size} bytes and 52 of headers");
    }
}

#[test]
fn nobody_is_flooded_with_complaints() {
    let mut vtep = vtep();
    let bytes = packet_v4(1450, mac(C));
    let answers = |vtep: &mut Vtep, seconds| {
        (0..100).filter(|_| matches!(send_at(vtep, at(seconds), port(1), &bytes), Verdict::Answer(_))).count()
    };
    assert_eq!(answers(&mut vtep, 0), 10);
    assert_eq!(answers(&mut vtep, 1), 10);
    assert_eq!(answers(&mut vtep, 1), 0);
    let other = packet_v4(1450, mac(A)).into_iter().enumerate();
    let other: Vec<u8> =
        other.map(|(at, byte)| if (6..12).contains(&at) { mac(B).octets()[at - 6] } else { byte }).collect();
    assert!(
        matches!(send_at(&mut vtep, at(1), port(2), &other), Verdict::Answer(_)),
        "another port has its own"
    );
}

#[test]
fn connections_are_told_the_segment_size_that_fits() {
    for (source, destination, announced, wanted) in [
        (A.into(), C.into(), 1460, 1360),
        (A.into(), C.into(), 1300, 1300),
        (A6.into(), C6.into(), 1440, 1340),
    ] {
        let mut vtep = vtep();
        let bytes = tcp(mac(A), mac(C), &syn(source, destination, announced));
        let Verdict::Send { frame, .. } = send(&mut vtep, port(1), &bytes) else { panic!() };
        assert_eq!(segment_size(frame), (wanted, true), "there");
        let clamped = u64::from(wanted != announced);
        assert_eq!(vtep.stats().clamped, clamped);

        let back = tcp(mac(C), mac(A), &syn(destination, source, announced));
        let (_, frame) = delivered(receive_at(&mut vtep, at(0), THERE, &back)).unwrap();
        assert_eq!(segment_size(&frame), (wanted, true), "and back");
        assert_eq!(vtep.stats().clamped, 2 * clamped);
    }
}

#[test]
fn an_unfinished_checksum_stays_as_it_is() {
    let mut vtep = vtep();
    let mut bytes = tcp(mac(A), mac(C), &syn(A.into(), C.into(), 1460));
    let pseudo = Checksum::new().add_pseudo_header(A.into(), C.into(), protocol::TCP, 24);
    bytes[50..52].copy_from_slice(&(!pseudo.finish()).to_be_bytes());
    let before = bytes.clone();

    let checksum = Some(PartialChecksum { start: 34, offset: 16 });
    let offload = Offload { checksum, ..Offload::NONE };
    let Verdict::Send { frame, .. } = vtep.handle_frame(at(0), port(1), offload, bytes.leak()) else {
        panic!()
    };
    assert_eq!((segment_size(frame).0, &frame[50..52]), (1360, &before[50..52]));

    let (_, frame) = delivered(receive_at(&mut vtep, at(0), THERE, &swapped(&before))).unwrap();
    assert_eq!((segment_size(&frame).0, &frame[50..52]), (1360, &before[50..52]), "nobody said so");
}

#[test]
fn a_network_has_room_for_the_smallest_packet() {
    let mut vtep = Vtep::new();
    let too_small = vtep.set_network(vni(1), Network { mtu: Some(67), ..network() });
    assert_eq!(too_small, Err(NetworkError::MtuTooSmall { mtu: 67 }));
    vtep.set_network(vni(1), Network { mtu: Some(68), ..network() }).unwrap();
}

fn vtep() -> Vtep {
    vtep_with(Network { mtu: Some(MTU), flood: true, ..network() })
}

fn packet_v4(len: usize, to: MacAddr) -> Vec<u8> {
    framed(mac(A), to, EtherType::IPV4, &ipv4(A, C, 17, 64, &udp(&vec![0; len - 28])))
}

fn ip_v4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    framed(mac(A), mac(C), EtherType::IPV4, &ipv4(source, destination, protocol, 64, payload))
}

fn packet_v6(len: usize) -> Vec<u8> {
    framed(mac(A), mac(C), EtherType::IPV6, &ipv6(A6, C6, 17, 64, &udp(&vec![0; len - 48])))
}

fn tcp(source: MacAddr, destination: MacAddr, packet: &[u8]) -> Vec<u8> {
    let ethertype = if packet[0] >> 4 == 4 { EtherType::IPV4 } else { EtherType::IPV6 };
    framed(source, destination, ethertype, packet)
}

/// A packet of a stream with 12 bytes of options.
fn stream(len: usize) -> Vec<u8> {
    let mut segment = vec![0; TcpHeader::LEN];
    let header = TcpHeader {
        source_port: 1,
        destination_port: 2,
        sequence: 3,
        acknowledgement: 4,
        flags: TcpFlags::ACK,
        window: 5,
        checksum: 0,
        urgent: 0,
        options_len: 12,
    };
    header.emit(segment.first_chunk_mut().unwrap());
    segment.extend(vec![1; 12 + len]);
    ip_v4(A, C, protocol::TCP, &segment)
}

/// The same packet from C to A.
fn swapped(frame: &[u8]) -> Vec<u8> {
    let mut bytes = tcp(mac(C), mac(A), &frame[14..]);
    bytes[26..30].copy_from_slice(&C.octets());
    bytes[30..34].copy_from_slice(&A.octets());
    bytes
}

fn with_header_sum(mut frame: Vec<u8>) -> Vec<u8> {
    if frame[12..14] == [8, 0] {
        frame[24..26].copy_from_slice(&[0, 0]);
        let sum = Checksum::new().add_bytes(&frame[14..34]).finish();
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}

/// What the only option of a `SYN` says, and whether the packet's checksum fits.
fn segment_size(frame: &[u8]) -> (u16, bool) {
    let (source, destination, segment): (IpAddr, IpAddr, &[u8]) = if frame[14] >> 4 == 4 {
        let packet = Ipv4Packet::parse(&frame[14..]).unwrap();
        (packet.header.source.into(), packet.header.destination.into(), packet.payload)
    } else {
        let packet = Ipv6Packet::parse(&frame[14..]).unwrap();
        let addr = |addr: Ipv6Addr| IpAddr::V6(addr);
        (addr(packet.header.source), addr(packet.header.destination), packet.payload)
    };
    let sum = Checksum::new()
        .add_pseudo_header(source, destination, protocol::TCP, segment.len() as u16)
        .add_bytes(segment);
    (u16::from_be_bytes([segment[22], segment[23]]), sum.is_intact())
}
