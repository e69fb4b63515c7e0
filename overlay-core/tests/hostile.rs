//! Ten million frames and datagrams of someone who means ill: no panic, no table grows beyond its bound.
//!
//! `HOSTILE_INPUTS=100000000 cargo test -p overlay-core --test hostile` for longer, `HOSTILE_SEED=7` for other ones.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::too_many_arguments,
    unreachable_pub,
    reason = "tests"
)]

#[path = "vtep/world.rs"]
mod world;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use overlay_core::offload::Offload;
use overlay_core::wire::{ArpOperation, Checksum, EtherType};
use overlay_core::{Learning, Location, MacAddr, Network, Snooping, Verdict, Vtep};
use world::{A, A6, B, C, C6, SILENT, THERE, arp, at, frame, framed, igmp, igmp_v3, ipv4, mac, mld, mld_v2};
use world::{datagram, network, port, solicitation, syn, to_group, udp, vni};

const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
const MAX_LEARNT: usize = 500;
const MAX_GROUPS: usize = 100;

#[test]
fn whatever_is_sent_tables_stay_bounded_and_nothing_panics() {
    let number = |name: &str, default: u64| {
        std::env::var(name)
            .ok()
            .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
    };
    let (inputs, seed) = (number("HOSTILE_INPUTS", 10_000_000), number("HOSTILE_SEED", 1));
    let mut random = Random(seed);
    let mut vtep = hostile_vtep();
    let seeds = seeds();
    let mut buffer = Vec::with_capacity(4096);
    let mut now = at(0);
    for round in 0..inputs {
        fill(&mut buffer, &mut random, &seeds);
        let choice = random.next();
        let offload = offload(choice >> 32);
        let from = [THERE, SILENT, STRANGER, THERE][(choice >> 3 & 3) as usize];
        let verdict = match choice & 7 {
            0..3 => vtep.handle_frame(now, port(1 + (choice >> 8 & 1) as u32), offload, &mut buffer),
            3 => vtep.handle_frame(now, port((choice >> 8) as u32 & 7), offload, &mut buffer),
            _ => {
                wrap(&mut buffer, choice);
                vtep.handle_datagram(now, from, &mut buffer)
            }
        };
        touch(&verdict);
        if round % 1024 == 0 {
            now = tick(&mut vtep, now, &mut random);
        }
    }
    assert_all_counted(&vtep, inputs);
}

/// Everything is switched on, and everything is small.
fn hostile_vtep() -> Vtep {
    let mut vtep = Vtep::new();
    let mut guarded = network();
    guarded.stations.insert(MacAddr::new([2, 0, 0, 0, 0, 9]), Location::Port(port(2)));
    let network = Network {
        flood: true,
        mtu: Some(1280),
        learning: Some(Learning { max_entries: MAX_LEARNT, ..Learning::default() }),
        snooping: Some(Snooping { max_groups: MAX_GROUPS, ..Snooping::default() }),
        spoof_guard: [(port(1), [A.into(), A6.into()].into())].into(),
        ..guarded
    };
    vtep.set_network(vni(1), network).unwrap();
    vtep.set_network(vni(2), Network { sealed: true, ..Network::default() }).unwrap();
    vtep
}

