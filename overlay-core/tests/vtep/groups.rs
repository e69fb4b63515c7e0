use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use overlay_core::wire::{EtherType, IgmpMessage, Ipv4Packet, MldMessage};
use overlay_core::{Discard, Encap, Location, MacAddr, Network, PortId, Snooping, Verdict, Vtep};

use crate::world::*;

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 0x99);
const NOBODY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const EVERYONE: (&[u32], &[IpAddr]) = (&[2, 3], &[THERE, SILENT]);

#[test]
fn until_hosts_were_asked_groups_go_to_everyone() {
    let mut vtep = snooping();
    join(&mut vtep, 0, 2, GROUP);
    assert_eq!(heard_by(&mut vtep, 0, GROUP.into()), expect(EVERYONE));
    ask(&mut vtep, 0);
    assert_eq!(heard_by(&mut vtep, 9, GROUP.into()), expect(EVERYONE), "answers may take 10 s");
    assert_eq!(heard_by(&mut vtep, 10, GROUP.into()), expect((&[2], &[])));
    assert_eq!(heard_by(&mut vtep, 254, GROUP.into()), expect((&[2], &[])));
    assert_eq!(heard_by(&mut vtep, 255, GROUP.into()), expect(EVERYONE), "nobody asks any more");
}

#[test]
fn members_here_and_elsewhere_are_reached_and_others_are_not() {
    let mut vtep = asked();
    join(&mut vtep, 0, 3, GROUP);
    let report = igmp(mac(C), C, 0x16, GROUP);
    assert_eq!(dropped(receive_at(&mut vtep, at(0), THERE, &report)), Some(Discard::Membership));
    assert_eq!(heard_by(&mut vtep, 20, GROUP.into()), expect((&[3], &[THERE])));
    let other = Ipv4Addr::new(239, 1, 2, 4);
    let bytes = to_group(mac(A), A.into(), other.into(), b"");
    assert_eq!(dropped(send_at(&mut vtep, at(20), port(1), &bytes)), Some(Discard::Group));

    let from_outside = to_group(mac(C), C.into(), GROUP.into(), b"");
    assert_eq!(audience(receive_at(&mut vtep, at(20), THERE, &from_outside)).0, [port(3)]);
    let from_outside = to_group(mac(C), C.into(), other.into(), b"");
    assert_eq!(dropped(receive_at(&mut vtep, at(20), THERE, &from_outside)), Some(Discard::Group));
}

#[test]
fn every_version_of_a_report_counts() {
    let v3 =
        |kind, sources| igmp_v3(mac(B), B, &[(6, Ipv4Addr::new(239, 9, 9, 9), 1), (kind, GROUP, sources)]);
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 4);
    let v2 = |kind, sources| mld_v2(mac(B), link_local, &[(kind, GROUP6, sources)]);
    for (what, report, group) in [
        ("IGMPv1", igmp(mac(B), B, 0x12, GROUP), IpAddr::V4(GROUP)),
        ("IGMPv2", igmp(mac(B), B, 0x16, GROUP), GROUP.into()),
        ("IGMPv3 is exclude", v3(2, 0), GROUP.into()),
        ("IGMPv3 to exclude", v3(4, 0), GROUP.into()),
        ("IGMPv3 of a source", v3(1, 2), GROUP.into()),
        ("IGMPv3 allow", v3(5, 1), GROUP.into()),
        ("MLDv1", mld(mac(B), link_local, 131, GROUP6), GROUP6.into()),
        ("MLDv2 to exclude", v2(4, 0), GROUP6.into()),
        ("MLDv2 of a source", v2(3, 3), GROUP6.into()),
    ] {
        let mut vtep = asked();
        assert_eq!(
            audience(send_at(&mut vtep, at(0), port(2), &report)),
            (vec![], vec![THERE, SILENT]),
            "{what}"
        );
        assert_eq!(heard_by(&mut vtep, 20, group), expect((&[2], &[])), "{what}");
    }
}

#[test]
fn every_version_of_a_farewell_counts() {
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 4);
    for (what, farewell, group) in [
        ("IGMPv2", igmp(mac(B), B, 0x17, GROUP), IpAddr::V4(GROUP)),
        ("IGMPv3", igmp_v3(mac(B), B, &[(3, GROUP, 0)]), GROUP.into()),
        ("MLDv1", mld(mac(B), link_local, 132, GROUP6), GROUP6.into()),
        ("MLDv2", mld_v2(mac(B), link_local, &[(3, GROUP6, 0)]), GROUP6.into()),
    ] {
        let mut vtep = asked();
        join(&mut vtep, 0, 2, GROUP);
        let _ = send_at(&mut vtep, at(0), port(2), &mld(mac(B), link_local, 131, GROUP6));
        let _ = send_at(&mut vtep, at(1), port(2), &farewell);
        assert_eq!(heard_by(&mut vtep, 20, group), expect((&[], &[])), "{what}");
    }
}

