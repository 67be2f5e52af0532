//! A program's headers, notes, relocations, and what is found in it by them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loiter::object::fuzz::elf(bytes));
