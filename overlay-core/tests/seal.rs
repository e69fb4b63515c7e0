//! Sealed datagrams: what comes through, what does not, and that nothing is accepted twice.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use overlay_core::Vni;
use overlay_core::mtu;
use overlay_core::seal::{Algorithm, KeyError, KeyId, OpenError, Seal, SealError, SealKey, Session};
use proptest::prelude::*;

const VNI: Vni = Vni::MAX;
const FRAME: &[u8] = b"\x02\x42\x0a\0\0\x03\x02\x42\x0a\0\0\x02\x08\0what only the two should read";

#[test]
fn the_vectors_of_the_specification_hold() {
    let specification = include_str!("../../docs/specs/sealed-vxlan.md");
    let mut checked = 0;
    for line in specification.lines().filter(|line| line.starts_with("vector ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, algorithm, vni, id, session, key, counter, frame, datagram] = words[..] else {
            panic!("{line}")
        };
        let (vni, id): (Vni, KeyId) = (vni.parse().unwrap(), id.parse().unwrap());
        let keys = [(id, SealKey::new(algorithm.parse().unwrap(), &bytes(key)).unwrap())].into();
        let frame = bytes(frame.trim_matches('-'));
        let mut receiver = Seal::new(Session::new(0));
        receiver.set_keys(vni, id, &keys).unwrap();
        assert_eq!(receiver.open(host(1), &mut bytes(datagram)).unwrap().frame(), frame);
        if counter == "1" {
            let mut sender = Seal::new(session.parse().unwrap());
            sender.set_keys(vni, id, &keys).unwrap();
            assert_eq!(hex(&sealed(&mut sender, vni, &frame)), datagram);
        }
        checked += 1;
    }
    assert_eq!(checked, 5, "vectors");
}

#[test]
fn sealing_takes_from_the_mtu_what_it_adds_to_the_datagram() {
    let mut seal = sender(1);
    let datagram = sealed(&mut seal, VNI, FRAME);
    assert_eq!(datagram.len() - FRAME.len() - 8, usize::from(Seal::OVERHEAD));
    assert_eq!(mtu::inner(1500, true) - mtu::inner_sealed(1500, true), Seal::OVERHEAD);
    assert!(Seal::is_sealed(&datagram));
    assert!(!datagram.windows(8).any(|window| FRAME.windows(8).any(|plain| plain == window)));
}

#[test]
fn each_way_to_be_refused_has_its_reason_and_its_count() {
    let (mut a, mut b) = (sender(5), sender(6));
    let datagram = sealed(&mut a, VNI, FRAME);
    let changed = |at: usize, to: u8| {
        let mut datagram = datagram.clone();
        datagram[at] = to;
        datagram
    };
    let cases = [
        (Vec::new(), OpenError::Truncated),
        (datagram[..39].to_vec(), OpenError::Truncated),
        (changed(0, 0x08), OpenError::Plain),
        (changed(0, 0x40), OpenError::Plain),
        (changed(0, 0x4c), OpenError::Version),
        (changed(1, 2), OpenError::Version),
        (changed(7, 1), OpenError::Version),
        (changed(3, 9), OpenError::UnknownKey),
        (changed(6, 0), OpenError::UnknownNetwork),
        (changed(16, 1), OpenError::Forged),
        (datagram[..datagram.len() - 1].to_vec(), OpenError::Forged),
    ];
    for (payload, reason) in cases {
        assert_eq!(open(&mut b, 1, &payload), Err(reason));
    }
    assert_eq!(open(&mut b, 1, &datagram).unwrap(), FRAME);
    assert_eq!(open(&mut b, 1, &datagram), Err(OpenError::Replayed));
    assert_eq!(b.stats().refused(OpenError::Version), 3);
    let refused: u64 = b.stats().refusals().map(|(_, count)| count).sum();
    assert_eq!((b.stats().opened, refused), (1, 12));

    let mut short = [0; 39];
    assert_eq!(a.seal(VNI, &mut short), Err(SealError::Short { len: 39 }));
    let other = Vni::new(1).unwrap();
    assert_eq!(a.seal(other, &mut [0; 64]), Err(SealError::NoKey { vni: other }));
    assert_eq!((a.stats().sealed, a.stats().unsent), (1, 2));
}