#[test]
fn one_of_several_leaves_for_itself_alone() {
    let mut network = snooping_network();
    network.stations.insert(MacAddr::new([2, 0, 0, 0, 0, 9]), Location::Port(port(2)));
    let mut vtep = vtep_with(network);
    ask(&mut vtep, 0);
    join(&mut vtep, 0, 2, GROUP);
    let _ = receive_at(&mut vtep, at(0), THERE, &igmp(mac(C), C, 0x16, GROUP));
    let _ = send_at(&mut vtep, at(1), port(2), &igmp(mac(B), B, 0x17, GROUP));
    let _ = receive_at(&mut vtep, at(1), THERE, &igmp(mac(C), C, 0x17, GROUP));
    assert_eq!(heard_by(&mut vtep, 20, GROUP.into()), expect((&[2], &[THERE])));
}

#[test]
fn a_membership_ends_when_nobody_reports_it() {
    let mut vtep = asked();
    join(&mut vtep, 0, 2, GROUP);
    ask(&mut vtep, 200);
    assert_eq!(heard_by(&mut vtep, 259, GROUP.into()), expect((&[2], &[])));
    assert_eq!(heard_by(&mut vtep, 260, GROUP.into()), expect((&[], &[])));
    assert_eq!(vtep.occupancy(vni(1)).unwrap().groups, 1);
    vtep.handle_timeout(at(400));
    assert_eq!(vtep.occupancy(vni(1)).unwrap().groups, 0);
}

#[test]
fn the_groups_of_the_link_go_to_everyone() {
    let mut vtep = asked();
    for group in [Ipv4Addr::new(224, 0, 0, 1), Ipv4Addr::new(224, 0, 0, 251)] {
        assert_eq!(heard_by(&mut vtep, 20, group.into()), expect(EVERYONE), "{group}");
    }
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    assert_eq!(heard_by(&mut vtep, 20, all_nodes.into()), expect(EVERYONE));
    let broadcast = frame(mac(A), MacAddr::BROADCAST, &ipv4(A, Ipv4Addr::BROADCAST, 17, 64, &udp(b"")));
    assert_eq!(audience(send_at(&mut vtep, at(20), port(1), &broadcast)), expect(EVERYONE));
    let other = framed(mac(A), MacAddr::new([1, 0x80, 0xc2, 0, 0, 0x10]), EtherType::new(0x88cc), b"");
    assert_eq!(audience(send_at(&mut vtep, at(20), port(1), &other)), expect(EVERYONE));
}

#[test]
fn routers_hear_every_group_and_every_report() {
    let mut vtep = asked();
    let _ = send_at(&mut vtep, at(0), port(2), &igmp(mac(B), B, 0x11, NOBODY));
    assert_eq!(heard_by(&mut vtep, 20, GROUP.into()), expect((&[2], &[])));
    let report = igmp(mac(A), A, 0x16, GROUP);
    assert_eq!(audience(send_at(&mut vtep, at(20), port(1), &report)).0, [port(2)]);
    let report = igmp(mac(C), C, 0x16, GROUP);
    assert_eq!(audience(receive_at(&mut vtep, at(20), THERE, &report)).0, [port(2)]);

    let hello = framed(
        mac(B),
        group_mac(GROUP.into()),
        EtherType::IPV4,
        &ipv4(B, Ipv4Addr::new(224, 0, 0, 13), 103, 1, b""),
    );
    let mut vtep = asked();
    assert_eq!(audience(send_at(&mut vtep, at(0), port(2), &hello)).0, [port(1), port(3)]);
    assert_eq!(heard_by(&mut vtep, 20, GROUP.into()), expect((&[2], &[])), "PIM is spoken by routers");
}

#[test]
fn a_question_is_asked_until_someone_else_does() {
    let mut vtep = snooping();
    assert_eq!(vtep.poll_timeout(), None);
    let _ = heard_by(&mut vtep, 5, GROUP.into());
    assert_eq!(vtep.poll_timeout(), Some(at(5)));
    assert_eq!(ask(&mut vtep, 5), ["IGMP", "MLD"]);
    assert_eq!(vtep.poll_timeout(), Some(at(130)));
    let _ = send_at(&mut vtep, at(20), port(2), &igmp(mac(B), B, 0x11, NOBODY));
    assert_eq!(ask(&mut vtep, 130), ["MLD"]);
    assert_eq!(ask(&mut vtep, 255), ["MLD"]);
    assert_eq!(ask(&mut vtep, 380), ["IGMP", "MLD"]);
    assert_eq!(vtep.stats().queried, 6);
}

