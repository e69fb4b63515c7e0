//! What is written can be read, what is damaged is refused, and nothing panics.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "tests")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use overlay_core::wire::{
    ArpError, ArpOperation, ArpPacket, Checksum, EtherType, EthernetError, EthernetFrame, EthernetHeader,
    Ipv4Error, Ipv4Header, Ipv4Packet, Ipv6Error, Ipv6Header, Ipv6Packet, NdpError, NeighbourAdvertisement,
    NeighbourSolicitation, UdpDatagram, UdpError, UdpHeader, VxlanError, VxlanHeader, VxlanPacket, protocol,
};
use overlay_core::{MacAddr, Vni, VniError, mtu};
use proptest::prelude::*;

proptest! {
    #[test]
    fn vxlan_round_trips(vni in vni(), frame: Vec<u8>) {
        let header = VxlanHeader { vni };
        let bytes = behind(|buffer| header.emit(buffer), &frame);
        prop_assert_eq!(VxlanPacket::parse(&bytes), Ok(VxlanPacket { header, frame: &frame }));
    }

    #[test]
    fn ethernet_round_trips(destination in mac(), source in station(), ethertype: u16, payload: Vec<u8>) {
        let header = EthernetHeader { destination, source, ethertype: EtherType::new(ethertype) };
        let bytes = behind(|buffer| header.emit(buffer), &payload);
        prop_assert_eq!(EthernetFrame::parse(&bytes), Ok(EthernetFrame { header, payload: &payload }));
    }

    #[test]
    fn arp_round_trips(reply: bool, macs in (mac(), mac()), ips: (Ipv4Addr, Ipv4Addr), padding: Vec<u8>) {
        let operation = if reply { ArpOperation::Reply } else { ArpOperation::Request };
        let packet =
            ArpPacket { operation, sender_mac: macs.0, sender_ip: ips.0, target_mac: macs.1, target_ip: ips.1 };
        prop_assert_eq!(ArpPacket::parse(&behind(|buffer| packet.emit(buffer), &padding)), Ok(packet));
    }

    #[test]
    fn ipv4_round_trips(header in ipv4(), padding: Vec<u8>, payload in prop::collection::vec(any::<u8>(), 0..100)) {
        let header = Ipv4Header { payload_len: payload.len() as u16, ..header };
        let bytes = behind(|buffer| header.emit(buffer), &[payload.clone(), padding].concat());
        let packet = Ipv4Packet { header, options: &[], payload: &payload };
        prop_assert_eq!(Ipv4Packet::parse(&bytes), Ok(packet));
    }

    #[test]
    fn one_damaged_bit_of_an_ipv4_header_is_seen(header in ipv4(), bit in 0usize..160) {
        let header = Ipv4Header { payload_len: 0, ..header };
        let mut bytes = behind(|buffer| header.emit(buffer), &[0; 64]);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Ipv4Packet::parse(&bytes).is_err());
    }

    #[test]
    fn ipv6_round_trips(class: u8, label in 0u32..1 << 20, next: u8, hop: u8, ips: (Ipv6Addr, Ipv6Addr), payload: Vec<u8>) {
        let header = Ipv6Header {
            traffic_class: class,
            flow_label: label,
            payload_len: payload.len() as u16,
            next_header: next,
            hop_limit: hop,
            source: ips.0,
            destination: ips.1,
        };
        let bytes = behind(|buffer| header.emit(buffer), &payload);
        prop_assert_eq!(Ipv6Packet::parse(&bytes), Ok(Ipv6Packet { header, payload: &payload }));
    }

    #[test]
    fn udp_round_trips_and_is_intact(ports: (u16, u16), ips in ips(), payload: Vec<u8>, bit: prop::sample::Index) {
        let (source_port, destination_port) = ports;
        let mut header =
            UdpHeader { source_port, destination_port, payload_len: payload.len() as u16, checksum: 0 };
        header.checksum = header.checksum_of(ips.0, ips.1, &payload);
        let mut bytes = behind(|buffer| header.emit(buffer), &payload);
        prop_assert_eq!(UdpDatagram::parse(&bytes), Ok(UdpDatagram { header, payload: &payload }));
        prop_assert!(UdpDatagram::parse(&bytes).unwrap().is_intact(ips.0, ips.1));

        if !payload.is_empty() {
            let bit = bit.index(payload.len() * 8);
            bytes[8 + bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!UdpDatagram::parse(&bytes).unwrap().is_intact(ips.0, ips.1));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), version in 4u8..7) {
        let mut shaped = bytes.clone();
        if let Some(first) = shaped.first_mut() {
            *first = version << 4 | *first & 0x0f;
        }
        for bytes in [&bytes, &shaped] {
            let _ = (EthernetFrame::parse(bytes), ArpPacket::parse(bytes), Ipv4Packet::parse(bytes));
            let _ = (UdpDatagram::parse(bytes), VxlanPacket::parse(bytes));
            let _ = Ipv6Packet::parse(bytes).map(|packet| NeighbourSolicitation::parse(&packet));
        }
    }

    #[test]
    fn the_checksum_is_that_of_the_textbook(bytes: Vec<u8>, cut: prop::sample::Index) {
        let (front, back) = bytes.split_at(cut.index(bytes.len() + 1) & !1);
        let sum = Checksum::new().add_bytes(front).add_bytes(back);
        prop_assert_eq!(sum.finish(), textbook_checksum(&bytes));
    }

    #[test]
    fn an_updated_checksum_is_the_one_computed_anew(mut bytes in prop::collection::vec(any::<u8>(), 2..80), word: prop::sample::Index, new: u16) {
        bytes.truncate(bytes.len() & !1);
        bytes[0] |= 1; // an all-zero buffer is the one case in which both zeroes are right
        let at = word.index(bytes.len() / 2) * 2;
        let new = if at == 0 { new | 0x0100 } else { new };
        let old_sum = Checksum::new().add_bytes(&bytes).finish();
        let old = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
        prop_assert_eq!(Checksum::update(old_sum, old, new), Checksum::new().add_bytes(&bytes).finish());
    }

    #[test]
    fn names_of_numbers_round_trip(vni in vni(), mac in mac(), text: String) {
        prop_assert_eq!(vni.to_string().parse(), Ok(vni));
        prop_assert_eq!(Vni::from_be_bytes(vni.to_be_bytes()), vni);
        prop_assert_eq!(mac.to_string().parse(), Ok(mac));
        let _ = (text.parse::<Vni>(), text.parse::<MacAddr>());
    }
}

