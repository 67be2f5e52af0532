//! Waits of OS threads: where the scheduler takes a thread that sleeps off a CPU, where it puts it
//! back, and who woke it. A system call that does not sleep costs nothing here.
//!
//! These programs run for every switch of the host: whom they do not follow must be known by one
//! look-up each. They run with interrupts off, so that none of them interrupts another of its CPU.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::task_struct;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{
    bpf_get_current_task, bpf_get_current_task_btf, bpf_task_pt_regs,
};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use tracer_common::config::{TargetConfig, parked_tag};
use tracer_common::ids::{follow, kind, sleep};
use tracer_common::thread::{
    Asleep, BUCKETS, Sleeper, Thread, ThreadPark, ThreadReady, ThreadWait, WaitKey, bucket,
};

use super::traced::{current, load, traced};
use crate::emit::{emit, emit_of, now};
use crate::maps::{Counters, Lost, NO_WAITS, SLEEPERS, TARGETS, WAITS, add_up, kernel};

/// States of a thread going out. Source: include/linux/sched.h.
mod state {
    /// Sleeps, interruptibly or not.
    pub const SLEEPS: u64 = 0x3;
    /// Stopped, traced, frozen.
    pub const STOPPED: u64 = 0x4 | 0x8 | 0x8000;
}

/// `task_struct.flags`: it has begun to exit, or the kernel runs it. Source: include/linux/sched.h.
mod flag {
    pub const EXITING: u32 = 0x4;
    pub const IO_WORKER: u32 = 0x10;
    pub const USER_WORKER: u32 = 0x4000;
}

/// Offsets in `struct pt_regs`. Source: arch/x86/include/asm/ptrace.h, unchanged since 2.6.
mod regs {
    pub const DX: u32 = 96;
    pub const SI: u32 = 104;
    pub const DI: u32 = 112;
    pub const ORIG_AX: u32 = 120;
    pub const CS: u32 = 136;
}

/// The code segment of 64-bit programs. Source: arch/x86/include/asm/segment.h, `__USER_CS`.
const USER_CS: u64 = 0x33;

#[btf_tracepoint(function = "sched_switch")]
pub fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    let preempted: u64 = ctx.arg(0);
    let out: *const u8 = ctx.arg(1);
    let into: *const u8 = ctx.arg(2);
    let state: u64 = ctx.arg(3);
    ran_unseen(out);
    if preempted & 0xff == 0 && state & (state::SLEEPS | state::STOPPED) != 0 {
        sleeps(out, state);
    }
    runs(into);
    0
}

#[btf_tracepoint(function = "sched_waking")]
pub fn sched_waking(ctx: BtfTracePointContext) -> i32 {
    let woken: *const u8 = ctx.arg(0);
    // SAFETY: the tracepoint's typed argument; the offset is the kernel's own.
    let host_tid: u32 = unsafe { load(woken, kernel!(task_pid)) };
    if let Some(entry) = SLEEPERS.get_ptr_mut(host_tid) {
        wakes(&ctx, woken, entry);
    }
    0
}

/// The current thread leaves its CPU to sleep.
#[inline(always)]
fn sleeps(task: *const u8, state: u64) {
    let Some(current) = traced() else { return };
    if !current.follows(follow::WAITS) {
        return;
    }
    // SAFETY: the tracepoint's typed argument; the offset is the kernel's own.
    let flags: u32 = unsafe { load(task, kernel!(task_flags)) };
    if flags & flag::EXITING != 0 {
        return;
    }
    let slot = current.slot;
    let (Some(counters), Some(target)) = (Counters::of(slot), TARGETS.get(u32::from(slot))) else {
        return;
    };
    counters.thread_hit();
    let time_ns = now();
    let asleep = in_what(task, state, flags);
    let sleeper = Sleeper {
        since_ns: time_ns,
        ready_ns: 0,
        asleep,
        tid: current.tid,
        waker: 0,
        slot,
        tag: parked_tag(time_ns),
        pad: 0,
    };
    if !remember(bpf_get_current_pid_tgid() as u32, &sleeper) {
        counters.lost(Lost::MapFull);
    } else if target.min_wait_ns == 0 {
        emit(counters, slot, kind::THREAD_PARK, time_ns, |header| ThreadPark {
            header,
            asleep,
            tid: current.tid,
            pad: 0,
        });
    } else {
        counters.quiet();
    }
}

