//! /proc/PID/task/TID/syscall.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loiter::target::fuzz_syscall(bytes));
