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
        let mut shown: Value = decode(&hex);
        round(&mut known);
        round(&mut shown);
        assert_eq!(shown, known, "{}", hex.display());
        seen += 1;
    }
    assert_eq!(seen, 40);
}

fn decode(file: &Path) -> Value {
    let name = file.file_name().unwrap().to_string_lossy();
    let len = if name.starts_with("enc-") { 32 } else { 16 };
    let sealed = name.contains("enc");
    let keys = sealed.then(|| Key::new((0..len).collect::<Vec<u8>>()).unwrap());
    let envelope = Envelope::new(keys.as_slice(), "");
    let decoder = layers::Layers { envelope: &envelope, sealed };
    let text = std::fs::read_to_string(file).unwrap();
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let bytes: Vec<u8> = digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let stream = name.contains("-stream") || name.contains("-tcp-");
    if stream { decoder.stream(&bytes) } else { decoder.datagram(&bytes) }.unwrap()
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