#[test]
fn a_datagram_is_opened_once_whatever_address_it_claims_to_come_from() {
    let (mut a, mut b) = (sender(1), sender(2));
    let datagrams: Vec<_> = (0..3).map(|_| sealed(&mut a, VNI, FRAME)).collect();
    assert!(open(&mut b, 1, &datagrams[0]).is_ok());
    assert_eq!(open(&mut b, 7, &datagrams[0]), Err(OpenError::Replayed));
    assert!(open(&mut b, 7, &datagrams[2]).is_ok());
    assert!(open(&mut b, 1, &datagrams[1]).is_ok());
    for datagram in &datagrams {
        assert_eq!(open(&mut b, 1, datagram), Err(OpenError::Replayed));
    }
}

#[test]
fn what_was_overtaken_too_far_is_stale() {
    let (mut a, mut b) = (sender(1), sender(2));
    let datagrams: Vec<_> = (0..10_000).map(|_| sealed(&mut a, VNI, b"frame")).collect();
    assert!(open(&mut b, 1, &datagrams[9_999]).is_ok());
    assert_eq!(open(&mut b, 1, &datagrams[10]), Err(OpenError::Stale));
    for datagram in &datagrams[2_000..9_999] {
        assert!(open(&mut b, 1, datagram).is_ok());
    }
}

#[test]
fn a_run_that_began_before_the_newest_of_its_address_is_superseded_unless_it_was_known() {
    let (mut first, mut unknown, mut second, mut b) = (sender(10), sender(11), sender(12), sender(1));
    assert!(open(&mut b, 1, &sealed(&mut first, VNI, FRAME)).is_ok());
    assert!(open(&mut b, 1, &sealed(&mut second, VNI, FRAME)).is_ok());
    assert_eq!(open(&mut b, 1, &sealed(&mut unknown, VNI, FRAME)), Err(OpenError::Superseded));
    // A straggler of the run before: its window is still there.
    assert!(open(&mut b, 1, &sealed(&mut first, VNI, FRAME)).is_ok());
    assert!(open(&mut b, 3, &sealed(&mut unknown, VNI, FRAME)).is_ok(), "another host's");
}

#[test]
fn a_recorded_datagram_from_a_stolen_address_locks_nobody_out_for_good() {
    let (mut old, mut young, mut b) = (sender(10), sender(20), sender(1));
    let recorded = sealed(&mut young, VNI, FRAME);
    // The attacker sends the datagram of the younger host from the older one's address.
    assert!(open(&mut b, 10, &recorded).is_ok());
    assert_eq!(open(&mut b, 10, &sealed(&mut old, VNI, FRAME)), Err(OpenError::Superseded));
    // The younger host speaks for itself: its run says nothing about the stolen address any more.
    assert!(open(&mut b, 20, &sealed(&mut young, VNI, FRAME)).is_ok());
    assert!(open(&mut b, 10, &sealed(&mut old, VNI, FRAME)).is_ok());
    // A known host is not even touched for a moment.
    let recorded = sealed(&mut sender(30), VNI, FRAME);
    assert!(open(&mut b, 10, &recorded).is_ok());
    assert!(open(&mut b, 10, &sealed(&mut old, VNI, FRAME)).is_ok());
}

#[test]
fn forged_sessions_leave_no_trace() {
    let (mut a, mut b) = (sender(1), sender(2));
    let mut datagram = sealed(&mut a, VNI, FRAME);
    for session in 0..5_000_u64 {
        datagram[8..16].copy_from_slice(&(1_000 + session).to_be_bytes());
        assert_eq!(open(&mut b, 1, &datagram), Err(OpenError::Forged));
    }
    assert!(open(&mut b, 1, &sealed(&mut a, VNI, FRAME)).is_ok(), "not superseded by what was forged");
}

#[test]
fn more_hosts_than_are_held_still_get_through_and_still_only_once() {
    let mut b = sender(1);
    let mut senders: Vec<Seal> = (0..4_200).map(|session| sender(100 + session)).collect();
    let mut all = Vec::new();
    for _ in 0..2 {
        for (number, seal) in senders.iter_mut().enumerate() {
            let (from, datagram) =
                (IpAddr::V4(Ipv4Addr::from_bits(number.try_into().unwrap())), sealed(seal, VNI, b"f"));
            assert!(b.open(from, &mut datagram.clone()).is_ok());
            all.push((from, datagram));
        }
    }
    for (from, mut datagram) in all {
        assert!(b.open(from, &mut datagram).is_err());
    }
}

