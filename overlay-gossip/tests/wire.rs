//! The captured packets through the public door, and garbage.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "tests"
)]

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use overlay_gossip::*;
use proptest::prelude::*;

fn unhex(file: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file);
    let text = fs::read_to_string(path).unwrap();
    let digits: Vec<u32> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::chars)
        .filter_map(|c| c.to_digit(16))
        .collect();
    digits.chunks(2).map(|d| u8::try_from(d[0] * 16 + d[1]).unwrap()).collect()
}

fn files() -> Vec<String> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|n| n.ends_with(".hex")).collect();
    names.sort();
    names
}

/// A node that is able to read a file: with the key, the label and the versions of where it was captured.
fn reader_of(file: &str) -> Membership {
    let name = if file == "plain-04-ping.hex" { "n1" } else { "watcher" };
    let mut config = Config::new(NodeName::new(name).unwrap(), Profile::Lan);
    if !file.starts_with("ml060") && !file.starts_with("ndb") {
        config.vsn = Vsn::SERF;
    }
    if file.contains("label") {
        config.label = "blue".into();
    }
    let len = if file.starts_with("enc-") { 32u8 } else { 16 };
    if file.contains("enc") {
        config.keys = vec![Key::new((0..len).collect::<Vec<u8>>()).unwrap()];
    }
    Membership::new(config, Instant::now(), 1)
}

#[test]
fn every_captured_frame_is_understood() {
    let files = files();
    assert_eq!(files.len(), 40);
    for file in files {
        let mut node = reader_of(&file);
        let payload = unhex(&file);
        let from = "127.0.0.12:7946".parse().unwrap();
        let now = Instant::now();
        let result = if file.contains("stream") || file.contains("-tcp-") {
            let mut frame = Frame::new(1 << 20);
            for len in 0..payload.len() {
                assert_eq!(frame.end(&payload[..len]), Ok(None), "{file} at {len}");
            }
            assert_eq!(frame.end(&payload), Ok(Some(payload.len())), "{file}");
            node.handle_input(now, Input::Request { id: StreamId(1), from, payload: &payload })
        } else {
            node.handle_input(now, Input::Datagram { from, payload: &payload })
        };
        assert_eq!(result, Ok(()), "{file}");
        let stats = node.stats();
        assert_eq!((stats.malformed, stats.undecryptable, stats.wrong_label), (0, 0, 0), "{file}");
        // What the frame tells of members has been learnt.
        let mut told = 0;
        if file.contains("alive") {
            told = 2;
        }
        if file.contains("pushpull") || (file.contains("ml060") && file.contains("stream")) {
            told = 2;
        }
        assert!(node.members().count() >= told, "{file}: {:?}", node.members().collect::<Vec<_>>());
    }
}

#[test]
fn a_wrong_key_a_wrong_label_and_plain_text_are_refused_and_counted() {
    let from = "127.0.0.12:7946".parse().unwrap();
    let now = Instant::now();
    let mut sealed = reader_of("enc-");
    let plain = unhex("plain-04-ping.hex");
    let error = sealed.handle_input(now, Input::Datagram { from, payload: &plain });
    assert_eq!(error, Err(InputError::Wire(WireError::Sealed)));
    assert_eq!(sealed.stats().undecryptable, 1);
    let labelled = unhex("ml060-label-2.hex");
    let error = sealed.handle_input(now, Input::Datagram { from, payload: &labelled });
    assert_eq!(error, Err(InputError::Wire(WireError::Label)));
    assert_eq!(sealed.stats().wrong_label, 1);
    let mut flipped = unhex("enc-01-compress_compound_alive_alive_crc.hex");
    flipped[40] ^= 1;
    let error = sealed.handle_input(now, Input::Datagram { from, payload: &flipped });
    assert_eq!(error, Err(InputError::Wire(WireError::Sealed)));
}

#[test]
fn bombs_are_refused_without_being_unpacked() {
    let mut node = reader_of("plain");
    let from = "127.0.0.12:7946".parse().unwrap();
    // Compounds in compounds, 10 000 deep.
    let mut bomb = vec![0x00];
    for _ in 0..10_000 {
        let Ok(len) = u16::try_from(bomb.len()) else { break };
        let mut outer = vec![0x07, 1];
        outer.extend_from_slice(&len.to_be_bytes());
        outer.extend_from_slice(&bomb);
        bomb = outer;
    }
    let error = node.handle_input(Instant::now(), Input::Datagram { from, payload: &bomb });
    assert_eq!(error, Err(InputError::Wire(WireError::Limit)));
    // A megabyte of zeros in a few kilobytes.
    let packed = weezl::encode::Encoder::new(weezl::BitOrder::Lsb, 8).encode(&vec![0; 1 << 20]).unwrap();
    let mut bomb = b"\x09\x82\xa4Algo\x00\xa3Buf\xda".to_vec();
    bomb.extend_from_slice(&u16::try_from(packed.len()).unwrap().to_be_bytes());
    bomb.extend_from_slice(&packed);
    let error = node.handle_input(Instant::now(), Input::Datagram { from, payload: &bomb });
    assert_eq!(error, Err(InputError::Wire(WireError::Limit)));
    // A stream that announces more than is allowed.
    let mut frame = Frame::new(1 << 20);
    assert_eq!(frame.end(&[0x0a, 0x7f, 0xff, 0xff, 0xff]), Err(WireError::Limit));
}

