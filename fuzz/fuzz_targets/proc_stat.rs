//! /proc/PID/stat, which holds a name that the target chooses.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loiter::target::fuzz_stat(bytes));
