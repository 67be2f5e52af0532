//! Go's function table: names, lines, stack depths, inlined calls.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loiter::object::fuzz::pclntab(bytes));
