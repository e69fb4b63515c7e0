//! The user-space plane against itself and against the kernel's VXLAN, with real packets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]
#![allow(clippy::disallowed_types, reason = "real traffic")]

mod common;
mod user_support;

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::libc;
use overlay_core::VXLAN_PORT;
use user_support::{End, Plan, ping, world};

const MEGABYTES: usize = 1 << 20;

#[test]
fn packet_sockets_on_both_hosts() {
    let Some(world) = world("packet_sockets_on_both_hosts", Plan::new(End::Packet, End::Packet)) else {
        return;
    };
    world.exercise(50 * MEGABYTES);
    let [a, b] = world.stats();
    assert!(a.underlay.sent_messages * 4 < a.underlay.sent_datagrams, "datagrams go out in super-frames");
    assert_eq!(a.underlay.cut_here + b.underlay.cut_here, 0);
}

#[test]
fn a_packet_socket_and_the_kernel() {
    for underlay_v6 in [false, true] {
        let plan = Plan { underlay_v6, ..Plan::new(End::Packet, End::Kernel) };
        let Some(world) = world("a_packet_socket_and_the_kernel", plan) else { return };
        world.exercise(50 * MEGABYTES);
    }
}

#[test]
fn a_tap_device_and_the_kernel() {
    let Some(world) = world("a_tap_device_and_the_kernel", Plan::new(End::Tap, End::Kernel)) else { return };
    world.exercise(10 * MEGABYTES);
}

#[test]
fn a_tap_device_and_a_packet_socket_over_ipv6() {
    let test = "a_tap_device_and_a_packet_socket_over_ipv6";
    let plan = Plan { underlay_v6: true, ..Plan::new(End::Tap, End::Packet) };
    let Some(world) = world(test, plan) else { return };
    world.exercise(10 * MEGABYTES);
}

#[test]
fn inner_checksums_are_verified_where_outer_ones_are_not_asked_for() {
    let test = "inner_checksums_are_verified_where_outer_ones_are_not_asked_for";
    for end in [End::Kernel, End::Packet] {
        let Some(world) = world(test, Plan::new(End::Packet, end).inner()) else { return };
        world.exercise(5 * MEGABYTES);
        assert_eq!(world.stats()[0].ports[&user_support::PORT].damaged, 0);
    }
}

#[test]
fn datagrams_that_are_too_long_for_the_underlay_are_cut_by_the_host() {
    let test = "datagrams_that_are_too_long_for_the_underlay_are_cut_by_the_host";
    for underlay_v6 in [false, true] {
        let plan = Plan { underlay_v6, mtu: Some(1500), ..Plan::new(End::Packet, End::Packet) };
        let Some(world) = world(test, plan) else { return };
        world.exercise(MEGABYTES);
        assert!(world.stats()[0].underlay.cut_here > 0, "and it is told");
    }
}

#[test]
fn datagrams_without_a_checksum_are_refused_unless_inner_ones_are_verified() {
    let test = "datagrams_without_a_checksum_are_refused_unless_inner_ones_are_verified";
    for (plan, come_through) in
        [(Plan::new(End::Packet, End::Packet), 0), (Plan::new(End::Packet, End::Packet).inner(), 10)]
    {
        let Some(world) = world(test, plan) else { return };
        ping(&world.a.task, world.b.addrs[0], 56);
        let before = world.stats()[1].clone();
        let sender = world.a.host.run(|| UdpSocket::bind((world.a.ip, 0))).unwrap().unwrap();
        let on = 1_i32;
        // SAFETY: the kernel reads four bytes of `on`.
        let done = unsafe {
            libc::setsockopt(
                sender.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_NO_CHECK,
                (&raw const on).cast(),
                4,
            )
        };
        assert_eq!(done, 0);
        for _ in 0..10 {
            sender.send_to(&[8, 0, 0, 0, 0, 0, 0, 0], (world.b.ip, VXLAN_PORT)).unwrap();
        }
        std::thread::sleep(Duration::from_millis(100));
        let after = world.stats()[1].clone();
        assert_eq!(after.underlay.received_datagrams - before.underlay.received_datagrams, come_through);
        assert_eq!(after.underlay.kernel_drops - before.underlay.kernel_drops, 10 - come_through);
    }
}