/// What a thread that goes out was doing.
#[inline(always)]
fn in_what(task: *const u8, state: u64, flags: u32) -> Asleep {
    // SAFETY: the tracepoint's typed argument, and what the helper says of it; the offsets are the
    // kernel's own and those of its interface.
    unsafe {
        let nvcsw: u64 = load(task, kernel!(task_nvcsw));
        let at = bpf_task_pt_regs(task.cast::<task_struct>().cast_mut()) as *const u8;
        let number: u64 = load(at, regs::ORIG_AX);
        let code_segment: u64 = load(at, regs::CS);
        let number = number as i32;
        let sleep = if state & state::STOPPED != 0 {
            sleep::STOPPED
        } else if flags & (flag::IO_WORKER | flag::USER_WORKER) != 0 {
            sleep::WORKER
        } else if number < 0 {
            sleep::NO_SYSCALL
        } else if code_segment & 0xffff != USER_CS {
            sleep::COMPAT
        } else {
            sleep::SYSCALL
        };
        let in_call = sleep == sleep::SYSCALL || sleep == sleep::COMPAT;
        Asleep {
            arguments: [load(at, regs::DI), load(at, regs::SI), load(at, regs::DX)],
            number: if in_call { number } else { -1 },
            sleep,
            run_seq: nvcsw as u8,
            pad: 0,
        }
    }
}

/// Keeps a sleep until the thread runs again; in place where the thread has slept before, since that
/// spares inserting. The scheduler orders what happens to one thread, so nobody else writes the
/// entry but a waker. False if there is no room.
#[inline(always)]
fn remember(host_tid: u32, sleeper: &Sleeper) -> bool {
    let Some(entry) = SLEEPERS.get_ptr_mut(host_tid) else {
        return SLEEPERS.insert(host_tid, sleeper, 0).is_ok();
    };
    // SAFETY: a map value; readers outside the kernel check the tag, see `Sleeper`.
    unsafe {
        (&raw mut (*entry).since_ns).write_volatile(0);
        (&raw mut (*entry).asleep).write_volatile(sleeper.asleep);
        (&raw mut (*entry).tid).write_volatile(sleeper.tid);
        (&raw mut (*entry).slot).write_volatile(sleeper.slot);
        (&raw mut (*entry).tag).write_volatile(sleeper.tag);
        (&raw mut (*entry).since_ns).write_volatile(sleeper.since_ns);
    }
    true
}

/// Somebody wakes a thread that has an entry.
#[inline(always)]
fn wakes(ctx: &BtfTracePointContext, woken: *const u8, entry: *mut Sleeper) {
    let time_ns = now();
    let waker = waker(ctx, woken);
    // SAFETY: a map value. The scheduler holds a lock of the thread that is woken, so nobody else
    // writes these two.
    let sleeper = unsafe {
        (&raw mut (*entry).waker).write_volatile(waker);
        (&raw mut (*entry).ready_ns).write_volatile(time_ns);
        entry.read()
    };
    let slot = sleeper.slot;
    let Some(target) = TARGETS.get(u32::from(slot)) else { return };
    if target.min_wait_ns != 0 || sleeper.since_ns == 0 {
        return;
    }
    let Some(counters) = Counters::of(slot) else { return };
    counters.thread_hit();
    emit(counters, slot, kind::THREAD_READY, time_ns, |header| ThreadReady {
        header,
        tid: sleeper.tid,
        waker,
    });
}

