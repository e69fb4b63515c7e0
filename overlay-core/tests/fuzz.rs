//! The fuzz targets on stable Rust: the committed corpus, and mutations of it. `fuzz/` has the targets.
//!
//! `FUZZ_MUTATIONS=10000000 cargo test -p overlay-core --test fuzz` for longer.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::too_many_arguments,
    clippy::expect_used,
    unreachable_pub,
    reason = "tests"
)]

#[path = "../fuzz/src/lib.rs"]
mod bodies;
#[path = "vtep/world.rs"]
mod world;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use overlay_core::MacAddr;
use overlay_core::offload::{Offload, PartialChecksum, SegmentKind, Segmentation};
use overlay_core::wire::{ArpOperation, EtherType, protocol};
use world::{A, A6, B, C, C6, arp, datagram, framed, igmp, igmp_v3, ipv4, ipv6, mac, mld, mld_v2};
use world::{neighbour_message, solicitation, syn, to_group, udp, vni};

/// The name of a target, what it does, and what its corpus begins with.
struct Target(&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

const TARGETS: &[Target] = &[
    Target("wire", bodies::wire, wire_seeds),
    Target("split", bodies::split, split_seeds),
    Target("coalesce", bodies::coalesce, coalesce_seeds),
    Target("rewrite", bodies::rewrite, rewrite_seeds),
    #[cfg(feature = "seal")]
    Target("seal", bodies::seal, seal_seeds),
    Target("vtep", bodies::vtep, vtep_seeds),
];

#[test]
fn the_corpus_and_its_mutations_are_survived() {
    let mutations = std::env::var("FUZZ_MUTATIONS").ok().map_or(50_000, |text| text.parse().unwrap());
    for Target(name, body, _) in TARGETS {
        let corpus = corpus(name);
        assert!(!corpus.is_empty(), "{name} has no corpus");
        corpus.iter().for_each(|input| body(input));
        let mut random = Random(name.len() as u64);
        for _ in 0..mutations {
            let input = mutated(&corpus, &mut random);
            if std::panic::catch_unwind(|| body(&input)).is_err() {
                panic!("{name} fails with {input:02x?}");
            }
        }
    }
}

#[test]
#[ignore = "writes the corpus anew; for whoever changes a format"]
fn the_corpus_is_written() {
    for Target(name, _, seeds) in TARGETS {
        let folder = folder(name);
        std::fs::create_dir_all(&folder).unwrap();
        for (index, seed) in seeds().into_iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{index:02}")), seed).unwrap();
        }
    }
}

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// The committed files, in order; what a fuzzer found in the meantime is left to it.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder(target))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("seed-"))
        .collect();
    files.sort();
    files.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..1 + random.below(6) {
        let at = random.below(input.len().max(1));
        match random.below(6) {
            0 if !input.is_empty() => input[at] = random.next() as u8,
            1 | 2 if !input.is_empty() => input[at] ^= 1 << random.below(8),
            3 => input.insert(at.min(input.len()), random.next() as u8),
            4 => drop(input.drain(at.min(input.len())..(at + random.below(9)).min(input.len()))),
            _ => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len().max(1)).min(other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
    input
}

/// One valid frame of every kind.
fn frames() -> Vec<Vec<u8>> {
    let (group, group6) = (Ipv4Addr::new(239, 1, 1, 1), Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 1));
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x42, 0xaff, 0xfe00, 0x103);
    let hidden = [&[protocol::UDP, 0, 1, 4, 0, 0, 0, 0][..], &udp(b"behind an option")].concat();
    vec![
        framed(mac(A), mac(C), EtherType::IPV4, &ipv4(A, C, 17, 64, &udp(b"data"))),
        framed(mac(C), mac(A), EtherType::IPV4, &ipv4(C, A, 17, 64, &udp(b"data"))),
        framed(mac(A), mac(B), EtherType::IPV4, &ipv4(A, B, 1, 64, &[8, 0, 0xf7, 0xff, 0, 0, 0, 0])),
        framed(mac(A), mac(C), EtherType::IPV4, &ipv4(A, C, 17, 64, &udp(&[0; 1300]))),
        framed(mac(A), mac(C), EtherType::IPV4, &syn(A.into(), C.into(), 1460)),
        framed(mac(C), mac(A), EtherType::IPV6, &syn(C6.into(), A6.into(), 1440)),
        framed(mac(A), mac(C), EtherType::IPV6, &ipv6(A6, C6, 17, 64, &udp(b"data"))),
        framed(mac(A), mac(C), EtherType::IPV6, &ipv6(A6, C6, 60, 64, &hidden)),
        framed(mac(A), mac(C), EtherType::VLAN, &[0, 7, 8, 0]),
        arp(ArpOperation::Request, (A, mac(A)), C),
        arp(ArpOperation::Reply, (A, mac(A)), C),
        solicitation(mac(A), A6, C6),
        neighbour_message(136, mac(A), A6, A6),
        to_group(mac(A), A.into(), group.into(), b"data"),
        to_group(mac(A), A6.into(), group6.into(), b"data"),
        igmp(mac(A), A, 0x16, group),
        igmp(mac(B), B, 0x17, group),
        igmp(mac(C), C, 0x11, Ipv4Addr::UNSPECIFIED),
        igmp_v3(mac(C), C, &[(4, group, 0), (6, group, 1), (1, group, 3)]),
        mld(mac(A), link_local, 131, group6),
        mld(mac(C), link_local, 130, Ipv6Addr::UNSPECIFIED),
        mld_v2(mac(C), link_local, &[(4, group6, 0), (1, group6, 2)]),
        framed(
            mac(A),
            MacAddr::new([1, 0, 0x5e, 0, 0, 13]),
            EtherType::IPV4,
            &ipv4(A, group, 103, 1, b"hello"),
        ),
    ]
}

