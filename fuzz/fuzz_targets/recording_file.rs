//! A recording as a file: frames of all kinds in any order, whole and damaged.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loiter::record::fuzz_file(bytes));
