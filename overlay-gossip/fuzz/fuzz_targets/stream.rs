#![no_main]
use libfuzzer_sys::fuzz_target;
use overlay_gossip::Frame;
use overlay_gossip::wire::{Envelope, StreamMessage};

const LIMIT: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let whole = Frame::new(LIMIT).end(bytes);
    // In pieces, the end is found at the same place.
    let mut frame = Frame::new(LIMIT);
    let pieces = (0..=bytes.len()).find_map(|len| match frame.end(&bytes[..len]) {
        Ok(None) => None,
        other => Some(other),
    });
    if let (Ok(Some(end)), Some(Ok(Some(early)))) = (whole, pieces) {
        assert_eq!(end, early);
    }
    if let Ok(plain) = Envelope::default().unwrap_stream(bytes, true, LIMIT) {
        let _ = StreamMessage::parse(&plain, 1000);
    }
});