#[test]
fn a_full_table_floods_what_found_no_room() {
    let snooping = Snooping { max_groups: 3, ..Snooping::default() };
    let mut vtep = vtep_with(Network { snooping: Some(snooping), ..snooping_network() });
    ask(&mut vtep, 0);
    for last in 0..10 {
        join(&mut vtep, 0, 2, Ipv4Addr::new(239, 1, 2, last));
    }
    assert_eq!(vtep.occupancy(vni(1)).unwrap().groups, 3);
    assert_eq!(heard_by(&mut vtep, 20, Ipv4Addr::new(239, 1, 2, 0).into()), expect((&[2], &[])));
    assert_eq!(heard_by(&mut vtep, 20, Ipv4Addr::new(239, 1, 2, 9).into()), expect(EVERYONE));
}

#[test]
fn memberships_outlive_a_change_of_the_network_but_not_their_members() {
    let mut vtep = asked();
    join(&mut vtep, 0, 2, GROUP);
    let _ = receive_at(&mut vtep, at(0), THERE, &igmp(mac(C), C, 0x16, GROUP));
    vtep.set_network(vni(1), snooping_network()).unwrap();
    assert_eq!(heard_by(&mut vtep, 20, GROUP.into()), expect((&[2], &[THERE])));
    let mut network = snooping_network();
    network.stations.remove(&mac(B));
    vtep.set_network(vni(1), network).unwrap();
    assert_eq!(heard_by(&mut vtep, 20, GROUP.into()), expect((&[], &[THERE])));
    assert_eq!(vtep.forget_endpoint(THERE), 1);
    assert_eq!(heard_by(&mut vtep, 20, GROUP.into()), expect((&[], &[])));
}

#[test]
fn a_damaged_report_is_dropped() {
    let mut vtep = asked();
    let mut report = igmp(mac(B), B, 0x16, GROUP);
    *report.last_mut().unwrap() ^= 1;
    assert_eq!(dropped(send_at(&mut vtep, at(0), port(2), &report)), Some(Discard::Malformed));
    assert_eq!(vtep.occupancy(vni(1)).unwrap().groups, 0);
}

fn snooping_network() -> Network {
    let mut network = Network { flood: true, snooping: Some(Snooping::default()), ..network() };
    network.stations.insert(MacAddr::new([2, 0, 0, 0, 0, 3]), Location::Port(port(3)));
    network
}

fn snooping() -> Vtep {
    vtep_with(snooping_network())
}

/// The hosts were asked, and had 10 s to answer at second 10.
fn asked() -> Vtep {
    let mut vtep = snooping();
    ask(&mut vtep, 0);
    vtep
}

/// Lets the endpoint ask what is due.
fn ask(vtep: &mut Vtep, seconds: u64) -> Vec<&'static str> {
    let _ = send_at(
        vtep,
        at(seconds),
        port(1),
        &frame(mac(A), MacAddr::BROADCAST, &ipv4(A, GROUP, 17, 1, &udp(b""))),
    );
    vtep.handle_timeout(at(seconds));
    let mut asked = vec![];
    while let Some(verdict) = vtep.poll_query(at(seconds)) {
        let Verdict::Flood { ports, encap: Encap::Plain(header), endpoints, frame, .. } = verdict else {
            panic!()
        };
        assert_eq!((ports.count(), header.vni, endpoints), (3, vni(1), &[THERE, SILENT][..]));
        if frame[12] == 8 {
            let packet = Ipv4Packet::parse(&frame[14..]).unwrap();
            let message = IgmpMessage::parse(packet.payload).unwrap();
            assert!(matches!(message, IgmpMessage::Query { group: None, .. }));
            asked.push("IGMP");
        } else {
            let [source, destination] =
                [22, 38].map(|at| Ipv6Addr::from(*frame[at..].first_chunk::<16>().unwrap()));
            assert!(source.is_unicast_link_local());
            let message = MldMessage::parse(source, destination, &frame[62..]).unwrap();
            assert!(matches!(message, MldMessage::Query { group: None, .. }));
            asked.push("MLD");
        }
    }
    asked
}

fn join(vtep: &mut Vtep, seconds: u64, at_port: u32, group: Ipv4Addr) {
    let station = if at_port == 2 { mac(B) } else { MacAddr::new([2, 0, 0, 0, 0, 3]) };
    let _ = send_at(vtep, at(seconds), port(at_port), &igmp(station, B, 0x16, group));
}

/// Who gets a frame of A to a group.
fn heard_by(vtep: &mut Vtep, seconds: u64, group: IpAddr) -> (Vec<PortId>, Vec<IpAddr>) {
    let source = if group.is_ipv4() { A.into() } else { A6.into() };
    audience(send_at(vtep, at(seconds), port(1), &to_group(mac(A), source, group, b"data")))
}

fn expect((ports, endpoints): (&[u32], &[IpAddr])) -> (Vec<PortId>, Vec<IpAddr>) {
    (ports.iter().map(|id| port(*id)).collect(), endpoints.to_vec())
}
