//! The map of code that a program compiles while it runs.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loiter::symbolize::native::fuzz_perf_map(bytes));
