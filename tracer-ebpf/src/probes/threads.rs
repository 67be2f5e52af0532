//! Births and deaths of OS threads, told by the programs for processes' lives.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::BPF_F_USER_STACK;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{bpf_get_stack, bpf_probe_read_kernel};
use aya_ebpf::programs::BtfTracePointContext;
use tracer_common::ids::{follow, kind};
use tracer_common::thread::{STACK_DEPTH, Thread, ThreadBirth};

use super::sched;
use super::traced::{Traced, load};
use crate::emit::{emit, emit_of, now};
use crate::maps::{CALLS, Counters, SLEEPERS, kernel};

/// The current thread has created another one in its own process.
#[inline(always)]
pub fn born(ctx: &BtfTracePointContext, creator: &Traced, child: *const u8) {
    if !creator.follows(follow::LIVES) {
        return;
    }
    let Some(counters) = Counters::of(creator.slot) else { return };
    counters.thread_hit();
    let tid = tid_of(child);
    let ids = bpf_get_current_pid_tgid();
    emit_of(
        ids,
        counters,
        creator.slot,
        kind::THREAD_BIRTH,
        now(),
        |header, at: *mut ThreadBirth| {
            let size = (STACK_DEPTH * size_of::<u64>()) as u32;
            // SAFETY: `at` is room for a record; the helper writes as many bytes as there are. What it
            // leaves is not read, see `depth`.
            unsafe {
                let stack = (&raw mut (*at).stack).cast();
                let bytes = bpf_get_stack(ctx.as_ptr(), stack, size, u64::from(BPF_F_USER_STACK));
                let depth = if bytes > 0 { bytes as u32 / size_of::<u64>() as u32 } else { 0 };
                (&raw mut (*at).header).write(header);
                (&raw mut (*at).tid).write(tid);
                (&raw mut (*at).parent).write(creator.tid);
                (&raw mut (*at).depth).write(depth);
                (&raw mut (*at).pad).write(0);
            }
        },
    );
}

/// The current thread ends.
#[inline(always)]
pub fn died(current: &Traced, task: *const u8) {
    if current.follows(follow::WAITS) {
        sched::ran_unseen(task);
        let _not_there = SLEEPERS.remove(bpf_get_current_pid_tgid() as u32);
    }
    if current.follows(follow::CALLS) {
        let _not_there = CALLS.remove(bpf_get_current_pid_tgid() as u32);
    }
    if !current.follows(follow::LIVES) {
        return;
    }
    let Some(counters) = Counters::of(current.slot) else { return };
    counters.thread_hit();
    emit(counters, current.slot, kind::THREAD_DEATH, now(), |header| Thread {
        header,
        tid: current.tid,
        pad: 0,
    });
}

/// The tid of a new thread as its creator's PID namespace counts it, which is loiter's, or all are.
/// 0 where it cannot be read.
#[inline(always)]
fn tid_of(child: *const u8) -> u32 {
    // SAFETY: `child` is the tracepoint's typed argument, as is what it points to; offsets are the
    // kernel's own. The last address is computed, so the helper checks it.
    unsafe {
        if kernel!(pidns_ino) == 0 {
            return load::<u32>(child, kernel!(task_pid));
        }
        let ids: *const u8 = load(child, kernel!(task_thread_pid));
        let level: u32 = load(ids, kernel!(pid_level));
        /// `struct upid`: the number, and the namespace.
        const UPID: u64 = 16;
        let at = ids as u64 + u64::from(kernel!(pid_numbers)) + u64::from(level) * UPID;
        let mut number = 0u32;
        let error = bpf_probe_read_kernel((&raw mut number).cast(), 4, at as *const _);
        if error == 0 { number } else { 0 }
    }
}