#[test]
fn a_linux_vxlan_datagram_is_read_layer_by_layer() {
    // VNI 4097 carrying an ARP request of 10.0.1.3 for 10.0.1.4, as a Linux bridge floods it.
    let datagram = hex(
        "0800000000100100 ffffffffffff02420a0001030806 0001080006040001 02420a000103 0a000103 000000000000 0a000104",
    );
    let packet = VxlanPacket::parse(&datagram).unwrap();
    assert_eq!(packet.header.vni, Vni::new(4097).unwrap());
    let frame = EthernetFrame::parse(packet.frame).unwrap();
    assert_eq!(frame.header.destination, MacAddr::BROADCAST);
    assert_eq!(frame.header.source, MacAddr::from_ipv4([10, 0, 1, 3].into()));
    assert_eq!(frame.header.ethertype, EtherType::ARP);
    let arp = ArpPacket::parse(frame.payload).unwrap();
    assert_eq!((arp.operation, arp.target_ip), (ArpOperation::Request, [10, 0, 1, 4].into()));
    let answer = arp.answered_by(MacAddr::from_ipv4(arp.target_ip));
    let mut bytes = [0; ArpPacket::LEN];
    answer.emit(&mut bytes);
    assert_eq!(bytes.to_vec(), hex("0001080006040002 02420a000104 0a000104 02420a000103 0a000103"));
}

