//! The program `decode` says of every captured frame what is known about it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests"
)]

#[path = "../examples/decode/layers.rs"]
mod layers;
#[path = "../examples/decode/networkdb.rs"]
mod networkdb;
#[path = "../examples/decode/value.rs"]
mod value;

use std::path::Path;

use overlay_gossip::Key;
use overlay_gossip::wire::Envelope;
use serde_json::Value;

#[test]
fn every_captured_frame_is_shown_as_it_is_known() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut seen = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let hex = entry.unwrap().path();
        if hex.extension().is_none_or(|e| e != "hex") {
            continue;
        }
        let mut known: Value =
            serde_json::from_str(&std::fs::read_to_string(hex.with_extension("json")).unwrap()).unwrap();
        let name = hex.file_name().unwrap().to_string_lossy().into_owned();
        let (short, long) = (key(16), key(32));
        let fitting = match (name.contains("enc"), name.starts_with("enc-")) {
            (false, _) => Vec::new(),
            (true, false) => vec![short.clone()],
            (true, true) => vec![long.clone()],
        };
        round(&mut known);
        // Keys that do not fit do no harm.
        for keys in [fitting, vec![short, long]] {
            let mut shown = decode(&hex, &keys).unwrap();
            round(&mut shown);
            assert_eq!(shown, known, "{name}");
        }
        assert_eq!(decode(&hex, &[Key::new([9; 16]).unwrap()]).is_err(), name.contains("enc"), "{name}");
        seen += 1;
    }
    assert_eq!(seen, 40);
}

/// The keys of the captures count from zero.
fn key(len: u8) -> Key {
    Key::new((0..len).collect::<Vec<u8>>()).unwrap()
}

fn decode(file: &Path, keys: &[Key]) -> value::Result<Value> {
    let name = file.file_name().unwrap().to_string_lossy();
    let envelope = Envelope::new(keys, "");
    let decoder = layers::Layers { envelope: &envelope, sealed: !keys.is_empty() };
    let text = std::fs::read_to_string(file).unwrap();
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let bytes: Vec<u8> = digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let stream = name.contains("-stream") || name.contains("-tcp-");
    if stream { decoder.stream(&bytes) } else { decoder.datagram(&bytes) }
}

/// Coordinates are floating point numbers: compare what is written of them.
fn round(value: &mut Value) {
    match value {
        Value::Number(n) if n.is_f64() => *value = format!("{:.12e}", n.as_f64().unwrap()).into(),
        Value::Array(values) => values.iter_mut().for_each(round),
        Value::Object(fields) => fields.values_mut().for_each(round),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