#[test]
fn a_network_that_comes_back_neither_repeats_a_nonce_nor_accepts_what_was_seen() {
    let (mut a, mut b) = (sender(1), sender(2));
    let before: Vec<_> = (0..3).map(|_| sealed(&mut a, VNI, FRAME)).collect();
    before.iter().for_each(|datagram| assert!(open(&mut b, 1, datagram).is_ok()));
    for seal in [&mut a, &mut b] {
        seal.remove_network(VNI);
        assert_eq!(seal.seal(VNI, &mut [0; 64]), Err(SealError::NoKey { vni: VNI }));
        assert_eq!(open(seal, 1, &before[0]), Err(OpenError::UnknownNetwork));
        seal.set_keys(VNI, KeyId::new(1), &keys([1])).unwrap();
    }
    before.iter().for_each(|datagram| assert!(open(&mut b, 1, datagram).is_err()));
    let after = sealed(&mut a, VNI, FRAME);
    assert!(before.iter().all(|datagram| datagram[..24] != after[..24]));
    assert!(open(&mut b, 1, &after).is_ok());
}

#[test]
fn keys_are_installed_used_and_retired_step_by_step() {
    let mut seal = Seal::new(Session::new(1));
    let (one, two) = (KeyId::new(1), KeyId::new(2));
    assert_eq!(seal.activate(VNI, one), Err(KeyError::UnknownNetwork { vni: VNI }));
    seal.install(VNI, one, key(1)).unwrap();
    seal.install(VNI, one, key(1)).unwrap();
    assert_eq!(seal.install(VNI, one, key(2)), Err(KeyError::Taken { vni: VNI, id: one }));
    assert_eq!(seal.seal(VNI, &mut [0; 64]), Err(SealError::NoKey { vni: VNI }));
    assert_eq!(seal.activate(VNI, two), Err(KeyError::UnknownKey { vni: VNI, id: two }));
    seal.activate(VNI, one).unwrap();
    assert_eq!(seal.retire(VNI, one), Err(KeyError::Active { vni: VNI, id: one }));
    assert_eq!(seal.retire(VNI, two), Err(KeyError::UnknownKey { vni: VNI, id: two }));
    seal.install(VNI, two, key(2)).unwrap();
    seal.activate(VNI, two).unwrap();
    seal.retire(VNI, one).unwrap();
    assert_eq!(sealed(&mut seal, VNI, FRAME)[2..4], [0, 2]);
    assert_eq!(seal.set_keys(VNI, one, &keys([2])), Err(KeyError::UnknownKey { vni: VNI, id: one }));
}

#[test]
fn a_key_that_changed_under_its_number_is_a_new_key() {
    let (mut a, mut b) = (sender(1), sender(2));
    let datagram = sealed(&mut a, VNI, FRAME);
    b.set_keys(VNI, KeyId::new(1), &[(KeyId::new(1), key(77))].into()).unwrap();
    assert_eq!(open(&mut b, 1, &datagram), Err(OpenError::Forged));
    a.set_keys(VNI, KeyId::new(1), &[(KeyId::new(1), key(77))].into()).unwrap();
    let datagram = sealed(&mut a, VNI, FRAME);
    assert!(open(&mut b, 1, &datagram).is_ok());
}

