//! A file of compiled code: symbols, DWARF, unwind tables.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loiter::symbolize::native::fuzz_binary(bytes));
