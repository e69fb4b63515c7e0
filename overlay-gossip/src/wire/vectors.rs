//! Captured frames written again byte for byte.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use rand::SeedableRng;

use super::message::Message;
use super::packet::{self, Envelope};
use super::stream::StreamMessage;
use super::{Decoder, decoder, decompress, lzw, tag};
use crate::Key;
use crate::key::Keyring;

#[test]
fn plain_datagrams_are_written_again_byte_for_byte() {
    let mut seen = 0;
    for (file, payload) in vectors() {
        if !file.starts_with("plain-") || file.contains("stream") {
            continue;
        }
        let (crc, body) = match &*payload {
            [tag::CRC, _, _, _, _, rest @ ..] => (true, rest),
            all => (false, all),
        };
        let mut decoder = Decoder::default();
        let envelope = Envelope::default();
        let messages = decoder.datagram(&envelope, &payload).unwrap();
        let leaves: Vec<Bytes> = messages.map(|m| Bytes::copy_from_slice(m.unwrap())).collect();
        let written: Vec<Bytes> =
            leaves.iter().map(|leaf| Message::parse(leaf).unwrap().to_vec().into()).collect();
        assert_eq!(written, leaves, "{file}");
        let message = packet::compound(&written);
        assert_eq!(&*message, body, "{file}");
        let mut rng = rand::rngs::StdRng::seed_from_u64(0);
        assert_eq!(&*envelope.wrap(&message, crc, &mut rng), &*payload, "{file}");
        seen += 1;
    }
    assert_eq!(seen, 16);
}

#[test]
fn plain_streams_are_written_again_byte_for_byte() {
    for (file, payload) in vectors() {
        if !file.contains("stream") || file.contains("enc") {
            continue;
        }
        let mut envelope = Envelope::default();
        if file.contains("label") {
            envelope.label = b"blue".to_vec();
        }
        let plain = envelope.unwrap_stream(&payload, true, 1 << 20).unwrap();
        let StreamMessage::PushPull(state) = StreamMessage::parse(&plain, 100).unwrap() else {
            panic!("{file}")
        };
        assert_eq!(state.to_vec(), plain, "{file}");
        envelope.compress = file.starts_with("comp");
        let mut rng = rand::rngs::StdRng::seed_from_u64(0);
        assert_eq!(&*envelope.wrap_stream(&plain, true, &mut rng), &*payload, "{file}");
    }
}

#[test]
fn sealed_frames_are_sealed_again_byte_for_byte() {
    let key: Vec<u8> = (0..32).collect();
    for (file, payload) in vectors() {
        if !file.starts_with("enc-") || file.contains("stream") {
            continue;
        }
        let ring = Keyring::new(&[Key::new(&key).unwrap()]);
        let plain = ring.open(&payload, &[]).unwrap();
        let nonce = <[u8; 12]>::try_from(&payload[1..13]).unwrap();
        assert_eq!(ring.seal_with(&plain, &[], nonce).unwrap(), payload, "{file}");
    }
}

#[test]
fn compressed_bodies_are_compressed_again_byte_for_byte() {
    for (file, payload) in vectors() {
        if !file.starts_with("comp-0") {
            continue;
        }
        let body = payload.strip_prefix(&[tag::CRC]).map_or(&*payload, |rest| &rest[4..]);
        let plain = decompress(decoder::packed(&body[1..]).unwrap(), 1 << 20).unwrap();
        assert_eq!(packet::compressed(&plain).unwrap(), body, "{file}");
        assert!(decompress(&lzw::compress(&plain).unwrap(), plain.len() - 1).is_err());
    }
}

#[test]
fn modern_msgpack_and_unknown_keys_are_read() {
    let modern = b"\x00\x83\xd9\x04Node\xc4\x02n1\xa3New\x92\x01\x81\xa1x\xcb\x00\x00\x00\x00\x00\x00\x00\x00\xa5SeqNo\xd1\x01\x00";
    let Message::Ping(ping) = Message::parse(modern).unwrap() else { panic!() };
    assert_eq!((ping.node, ping.seq), ("n1", 256));
}

fn vectors() -> Vec<(String, Vec<u8>)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "hex") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let digits: Vec<u32> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .flat_map(str::chars)
            .filter_map(|c| c.to_digit(16))
            .collect();
        let bytes = digits.chunks(2).map(|d| u8::try_from(d[0] * 16 + d[1]).unwrap()).collect();
        all.push((path.file_stem().unwrap().to_string_lossy().into_owned(), bytes));
    }
    all.sort();
    all
}
