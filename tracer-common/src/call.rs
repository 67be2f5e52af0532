//! System calls whose arguments and results are followed: those in which threads wait, and the one
//! that ends others' waits. Only where asked for, since their tracepoints slow every system call of
//! the host.

use core::mem::{offset_of, size_of};

use crate::event::Header;

/// Numbers and names of the system calls that are followed. Source:
/// arch/x86/entry/syscalls/syscall_64.tbl.
pub const CALLS: [(i32, &str); 12] = [
    (7, "poll"),
    (23, "select"),
    (FUTEX, "futex"),
    (230, "clock_nanosleep"),
    (232, "epoll_wait"),
    (270, "pselect6"),
    (271, "ppoll"),
    (281, "epoll_pwait"),
    (441, "epoll_pwait2"),
    (449, "futex_waitv"),
    (FUTEX_WAKE, "futex_wake"),
    (455, "futex_wait"),
];

const FUTEX: i32 = 202;
const FUTEX_WAKE: i32 = 454;

/// [`crate::ids::kind::THREAD_CALL`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadCall {
    /// Head; `time_ns` is when the call returned.
    pub header: Header,
    /// When it began, CLOCK_MONOTONIC ns.
    pub began_ns: u64,
    /// What it returned; a negative number is an error's. See [`Outcome`].
    pub result: i64,
    /// Its arguments, as they were when it began.
    pub arguments: [u64; 6],
    /// Which thread.
    pub tid: u32,
    /// Number of the system call, one of [`CALLS`].
    pub number: i32,
    /// How often the thread slept in it.
    pub slept: u32,
    /// Zero.
    pub pad: u32,
}

/// A call that goes on, the value of map `CALLS`. Stays while the thread lives and is written in place.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Calling {
    /// Since when, CLOCK_MONOTONIC ns; 0 = the thread is in none.
    pub began_ns: u64,
    /// How often the thread had slept before.
    pub nvcsw: u64,
    /// Its arguments.
    pub arguments: [u64; 6],
    /// Its number.
    pub number: i32,
    /// Whose it is.
    pub slot: u16,
    /// Not 0 = it has ended a wait that leaves a record.
    pub told: u16,
}

/// What is added up over calls, the value of map `CALL_TOTALS`, whose key is
/// [`crate::thread::WaitKey`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CallTotals {
    /// How many returned.
    pub count: u64,
    /// In how many of them the thread slept.
    pub slept: u64,
    /// How many by [`Outcome`].
    pub outcomes: [u64; OUTCOMES],
    /// How many threads they woke.
    pub woken: u64,
    /// How long they took, ns.
    pub total_ns: u64,
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// What was waited for has happened.
    Done = 0,
    /// Its time was over.
    TimedOut = 1,
    /// A signal came, or the thread was stopped.
    Interrupted = 2,
    /// The futex word had another value than the one to wait at (`EAGAIN`).
    Changed = 3,
    /// Another error.
    Failed = 4,
}

/// Number of [`Outcome`]s; more than there are, so that an index can be masked.
pub const OUTCOMES: usize = 8;

impl Outcome {
    /// All of them, by number.
    pub const ALL: [Outcome; 5] =
        [Outcome::Done, Outcome::TimedOut, Outcome::Interrupted, Outcome::Changed, Outcome::Failed];

    /// What the result of a call says. Sources: include/uapi/asm-generic/errno.h, and
    /// include/linux/errno.h for those that a program never sees.
    #[inline(always)]
    pub const fn of(number: i32, result: i64) -> Self {
        const EINTR: i64 = -4;
        const EAGAIN: i64 = -11;
        const ETIMEDOUT: i64 = -110;
        match result {
            // Nothing is ready.
            0 if matches!(number, 7 | 23 | 232 | 270 | 271 | 281 | 441) => Outcome::TimedOut,
            0.. => Outcome::Done,
            ETIMEDOUT => Outcome::TimedOut,
            EINTR | -516 | -514..=-512 => Outcome::Interrupted,
            EAGAIN => Outcome::Changed,
            _ => Outcome::Failed,
        }
    }
}

/// How many threads a call woke.
#[inline(always)]
pub const fn woken(number: i32, operation: u8, result: i64) -> u64 {
    /// `FUTEX_WAKE`, `FUTEX_WAKE_OP`, `FUTEX_WAKE_BITSET`. Source: include/uapi/linux/futex.h.
    const WAKES: [u8; 3] = [1, 5, 10];
    let wakes = operation == WAKES[0] || operation == WAKES[1] || operation == WAKES[2];
    if result > 0 && (number == FUTEX_WAKE || number == FUTEX && wakes) { result as u64 } else { 0 }
}

const _: () = {
    assert!(size_of::<ThreadCall>() == 104 && offset_of!(ThreadCall, tid) == 88);
    assert!(size_of::<Calling>() == 72);
    assert!(size_of::<CallTotals>() == 96);
    assert!(matches!(Outcome::of(FUTEX, -110), Outcome::TimedOut));
    assert!(matches!(Outcome::of(232, 0), Outcome::TimedOut));
    assert!(matches!(Outcome::of(FUTEX, 0), Outcome::Done));
    assert!(matches!(Outcome::of(FUTEX, -516), Outcome::Interrupted));
    assert!(matches!(Outcome::of(FUTEX, -11), Outcome::Changed));
    assert!(matches!(Outcome::of(FUTEX, -22), Outcome::Failed));
    assert!(woken(FUTEX, 1, 3) == 3 && woken(FUTEX, 0, 3) == 0 && woken(FUTEX_WAKE, 0, 2) == 2);
};
