//! Writes records into the ring, or counts that they could not be written.

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use tracer_common::event::Header;

use crate::maps::{Counters, Lost, RING, WAKE_SHIFT};

/// What the ring puts before each record (`BPF_RINGBUF_HDR_SZ`).
const RING_HEADER: u64 = 8;

/// CLOCK_MONOTONIC.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// Reserves, fills and submits one record of what the current thread does.
#[inline(always)]
pub fn emit<T: 'static>(
    counters: Counters,
    slot: u16,
    kind: u8,
    time_ns: u64,
    body: impl FnOnce(Header) -> T,
) {
    let ids = bpf_get_current_pid_tgid();
    emit_of(ids, counters, slot, kind, time_ns, |header, at: *mut T| {
        // SAFETY: `at` is room for a `T`.
        unsafe { at.write(body(header)) };
    });
}

/// Reserves and submits one record of what the thread of these host ids does; `fill` must write all
/// of it.
#[inline(always)]
pub fn emit_of<T: 'static>(
    ids: u64,
    counters: Counters,
    slot: u16,
    kind: u8,
    time_ns: u64,
    fill: impl FnOnce(Header, *mut T),
) {
    let Some(mut entry) = RING.reserve::<T>(0) else {
        counters.lost(Lost::RingFull);
        return;
    };
    let header = Header {
        time_ns,
        lost_before: counters.lost_before(),
        slot,
        kind,
        pad: 0,
        tid: ids as u32,
        tgid: (ids >> 32) as u32,
    };
    fill(header, entry.as_mut_ptr());
    entry.submit(wake_up(size_of::<T>() as u64));
    counters.submitted();
}

/// The reader drains on a timer and is woken only when the fill level crosses a multiple of the
/// step: waking it for each record would cost more than the record. Two probes that reserve at the
/// same moment may both miss a crossing; the next one or the timer makes up for it.
#[inline(always)]
fn wake_up(len: u64) -> u64 {
    let shift = WAKE_SHIFT.load() & 31;
    let filled = RING.query(u64::from(BPF_RB_AVAIL_DATA));
    let before = filled.wrapping_sub(len + RING_HEADER);
    if filled >> shift != before >> shift {
        u64::from(BPF_RB_FORCE_WAKEUP)
    } else {
        u64::from(BPF_RB_NO_WAKEUP)
    }
}
