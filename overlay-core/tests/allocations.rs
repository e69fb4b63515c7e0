//! A packet costs no allocation, whatever a network has switched on.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::too_many_arguments,
    unreachable_pub,
    reason = "tests"
)]

#[path = "vtep/world.rs"]
mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{Ipv4Addr, Ipv6Addr};

use overlay_core::offload::Offload;
use overlay_core::wire::{ArpOperation, EtherType};
use overlay_core::{Learning, MacAddr, Network, Snooping, Verdict, Vtep};
use world::{A, A6, B, C, C6, THERE, arp, at, datagram, framed, igmp, ipv4, mac, mld, network, port};
use world::{solicitation, syn, to_group, udp, vni, vtep_with};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 1, 1);
const GUEST: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0x77]);

#[test]
fn no_frame_costs_an_allocation() {
    let mut vtep = warm(everything());
    let group6 = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 1);
    let frames = [
        ("to a host", framed(mac(A), mac(C), EtherType::IPV4, &ipv4(A, C, 17, 64, &udp(b"data")))),
        ("to a port", framed(mac(A), mac(B), EtherType::IPV4, &ipv4(A, B, 17, 64, &udp(b"data")))),
        ("to who was learnt", framed(mac(A), GUEST, EtherType::IPV4, &ipv4(A, B, 17, 64, &udp(b"data")))),
        ("a SYN", framed(mac(A), mac(C), EtherType::IPV4, &syn(A.into(), C.into(), 1460))),
        ("to everyone", framed(mac(A), MacAddr::BROADCAST, EtherType::IPV4, &ipv4(A, C, 17, 64, &udp(b"")))),
        ("to a group", to_group(mac(A), A.into(), GROUP.into(), b"data")),
        ("to a group of nobody", to_group(mac(A), A6.into(), group6.into(), b"data")),
        ("a report of a member", igmp(mac(A), A, 0x16, GROUP)),
        ("too big", framed(mac(A), mac(C), EtherType::IPV4, &ipv4(A, C, 17, 64, &udp(&[0; 1400])))),
        ("too big, IPv6", framed(mac(A), mac(C), EtherType::IPV6, &world::ipv6(A6, C6, 17, 64, &[0; 1400]))),
        ("a question", arp(ArpOperation::Request, (A, mac(A)), C)),
        ("a question, IPv6", solicitation(mac(A), A6, C6)),
        ("spoofed", framed(mac(A), mac(C), EtherType::IPV4, &ipv4(B, C, 17, 64, &udp(b"data")))),
        ("noise", vec![0xff; 60]),
    ];
    for (what, bytes) in frames {
        let mut bytes = bytes;
        let count = allocations(|| {
            for _ in 0..10 {
                touch(&vtep.handle_frame(at(20), port(1), Offload::NONE, &mut bytes));
            }
        });
        assert_eq!(count, 0, "{what}");
    }
}

#[test]
fn no_datagram_costs_an_allocation() {
    let mut vtep = warm(everything());
    let datagrams = [
        ("to a port", framed(mac(C), mac(A), EtherType::IPV4, &ipv4(C, A, 17, 64, &udp(b"data")))),
        ("from who was learnt", framed(GUEST, mac(A), EtherType::IPV4, &ipv4(C, A, 17, 64, &udp(b"data")))),
        ("a SYN", framed(mac(C), mac(A), EtherType::IPV4, &syn(C.into(), A.into(), 1460))),
        ("to a group", to_group(mac(C), C.into(), GROUP.into(), b"data")),
        ("a report of a member", igmp(mac(C), C, 0x16, GROUP)),
        ("back into the tunnel", framed(GUEST, mac(C), EtherType::IPV4, b"")),
    ];
    for (what, frame) in datagrams {
        let mut bytes = datagram(vni(1), &frame);
        let count = allocations(|| {
            for _ in 0..10 {
                touch(&vtep.handle_datagram(at(20), THERE, &mut bytes));
            }
        });
        assert_eq!(count, 0, "{what}");
    }
}

#[test]
fn time_costs_no_allocation() {
    let mut vtep = warm(everything());
    let count = allocations(|| {
        for seconds in (20..1000).step_by(20) {
            vtep.handle_timeout(at(seconds));
            while let Some(verdict) = vtep.poll_query(at(seconds)) {
                touch(&verdict);
            }
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn an_allocation_is_counted() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![7u8; 100]))), 1);
}

fn everything() -> Network {
    Network {
        flood: true,
        mtu: Some(1280),
        learning: Some(Learning::default()),
        snooping: Some(Snooping::default()),
        spoof_guard: [(port(1), [A.into(), A6.into()].into())].into(),
        ..network()
    }
}

/// Has seen one packet of each kind, and knows its members.
fn warm(network: Network) -> Vtep {
    let mut vtep = vtep_with(network);
    for source in [mac(C), GUEST] {
        for frame in [igmp(source, C, 0x16, GROUP), to_group(source, C.into(), GROUP.into(), b"")] {
            touch(&vtep.handle_datagram(at(0), THERE, &mut datagram(vni(1), &frame)));
        }
    }
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x42, 0xaff, 0xfe00, 0x103);
    let mut reports = [igmp(mac(A), A, 0x16, GROUP), mld(mac(A), link_local, 130, Ipv6Addr::UNSPECIFIED)];
    for report in &mut reports {
        touch(&vtep.handle_frame(at(0), port(1), Offload::NONE, report));
    }
    for port_of_b in 0..2 {
        let mut frame = to_group(mac(B), B.into(), GROUP.into(), b"");
        touch(&vtep.handle_frame(at(port_of_b), port(2), Offload::NONE, &mut frame));
    }
    vtep.handle_timeout(at(1));
    while let Some(verdict) = vtep.poll_query(at(1)) {
        touch(&verdict);
    }
    for _ in 0..2 {
        let mut frame = to_group(mac(A), A.into(), GROUP.into(), b"");
        touch(&vtep.handle_frame(at(20), port(1), Offload::NONE, &mut frame));
        let mut frame = datagram(vni(1), &to_group(mac(C), C.into(), GROUP.into(), b""));
        touch(&vtep.handle_datagram(at(20), THERE, &mut frame));
    }
    vtep
}

fn touch(verdict: &Verdict<'_>) {
    std::hint::black_box(verdict);
}

fn allocations(step: impl FnOnce()) -> usize {
    let before = COUNT.get();
    step();
    COUNT.get() - before
}

/// Counts for each thread, for tests run side by side.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promises are those that the system's allocator wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; `pointer` came from `alloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: as above; `pointer` came from `alloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