#[test]
fn questions_of_serf_are_answered_to_members_only() {
    let now = Instant::now();
    let from = "127.0.0.11:7946".parse().unwrap();
    let ask = |frames: &[&str]| {
        let config = Config::new(NodeName::new("watcher").unwrap(), Profile::Lan);
        let mut node = Membership::with_serf(config, serf::Options::default(), now, 1);
        for frame in frames {
            node.handle_input(now, Input::Datagram { from, payload: &unhex(frame) }).unwrap();
        }
        let outputs = std::iter::from_fn(|| node.poll_output());
        outputs.filter(|o| matches!(o, Output::Transmit(t) if t.payload.starts_with(b"\x08\x05"))).count()
    };
    let query = "plain-12-user-query_crc.hex";
    assert_eq!(ask(&[query]), 0);
    assert_eq!(ask(&["plain-07-compound_alive_alive_alive_user-join_crc.hex", query]), 1);
    assert_eq!(ask(&["plain-07-compound_alive_alive_alive_user-join_crc.hex", query, query]), 1);
}

#[test]
fn what_docker_writes_is_read_and_written_again() {
    use overlay_gossip::wire::networkdb::{EndpointRecord, Message, PeerRecord};
    fn again(message: &[u8]) -> usize {
        let parsed = Message::parse(message).unwrap();
        assert_eq!(parsed.to_vec(), message);
        match parsed {
            Message::Compound(parts) => parts.into_iter().map(again).sum(),
            Message::BulkSync(sync) => 1 + again(sync.payload),
            Message::Table(event) if event.table == "overlay_peer_table" => {
                assert_eq!(PeerRecord::parse(event.value).unwrap().to_vec(), event.value);
                1
            }
            Message::Table(event) => {
                assert_eq!(EndpointRecord::parse(event.value).unwrap().to_vec(), event.value);
                1
            }
            _ => 1,
        }
    }
    let envelope = wire::Envelope::default();
    let mut seen = 0;
    for file in files().into_iter().filter(|file| file.starts_with("ndb")) {
        let payload = unhex(&file);
        if file.contains("-tcp-") {
            let plain = envelope.unwrap_stream(&payload, true, 1 << 20).unwrap();
            match wire::StreamMessage::parse(&plain, 10).unwrap() {
                wire::StreamMessage::User(body) => seen += again(body),
                wire::StreamMessage::PushPull(state) => seen += again(state.user),
                wire::StreamMessage::Message(other) => panic!("{other:?}"),
            }
            continue;
        }
        let mut decoder = wire::Decoder::default();
        for message in decoder.datagram(&envelope, &payload).unwrap() {
            if let wire::Message::User(body) = wire::Message::parse(message.unwrap()).unwrap() {
                seen += again(body);
            }
        }
    }
    assert_eq!(seen, 6);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_make_other_parsers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        use overlay_gossip::wire::networkdb::{EndpointRecord, Message, PeerRecord};
        if let Ok(message) = Message::parse(&bytes) {
            let written = message.to_vec();
            prop_assert_eq!(Message::parse(&written), Ok(message));
        }
        let _ = (EndpointRecord::parse(&bytes), PeerRecord::parse(&bytes), serf::Tags::parse(&bytes));
        let _ = wire::Reader(&bytes).skip();
        let _ = wire::StreamMessage::parse(&bytes, 100);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), kind in 0u8..14) {
        for payload in [bytes.clone(), [&[kind], &*bytes].concat(), [&[7, 1, 1, 0, kind], &*bytes].concat()] {
            let mut node = reader_of("plain");
            let from = "127.0.0.12:7946".parse().unwrap();
            let _ = node.handle_input(Instant::now(), Input::Datagram { from, payload: &payload });
            let _ = node.handle_input(Instant::now(), Input::Request { id: StreamId(1), from, payload: &payload });
            let _ = Frame::new(1 << 16).end(&payload);
        }
    }

    #[test]
    fn no_change_of_a_captured_frame_makes_it_panic(file in 0usize..40, at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()) {
        let file = &files()[file];
        let mut payload = unhex(file);
        let at = at.index(payload.len());
        payload[at] = byte;
        payload.truncate(cut.index(payload.len()) + 1);
        let mut node = reader_of(file);
        let from = "127.0.0.12:7946".parse().unwrap();
        let now = Instant::now();
        let _ = node.handle_input(now, Input::Datagram { from, payload: &payload });
        let _ = node.handle_input(now, Input::Request { id: StreamId(1), from, payload: &payload });
        node.handle_timeout(now + std::time::Duration::from_secs(5));
        while node.poll_output().is_some() {}
    }
}