/// The current thread, if it is one of the same process and does this itself; else 0.
#[inline(always)]
fn waker(ctx: &BtfTracePointContext, woken: *const u8) -> u32 {
    // SAFETY: the tracepoint's typed argument; the offset is the kernel's own.
    let tgid: u32 = unsafe { load(woken, kernel!(task_tgid)) };
    if (bpf_get_current_pid_tgid() >> 32) as u32 != tgid || !runs_itself(ctx) {
        return 0;
    }
    match current() {
        Some((_, tid)) => tid,
        None => 0,
    }
}

/// Whether the current thread runs this itself, in a system call, and no interrupt in its time.
///
/// An interrupt that comes in the kernel, and any softirq, runs on a stack of its CPU; one that comes
/// in the program runs on the thread's, but then the thread is in no system call. Source:
/// arch/x86/include/asm/irq_stack.h.
#[inline(always)]
fn runs_itself(ctx: &BtfTracePointContext) -> bool {
    /// Source: arch/x86/include/asm/page_64_types.h, `THREAD_SIZE`.
    const STACK_BYTES: u64 = 16 << 10;
    if kernel!(realtime) != 0 {
        return false;
    }
    // SAFETY: the helpers take nothing that could be wrong; the offsets are the kernel's own. The
    // arguments of a tracepoint lie on the stack in use. Their address can be had as a difference of
    // two pointers alone.
    unsafe {
        let task = bpf_get_current_task_btf();
        let mut above = ctx.as_ptr() as u64;
        core::arch::asm!(
            "{above} -= {task}",
            above = inout(reg) above,
            task = in(reg) task,
            options(pure, nomem, nostack),
        );
        let at = above.wrapping_add(bpf_get_current_task());
        let stack: u64 = load(task.cast(), kernel!(task_stack));
        if at.wrapping_sub(stack) >= STACK_BYTES {
            return false;
        }
        let number: u64 = load(bpf_task_pt_regs(task) as *const u8, regs::ORIG_AX);
        number as i32 >= 0
    }
}

/// A thread is about to run.
#[inline(always)]
fn runs(task: *const u8) {
    let Some((host_tid, sleeper)) = awake(task) else { return };
    let Some(counters) = Counters::of(sleeper.slot) else { return };
    ends(counters, task, host_tid, &sleeper, now());
}

/// A thread that has run leaves its CPU, or dies. Its sleep has ended before, which was not told where
/// it still has one: a program may not be run (recursion), and there are kernels that do not tell of
/// each switch, such as those of some sandboxes for the processes that manage them.
#[inline(always)]
pub fn ran_unseen(task: *const u8) {
    let Some((host_tid, sleeper)) = awake(task) else { return };
    let Some(counters) = Counters::of(sleeper.slot) else { return };
    counters.end_found();
    ends(counters, task, host_tid, &sleeper, put_on_cpu(task, &sleeper));
}

/// Host tid and sleep of a thread that has one, which is over now.
#[inline(always)]
fn awake(task: *const u8) -> Option<(u32, Sleeper)> {
    // SAFETY: the tracepoint's typed argument; the offset is the kernel's own.
    let host_tid: u32 = unsafe { load(task, kernel!(task_pid)) };
    if host_tid == 0 {
        return None;
    }
    let entry = SLEEPERS.get_ptr_mut(host_tid)?;
    // SAFETY: a map value; nobody else writes it now, see `remember`. A waker writes no sooner than
    // the thread sleeps again.
    unsafe {
        let mut sleeper = entry.read();
        if sleeper.since_ns == 0 {
            return None;
        }
        (&raw mut (*entry).since_ns).write_volatile(0);
        (&raw mut (*entry).ready_ns).write_volatile(0);
        if !sleeper.is_woken() {
            // Of an earlier sleep: this one's was not seen.
            (sleeper.ready_ns, sleeper.waker) = (0, 0);
        }
        Some((host_tid, sleeper))
    }
}

