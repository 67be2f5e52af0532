//! /proc/PID/cgroup, which holds names that a container manager chooses, and what is found with it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    loiter::target::fuzz_container(bytes);
    loiter::target::fuzz_limits(bytes);
});
