//! Taking packets apart costs no allocation once the buffers have grown.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use overlay_gossip::Key;
use overlay_gossip::wire::{Decoder, Envelope, Message};

#[test]
fn no_captured_datagram_costs_an_allocation() {
    let mut seen = 0;
    for entry in std::fs::read_dir(format!("{}/tests/vectors", env!("CARGO_MANIFEST_DIR"))).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".hex") || name.contains("-stream") || name.contains("-tcp-") {
            continue;
        }
        let len = if name.starts_with("enc-") { 32 } else { 16 };
        let key = name.contains("enc").then(|| Key::new((0..len).collect::<Vec<u8>>()).unwrap());
        let envelope = Envelope::new(key.as_slice(), if name.contains("label") { "blue" } else { "" });
        let packet = unhex(&std::fs::read_to_string(path).unwrap());
        let mut decoder = Decoder::default();
        let mut messages = 0;
        let mut read = || {
            for message in decoder.datagram(&envelope, &packet).unwrap() {
                std::hint::black_box(Message::parse(message.unwrap()).unwrap());
                messages += 1;
            }
        };
        read();
        assert_eq!(allocations(|| (0..10).for_each(|_| read())), 0, "{name}");
        assert!(messages >= 11, "{name}");
        seen += 1;
    }
    assert_eq!(seen, 27);
}

#[test]
fn an_allocation_is_counted() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![7u8; 100]))), 1);
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn allocations(work: impl FnOnce()) -> usize {
    let before = COUNT.get();
    work();
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
