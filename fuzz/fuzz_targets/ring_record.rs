//! Records of the ring buffer, as the kernel part writes them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loiter::stream::decode::fuzz_decode(bytes));
