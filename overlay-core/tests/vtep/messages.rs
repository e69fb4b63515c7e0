//! The messages of groups and of packets that are too big: what is written can be read, nothing panics.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use overlay_core::wire::{
    FragmentationNeeded, GroupRecord, Icmpv4Error, Icmpv6Error, IgmpError, IgmpMessage, IgmpQuery,
    Ipv4Packet, Ipv6Packet, Layout, MldError, MldMessage, MldQuery, PacketTooBig, protocol,
};
use proptest::prelude::*;

use crate::world::*;

proptest! {
    #[test]
    fn fragmentation_needed_round_trips(addrs: (Ipv4Addr, Ipv4Addr), mtu: u16, about in prop::collection::vec(any::<u8>(), 0..700)) {
        let message = FragmentationNeeded { source: addrs.0, destination: addrs.1, mtu };
        let mut buffer = [0; FragmentationNeeded::MAX_LEN];
        let len = message.emit(&about, &mut buffer);
        let packet = Ipv4Packet::parse(&buffer[..len]).unwrap();
        prop_assert_eq!(FragmentationNeeded::parse(&packet), Ok((message, &about[..about.len().min(548)])));
        let mut damaged = buffer;
        damaged[27] ^= 1;
        let packet = Ipv4Packet::parse(&damaged[..len]).unwrap();
        prop_assert_eq!(FragmentationNeeded::parse(&packet), Err(Icmpv4Error::Checksum));
    }

    #[test]
    fn packet_too_big_round_trips(addrs: (Ipv6Addr, Ipv6Addr), mtu: u32, about in prop::collection::vec(any::<u8>(), 0..1400)) {
        let message = PacketTooBig { source: addrs.0, destination: addrs.1, mtu };
        let mut buffer = [0; PacketTooBig::MAX_LEN];
        let len = message.emit(&about, &mut buffer);
        let packet = Ipv6Packet::parse(&buffer[..len]).unwrap();
        prop_assert_eq!(PacketTooBig::parse(&packet), Ok((message, &about[..about.len().min(1232)])));
        let mut damaged = buffer;
        damaged[47] ^= 1;
        let packet = Ipv6Packet::parse(&damaged[..len]).unwrap();
        prop_assert_eq!(PacketTooBig::parse(&packet), Err(Icmpv6Error::Checksum));
    }

    #[test]
    fn nothing_about_groups_panics(kind in prop::sample::select(vec![0x11, 0x12, 0x16, 0x17, 0x22, 130, 131, 132, 143]), mut bytes in prop::collection::vec(any::<u8>(), 4..100)) {
        bytes[0] = kind;
        let _ = IgmpMessage::parse(&bytes);
        bytes[2..4].copy_from_slice(&[0, 0]);
        let sum = overlay_core::wire::Checksum::new().add_bytes(&bytes).finish();
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        if let Ok(IgmpMessage::Records(records)) = IgmpMessage::parse(&bytes) {
            prop_assert!(records.count() <= bytes.len() / 8);
        }
        let bytes = icmpv6(A6, C6, &{ bytes[2..4].copy_from_slice(&[0, 0]); bytes.clone() });
        if let Ok(MldMessage::Records(records)) = MldMessage::parse(A6, C6, &bytes) {
            prop_assert!(records.count() <= bytes.len() / 20);
        }
    }
}

#[test]
fn an_igmp_question_is_what_routers_ask() {
    let mut packet = [0; IgmpQuery::LEN];
    IgmpQuery { max_response: Duration::from_secs(10), interval: Duration::from_secs(125) }.emit(&mut packet);
    let layout = Layout::parse(&frame(mac(A), mac(B), &packet)).unwrap();
    assert_eq!((layout.protocol, layout.transport - layout.network), (protocol::IGMP, 24));
    let packet = Ipv4Packet::parse(&packet).unwrap();
    assert_eq!((packet.header.ttl, packet.options), (1, &[0x94, 4, 0, 0][..]));
    let question = IgmpMessage::Query { group: None, max_response: Duration::from_secs(10) };
    assert_eq!(IgmpMessage::parse(packet.payload), Ok(question));
    assert_eq!(packet.payload[9], 125);
}

#[test]
fn an_mld_question_is_what_routers_ask() {
    let mut packet = [0; MldQuery::LEN];
    let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    MldQuery { source, max_response: Duration::from_secs(10), interval: Duration::from_secs(125) }
        .emit(&mut packet);
    let view = Ipv6Packet::parse(&packet).unwrap();
    assert_eq!((view.header.hop_limit, view.header.destination), (1, all_nodes));
    let question = MldMessage::Query { group: None, max_response: Duration::from_secs(10) };
    assert_eq!(MldMessage::parse(source, all_nodes, &view.payload[8..]), Ok(question));
}

#[test]
fn response_times_have_a_floating_point() {
    let time = |code: u8, len: usize| {
        let mut message = vec![0; len];
        (message[0], message[1]) = (0x11, code);
        let sum = overlay_core::wire::Checksum::new().add_bytes(&message).finish();
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let Ok(IgmpMessage::Query { max_response, .. }) = IgmpMessage::parse(&message) else { panic!() };
        max_response.as_millis()
    };
    assert_eq!(time(0, 8), 10_000, "version 1");
    assert_eq!(time(200, 8), 20_000, "version 2");
    assert_eq!(time(0x80, 12), 12_800, "version 3: 16 << 3 tenths");
    assert_eq!(time(0xff, 12), 3_174_400, "31 << 10 tenths");
}

#[test]
fn records_say_who_wants_to_hear() {
    let group = Ipv4Addr::new(239, 0, 0, 1);
    let bytes =
        igmp_v3(mac(A), A, &[(1, group, 0), (2, group, 0), (3, group, 2), (6, group, 1), (77, group, 0)]);
    let packet = Ipv4Packet::parse(&bytes[14..]).unwrap();
    let Ok(IgmpMessage::Records(records)) = IgmpMessage::parse(packet.payload) else { panic!() };
    let wants: Vec<_> = records.map(|GroupRecord { wants, .. }| wants).collect();
    assert_eq!(wants, [Some(false), Some(true), Some(true), None, None]);
}

#[test]
fn other_messages_are_told_apart() {
    assert_eq!(IgmpMessage::parse(&[0x11, 0, 0]), Err(IgmpError::Truncated { kind: 0x11, len: 3 }));
    assert_eq!(IgmpMessage::parse(&[0x11, 0, 0, 0, 0, 0, 0, 0]), Err(IgmpError::Checksum));
    let ping = icmpv6(A6, C6, &[128, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(MldMessage::parse(A6, C6, &ping), Err(MldError::Type { kind: 128 }));
    let report = icmpv6(A6, C6, &[&[131, 0, 0, 0, 0, 0, 0, 0][..], &A6.octets()].concat());
    assert_eq!(MldMessage::parse(A6, C6, &report), Err(MldError::Group { group: A6 }));
}
