//! What is written can be read, what is damaged is refused, and nothing panics.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "tests")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use overlay_core::wire::{
    ArpError, ArpOperation, ArpPacket, Checksum, EtherType, EthernetError, EthernetFrame, EthernetHeader,
    IpVersion, Ipv4Error, Ipv4Header, Ipv4Packet, Ipv6Error, Ipv6Header, Ipv6Packet, Layout, LayoutError,
    NdpError, NeighbourAdvertisement, NeighbourSolicitation, Part, TcpError, TcpFlags, TcpHeader, TcpOption,
    TcpSegment, UdpDatagram, UdpError, UdpHeader, VlanError, VlanFrame, VlanHeader, VlanId, VxlanError,
    VxlanHeader, VxlanPacket, protocol,
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
    fn tcp_round_trips(header in tcp(), payload: Vec<u8>) {
        let options = vec![1; header.options_len.into()];
        let bytes = behind(|buffer| header.emit(buffer), &[&options[..], &payload].concat());
        let segment = TcpSegment { header, options: &options, payload: &payload };
        prop_assert_eq!(TcpSegment::parse(&bytes), Ok(segment));
    }

    #[test]
    fn a_tag_round_trips(priority in 0u8..8, drop_eligible: bool, vlan in 0u16..4096, ethertype: u16, payload: Vec<u8>) {
        let vlan = VlanId::new(vlan).unwrap();
        let header = VlanHeader { priority, drop_eligible, vlan, ethertype: EtherType::new(ethertype) };
        let bytes = behind(|buffer| header.emit(buffer), &payload);
        prop_assert_eq!(VlanFrame::parse(&bytes), Ok(VlanFrame { header, payload: &payload }));
        prop_assert_eq!(vlan.to_string().parse(), Ok(vlan));
    }

    #[test]
    fn options_of_tcp_are_read_until_they_are_damaged(options in prop::collection::vec(any::<u8>(), 0..=10), shaped: bool) {
        let mut options = options.repeat(4);
        if shaped && options.len() >= 8 {
            options[..4].copy_from_slice(&[2, 4, 5, 6]);
        }
        let segment = TcpSegment { header: TcpHeader { options_len: options.len() as u8, ..syn() }, options: &options, payload: &[] };
        prop_assert!(segment.options().count() <= options.len());
        if shaped && options.len() >= 8 {
            prop_assert_eq!(segment.maximum_segment_size(), Some(0x0506));
        }
    }

    #[test]
    fn the_parts_of_a_frame_follow_each_other(
        bytes in prop::collection::vec(any::<u8>(), 0..160), ethertype in 0usize..4, version in 0usize..2,
        next in 0usize..9, fit: bool,
    ) {
        // Bytes that pass the first checks reach the later ones.
        let mut bytes = bytes;
        bytes.resize(bytes.len().max(58), 0);
        bytes[6] &= 0xfe;
        let mut network = 14;
        bytes[12..14].copy_from_slice(&[[0x08, 0], [0x86, 0xdd], [0x81, 0], [0x12, 0x34]][ethertype]);
        if ethertype == 2 {
            bytes[16..18].copy_from_slice(&[[0x08, 0], [0x86, 0xdd]][version]);
            network = 18;
        }
        let next = [6, 17, 1, 58, 0, 43, 44, 60, 132][next];
        if fit && [bytes[network - 2], bytes[network - 1]] == [0x08, 0] {
            bytes[network] = 0x45;
            let len = (bytes.len() - network) as u16;
            bytes[network + 2..network + 4].copy_from_slice(&len.to_be_bytes());
            bytes[network + 9] = next;
            bytes[network + 10..network + 12].fill(0);
            let sum = Checksum::new().add_bytes(&bytes[network..network + 20]).finish();
            bytes[network + 10..network + 12].copy_from_slice(&sum.to_be_bytes());
        } else if fit {
            bytes[network] = 0x60;
            let len = (bytes.len() - network - 40) as u16;
            bytes[network + 4..network + 6].copy_from_slice(&len.to_be_bytes());
            bytes[network + 6] = next;
        }
        if let Ok(layout) = Layout::parse(&bytes) {
            let Layout { network, transport, payload, end, .. } = layout;
            prop_assert!(network < transport && transport <= payload && payload <= end && end <= bytes.len());
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
            let _ = (UdpDatagram::parse(bytes), VxlanPacket::parse(bytes), VlanFrame::parse(bytes));
            let _ = (TcpSegment::parse(bytes).map(|segment| segment.options().count()), Layout::parse(bytes));
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
    fn a_changed_address_or_number_changes_the_checksum_as_if_computed_anew(old in ips(), new in ips(), longs: (u32, u32), salt in 1u16..) {
        let sum = |addr: IpAddr, long: u32| Checksum::new().add_addr(addr).add_long(long).add_word(salt).finish();
        let before = sum(old.0, longs.0);
        prop_assert_eq!(Checksum::update_addr(before, old.0, new.0), sum(new.0, longs.0));
        prop_assert_eq!(Checksum::update_long(before, longs.0, longs.1), sum(old.0, longs.1));
    }

    #[test]
    fn long_data_is_summed_like_short(bytes in prop::collection::vec(any::<u8>(), 0..5000), ones: bool) {
        let bytes = if ones { vec![0xff; bytes.len()] } else { bytes };
        prop_assert_eq!(Checksum::new().add_bytes(&bytes).finish(), textbook_checksum(&bytes));
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
fn reserved_bits_of_vxlan_are_ignored_but_other_formats_are_not_taken_for_it() {
    let read =
        |flags: u8| VxlanPacket::parse(&[flags, 0xff, 0xff, 0xff, 0, 0x10, 1, 0xff]).map(|it| it.header.vni);
    let vni = Vni::new(4097).unwrap();
    assert_eq!((read(0x08), read(0x0a)), (Ok(vni), Ok(vni)));
    assert_eq!(read(0x40), Err(VxlanError::NoVni { flags: 0x40 }));
    assert_eq!(read(0x48), Err(VxlanError::Sealed { flags: 0x48 }));
    assert_eq!(read(0x88), Err(VxlanError::GroupPolicy { flags: 0x88 }));
    assert_eq!(read(0x0c), Err(VxlanError::NextProtocol { flags: 0x0c }));
    assert_eq!(read(0x28), Err(VxlanError::Version { version: 2 }));
    assert_eq!(read(0x09), Err(VxlanError::Maintenance { flags: 0x09 }));
}

#[test]
fn options_of_a_syn_are_told_apart() {
    // MSS 1460, SACK permitted, timestamps, no operation, window scale 7: what Linux sends.
    let options = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
    let header = TcpHeader { options_len: 20, ..syn() };
    let bytes = behind(|buffer| header.emit(buffer), &options);
    let segment = TcpSegment::parse(&bytes).unwrap();
    let kinds: Vec<_> = segment.options().collect();
    assert_eq!(kinds.len(), 4);
    assert_eq!(kinds[0], TcpOption::MaximumSegmentSize(1460));
    assert_eq!(kinds[1], TcpOption::Other { kind: 4, value: &[] });
    assert_eq!(kinds[3], TcpOption::Other { kind: 3, value: &[7] });
}

#[test]
fn extension_headers_and_tags_are_looked_through() {
    // Behind a tag: IPv6, hop-by-hop options, then the first fragment of a UDP datagram, then padding.
    let udp = [0x9c, 0x40, 0, 53, 0x05, 0xdc, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let extensions = [44, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, 1, 0, 0, 0, 9];
    let header = Ipv6Header {
        traffic_class: 0,
        flow_label: 0,
        payload_len: 32,
        next_header: 0,
        hop_limit: 64,
        source: Ipv6Addr::LOCALHOST,
        destination: Ipv6Addr::LOCALHOST,
    };
    let packet = behind(|buffer| header.emit(buffer), &[&extensions[..], &udp, &[0; 3]].concat());
    let tag = VlanHeader {
        priority: 0,
        drop_eligible: true,
        vlan: VlanId::new(7).unwrap(),
        ethertype: EtherType::IPV6,
    };
    let tagged = behind(|buffer| tag.emit(buffer), &packet);
    let station = MacAddr::new([2, 0, 0, 0, 0, 1]);
    let ethernet = EthernetHeader { destination: station, source: station, ethertype: EtherType::VLAN };
    let mut frame = behind(|buffer| ethernet.emit(buffer), &tagged);
    let layout = Layout {
        network: 18,
        transport: 74,
        payload: 82,
        end: 90,
        version: IpVersion::V6,
        protocol: protocol::UDP,
        part: Part::First,
    };
    assert_eq!(Layout::parse(&frame), Ok(layout));
    frame[18 + 40 + 8 + 2] = 1; // another offset: no header here
    assert_eq!(Layout::parse(&frame), Ok(Layout { payload: 74, part: Part::Later, ..layout }));
    frame[18 + 40 + 1] = 200;
    assert_eq!(Layout::parse(&frame), Err(LayoutError::Extension { next_header: 0, len: 32 }));
    // An endless chain ends.
    let endless = Ipv6Header { payload_len: 160, ..header };
    let chain = behind(|buffer| endless.emit(buffer), &[0; 160]);
    let ethernet = EthernetHeader { ethertype: EtherType::IPV6, ..ethernet };
    let frame = behind(|buffer| ethernet.emit(buffer), &chain);
    assert!(matches!(Layout::parse(&frame), Err(LayoutError::Extension { next_header: 0, .. })));
}

#[test]
fn what_is_wrong_is_named() {
    assert_eq!(TcpSegment::parse(&[0; 19]), Err(TcpError::Truncated { want: 20, len: 19 }));
    assert_eq!(TcpSegment::parse(&[0; 20]), Err(TcpError::Offset { header_len: 0 }));
    assert_eq!(VlanFrame::parse(&[0; 3]), Err(VlanError { len: 3 }));
    assert!(VlanId::new(4096).is_err() && "x".parse::<VlanId>().is_err());
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

fn syn() -> TcpHeader {
    TcpHeader {
        source_port: 40_000,
        destination_port: 80,
        sequence: 1,
        acknowledgement: 0,
        flags: TcpFlags::SYN,
        window: 0xffff,
        checksum: 0,
        urgent: 0,
        options_len: 0,
    }
}

fn tcp() -> impl Strategy<Value = TcpHeader> {
    let numbers = (any::<(u32, u32)>(), any::<(u16, u16)>(), any::<(u16, u16, u16)>());
    (numbers, any::<u8>(), 0u8..=10).prop_map(|((numbers, ports, words), flags, options)| TcpHeader {
        source_port: ports.0,
        destination_port: ports.1,
        sequence: numbers.0,
        acknowledgement: numbers.1,
        flags: TcpFlags::new(flags),
        window: words.0,
        checksum: words.1,
        urgent: words.2,
        options_len: options * 4,
    })
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
