//! The life of traced processes: exec, exit, fork. Typed tracepoints, which need no tracefs.
//!
//! The kernel's structures are read at offsets that the loader took from the kernel's BTF: they
//! are constants by the time the verifier looks, so it checks each load.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use tracer_common::event::Process;
use tracer_common::ids::kind;

use super::threads;
use super::traced::{load, traced};
use crate::emit::{emit, now};
use crate::maps::{Counters, TGIDS, kernel};

#[btf_tracepoint(function = "sched_process_exec")]
pub fn proc_exec(_ctx: BtfTracePointContext) -> i32 {
    if let Some(current) = traced() {
        record(current.slot, kind::EXEC, 0);
    }
    0
}

#[btf_tracepoint(function = "sched_process_exit")]
pub fn proc_exit(ctx: BtfTracePointContext) -> i32 {
    let Some(current) = traced() else { return 0 };
    let task: *const u8 = ctx.arg(0);
    threads::died(&current, task);
    // SAFETY: `task` is the tracepoint's typed argument; offsets are the kernel's own.
    let (live, code) = unsafe {
        let signal: *const u8 = load(task, kernel!(task_signal));
        (load::<i32>(signal, kernel!(signal_live)), load::<i32>(task, kernel!(task_exit_code)))
    };
    // Two last threads may both see no one alive: the one that removes the entry tells.
    if live == 0 && TGIDS.remove(current.tgid).is_ok() {
        record(current.slot, kind::EXIT, u64::from(code as u32));
    }
    0
}

#[btf_tracepoint(function = "sched_process_fork")]
pub fn proc_fork(ctx: BtfTracePointContext) -> i32 {
    let Some(current) = traced() else { return 0 };
    let parent: *const u8 = ctx.arg(0);
    let child: *const u8 = ctx.arg(1);
    // SAFETY: `child` is the tracepoint's typed argument; the offset is the kernel's own.
    let child_tgid = unsafe { load::<i32>(child, kernel!(task_tgid)) } as u32;
    let own_tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if child_tgid == own_tgid {
        threads::born(&ctx, &current, (parent, child));
    } else {
        record(current.slot, kind::FORK, u64::from(child_tgid));
    }
    0
}

#[inline(always)]
fn record(slot: u16, kind: u8, value: u64) {
    if let Some(counters) = Counters::of(slot) {
        counters.process_hit();
        emit(counters, slot, kind, now(), |header| Process { header, value });
    }
}
