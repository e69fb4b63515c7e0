//! The user-space plane against itself and against the kernel's VXLAN, with real packets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod common;
mod user_support;

use user_support::{End, Plan, world};

const MEGABYTES: usize = 1 << 20;

#[test]
fn packet_sockets_on_both_hosts() {
    let Some(world) = world("packet_sockets_on_both_hosts", Plan::new(End::Packet, End::Packet)) else {
        return;
    };
    world.exercise(50 * MEGABYTES);
    let [a, b] = world.stats();
    println!("{a:#?}");
    assert!(a.underlay.sent_messages * 4 < a.underlay.sent_datagrams, "datagrams go out in super-frames");
    assert_eq!(a.underlay.cut_here + b.underlay.cut_here, 0);
}

#[test]
fn a_packet_socket_and_the_kernel() {
    let Some(world) = world("a_packet_socket_and_the_kernel", Plan::new(End::Packet, End::Kernel)) else {
        return;
    };
    world.exercise(50 * MEGABYTES);
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
