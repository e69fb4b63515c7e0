use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use overlay_core::wire::{ArpOperation, EtherType, protocol};
use overlay_core::{Discard, Network, Verdict, Vtep};

use crate::world::*;

const OTHERS: [Ipv4Addr; 3] = [B, C, Ipv4Addr::new(10, 0, 9, 9)];

#[test]
fn a_guarded_port_speaks_for_its_own_addresses_alone() {
    let mut vtep = guarded();
    let udp = udp(b"hi");
    assert!(passes(&mut vtep, &packet_from(A.into(), &udp)));
    assert!(passes(&mut vtep, &packet_from(A6.into(), &udp)));
    for other in OTHERS {
        assert!(!passes(&mut vtep, &packet_from(other.into(), &udp)), "{other}");
    }
    assert!(!passes(&mut vtep, &packet_from(C6.into(), &udp)));
    assert_eq!(vtep.stats().dropped(Discard::SpoofedAddress), 4);
}

#[test]
fn other_ports_use_what_they_like() {
    let mut vtep = guarded();
    let bytes = framed(mac(B), mac(C), EtherType::IPV4, &ipv4(OTHERS[2], C, 17, 64, &udp(b"hi")));
    assert!(matches!(send(&mut vtep, port(2), &bytes), Verdict::Send { .. }));
}

#[test]
fn nobody_claims_an_address_of_others_with_arp() {
    let mut vtep = guarded();
    for operation in [ArpOperation::Request, ArpOperation::Reply] {
        assert!(!passes(&mut vtep, &arp(operation, (B, mac(A)), C)), "{operation:?}");
    }
    assert!(passes(&mut vtep, &arp(ArpOperation::Request, (A, mac(A)), C)));
    let probe = arp(ArpOperation::Request, (Ipv4Addr::UNSPECIFIED, mac(A)), C);
    assert!(matches!(send(&mut vtep, port(1), &probe), Verdict::Answer(_)), "a probe hears who has it");
}

#[test]
fn nobody_claims_an_address_of_others_with_neighbour_discovery() {
    let (mut vtep, nobody) = (guarded(), Ipv6Addr::UNSPECIFIED);
    let spoofed = |vtep: &mut Vtep, kind, source, target| {
        let bytes = neighbour_message(kind, mac(A), source, target);
        dropped(send(vtep, port(1), &bytes)) == Some(Discard::SpoofedAddress)
    };
    assert!(!spoofed(&mut vtep, 136, A6, A6));
    assert!(spoofed(&mut vtep, 136, A6, C6), "an advertisement for another");
    assert!(spoofed(&mut vtep, 136, C6, A6), "an advertisement from another");
    assert!(!spoofed(&mut vtep, 135, A6, C6), "a question");
    assert!(spoofed(&mut vtep, 135, C6, A6), "a question of another");
    assert!(!spoofed(&mut vtep, 135, nobody, A6), "duplicate address detection");
    assert!(spoofed(&mut vtep, 135, nobody, C6), "detection of another's address");
    assert!(spoofed(&mut vtep, 134, A6, A6), "a router advertisement");
    assert!(spoofed(&mut vtep, 137, A6, A6), "a redirect");
}

#[test]
fn an_extension_header_hides_nothing() {
    let mut vtep = guarded();
    let destination = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut message = vec![136, 0, 0, 0, 0, 0, 0, 0];
    message.extend(C6.octets());
    let message = icmpv6(A6, destination, &message);
    for options in [0u8, 43, 60] {
        let hidden = [&[protocol::ICMPV6, 0, 1, 4, 0, 0, 0, 0][..], &message].concat();
        let bytes = framed(mac(A), mac(C), EtherType::IPV6, &ipv6(A6, destination, options, 255, &hidden));
        assert!(!passes(&mut vtep, &bytes), "behind header {options}");
    }
}

#[test]
fn who_has_no_address_yet_may_ask_for_one() {
    let (mut vtep, nobody) = (guarded(), Ipv4Addr::UNSPECIFIED);
    let dhcp = [&[0, 68, 0, 67, 0, 8, 0, 0][..]].concat();
    assert!(passes(&mut vtep, &packet_from(nobody.into(), &dhcp)));
    assert!(!passes(&mut vtep, &packet_from(nobody.into(), &udp(b"not DHCP"))));
    assert!(passes(&mut vtep, &igmp(mac(A), nobody, 0x16, Ipv4Addr::new(239, 1, 1, 1))));
    let group = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 1);
    assert!(passes(&mut vtep, &mld(mac(A), Ipv6Addr::UNSPECIFIED, 131, group)));
    assert!(!passes(&mut vtep, &packet_from(Ipv6Addr::UNSPECIFIED.into(), &udp(b""))));
}

#[test]
fn a_station_has_its_link_local_address() {
    let mut vtep = guarded();
    // 02:42:0a:00:01:03 and 02:42:0a:00:01:04
    let [own, other] =
        ["fe80::42:aff:fe00:103", "fe80::42:aff:fe00:104"].map(|text| text.parse::<IpAddr>().unwrap());
    assert!(passes(&mut vtep, &packet_from(own, &udp(b""))));
    assert!(!passes(&mut vtep, &packet_from(other, &udp(b""))));
}

/// A frame of A to C over UDP.
fn packet_from(source: IpAddr, payload: &[u8]) -> Vec<u8> {
    match source {
        IpAddr::V4(source) => framed(mac(A), mac(C), EtherType::IPV4, &ipv4(source, C, 17, 64, payload)),
        IpAddr::V6(source) => framed(mac(A), mac(C), EtherType::IPV6, &ipv6(source, C6, 17, 64, payload)),
    }
}

fn passes(vtep: &mut Vtep, frame: &[u8]) -> bool {
    let verdict = send(vtep, port(1), frame);
    assert!(!matches!(verdict, Verdict::Drop(Discard::Malformed)));
    dropped(verdict) != Some(Discard::SpoofedAddress)
}

fn guarded() -> Vtep {
    let guard = [(port(1), [A.into(), A6.into()].into())].into();
    vtep_with(Network { flood: true, spoof_guard: guard, ..network() })
}

#[test]
fn a_guard_without_addresses_lets_nothing_pass() {
    let guard = [(port(1), [].into())].into();
    let mut vtep = vtep_with(Network { spoof_guard: guard, ..network() });
    assert!(!passes(&mut vtep, &packet_from(A.into(), &udp(b""))));
    assert!(!passes(&mut vtep, &arp(ArpOperation::Request, (A, mac(A)), C)));
    let other = framed(mac(A), mac(C), EtherType::new(0x88b5), b"neither IP nor ARP");
    assert!(passes(&mut vtep, &other));
}