#[test]
fn an_ipv4_header_with_options_keeps_them_apart() {
    let mut bytes = hex("46000020 00010000 40110000 0a000001 0a000002 94040000 0000000000000000");
    let sum = textbook_checksum(&bytes[..24]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    let packet = Ipv4Packet::parse(&bytes).unwrap();
    assert_eq!((packet.options, packet.payload.len()), (&[0x94, 4, 0, 0][..], 8));
    assert!(!packet.header.is_fragment());
}

#[test]
fn a_neighbour_is_asked_and_answered() {
    let (asker, target): (Ipv6Addr, Ipv6Addr) = ("fd00::3".parse().unwrap(), "fd00::4".parse().unwrap());
    let mac = MacAddr::new([2, 0, 0, 0, 0, 4]);
    let bytes = solicitation(asker, target, 255);
    let question = NeighbourSolicitation::parse(&Ipv6Packet::parse(&bytes).unwrap()).unwrap();
    assert_eq!(question, NeighbourSolicitation { source: asker, target });

    let mut answer = [0; NeighbourAdvertisement::LEN];
    question.answered_by(mac).emit(&mut answer);
    let packet = Ipv6Packet::parse(&answer).unwrap();
    assert_eq!((packet.header.source, packet.header.destination), (target, asker));
    assert_eq!((packet.header.hop_limit, packet.payload[0], packet.payload[4]), (255, 136, 0x60));
    assert_eq!(packet.payload[26..], mac.octets());
    let sum = Checksum::new().add_pseudo_header(target.into(), asker.into(), protocol::ICMPV6, 32);
    assert!(sum.add_bytes(packet.payload).is_intact());
}

#[test]
fn a_solicitation_from_behind_a_router_is_refused() {
    let bytes = solicitation("fd00::3".parse().unwrap(), "fd00::4".parse().unwrap(), 64);
    let parsed = NeighbourSolicitation::parse(&Ipv6Packet::parse(&bytes).unwrap());
    assert_eq!(parsed, Err(NdpError::HopLimit { hop_limit: 64 }));
}

#[test]
fn what_is_wrong_is_named() {
    assert_eq!(VxlanPacket::parse(&[8; 7]), Err(VxlanError::Truncated { len: 7 }));
    assert_eq!(VxlanPacket::parse(&[0; 8]), Err(VxlanError::NoVni { flags: 0 }));
    assert_eq!(EthernetFrame::parse(&[0; 13]), Err(EthernetError::Truncated { len: 13 }));
    let source_mac = MacAddr::BROADCAST;
    assert_eq!(EthernetFrame::parse(&[0xff; 14]), Err(EthernetError::Source { source_mac }));
    assert_eq!(ArpPacket::parse(&[0; 28]), Err(ArpError::OtherNetwork { hardware: 0, protocol: 0 }));
    assert_eq!(Ipv4Packet::parse(&[0x60; 20]), Err(Ipv4Error::Version { version: 6 }));
    assert_eq!(Ipv6Packet::parse(&[0x45; 40]), Err(Ipv6Error::Version { version: 4 }));
    assert_eq!(UdpDatagram::parse(&[0; 8]), Err(UdpError::Length { len: 0 }));
    assert_eq!(Vni::new(1 << 24), Err(VniError::TooLarge { value: 1 << 24 }));
    for text in ["", "02:42:0a:00:00", "02:42:0a:00:00:02:03", "2:42:0a:00:00:02", "02:42:0a:00:00:+2"] {
        assert!(text.parse::<MacAddr>().is_err(), "{text}");
    }
}

#[test]
fn the_tunnel_takes_its_room() {
    assert_eq!(
        (mtu::inner(1500, false), mtu::inner(1500, true), mtu::inner(9000, false)),
        (1450, 1430, 8950)
    );
    assert_eq!(mtu::inner(49, false), 0);
}

#[cfg(feature = "serde")]
#[test]
fn serde_goes_through_the_text() {
    use serde::{Deserialize, Serialize, de::value::Error, de::value::StrDeserializer};

    struct Shown<T>(T);
    impl<T: Serialize> std::fmt::Display for Shown<T> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.0.serialize(f)
        }
    }
    let vni = Vni::new(4097).unwrap();
    assert_eq!(Shown(vni).to_string(), "4097");
    assert_eq!(Vni::deserialize(StrDeserializer::<Error>::new("4097")), Ok(vni));
    assert!(MacAddr::deserialize(StrDeserializer::<Error>::new("4097")).is_err());
}

fn behind<const N: usize>(emit: impl FnOnce(&mut [u8; N]), payload: &[u8]) -> Vec<u8> {
    let mut header = [0xa5; N];
    emit(&mut header);
    [&header[..], payload].concat()
}

fn solicitation(source: Ipv6Addr, target: Ipv6Addr, hop_limit: u8) -> Vec<u8> {
    let destination: Ipv6Addr = "ff02::1:ff00:4".parse().unwrap();
    let header = Ipv6Header {
        traffic_class: 0,
        flow_label: 0,
        payload_len: 24,
        next_header: protocol::ICMPV6,
        hop_limit,
        source,
        destination,
    };
    let mut message = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat();
    let sum = Checksum::new().add_pseudo_header(source.into(), destination.into(), protocol::ICMPV6, 24);
    let sum = sum.add_bytes(&message).finish();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    behind(|buffer| header.emit(buffer), &message)
}

fn textbook_checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from));
    let sum = words.fold(0, |sum, word| if sum + word > 0xffff { sum + word - 0xffff } else { sum + word });
    !(sum as u16)
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn vni() -> impl Strategy<Value = Vni> {
    (0u32..1 << 24).prop_map(|value| Vni::new(value).unwrap())
}

fn mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr::new)
}

fn station() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(|[a, b, c, d, e, f]| MacAddr::new([a & 0xfe | 2, b, c, d, e, f]))
}

fn ips() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    prop_oneof![
        any::<(Ipv4Addr, Ipv4Addr)>().prop_map(|(a, b)| (a.into(), b.into())),
        any::<(Ipv6Addr, Ipv6Addr)>().prop_map(|(a, b)| (a.into(), b.into())),
    ]
}

fn ipv4() -> impl Strategy<Value = Ipv4Header> {
    let fields = any::<(u8, u16, bool, bool, u8, u8, Ipv4Addr, Ipv4Addr)>();
    (fields, 0u16..1 << 13).prop_map(|(fields, fragment_offset)| {
        let (
            traffic_class,
            identification,
            dont_fragment,
            more_fragments,
            ttl,
            protocol,
            source,
            destination,
        ) = fields;
        Ipv4Header {
            traffic_class,
            payload_len: 0,
            identification,
            dont_fragment,
            more_fragments,
            fragment_offset,
            ttl,
            protocol,
            source,
            destination,
        }
    })
}
