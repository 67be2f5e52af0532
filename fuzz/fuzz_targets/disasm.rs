//! Machine code: where a probe could be put.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loiter::object::disasm::fuzz_disasm(bytes));
