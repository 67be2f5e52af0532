//! What the user part writes into maps before or while probes run, and what it reads back.

use core::mem::size_of;

/// Most targets traced at once; slots are `0..MAX_SLOTS`.
pub const MAX_SLOTS: u32 = 1024;

/// The slot of what is told of all processes of the host: no target has it. The value of a
/// [`crate::event::Process`] is then the thread group that it is about, as loiter's PID namespace
/// counts it.
pub const HOST_SLOT: u16 = MAX_SLOTS as u16 - 2;

/// Marks an offset of [`TargetConfig`] that this runtime version does not have.
pub const NO_OFFSET: u16 = u16::MAX;

/// One target's settings, the value of map `TARGETS` at its slot. Offsets are in bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetConfig {
    /// Waits shorter than this leave no record; 0 = every park and run leaves one.
    pub min_wait_ns: u64,
    /// `g.goid` (u64).
    pub g_goid: u16,
    /// `g.parentGoid` (u64) or [`NO_OFFSET`].
    pub g_parent: u16,
    /// `g.gopc` (u64).
    pub g_gopc: u16,
    /// `g.startpc` (u64).
    pub g_startpc: u16,
    /// `g.waitreason` (u8).
    pub g_waitreason: u16,
    /// `g.trackingSeq` (u8).
    pub g_tracking_seq: u16,
    /// `g.m` (pointer).
    pub g_m: u16,
    /// `m.curg` (pointer).
    pub m_curg: u16,
}

/// What a slot has counted on one CPU, the value of the per-CPU map `COUNTERS`.
/// Readers add up the CPUs. Once the probes are off, the sums balance exactly:
/// `hits + process_hits + thread_hits == submitted + quiet + lost_ring_full + lost_map_full +
/// lost_user_read`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SlotCounters {
    /// Probe hits by site kind ([`crate::ids::site`]).
    pub hits: [u64; 5],
    /// Execs, exits and forks of the target process.
    pub process_hits: u64,
    /// Records submitted.
    pub submitted: u64,
    /// Hits that by intention left no record (`min_wait` only).
    pub quiet: u64,
    /// Records not written because the ring was full.
    pub lost_ring_full: u64,
    /// Parks not remembered because the map was full (`min_wait` only).
    pub lost_map_full: u64,
    /// Records not written because the target's memory could not be read.
    pub lost_user_read: u64,
    /// Wake-ups whose record says "waker unknown" because the way to the waker could not be read.
    pub waker_unread: u64,
    /// Births and deaths of threads, waits begun and ended, and wake-ups that leave a record.
    pub thread_hits: u64,
    /// Waits of threads that are in no total because the map of totals was full.
    pub waits_untotalled: u64,
    /// Waits of threads whose end the scheduler did not tell, so that it was found when the thread
    /// left its CPU again or died. In totals and records as all others.
    pub waits_end_found: u64,
    /// Zero.
    pub pad: u64,
}

/// A park remembered by the kernel part while `min_wait` is on; value of the map `PARKED`, whose
/// key is [`parked_key`]. An entry stays while its goroutine lives and is written in place: the
/// kernel part sets `parked_ns` to 0, writes the rest, then `parked_ns`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Parked {
    /// When it parked, CLOCK_MONOTONIC ns; 0 = it is not parked now.
    pub parked_ns: u64,
    /// When it was made runnable; 0 = not yet, or not seen.
    pub ready_ns: u64,
    /// Its goid.
    pub goid: u64,
    /// Goroutine that made it runnable; 0 = unknown.
    pub waker: u64,
    /// Thread that parked it (host PID namespace).
    pub tid: u32,
    /// `g.waitreason`.
    pub reason: u8,
    /// `g.trackingSeq` as it was before the park adds one.
    pub run_seq: u8,
    /// [`parked_tag`] of `parked_ns`. A reader outside the kernel copies an entry word by word
    /// while it may be written; an entry whose tag does not fit is a mixture of two parks.
    pub tag: u16,
}

