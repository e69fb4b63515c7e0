#![no_main]
use libfuzzer_sys::fuzz_target;
use overlay_gossip::TableFormat;

#[path = "../../tests/fuzz/script.rs"]
mod script;

fuzz_target!(|bytes: &[u8]| {
    script::run(bytes, TableFormat::NetworkDb);
});
