#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| overlay_core_fuzz::vtep(data));
