//! /proc/PID/cgroup, which holds names that a container manager chooses.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loiter::target::fuzz_cgroup(bytes));
