//! What the user part writes into maps before or while probes run, and what it reads back.

use core::mem::size_of;

/// Most targets traced at once; slots are `0..MAX_SLOTS`.
pub const MAX_SLOTS: u32 = 1024;

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
/// Readers add up the CPUs.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SlotCounters {
    /// Probe hits by site kind ([`crate::ids::site`]).
    pub hits: [u64; 5],
    /// Records submitted.
    pub submitted: u64,
    /// Records not written because the ring was full.
    pub lost_ring_full: u64,
    /// Parks not remembered because the map was full (`min_wait` only).
    pub lost_map_full: u64,
    /// Records not written because the target's memory could not be read.
    pub lost_user_read: u64,
    /// Zero.
    pub pad: [u64; 7],
}

/// A park remembered by the kernel part while `min_wait` is on; value of the map `PARKED`, whose
/// key is `slot << 48 | g`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parked {
    /// When it parked, CLOCK_MONOTONIC ns.
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
    /// Zero.
    pub pad: [u8; 2],
}

const _: () = {
    assert!(size_of::<TargetConfig>() == 24);
    assert!(size_of::<SlotCounters>() == 128);
    assert!(size_of::<Parked>() == 40);
};
