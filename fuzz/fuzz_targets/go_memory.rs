//! What hangs on a g in the memory of a Go program: channels, waiters, labels, locks.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    loiter::runtime::go::snapshot::fuzz_memory(bytes);
});
