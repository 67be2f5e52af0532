//! /proc/PID/maps, which a target shapes by what it maps.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loiter::symbolize::native::fuzz_binary(bytes));