/// One valid input of every kind.
fn seeds() -> Vec<Vec<u8>> {
    let (group, group6) = (Ipv4Addr::new(239, 1, 1, 1), Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 1));
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x42, 0xaff, 0xfe00, 0x103);
    let guest = MacAddr::new([2, 0, 0, 0, 0, 0x77]);
    let pim = ipv4(A, Ipv4Addr::new(224, 0, 0, 13), 103, 1, b"hello");
    vec![
        frame(mac(A), mac(C), &ipv4(A, C, 17, 64, &udp(b"data"))),
        frame(mac(C), mac(A), &ipv4(C, A, 17, 64, &udp(b"data"))),
        frame(guest, mac(A), &ipv4(C, A, 6, 64, &[0; 40])),
        frame(mac(A), mac(C), &ipv4(A, C, 17, 64, &udp(&[0; 1400]))),
        frame(mac(A), mac(C), &syn(A.into(), C.into(), 1460)),
        frame(mac(C), mac(A), &syn(C.into(), A.into(), 1460)),
        framed(mac(C), mac(A), EtherType::IPV6, &syn(C6.into(), A6.into(), 1440)),
        framed(mac(A), mac(C), EtherType::IPV6, &world::ipv6(A6, C6, 17, 64, &[0; 1400])),
        arp(ArpOperation::Request, (A, mac(A)), C),
        arp(ArpOperation::Reply, (A, mac(A)), C),
        arp(ArpOperation::Request, (A, mac(A)), A),
        solicitation(mac(A), A6, C6),
        world::neighbour_message(136, mac(A), A6, A6),
        to_group(mac(A), A.into(), group.into(), b"data"),
        to_group(mac(A), A6.into(), group6.into(), b"data"),
        igmp(mac(A), A, 0x16, group),
        igmp(mac(B), B, 0x17, group),
        igmp(mac(C), C, 0x11, Ipv4Addr::UNSPECIFIED),
        igmp_v3(mac(C), C, &[(4, group, 0), (6, group, 1), (1, group, 3)]),
        mld(mac(A), link_local, 131, group6),
        mld(mac(C), link_local, 130, Ipv6Addr::UNSPECIFIED),
        mld_v2(mac(C), link_local, &[(4, group6, 0), (1, group6, 2)]),
        framed(mac(A), MacAddr::new([1, 0, 0x5e, 0, 0, 13]), EtherType::IPV4, &pim),
        framed(mac(A), mac(C), EtherType::VLAN, &[0, 7, 8, 0]),
        vec![],
    ]
}

/// A seed as it is, or changed in some bytes, cut, extended, its sums right or wrong; or noise.
fn fill(buffer: &mut Vec<u8>, random: &mut Random, seeds: &[Vec<u8>]) {
    buffer.clear();
    let choice = random.next();
    if choice & 15 == 0 {
        let len = (choice >> 8) as usize % 120;
        buffer.extend((0..len).map(|at| (random.0 >> (at % 56)) as u8 ^ at as u8));
        return;
    }
    buffer.extend_from_slice(&seeds[(choice >> 8) as usize % seeds.len()]);
    for shift in 0..(choice >> 4 & 7) {
        let change = random.next();
        // Mostly headers.
        let at = (change >> 16) as usize % buffer.len().clamp(1, if change & 7 == 0 { 2000 } else { 64 });
        if let Some(byte) = buffer.get_mut(at) {
            *byte = if change & 8 == 0 { *byte ^ 1 << (change >> 8 & 7) } else { (change >> 40) as u8 };
        }
        if shift == 3 {
            let len = (change >> 24) as usize % 200;
            buffer.resize(if change & 16 == 0 { len.min(buffer.len()) } else { buffer.len() + len % 20 }, 0);
        }
    }
    if choice & 1 << 40 == 0 {
        repair(buffer);
    }
}

/// Makes the IPv4 header's sum right, and that of IGMP behind it.
fn repair(frame: &mut [u8]) {
    if frame.get(12..14) != Some(&[8, 0]) || frame.len() < 34 {
        return;
    }
    let transport = 14 + usize::from(frame[14] & 15) * 4;
    if transport >= 34 && transport <= frame.len() {
        put_sum(&mut frame[14..transport], 10);
        let end =
            (14 + usize::from(u16::from_be_bytes([frame[16], frame[17]]))).clamp(transport, frame.len());
        if frame[23] == 2 && end - transport >= 8 {
            put_sum(&mut frame[transport..end], 2);
        }
    }
}

