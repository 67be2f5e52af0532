//! The kernel part of loiter: captures, never judges.
//!
//! Uprobe programs at the sites of a probe plan and tracepoint programs for a process's life turn
//! hits into records of `tracer-common` in one ring. What cannot be written is counted. No policy
//! here but `min_wait`. May use: tracer-common, aya-ebpf.
#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod emit;
mod maps;
mod probes;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// Helpers that read memory are for programs under a licence compatible with the GPL; loiter is
/// MIT or Apache-2.0, and MIT is.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
