//! Sealed networks through the user-space plane: what is on the wire, and what does not come through.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "tests")]
#![allow(clippy::disallowed_types, clippy::disallowed_methods, missing_docs, reason = "tests")]

mod common;
mod user_support;

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::vni;
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, recv, socket};
use overlay_core::seal::{Algorithm, KeyId, OpenError};
use overlay_core::{Discard, VXLAN_PORT};
use user_support::{End, Plan, VNI, World, keys, ping, transfer, world};

const MEGABYTES: usize = 1 << 20;

fn sealed(test: &str, algorithm: Algorithm) -> Option<World> {
    world(test, Plan { sealed: Some(algorithm), ..Plan::new(End::Packet, End::Packet) })
}

#[test]
fn a_sealed_network_carries_everything() {
    let Some(world) = sealed("a_sealed_network_carries_everything", Algorithm::Aes128Gcm) else { return };
    world.exercise(20 * MEGABYTES);
    let [a, b] = world.stats();
    assert_eq!((a.seal.unsent, a.underlay.unsealed, a.underlay.cut_here), (0, 0, 0));
    assert_eq!((a.seal.sealed, b.seal.sealed), (a.underlay.sent_datagrams, b.underlay.sent_datagrams));
    assert!(a.seal.refusals().chain(b.seal.refusals()).all(|(_, count)| count == 0));
}

#[test]
fn a_sealed_network_over_ipv6_with_tap_devices() {
    let ends = Plan { underlay_v6: true, ..Plan::new(End::Tap, End::Tap) };
    let plan = Plan { sealed: Some(Algorithm::ChaCha20Poly1305), ..ends };
    let Some(world) = world("a_sealed_network_over_ipv6_with_tap_devices", plan) else { return };
    world.exercise(2 * MEGABYTES);
}

