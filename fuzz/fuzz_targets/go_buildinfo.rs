//! The build information that Go's linker leaves in a program.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loiter::object::fuzz::build_info(bytes));