fn wire_seeds() -> Vec<Vec<u8>> {
    let datagrams: Vec<_> = frames().iter().take(2).map(|frame| datagram(vni(1), frame)).collect();
    [frames(), datagrams].concat()
}

fn split_seeds() -> Vec<Vec<u8>> {
    let super_frame = |kind, source: IpAddr, destination: IpAddr, ethertype| {
        let mut frame = framed(mac(A), mac(C), ethertype, &stream(source, destination, &[7; 500]));
        let start = if ethertype == EtherType::IPV4 { 34 } else { 54 };
        let segmentation = Some(Segmentation { kind, size: 100, header_len: start + 20, ecn: false });
        let checksum = Some(PartialChecksum { start, offset: 16 });
        frame.splice(0..0, Offload { checksum, segmentation }.to_bytes());
        frame
    };
    let mut datagrams = framed(mac(A), mac(C), EtherType::IPV4, &ipv4(A, C, 17, 64, &udp(&[7; 300])));
    let segmentation = Some(Segmentation { kind: SegmentKind::Udp, size: 100, header_len: 42, ecn: false });
    let checksum = Some(PartialChecksum { start: 34, offset: 6 });
    datagrams.splice(0..0, Offload { checksum, segmentation }.to_bytes());
    let mut whole = syn(A.into(), C.into(), 1460);
    whole = framed(mac(A), mac(C), EtherType::IPV4, &whole);
    whole.splice(0..0, [0; Offload::LEN]);
    vec![
        super_frame(SegmentKind::Tcp4, A.into(), C.into(), EtherType::IPV4),
        super_frame(SegmentKind::Tcp6, A6.into(), C6.into(), EtherType::IPV6),
        datagrams,
        whole,
    ]
}

