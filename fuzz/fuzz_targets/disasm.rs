//! The code of a function, as the target's file has it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loiter::object::disasm::fuzz_disasm(bytes));
