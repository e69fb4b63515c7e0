use std::net::Ipv4Addr;
use std::time::Duration;

use overlay_core::wire::ArpOperation;
use overlay_core::{Discard, Learning, Location, MacAddr, Network, Snooping, Verdict};

use crate::world::*;

/// On no one's list.
const GUEST: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0x77]);

#[test]
fn a_station_that_was_heard_is_found_until_it_is_silent() {
    let mut vtep = vtep_with(learning());
    let to_guest = frame(mac(A), GUEST, b"");
    assert_eq!(dropped(send_at(&mut vtep, at(0), port(1), &to_guest)), Some(Discard::UnknownStation));
    assert!(delivered(receive_at(&mut vtep, at(0), SILENT, &frame(GUEST, mac(A), b""))).is_some());
    assert_eq!(audience(send_at(&mut vtep, at(299), port(1), &to_guest)), (vec![], vec![SILENT]));
    assert_eq!(dropped(send_at(&mut vtep, at(300), port(1), &to_guest)), Some(Discard::UnknownStation));

    assert_eq!(vtep.poll_timeout(), Some(at(300)));
    assert_eq!(vtep.occupancy(vni(1)).unwrap().learnt, 1);
    vtep.handle_timeout(at(299));
    assert_eq!(vtep.occupancy(vni(1)).unwrap().learnt, 1, "early does nothing");
    vtep.handle_timeout(at(400));
    assert_eq!(vtep.occupancy(vni(1)).unwrap().learnt, 0);
    assert_eq!(vtep.poll_timeout(), None);
}

#[test]
fn a_station_moves_with_its_datagrams_and_moves_are_counted() {
    let mut vtep = vtep_with(learning());
    for host in [THERE, SILENT, SILENT, THERE] {
        let _ = receive_at(&mut vtep, at(1), host, &frame(GUEST, mac(A), b""));
    }
    let to_guest = frame(mac(A), GUEST, b"");
    assert_eq!(audience(send_at(&mut vtep, at(2), port(1), &to_guest)).1, [THERE]);
    assert_eq!((vtep.stats().learnt, vtep.stats().moved), (1, 2));
}

#[test]
fn what_was_told_is_never_learnt_otherwise() {
    let mut vtep = vtep_with(learning());
    let _ = receive_at(&mut vtep, at(0), SILENT, &frame(mac(C), mac(A), b""));
    assert_eq!(audience(send_at(&mut vtep, at(0), port(1), &frame(mac(A), mac(C), b""))).1, [THERE]);
    let as_b = receive_at(&mut vtep, at(0), SILENT, &frame(mac(B), mac(A), b""));
    assert_eq!(dropped(as_b), Some(Discard::Spoofed));
    let stranger = Ipv4Addr::new(192, 0, 2, 66).into();
    let foreign = receive_at(&mut vtep, at(0), stranger, &frame(GUEST, mac(A), b""));
    assert_eq!(dropped(foreign), Some(Discard::ForeignSource));
    assert_eq!(vtep.occupancy(vni(1)).unwrap().learnt, 0);
}

#[test]
fn what_is_told_later_wins_and_the_rest_stays() {
    let mut vtep = vtep_with(learning());
    let other = MacAddr::new([2, 0, 0, 0, 0, 0x78]);
    for station in [GUEST, other] {
        let _ = receive_at(&mut vtep, at(0), SILENT, &frame(station, mac(A), b""));
    }
    let mut network = learning();
    network.stations.insert(GUEST, Location::Endpoint(THERE));
    vtep.set_network(vni(1), network.clone()).unwrap();
    assert_eq!(audience(send_at(&mut vtep, at(1), port(1), &frame(mac(A), GUEST, b""))).1, [THERE]);
    assert_eq!(audience(send_at(&mut vtep, at(1), port(1), &frame(mac(A), other, b""))).1, [SILENT]);
    network.peers.clear();
    vtep.set_network(vni(1), network).unwrap();
    let gone = send_at(&mut vtep, at(1), port(1), &frame(mac(A), other, b""));
    assert_eq!(dropped(gone), Some(Discard::UnknownStation), "its host takes no part any more");
}

