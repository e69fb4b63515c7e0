//! How fast packets are taken apart and written: `cargo bench -p overlay-gossip --bench codec [-- --json]`.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, reason = "a benchmark")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use overlay_gossip::Key;
use overlay_gossip::wire::{Decoder, Envelope, Message};

fn main() {
    let json = std::env::args().any(|arg| arg == "--json");
    let (plain, sealed) =
        (Envelope::default(), Envelope::new(&[Key::new((0..32).collect::<Vec<u8>>()).unwrap()], ""));
    let mut rows = Vec::new();
    for (what, file, envelope) in [
        ("decode/ping", "plain-04-ping", &plain),
        ("decode/ack", "plain-05-ackResp", &plain),
        ("decode/compound_of_4", "plain-07-compound_alive_alive_alive_user-join_crc", &plain),
        ("decode/compressed_compound_of_2", "comp-01-compress_compound_alive_alive_crc", &plain),
        ("decode/sealed_compound_of_2", "enc-09-compound_alive_user-join_crc", &sealed),
    ] {
        let packet = unhex(file);
        let mut decoder = Decoder::default();
        rows.push((what, rate(|| decode(&mut decoder, envelope, &packet))));
    }
    let ping = unhex("plain-04-ping");
    let message = Message::parse(&ping).unwrap();
    let mut out = Vec::with_capacity(256);
    rows.push((
        "encode/ping",
        rate(|| {
            out.clear();
            black_box(&message).emit(&mut out);
            black_box(&out);
        }),
    ));
    if json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(what, r)| serde_json::json!({ "what": what, "median": r[2], "min": r[0], "max": r[4], "unit": "packets/s" }))
            .collect();
        println!("{}", serde_json::json!({ "benchmark": "gossip-codec", "rounds": 5, "rows": rows }));
        return;
    }
    for (what, r) in rows {
        println!("{what:<36} {:>6.2} M/s (of 5 rounds: {:.2} to {:.2})", r[2] / 1e6, r[0] / 1e6, r[4] / 1e6);
    }
}

fn decode(decoder: &mut Decoder, envelope: &Envelope, packet: &[u8]) {
    for message in decoder.datagram(envelope, black_box(packet)).unwrap() {
        let _ = black_box(Message::parse(message.unwrap()));
    }
}

/// Times per second, of five rounds in order.
fn rate(mut work: impl FnMut()) -> [f64; 5] {
    let mut rates = [0.0; 5];
    for rate in &mut rates {
        let (start, mut times) = (Instant::now(), 0.0);
        while start.elapsed() < Duration::from_millis(100) {
            (0..1000).for_each(|_| work());
            times += 1000.0;
        }
        *rate = times / start.elapsed().as_secs_f64();
    }
    rates.sort_by(f64::total_cmp);
    rates
}

fn unhex(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/vectors/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}