fn coalesce_seeds() -> Vec<Vec<u8>> {
    let bundle = |verify: u8, frames: &[Vec<u8>]| {
        let with_len = |frame: &Vec<u8>| [&(frame.len() as u16).to_be_bytes()[..], frame].concat();
        [vec![verify], frames.iter().flat_map(with_len).collect()].concat()
    };
    let datagrams: Vec<_> = (0..4u8)
        .map(|index| framed(mac(A), mac(C), EtherType::IPV4, &ipv4(A, C, 17, 64, &udp(&[index; 100]))))
        .collect();
    let mut streams = vec![];
    for (source, destination, ethertype) in
        [(IpAddr::from(A), IpAddr::from(C), EtherType::IPV4), (A6.into(), C6.into(), EtherType::IPV6)]
    {
        let start = if ethertype == EtherType::IPV4 { 34 } else { 54 };
        let frames: Vec<_> = (0..4u32)
            .map(|index| {
                let mut frame = framed(mac(A), mac(C), ethertype, &stream(source, destination, &[7; 100]));
                frame[start + 4..start + 8].copy_from_slice(&(index * 100).to_be_bytes());
                frame
            })
            .collect();
        streams.push(bundle(1, &frames));
    }
    streams.extend([bundle(0, &datagrams), bundle(1, &datagrams), bundle(1, &frames()[..7])]);
    streams
}

fn rewrite_seeds() -> Vec<Vec<u8>> {
    let quote = ipv4(A, C, 17, 64, &udp(b"data"));
    let unreachable = [&[3, 1, 0, 0, 0, 0, 0, 0][..], &quote].concat();
    let error = framed(mac(C), mac(A), EtherType::IPV4, &ipv4(C, A, 1, 64, &unreachable));
    let ends = [10, 0, 9, 9, 10, 0, 8, 8, 0, 80, 0, 81];
    let frames: Vec<_> = frames().into_iter().take(8).chain([error]).collect();
    let kinds = [31u8, 30, 6].into_iter().cycle();
    kinds.zip(frames).map(|(kind, frame)| [&[kind][..], &ends, &frame].concat()).collect()
}

#[cfg(feature = "seal")]
fn seal_seeds() -> Vec<Vec<u8>> {
    use overlay_core::seal::{Algorithm, KeyId, Seal, SealKey, Session};
    let mut seal = Seal::new(Session::new(9));
    let key = SealKey::new(Algorithm::Aes128Gcm, &[7; 16]).unwrap();
    seal.set_keys(vni(1), KeyId::new(1), &[(KeyId::new(1), key)].into()).unwrap();
    let sealed = frames().into_iter().take(3).map(|frame| {
        let mut datagram = [&[0; Seal::HEADER_LEN][..], &frame, &[0; Seal::TAG_LEN]].concat();
        seal.seal(vni(1), &mut datagram).unwrap();
        datagram
    });
    sealed.chain(frames().into_iter().take(3)).collect()
}

/// Each frame alone, and all of them one after the other: from a port, and from a host.
fn vtep_seeds() -> Vec<Vec<u8>> {
    let input = |kind: u8, bytes: &[u8]| [&[kind][..], &(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let frames = frames();
    let mut seeds: Vec<_> = frames.iter().map(|frame| input(1, frame)).collect();
    let from_host: Vec<_> = frames.iter().map(|frame| input(0x24, &datagram(vni(1), frame))).collect();
    seeds.push(from_host.concat());
    seeds.push([&from_host[..], &seeds].concat().concat());
    seeds
}

/// A TCP packet of a stream.
fn stream(source: IpAddr, destination: IpAddr, payload: &[u8]) -> Vec<u8> {
    let mut packet = syn(source, destination, 1460);
    let (header, segment) = packet.split_at_mut(if source.is_ipv4() { 20 } else { 40 });
    // No option, ACK instead of SYN, and the payload.
    let segment = [&segment[..12], &[0x50, 0x10], &segment[14..20], payload].concat();
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => ipv4(source, destination, 6, 64, &segment),
        (IpAddr::V6(source), IpAddr::V6(destination)) => ipv6(source, destination, 6, 64, &segment),
        _ => panic!("{header:?}"),
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

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}