#[test]
fn keys_are_not_shown_and_have_the_right_length() {
    let secret = SealKey::new(Algorithm::Aes256Gcm, &[0xab; 32]).unwrap();
    let mut seal = Seal::new(Session::new(1));
    seal.set_keys(VNI, KeyId::new(1), &[(KeyId::new(1), secret.clone())].into()).unwrap();
    let shown = format!("{secret:?} {seal:?}");
    assert!(!shown.contains("171") && !shown.to_lowercase().contains("abab"), "{shown}");
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        assert!(SealKey::new(algorithm, &vec![1; algorithm.key_len()]).is_ok());
        assert!(SealKey::new(algorithm, &[1; 15]).is_err());
    }
    assert_eq!(
        "des".parse::<Algorithm>().unwrap_err().to_string(),
        "unknown algorithm \"des\" (choose aes-128-gcm, aes-256-gcm or chacha20-poly1305)"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_was_sealed_is_opened(
        algorithm in prop::sample::select(Algorithm::ALL.to_vec()),
        vni in 0..=Vni::MAX.get(), id: u16, session: u64, material: [u8; 32],
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 1..8),
    ) {
        let (vni, id) = (Vni::new(vni).unwrap(), KeyId::new(id));
        let keys = [(id, SealKey::new(algorithm, &material[..algorithm.key_len()]).unwrap())].into();
        let (mut a, mut b) = (Seal::new(Session::new(session)), Seal::new(Session::new(!session)));
        a.set_keys(vni, id, &keys).unwrap();
        b.set_keys(vni, id, &keys).unwrap();
        for frame in frames {
            let mut datagram = sealed(&mut a, vni, &frame);
            let opened = b.open(host(1), &mut datagram).unwrap();
            prop_assert_eq!(opened.vni(), vni);
            prop_assert_eq!(opened.into_frame(), &frame[..]);
        }
    }

    #[test]
    fn a_flipped_bit_is_refused_and_the_frame_not_left_behind(at: prop::sample::Index, bit in 0..8_u8, frame: [u8; 64]) {
        let (mut a, mut b) = (sender(1), sender(2));
        let good = sealed(&mut a, VNI, &frame);
        let mut bad = good.clone();
        bad[at.index(good.len())] ^= 1 << bit;
        prop_assert!(b.open(host(1), &mut bad).is_err());
        prop_assert!(!bad.windows(16).any(|window| frame.windows(16).any(|plain| plain == window)));
        prop_assert!(open(&mut b, 1, &good).is_ok());
    }

    #[test]
    fn anything_may_arrive(mut payload in prop::collection::vec(any::<u8>(), 0..200), header: bool) {
        let mut b = sender(1);
        if header {
            payload.splice(0..0, [0x48, 1, 0, 1, 0xff, 0xff, 0xff, 0]);
        }
        prop_assert!(b.open(host(1), &mut payload).is_err());
    }

    /// Against a receiver that remembers everything: each datagram comes through at most once, and always if it is
    /// new and was not overtaken by more than the window.
    #[test]
    fn the_window_is_a_set(order in prop::collection::vec(0..12_000_usize, 1..300)) {
        let (mut a, mut b) = (sender(1), sender(2));
        let wanted: BTreeSet<usize> = order.iter().copied().collect();
        let mut made = BTreeMap::new();
        for number in 0..=*wanted.last().unwrap() {
            let datagram = sealed(&mut a, VNI, b"");
            if wanted.contains(&number) {
                made.insert(number, datagram);
            }
        }
        let (mut seen, mut newest) = (BTreeSet::new(), 0);
        for number in order {
            let accepted = open(&mut b, 1, &made[&number]).is_ok();
            newest = newest.max(number);
            let near = newest - number < 8_128;
            prop_assert_eq!(accepted, near && seen.insert(number));
        }
    }

    /// Senders and receivers that take the steps of a rotation at different times, each step everywhere before the
    /// next begins: nothing is lost.
    #[test]
    fn a_rotation_loses_nothing(steps in prop::collection::vec((0..3_usize, 0..3_usize, any::<bool>()), 20..200)) {
        let mut hosts: Vec<Seal> = (0..3).map(|number| sender(100 + number)).collect();
        let mut at = [0_u16; 3];
        for (from, to, advance) in steps {
            let slowest = at.iter().copied().min().unwrap();
            if advance && at[from] == slowest {
                let (rotation, step) = (at[from] / 3, at[from] % 3);
                let (old, new) = (rotation + 1, rotation + 2);
                let (active, installed) = match step {
                    0 => (old, vec![old, new]),
                    1 => (new, vec![old, new]),
                    _ => (new, vec![new]),
                };
                hosts[from].set_keys(VNI, KeyId::new(active), &keys(installed)).unwrap();
                at[from] += 1;
            }
            let datagram = sealed(&mut hosts[from], VNI, FRAME);
            if from != to {
                let address = u8::try_from(from).unwrap();
                prop_assert!(open(&mut hosts[to], address, &datagram).is_ok(), "{:?}", at);
            }
        }
    }
}

/// A host with key 1 of the network.
fn sender(session: u64) -> Seal {
    let mut seal = Seal::new(Session::new(session));
    seal.set_keys(VNI, KeyId::new(1), &keys([1])).unwrap();
    seal
}

fn keys(ids: impl IntoIterator<Item = u16>) -> BTreeMap<KeyId, SealKey> {
    ids.into_iter().map(|id| (KeyId::new(id), key(id))).collect()
}

fn key(number: u16) -> SealKey {
    let [a, b] = number.to_be_bytes();
    SealKey::new(Algorithm::Aes128Gcm, &[[a, b]; 8].concat()).unwrap()
}

fn sealed(seal: &mut Seal, vni: Vni, frame: &[u8]) -> Vec<u8> {
    let mut buffer = [&[0; Seal::HEADER_LEN][..], frame, &[0; Seal::TAG_LEN]].concat();
    seal.seal(vni, &mut buffer).unwrap();
    buffer
}

fn open(seal: &mut Seal, from: u8, datagram: &[u8]) -> Result<Vec<u8>, OpenError> {
    seal.open(host(from), &mut datagram.to_vec()).map(|opened| opened.frame().to_vec())
}

fn host(number: u8) -> IpAddr {
    [192, 0, 2, number].into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}
