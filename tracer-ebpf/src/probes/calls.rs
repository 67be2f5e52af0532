//! System calls in which threads wait: their arguments when they begin, their results when they end.
//!
//! These run for such calls of every process of the host: whom they do not follow must be known first.

use aya_ebpf::bindings::task_struct;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs};
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use tracer_common::call::{CallTotals, Calling, OUTCOMES, Outcome, ThreadCall, woken};
use tracer_common::ids::{follow, kind, sleep};

use super::sched::key;
use super::traced::{Traced, load, traced};
use crate::emit::{emit, now};
use crate::maps::{CALL_TOTALS, CALLS, Counters, Lost, TARGETS, add_up, kernel};

/// Offsets in `struct pt_regs`. Source: arch/x86/include/asm/ptrace.h, unchanged since 2.6.
mod regs {
    pub const R10: u32 = 56;
    pub const R9: u32 = 64;
    pub const R8: u32 = 72;
    pub const AX: u32 = 80;
    pub const DX: u32 = 96;
    pub const SI: u32 = 104;
    pub const DI: u32 = 112;
    pub const ORIG_AX: u32 = 120;
}

#[tracepoint]
pub fn sys_enter(_ctx: TracePointContext) -> u32 {
    if let Some(current) = followed() {
        begins(&current);
    }
    0
}

#[tracepoint]
pub fn sys_exit(_ctx: TracePointContext) -> u32 {
    if let Some(current) = followed() {
        returns(&current);
    }
    0
}

#[inline(always)]
fn followed() -> Option<Traced> {
    let current = traced()?;
    current.follows(follow::CALLS).then_some(current)
}

#[inline(always)]
fn begins(current: &Traced) {
    // SAFETY: the helpers take nothing that could be wrong; the offsets are the kernel's own and
    // those of its interface.
    let calling = unsafe {
        let task: *mut task_struct = bpf_get_current_task_btf();
        let at = bpf_task_pt_regs(task) as *const u8;
        Calling {
            began_ns: now(),
            nvcsw: load(task as *const u8, kernel!(task_nvcsw)),
            arguments: [
                load(at, regs::DI),
                load(at, regs::SI),
                load(at, regs::DX),
                load(at, regs::R10),
                load(at, regs::R8),
                load(at, regs::R9),
            ],
            number: load::<u64>(at, regs::ORIG_AX) as i32,
            slot: current.slot,
            told: 0,
        }
    };
    let host_tid = bpf_get_current_pid_tgid() as u32;
    if let Some(entry) = CALLS.get_ptr_mut(host_tid) {
        // SAFETY: a map value; only its own thread writes it, and a program of the scheduler that runs
        // in its time.
        unsafe { entry.write(calling) };
    } else if CALLS.insert(host_tid, &calling, 0).is_err()
        && let Some(counters) = Counters::of(current.slot)
    {
        counters.thread_hit();
        counters.lost(Lost::MapFull);
    }
}

#[inline(always)]
fn returns(current: &Traced) {
    let Some(entry) = CALLS.get_ptr_mut(bpf_get_current_pid_tgid() as u32) else { return };
    // SAFETY: a map value, as above.
    let calling = unsafe {
        let calling = entry.read();
        (&raw mut (*entry).began_ns).write_volatile(0);
        calling
    };
    let slot = current.slot;
    if calling.began_ns == 0 || calling.slot != slot {
        return;
    }
    let (Some(counters), Some(target)) = (Counters::of(slot), TARGETS.get(u32::from(slot))) else {
        return;
    };
    // SAFETY: as in `begins`.
    let (slept, result) = unsafe {
        let task: *mut task_struct = bpf_get_current_task_btf();
        let nvcsw: u64 = load(task as *const u8, kernel!(task_nvcsw));
        let result: u64 = load(bpf_task_pt_regs(task) as *const u8, regs::AX);
        (nvcsw.wrapping_sub(calling.nvcsw), result as i64)
    };
    let time_ns = now();
    let took = time_ns.wrapping_sub(calling.began_ns);
    counters.thread_hit();
    total(counters, &calling, (result, slept, took));
    if took < target.min_wait_ns && calling.told == 0 {
        counters.quiet();
        return;
    }
    emit(counters, slot, kind::THREAD_CALL, time_ns, |header| ThreadCall {
        header,
        began_ns: calling.began_ns,
        result,
        arguments: calling.arguments,
        tid: current.tid,
        number: calling.number,
        slept: slept as u32,
        pad: 0,
    });
}

/// The current thread has ended a wait that leaves a record: so does the call in which it did.
#[inline(always)]
pub fn is_told() {
    if let Some(entry) = CALLS.get_ptr_mut(bpf_get_current_pid_tgid() as u32) {
        // SAFETY: a map value; this runs in the time of its own thread.
        unsafe { (&raw mut (*entry).told).write_volatile(1) };
    }
}

/// Adds a call to the totals.
#[inline(always)]
fn total(counters: Counters, calling: &Calling, (result, slept, took): (i64, u64, u64)) {
    let [subject, operation, ..] = calling.arguments;
    let key = key((calling.number, sleep::SYSCALL), (subject, operation), calling.slot);
    let mut totals = CALL_TOTALS.get_ptr_mut(&key);
    if totals.is_none() {
        let none = CallTotals::default();
        // Another CPU may have been quicker: then it is there now.
        let _full_or_there = CALL_TOTALS.insert(&key, &none, 1);
        totals = CALL_TOTALS.get_ptr_mut(&key);
    }
    let Some(totals) = totals else { return counters.untotalled() };
    let outcome = Outcome::of(calling.number, result) as usize & (OUTCOMES - 1);
    // SAFETY: a map value, and an outcome that is masked to be one.
    unsafe {
        add_up(&raw mut (*totals).count, 1);
        add_up((&raw mut (*totals).outcomes).cast::<u64>().add(outcome), 1);
        add_up(&raw mut (*totals).slept, u64::from(slept != 0));
        add_up(&raw mut (*totals).woken, woken(calling.number, key.operation, result));
        add_up(&raw mut (*totals).total_ns, took);
    }
}