#[test]
fn nothing_of_a_payload_is_seen_on_the_wire() {
    let test = "nothing_of_a_payload_is_seen_on_the_wire";
    // Without encryption it is seen: the capture works.
    for (algorithm, visible) in [(None, true), (Some(Algorithm::Aes256Gcm), false)] {
        let Some(world) = world(test, Plan { sealed: algorithm, ..Plan::new(End::Packet, End::Packet) })
        else {
            return;
        };
        ping(&world.a.task, world.b.addrs[0], 56);
        let frames = capture(&world, || {
            let secret = world.a.task.run(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
            for _ in 0..20 {
                secret.send_to(&SECRET.repeat(20), (world.b.addrs[0], 999)).unwrap();
            }
        });
        let carried: Vec<_> = frames.iter().filter(|frame| frame.len() > 1000).collect();
        assert!(!carried.is_empty());
        let seen = |bytes: &[u8]| frames.iter().any(|frame| frame.windows(bytes.len()).any(|w| w == bytes));
        assert_eq!(seen(SECRET), visible);
        assert_eq!(seen(&world.b.mac.octets()), visible, "not even the tasks' addresses are seen");
    }
}

#[test]
fn replayed_forged_truncated_and_plain_datagrams_are_dropped_and_counted() {
    let test = "replayed_forged_truncated_and_plain_datagrams_are_dropped_and_counted";
    let Some(world) = sealed(test, Algorithm::Aes128Gcm) else { return };
    ping(&world.a.task, world.b.addrs[0], 56);
    let frames = capture(&world, || ping(&world.a.task, world.b.addrs[0], 999));
    // Ethernet, IPv4 and UDP are in front of it.
    let genuine = &frames.iter().find(|frame| frame.len() > 999).unwrap()[14 + 20 + 8..];
    let before = world.stats()[1].clone();
    let attacker = world.a.host.run(|| UdpSocket::bind((world.a.ip, 0))).unwrap().unwrap();
    let send = |datagram: &[u8]| attacker.send_to(datagram, (world.b.ip, VXLAN_PORT)).unwrap();
    let mut forged = genuine.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let mut plain = genuine.to_vec();
    plain[..8].copy_from_slice(&[8, 0, 0, 0, 0, (VNI >> 8) as u8, VNI as u8, 0]);
    for _ in 0..10 {
        send(genuine);
        send(&genuine[..30]);
        send(&plain);
    }
    // A counter that was not used yet, with a tag that does not fit.
    forged[16] = 1;
    send(&forged);
    let deadline = Instant::now() + Duration::from_secs(5);
    let after = loop {
        let after = world.stats()[1].clone();
        if after.seal.refused(OpenError::Forged) == 1 || Instant::now() > deadline {
            break after;
        }
        thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(after.seal.refused(OpenError::Replayed), 10);
    assert_eq!(after.seal.refused(OpenError::Truncated), 10);
    assert_eq!(after.seal.refused(OpenError::Forged), 1);
    assert_eq!(after.vtep.dropped(Discard::Unsealed), 10);
    assert_eq!(after.vtep.delivered, before.vtep.delivered, "nothing came through");
    ping(&world.a.task, world.b.addrs[0], 56);
}

#[test]
fn keys_rotate_under_load_without_a_loss() {
    let Some(world) = sealed("keys_rotate_under_load_without_a_loss", Algorithm::Aes128Gcm) else { return };
    let done = Arc::new(AtomicBool::new(false));
    let load = {
        let (a, b, ip, done) = (world.a.task.clone(), world.b.task.clone(), world.b.addrs[0], done.clone());
        thread::spawn(move || {
            ping(&a, ip, 56);
            let mut rounds = 0;
            while rounds < 3 || !done.load(Ordering::Relaxed) {
                transfer(&a, &b, ip, 10 * MEGABYTES);
                rounds += 1;
            }
        })
    };
    let planes = [&world.a, &world.b].map(|side| side.plane.as_ref().unwrap());
    for old in 1..=20 {
        // Installed everywhere, then used everywhere, then the old one retired everywhere.
        for (active, installed) in
            [(old, vec![old, old + 1]), (old + 1, vec![old, old + 1]), (old + 1, vec![old + 1])]
        {
            for plane in planes {
                plane.set_keys(vni(VNI), KeyId::new(active), keys(Algorithm::Aes128Gcm, &installed)).unwrap();
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
    done.store(true, Ordering::Relaxed);
    load.join().unwrap();
    for stats in world.stats() {
        assert!(stats.seal.refusals().all(|(_, count)| count == 0), "{:?}", stats.seal);
        assert_eq!(stats.underlay.unsealed, 0);
    }
}

/// The frames on the wire between the hosts while `work` runs and a moment longer.
fn capture(world: &World, work: impl FnOnce()) -> Vec<Vec<u8>> {
    let index = world.a.netlink.interface("un0").unwrap().unwrap().index;
    let tap = world.a.host.run(|| {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Packet, SockType::Raw, flags, None).unwrap();
        // All protocols, both directions, this interface.
        // SAFETY: all zeros is a valid `sockaddr_ll`.
        let mut addr: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        addr.sll_family = libc::AF_PACKET as u16;
        addr.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        addr.sll_ifindex = index as i32;
        let len = size_of_val(&addr) as u32;
        // SAFETY: the kernel reads `len` bytes of `addr`.
        let done = unsafe { libc::bind(std::os::fd::AsRawFd::as_raw_fd(&fd), (&raw const addr).cast(), len) };
        assert_eq!(done, 0);
        fd
    });
    let tap = tap.unwrap();
    work();
    thread::sleep(Duration::from_millis(100));
    let mut frames = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    while let Ok(len) =
        recv(std::os::fd::AsRawFd::as_raw_fd(&tap), &mut buffer, nix::sys::socket::MsgFlags::empty())
    {
        frames.push(buffer[..len].to_vec());
    }
    frames
}

const SECRET: &[u8] = b"the garden gate is never locked, come at midnight. ";