/// When a thread that runs was put on its CPU, by the processor time it has taken since.
#[inline(always)]
fn put_on_cpu(task: *const u8, sleeper: &Sleeper) -> u64 {
    let time_ns = now();
    let earliest = sleeper.since_ns.max(sleeper.ready_ns);
    if kernel!(task_ran) == 0 {
        return earliest;
    }
    // SAFETY: the tracepoint's typed argument; the offsets are the kernel's own.
    let (ran, before) = unsafe {
        (load::<u64>(task, kernel!(task_ran)), load::<u64>(task, kernel!(task_ran_before)))
    };
    let at = time_ns.wrapping_sub(ran.wrapping_sub(before));
    // The scheduler does not keep the second one for each of its classes.
    if at < earliest || at > time_ns { earliest } else { at }
}

/// A sleep has ended.
#[inline(always)]
fn ends(counters: Counters, task: *const u8, host_tid: u32, sleeper: &Sleeper, time_ns: u64) {
    let Some(target) = TARGETS.get(u32::from(sleeper.slot)) else { return };
    counters.thread_hit();
    total(counters, sleeper, time_ns.wrapping_sub(sleeper.since_ns));
    // SAFETY: the tracepoint's typed argument; the offset is the kernel's own.
    let tgid: u32 = unsafe { load(task, kernel!(task_tgid)) };
    let ids = u64::from(tgid) << 32 | u64::from(host_tid);
    tell(ids, counters, target, sleeper, time_ns);
}

/// Writes the record of a sleep that has ended.
#[inline(always)]
fn tell(ids: u64, counters: Counters, target: &TargetConfig, sleeper: &Sleeper, time_ns: u64) {
    let (slot, tid) = (sleeper.slot, sleeper.tid);
    if target.min_wait_ns == 0 {
        emit_of(ids, counters, slot, kind::THREAD_RUN, time_ns, |header, at: *mut Thread| {
            // SAFETY: `at` is room for a record.
            unsafe { at.write(Thread { header, tid, pad: 0 }) };
        });
    } else if time_ns.wrapping_sub(sleeper.since_ns) < target.min_wait_ns {
        counters.quiet();
    } else {
        emit_of(ids, counters, slot, kind::THREAD_WAIT, time_ns, |header, at: *mut ThreadWait| {
            // SAFETY: `at` is room for a record.
            unsafe {
                at.write(ThreadWait {
                    header,
                    asleep: sleeper.asleep,
                    parked_ns: sleeper.since_ns,
                    ready_ns: sleeper.ready_ns,
                    tid,
                    waker: sleeper.waker,
                });
            }
        });
    }
}

/// Adds a sleep to the totals.
#[inline(always)]
fn total(counters: Counters, sleeper: &Sleeper, ns: u64) {
    let key = key(sleeper);
    let mut totals = WAITS.get_ptr_mut(&key);
    if totals.is_none() {
        if let Some(none) = NO_WAITS.get(0) {
            // Another CPU may have been quicker: then it is there now.
            let _full_or_there = WAITS.insert(&key, none, 1);
        }
        totals = WAITS.get_ptr_mut(&key);
    }
    let Some(totals) = totals else { return counters.untotalled() };
    // SAFETY: a map value, and a size class that is masked to be one.
    unsafe {
        add_up(&raw mut (*totals).count, 1);
        add_up(&raw mut (*totals).total_ns, ns);
        let class = bucket(ns) & (BUCKETS - 1);
        add_up((&raw mut (*totals).buckets).cast::<u64>().add(class), 1);
    }
}

/// What a sleep is totalled under.
#[inline(always)]
fn key(sleeper: &Sleeper) -> WaitKey {
    /// Source: include/uapi/linux/futex.h, `FUTEX_CMD_MASK`.
    const OPERATION: u64 = 127;
    let asleep = &sleeper.asleep;
    let [subject, operation, _] = asleep.arguments;
    let in_call = asleep.sleep == sleep::SYSCALL;
    let (subject, operation) = match asleep.number {
        // futex; then futex_waitv, futex_wait, epoll_wait, epoll_pwait, epoll_pwait2.
        202 if in_call => (subject, (operation & OPERATION) as u8),
        449 | 455 | 232 | 281 | 441 if in_call => (subject, 0),
        _ => (0, 0),
    };
    WaitKey { subject, number: asleep.number, slot: sleeper.slot, sleep: asleep.sleep, operation }
}
