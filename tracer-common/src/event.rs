//! Records in the ring buffer. Each begins with [`Header`]; `kind` says which body follows.
//!
//! Times are `bpf_ktime_get_ns`: nanoseconds of CLOCK_MONOTONIC. Addresses and goids are the
//! target's, read by the probe from the g; nothing in a record has been judged.

use core::mem::{offset_of, size_of};

/// The head of every record.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// CLOCK_MONOTONIC in ns.
    pub time_ns: u64,
    /// Records this slot had lost when this one was written (wrapping): a step between two
    /// records locates the loss there, up to the probes that were under way at that moment (at
    /// most one a CPU). Counts every hit that should have left a record and did not: ring full,
    /// map full, failed user read. Programs not run at all (recursion) are not in it.
    pub lost_before: u32,
    /// The target's slot, from the attach cookie.
    pub slot: u16,
    /// One of [`crate::ids::kind`].
    pub kind: u8,
    /// Zero.
    pub pad: u8,
    /// Thread that hit the probe, as the kernel counts it (host PID namespace).
    pub tid: u32,
    /// Thread group that hit the probe (host PID namespace).
    pub tgid: u32,
}

/// [`crate::ids::kind::BIRTH`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    /// Head.
    pub header: Header,
    /// Address of the g.
    pub g: u64,
    /// Its id.
    pub goid: u64,
    /// Id of its parent; 0 where the runtime does not keep it (before Go 1.21).
    pub parent: u64,
    /// Program counter of the `go` statement (return address).
    pub gopc: u64,
    /// Entry of the function it runs.
    pub startpc: u64,
}

/// [`crate::ids::kind::DEATH`] and [`crate::ids::kind::RUN`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Head.
    pub header: Header,
    /// Address of the g.
    pub g: u64,
    /// Its id.
    pub goid: u64,
}

/// [`crate::ids::kind::PARK`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Park {
    /// Head.
    pub header: Header,
    /// Address of the g.
    pub g: u64,
    /// Its id.
    pub goid: u64,
    /// `g.waitreason`.
    pub reason: u8,
    /// `g.trackingSeq` as it was before the park adds one.
    pub run_seq: u8,
    /// Zero.
    pub pad: u16,
    /// Zero.
    pub pad2: u32,
}

/// [`crate::ids::kind::READY`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Head.
    pub header: Header,
    /// Address of the g made runnable.
    pub g: u64,
    /// Its id.
    pub goid: u64,
    /// Goroutine that did it; 0 = unknown.
    pub waker: u64,
}

/// [`crate::ids::kind::WAIT`]: a wait that lasted at least `min_wait`, written when it ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Head; `time_ns` is when the goroutine ran again.
    pub header: Header,
    /// Address of the g.
    pub g: u64,
    /// Its id.
    pub goid: u64,
    /// When it parked, CLOCK_MONOTONIC ns.
    pub parked_ns: u64,
    /// When it was made runnable; 0 = not seen (the network poller does not pass `ready`).
    pub ready_ns: u64,
    /// Goroutine that made it runnable; 0 = unknown. Not looked for where the goroutine was runnable
    /// again before half of `min_wait` had passed: the rest of the wait was the scheduler's.
    pub waker: u64,
    /// `g.waitreason` at the park.
    pub reason: u8,
    /// `g.trackingSeq` as it was before the park added one.
    pub run_seq: u8,
    /// Zero.
    pub pad: u16,
    /// Zero.
    pub pad2: u32,
}

/// [`crate::ids::kind::EXEC`], [`crate::ids::kind::EXIT`], [`crate::ids::kind::FORK`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Head.
    pub header: Header,
    /// FORK: thread group of the child (host PID namespace). EXIT: the raw exit code of the last
    /// thread. EXEC: 0.
    pub value: u64,
}

/// The longest record; a reader refuses anything longer.
pub const MAX_RECORD: usize = size_of::<crate::thread::ThreadSpawn>();

const _: () = {
    assert!(size_of::<Header>() == 24);
    assert!(offset_of!(Header, slot) == 12 && offset_of!(Header, tid) == 16);
    assert!(size_of::<Birth>() == 64 && offset_of!(Birth, g) == 24);
    assert!(size_of::<Task>() == 40);
    assert!(size_of::<Park>() == 48 && offset_of!(Park, reason) == 40);
    assert!(size_of::<Ready>() == 48);
    assert!(size_of::<Wait>() == 72 && offset_of!(Wait, reason) == 64);
    assert!(size_of::<Process>() == 32);
};