fn put_sum(bytes: &mut [u8], at: usize) {
    bytes[at..at + 2].copy_from_slice(&[0, 0]);
    let sum = Checksum::new().add_bytes(bytes).finish();
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// Mostly a datagram of the network, sometimes of another, sometimes not even that.
fn wrap(buffer: &mut Vec<u8>, choice: u64) {
    let header = match choice >> 16 & 15 {
        0 => [(choice >> 24) as u8, 0, 0, 0, 0, 0, 1, 0],
        1 => [8, 0, 0, 0, 0, 0, 2, 0],
        2 => [8, 0, 0, 0, 0, 0, 1 << (choice >> 24 & 7), 0],
        _ => [8, 0, 0, 0, 0, 0, 1, 0],
    };
    buffer.splice(0..0, header);
}

fn offload(choice: u64) -> Offload {
    if choice & 3 != 0 {
        return Offload::NONE;
    }
    let bytes = (choice >> 2).to_ne_bytes();
    let kind = [0, 1, 4, 5][usize::from(bytes[1] & 3)];
    let header = [bytes[0] & 1, kind, 54, 0, bytes[2], bytes[3], bytes[4] % 64, 0, bytes[5] % 20, 0];
    Offload::parse(&header).unwrap_or_default()
}

/// Reads everything that a verdict lends.
fn touch(verdict: &Verdict<'_>) {
    let len = match verdict {
        Verdict::Deliver { ports, frame } => ports.clone().count() + frame.len(),
        Verdict::Send { endpoints, frame, .. } => endpoints.len() + frame.len(),
        Verdict::Flood { ports, endpoints, frame, .. } => {
            ports.clone().count() + endpoints.len() + frame.len()
        }
        Verdict::Answer(reply) => reply.frame().len(),
        Verdict::Drop(_) => 1,
    };
    assert!(len > 0);
}

fn tick(vtep: &mut Vtep, now: Instant, random: &mut Random) -> Instant {
    let now = now + Duration::from_millis(random.next() % 4000);
    if vtep.poll_timeout().is_some_and(|deadline| deadline <= now) {
        vtep.handle_timeout(now);
        assert!(vtep.poll_timeout().is_none_or(|deadline| deadline > now), "no busy loop");
    }
    while let Some(verdict) = vtep.poll_query(now) {
        touch(&verdict);
    }
    let occupancy = vtep.occupancy(vni(1)).unwrap();
    assert_eq!(occupancy.stations, 4);
    assert!(occupancy.learnt <= MAX_LEARNT && occupancy.groups <= MAX_GROUPS, "{occupancy:?}");
    now
}

fn assert_all_counted(vtep: &Vtep, inputs: u64) {
    let stats = vtep.stats();
    let drops: u64 = stats.drops().map(|(_, count)| count).sum();
    assert_eq!(stats.delivered + stats.sent + stats.flooded + stats.answered + drops, inputs);
    if inputs < 1_000_000 {
        return;
    }
    // The inputs do go everywhere.
    let everything = [stats.delivered, stats.sent, stats.flooded, stats.answered, stats.learnt, stats.moved];
    let everything = everything.into_iter().chain([stats.not_learnt, stats.clamped]);
    assert!(everything.into_iter().all(|count| count > 0), "{stats:?}");
    for (reason, count) in stats.drops() {
        use overlay_core::Discard::{NotSealed, UnknownNeighbour};
        assert!(
            count > 0 || matches!(reason, NotSealed | UnknownNeighbour),
            "nothing was dropped as {reason}"
        );
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

#[test]
fn a_stranger_changes_nothing() {
    let mut vtep = hostile_vtep();
    let before = vtep.occupancy(vni(1));
    for seed in seeds() {
        assert!(matches!(
            vtep.handle_datagram(at(0), STRANGER, &mut datagram(vni(1), &seed)),
            Verdict::Drop(_)
        ));
    }
    assert_eq!((vtep.occupancy(vni(1)), vtep.poll_timeout()), (before, None));
}
