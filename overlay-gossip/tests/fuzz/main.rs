//! Arbitrary bytes in arbitrary order while the clock jumps: no panic, at most 1 MiB more memory, no endless loop.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

mod docker;
mod script;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use overlay_gossip::TableFormat;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

#[test]
fn nothing_that_arrives_makes_a_node_panic_grow_or_loop() {
    let mut frames = frames();
    let mut rng = StdRng::seed_from_u64(0);
    frames.extend((0..12).map(|_| bomb(&mut rng)));
    survives(1000, &frames, TableFormat::Native);
}

#[test]
fn nor_does_what_arrives_at_a_node_among_dockers() {
    let mut frames = frames();
    let mut rng = StdRng::seed_from_u64(0);
    frames.extend((0..8).map(|_| bomb(&mut rng)));
    frames.extend((0..300).map(|_| docker::message(&mut rng)));
    survives(1000, &frames, TableFormat::NetworkDb);
}

fn survives(seeds: u64, frames: &[Vec<u8>], format: TableFormat) {
    let start = Instant::now();
    let (mut steps, mut outputs, mut most) = (0, 0, 0);
    for seed in 0..seeds {
        let script = script(seed, frames);
        let before = HELD.get();
        PEAK.set(before);
        let began = Instant::now();
        let summary = script::run(&script, format);
        let grown = PEAK.get() - before;
        assert!(grown <= LIMIT, "seed {seed}: {grown} bytes more");
        assert!(summary.burst <= 3000, "seed {seed}: {} outputs from one step", summary.burst);
        assert!(began.elapsed() < Duration::from_secs(5), "seed {seed} takes long");
        steps += summary.steps;
        outputs += summary.outputs;
        most = most.max(grown);
    }
    println!("{steps} steps, {outputs} outputs, at most {most} bytes more, in {:?}", start.elapsed());
}

/// Mostly captured frames with some bytes changed; some noise; some time.
fn script(seed: u64, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut script = Vec::new();
    for _ in 0..rng.random_range(1..150) {
        let mut bytes = match rng.random_range(0..10) {
            0 => (0..rng.random_range(0..300)).map(|_| rng.random()).collect(),
            _ => frames[rng.random_range(0..frames.len())].clone(),
        };
        if !bytes.is_empty() {
            for _ in 0..rng.random_range(0..4) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
            if rng.random_bool(0.1) {
                bytes.truncate(rng.random_range(0..bytes.len()));
            }
        }
        script.push(rng.random());
        script.extend_from_slice(&u16::try_from(bytes.len()).unwrap().to_be_bytes());
        script.append(&mut bytes);
    }
    script
}

/// Small packets that say that they are large.
fn bomb(rng: &mut StdRng) -> Vec<u8> {
    match rng.random_range(0..6) {
        // Compounds in compounds.
        0 => (0..rng.random_range(1..2000)).fold(vec![0x0b, 0x80], |inner, _| {
            [&[7, 1], &(inner.len() as u16).to_be_bytes()[..], &*inner].concat()
        }),
        // Zeros, packed.
        1 => {
            let zeros = vec![0; rng.random_range(1..400_000)];
            let packed = weezl::encode::Encoder::new(weezl::BitOrder::Lsb, 8).encode(&zeros).unwrap();
            [b"\x09\x82\xa4Algo\x00\xa3Buf\xda", &(packed.len() as u16).to_be_bytes()[..], &*packed].concat()
        }
        // A state of four thousand million members.
        2 => b"\x06\x83\xa4Join\xc2\xa5Nodes\xce\xff\xff\xff\xff\xacUserStateLen\x00".to_vec(),
        // As many events as there are bytes.
        3 => {
            let events = vec![0x80; rng.random_range(1..60_000)];
            let len = (events.len() as u16).to_be_bytes();
            let state = [b"\x02\x81\xa6Events\x91\x81\xa6Events\xdc".as_slice(), &len, &*events].concat();
            exchange(&state)
        }
        // As many members, of whom nothing is known.
        4 => {
            let names: Vec<u8> =
                (0..15_000u16).flat_map(|i| [0xa2, i.to_be_bytes()[0] & 0x7f, i as u8 & 0x7f, 1]).collect();
            exchange(&[b"\x02\x81\xacStatusLTimes\xde\x3a\x98".as_slice(), &*names].concat())
        }
        // Events of four thousand million ticks.
        _ => b"\x08\x02\x81\xa6Events\xdd\xff\xff\xff\xff\xc0\xc0\xc0".to_vec(),
    }
}

/// A full exchange without members.
fn exchange(user: &[u8]) -> Vec<u8> {
    let head = b"\x06\x83\xa4Join\xc2\xa5Nodes\x00\xacUserStateLen\xce".as_slice();
    [head, &(user.len() as u32).to_be_bytes(), user].concat()
}

fn frames() -> Vec<Vec<u8>> {
    let dir = format!("{}/tests/vectors", env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "hex"));
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
            let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
            pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
        })
        .collect()
}

const LIMIT: isize = 1 << 20;

/// Knows how many bytes each thread holds, and held at most.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn note(change: isize) {
    HELD.set(HELD.get() + change);
    PEAK.set(PEAK.get().max(HELD.get()));
}

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size().cast_signed());
        // SAFETY: the caller's promises are those that the system's allocator wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(-layout.size().cast_signed());
        // SAFETY: as above; `pointer` came from `alloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