#[test]
fn a_full_table_learns_no_more_until_there_is_room() {
    let learning = Learning { max_entries: 10, ..Learning::default() };
    let mut vtep = vtep_with(Network { learning: Some(learning), ..network() });
    for index in 0..20 {
        let station = MacAddr::new([2, 0, 0, 0, 1, index]);
        let _ = receive_at(&mut vtep, at(0), THERE, &frame(station, mac(A), b""));
    }
    assert_eq!(vtep.occupancy(vni(1)).unwrap().learnt, 10);
    assert_eq!((vtep.stats().learnt, vtep.stats().not_learnt), (10, 10));
    let _ = receive_at(&mut vtep, at(301), THERE, &frame(GUEST, mac(A), b""));
    assert_eq!(vtep.occupancy(vni(1)).unwrap().learnt, 1, "aged without a call of handle_timeout");
}

#[test]
fn any_time_may_be_configured() {
    for time in [Duration::ZERO, Duration::MAX] {
        let learning = Some(Learning { ageing: time, ..Learning::default() });
        let snooping =
            Snooping { membership: time, querier: time, query_interval: time, ..Snooping::default() };
        let mut vtep = vtep_with(Network { flood: true, learning, snooping: Some(snooping), ..network() });
        let report = igmp(GUEST, C, 0x16, Ipv4Addr::new(239, 1, 1, 1));
        let _ = receive_at(&mut vtep, at(0), SILENT, &report);
        let to_guest = send_at(&mut vtep, at(1_000_000), port(1), &frame(mac(A), GUEST, b""));
        assert_eq!(audience(to_guest).1.len(), if time.is_zero() { 2 } else { 1 });
        vtep.handle_timeout(at(1_000_000));
        assert!(vtep.poll_timeout().is_none_or(|deadline| deadline > at(1_000_000)), "no busy loop");
    }
}

#[test]
fn a_dead_host_is_forgotten_at_once() {
    let mut vtep = vtep_with(learning());
    let _ = receive_at(&mut vtep, at(0), SILENT, &frame(GUEST, mac(A), b""));
    assert_eq!((vtep.forget_endpoint(THERE), vtep.forget_endpoint(SILENT)), (0, 1));
    let lost = send_at(&mut vtep, at(1), port(1), &frame(mac(A), GUEST, b""));
    assert_eq!(dropped(lost), Some(Discard::UnknownStation));
}

#[test]
fn the_unknown_is_looked_for_only_where_it_can_be_learnt() {
    let unknown = frame(mac(A), GUEST, b"");
    let question = arp(ArpOperation::Request, (A, mac(A)), Ipv4Addr::new(10, 0, 1, 99));
    let mut vtep = vtep_with(Network { flood: true, ..network() });
    assert_eq!(dropped(send(&mut vtep, port(1), &unknown)), Some(Discard::UnknownStation));
    assert_eq!(dropped(send(&mut vtep, port(1), &question)), Some(Discard::UnknownNeighbour));

    let mut vtep = vtep_with(Network { flood: true, ..learning() });
    let Verdict::Flood { ports, endpoints, .. } = send(&mut vtep, port(1), &unknown) else { panic!() };
    assert_eq!((ports.count(), endpoints), (0, &[THERE, SILENT][..]));
    assert_eq!(audience(send(&mut vtep, port(1), &question)), (vec![port(2)], vec![THERE, SILENT]));
    let known = arp(ArpOperation::Request, (A, mac(A)), C);
    assert!(matches!(send(&mut vtep, port(1), &known), Verdict::Answer(_)));
}

fn learning() -> Network {
    Network { learning: Some(Learning::default()), ..network() }
}
