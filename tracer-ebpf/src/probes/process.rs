//! The life of traced processes: exec, exit, fork. Typed tracepoints, which need no tracefs.
//!
//! The kernel's structures are read at offsets that the loader took from the kernel's BTF: they
//! are constants by the time the verifier looks, so it checks each load.

use aya_ebpf::bindings::bpf_pidns_info;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_ns_current_pid_tgid};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use tracer_common::event::Process;
use tracer_common::ids::kind;

use crate::emit::{emit, now};
use crate::maps::{Counters, KERNEL_LAYOUT, TGIDS};

#[btf_tracepoint(function = "sched_process_exec")]
pub fn proc_exec(_ctx: BtfTracePointContext) -> i32 {
    if let Some((_, slot)) = traced() {
        record(slot, kind::EXEC, 0);
    }
    0
}

#[btf_tracepoint(function = "sched_process_exit")]
pub fn proc_exit(ctx: BtfTracePointContext) -> i32 {
    let Some((tgid, slot)) = traced() else { return 0 };
    let layout = KERNEL_LAYOUT.load();
    let task: *const u8 = ctx.arg(0);
    // SAFETY: `task` is the tracepoint's typed argument; offsets are the kernel's own.
    let (live, code) = unsafe {
        let signal: *const u8 = load(task, layout.task_signal);
        (load::<i32>(signal, layout.signal_live), load::<i32>(task, layout.task_exit_code))
    };
    // Two last threads may both see no one alive: the one that removes the entry tells.
    if live == 0 && TGIDS.remove(tgid).is_ok() {
        record(slot, kind::EXIT, u64::from(code as u32));
    }
    0
}

#[btf_tracepoint(function = "sched_process_fork")]
pub fn proc_fork(ctx: BtfTracePointContext) -> i32 {
    let Some((_, slot)) = traced() else { return 0 };
    let layout = KERNEL_LAYOUT.load();
    let child: *const u8 = ctx.arg(1);
    // SAFETY: `child` is the tracepoint's typed argument; the offset is the kernel's own.
    let child_tgid = unsafe { load::<i32>(child, layout.task_tgid) } as u32;
    let own_tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if child_tgid != own_tgid {
        record(slot, kind::FORK, u64::from(child_tgid));
    }
    0
}

/// Reads a field of a kernel structure.
///
/// # Safety
/// `base` must be a pointer the verifier knows, and `offset` that of a field of type `T`.
#[inline(always)]
unsafe fn load<T: Copy>(base: *const u8, offset: u32) -> T {
    // SAFETY: the caller's promise.
    unsafe { base.add(offset as usize).cast::<T>().read_volatile() }
}

/// Thread group of the current thread as loiter counts it, and its slot, if it is traced.
#[inline(always)]
fn traced() -> Option<(u32, u16)> {
    let layout = KERNEL_LAYOUT.load();
    let tgid = if layout.pidns_ino == 0 {
        (bpf_get_current_pid_tgid() >> 32) as u32
    } else {
        let mut ids = bpf_pidns_info { pid: 0, tgid: 0 };
        let len = size_of::<bpf_pidns_info>() as u32;
        // SAFETY: `ids` is as long as `len` says.
        let error = unsafe {
            bpf_get_ns_current_pid_tgid(layout.pidns_dev, layout.pidns_ino, &mut ids, len)
        };
        if error != 0 {
            return None;
        }
        ids.tgid
    };
    // SAFETY: a value of 4 bytes that is never changed in place.
    let slot = unsafe { TGIDS.get(tgid) }?;
    Some((tgid, *slot as u16))
}

#[inline(always)]
fn record(slot: u16, kind: u8, value: u64) {
    if let Some(counters) = Counters::of(slot) {
        counters.process_hit();
        emit(counters, slot, kind, now(), |header| Process { header, value });
    }
}