/// The key of the map `PARKED`: user addresses on amd64 have 47 bits, so the slot fits above.
#[inline(always)]
pub const fn parked_key(slot: u16, g: u64) -> u64 {
    (slot as u64) << 48 | g & 0xffff_ffff_ffff
}

/// What [`Parked::tag`] holds: the time of the park in units of about a microsecond.
#[inline(always)]
pub const fn parked_tag(parked_ns: u64) -> u16 {
    (parked_ns >> 10) as u16
}

/// Length of the two pieces of a g that the kernel part reads at one go, in bytes: one from
/// `goid` on, one from the first of `parentGoid` and `gopc` on.
pub const WINDOW: u16 = 64;

impl TargetConfig {
    /// Where the piece with the fields of a birth begins.
    #[inline(always)]
    pub const fn birth_window(&self) -> u16 {
        if self.g_parent < self.g_gopc { self.g_parent } else { self.g_gopc }
    }

    /// Whether the kernel part can read this layout: every field lies whole within its piece.
    /// True for each Go version from 1.19 to 1.27.
    pub const fn is_readable(&self) -> bool {
        const fn within(start: u16, field: u16, size: u16) -> bool {
            field >= start && field.is_multiple_of(size) && field - start <= WINDOW - size
        }
        let birth = self.birth_window();
        let parent = self.g_parent == NO_OFFSET || within(birth, self.g_parent, 8);
        self.g_goid.is_multiple_of(8)
            && birth.is_multiple_of(8)
            && parent
            && within(birth, self.g_gopc, 8)
            && within(birth, self.g_startpc, 8)
            && within(self.g_goid, self.g_waitreason, 1)
            && within(self.g_goid, self.g_tracking_seq, 1)
            && self.g_m.is_multiple_of(8)
            && self.m_curg.is_multiple_of(8)
    }
}

/// What the kernel part must know of this kernel and of loiter's place in it. Offsets in bytes,
/// from the kernel's own BTF.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct KernelLayout {
    /// Device of loiter's PID namespace, in the kernel's own encoding; used if `pidns_ino` is not 0.
    pub pidns_dev: u64,
    /// Inode of loiter's PID namespace; 0 = the initial one.
    pub pidns_ino: u64,
    /// `task_struct.tgid` (i32).
    pub task_tgid: u32,
    /// `task_struct.exit_code` (i32).
    pub task_exit_code: u32,
    /// `task_struct.signal` (pointer).
    pub task_signal: u32,
    /// `signal_struct.live.counter` (i32): threads of the process that have not begun to exit.
    pub signal_live: u32,
    /// `task_struct.pid` (i32).
    pub task_pid: u32,
    /// `task_struct.nvcsw` (u64): how often it went to sleep.
    pub task_nvcsw: u32,
    /// `task_struct.thread_pid` (pointer).
    pub task_thread_pid: u32,
    /// `task_struct.flags` (u32).
    pub task_flags: u32,
    /// `pid.level` (u32).
    pub pid_level: u32,
    /// `pid.numbers` (list of `upid`: nr (i32) at 0, ns (pointer) at 8).
    pub pid_numbers: u32,
    /// `task_struct.stack` (pointer).
    pub task_stack: u32,
    /// 1 = softirqs run on the stacks of threads (PREEMPT_RT), so that they cannot be told from them.
    pub realtime: u32,
    /// `task_struct.se.sum_exec_runtime` (u64): ns that it has run; 0 = not known.
    pub task_ran: u32,
    /// `task_struct.se.prev_sum_exec_runtime` (u64): the same when it was last put on a CPU; 0 = not
    /// known.
    pub task_ran_before: u32,
}

const _: () = {
    assert!(size_of::<TargetConfig>() == 24);
    assert!(size_of::<SlotCounters>() == 128);
    assert!(size_of::<Parked>() == 40);
    assert!(size_of::<KernelLayout>() == 72);
};
