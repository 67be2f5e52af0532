//! Links and states of descriptors, tables of sockets.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loiter::target::fuzz_fds(bytes));
