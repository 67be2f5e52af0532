//! Births and deaths of OS threads, told by the programs for processes' lives.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{BPF_F_USER_STACK, task_struct};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{
    bpf_get_stack, bpf_probe_read_kernel, bpf_probe_read_user, bpf_task_pt_regs,
};
use aya_ebpf::programs::BtfTracePointContext;
use tracer_common::event::Header;
use tracer_common::ids::{follow, kind};
use tracer_common::thread::{SPAWN_STACK, STACK_DEPTH, Thread, ThreadBirth, ThreadSpawn};

use super::sched;
use super::traced::{Traced, load};
use crate::emit::{emit, emit_of, now};
use crate::maps::{Counters, SLEEPERS, kernel};

/// Offsets in `struct pt_regs`. Source: arch/x86/include/asm/ptrace.h, unchanged since 2.6.
mod regs {
    pub const R15: u32 = 0;
    pub const R14: u32 = 8;
    pub const R13: u32 = 16;
    pub const R12: u32 = 24;
    pub const BP: u32 = 32;
    pub const BX: u32 = 40;
    pub const IP: u32 = 128;
    pub const SP: u32 = 152;
}

/// The current thread has created another one in its own process. The two: itself, the new one.
#[inline(always)]
pub fn born(ctx: &BtfTracePointContext, creator: &Traced, (parent, child): (*const u8, *const u8)) {
    if !creator.follows(follow::LIVES) {
        return;
    }
    let Some(counters) = Counters::of(creator.slot) else { return };
    counters.thread_hit();
    let tid = tid_of(child);
    let ids = bpf_get_current_pid_tgid();
    if creator.follows(follow::STACKS) {
        let fill = |header, at| {
            // SAFETY: `at` is room for a record; `parent` is the tracepoint's typed argument.
            unsafe { fill_spawn(at, header, (tid, creator.tid), parent) };
        };
        emit_of(ids, counters, creator.slot, kind::THREAD_SPAWN, now(), fill);
        return;
    }
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

/// Writes a birth with the creator's registers and stack.
///
/// # Safety
/// `at` must be room for a record, and `parent` a task that the verifier knows.
#[inline(always)]
unsafe fn fill_spawn(
    at: *mut ThreadSpawn,
    header: Header,
    (tid, creator): (u32, u32),
    parent: *const u8,
) {
    // SAFETY: the caller's promise; the offsets are those of the kernel's interface.
    unsafe {
        let saved = bpf_task_pt_regs(parent.cast::<task_struct>().cast_mut()) as *const u8;
        let sp: u64 = load(saved, regs::SP);
        (&raw mut (*at).header).write(header);
        (&raw mut (*at).tid).write(tid);
        (&raw mut (*at).parent).write(creator);
        (&raw mut (*at).pc).write(load(saved, regs::IP));
        (&raw mut (*at).sp).write(sp);
        (&raw mut (*at).bp).write(load(saved, regs::BP));
        (&raw mut (*at).bx).write(load(saved, regs::BX));
        let high = (&raw mut (*at).r12_to_r15).cast::<u64>();
        high.write(load(saved, regs::R12));
        high.add(1).write(load(saved, regs::R13));
        high.add(2).write(load(saved, regs::R14));
        high.add(3).write(load(saved, regs::R15));
        (&raw mut (*at).len).write(copy_stack((&raw mut (*at).stack).cast(), sp));
        (&raw mut (*at).pad).write(0);
    }
}

/// Copies as much of a stack as there is: a read fails whole where a page is missing, so that it is
/// tried in halves.
///
/// # Safety
/// `to` must be room for [`SPAWN_STACK`] bytes.
#[inline(always)]
unsafe fn copy_stack(to: *mut u8, sp: u64) -> u32 {
    macro_rules! try_sizes {
        ($($size:expr),*) => {$(
            // SAFETY: the caller's promise; the helper checks the address it reads from.
            if unsafe { bpf_probe_read_user(to.cast(), $size, sp as *const _) } == 0 {
                return $size;
            }
        )*};
    }
    const WHOLE: u32 = SPAWN_STACK as u32;
    try_sizes!(WHOLE, WHOLE / 2, WHOLE / 4, WHOLE / 8);
    0
}

/// The current thread ends.
#[inline(always)]
pub fn died(current: &Traced, task: *const u8) {
    if current.follows(follow::WAITS) {
        sched::ran_unseen(task);
        let _not_there = SLEEPERS.remove(bpf_get_current_pid_tgid() as u32);
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
pub fn tid_of(child: *const u8) -> u32 {
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
