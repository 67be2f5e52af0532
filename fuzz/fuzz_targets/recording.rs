//! The content of a frame of a recording.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loiter::record::fuzz_content(bytes));
