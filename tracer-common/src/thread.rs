//! Records, keys and values about OS threads. Tids are as loiter's PID namespace counts them where
//! nothing else is said.

use core::mem::{offset_of, size_of};

use crate::event::Header;

/// Most return addresses of a spawn stack.
pub const STACK_DEPTH: usize = 24;

/// [`crate::ids::kind::THREAD_BIRTH`]. The head is the creator's.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadBirth {
    /// Head.
    pub header: Header,
    /// The new thread.
    pub tid: u32,
    /// Its creator.
    pub parent: u32,
    /// How many of `stack` there are.
    pub depth: u32,
    /// Zero.
    pub pad: u32,
    /// Where the creator was, by frame pointers, innermost first: user addresses, not checked.
    pub stack: [u64; STACK_DEPTH],
}

/// Most bytes of a creator's stack: from a system call up to the program's own code C takes half a
/// kilobyte, and unoptimised Rust two.
pub const SPAWN_STACK: usize = 4096;

/// [`crate::ids::kind::THREAD_SPAWN`]: a birth with what it takes to unwind the creator's stack.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadSpawn {
    /// Head, the creator's.
    pub header: Header,
    /// The new thread.
    pub tid: u32,
    /// Its creator.
    pub parent: u32,
    /// The creator's program counter, as it entered the kernel.
    pub pc: u64,
    /// Its stack pointer.
    pub sp: u64,
    /// rbp.
    pub bp: u64,
    /// rbx.
    pub bx: u64,
    /// r12 to r15.
    pub r12_to_r15: [u64; 4],
    /// How many bytes of `stack` there are; the rest means nothing.
    pub len: u32,
    /// Zero.
    pub pad: u32,
    /// The creator's stack, from `sp` on.
    pub stack: [u8; SPAWN_STACK],
}

/// [`crate::ids::kind::THREAD_DEATH`] and [`crate::ids::kind::THREAD_RUN`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Head.
    pub header: Header,
    /// Which.
    pub tid: u32,
    /// Zero.
    pub pad: u32,
}

/// In what a thread sleeps.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Asleep {
    /// The first three arguments of the system call.
    pub arguments: [u64; 3],
    /// Its number; -1 where there is none.
    pub number: i32,
    /// One of [`crate::ids::sleep`].
    pub sleep: u8,
    /// Low byte of the times it went to sleep (`voluntary_ctxt_switches`), this one included.
    pub run_seq: u8,
    /// Zero.
    pub pad: u16,
}

/// [`crate::ids::kind::THREAD_PARK`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadPark {
    /// Head.
    pub header: Header,
    /// In what.
    pub asleep: Asleep,
    /// Which.
    pub tid: u32,
    /// Zero.
    pub pad: u32,
}

/// [`crate::ids::kind::THREAD_READY`]. The head is of the thread in whose time it happened, which is
/// the waker only if `waker` says so.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadReady {
    /// Head.
    pub header: Header,
    /// Which.
    pub tid: u32,
    /// The thread of the same process that did it; 0 = unknown, or none of it.
    pub waker: u32,
}

/// [`crate::ids::kind::THREAD_WAIT`]: a wait that lasted at least `min_wait`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadWait {
    /// Head; `time_ns` is when the thread ran again.
    pub header: Header,
    /// In what.
    pub asleep: Asleep,
    /// When it went to sleep, CLOCK_MONOTONIC ns.
    pub parked_ns: u64,
    /// When it was woken; 0 = not seen.
    pub ready_ns: u64,
    /// Which.
    pub tid: u32,
    /// The thread of the same process that woke it; 0 = unknown, or none of it.
    pub waker: u32,
}

/// A thread that slept once while followed, the value of map `SLEEPERS`. Stays while the thread lives
/// and is written in place: `since_ns` is set to 0, then the rest, then `since_ns`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Sleeper {
    /// Since when it sleeps, CLOCK_MONOTONIC ns; 0 = it does not.
    pub since_ns: u64,
    /// When it was last woken; 0 = not since it last ran.
    pub ready_ns: u64,
    /// In what it sleeps.
    pub asleep: Asleep,
    /// Its tid.
    pub tid: u32,
    /// Thread of the same process that last woke it; 0 = unknown.
    pub waker: u32,
    /// Whose it is.
    pub slot: u16,
    /// [`crate::config::parked_tag`] of `since_ns`: an entry whose tag does not fit was being written.
    pub tag: u16,
    /// Zero.
    pub pad: u32,
}

impl Sleeper {
    /// A thread may be woken between the moment it says that it sleeps and the moment it leaves its
    /// CPU. The scheduler takes far less than this from the one to the other.
    const WOKEN_EARLY_NS: u64 = 50_000;

    /// Whether this sleep was seen to be ended by somebody, and not an earlier one.
    #[inline(always)]
    pub const fn is_woken(&self) -> bool {
        self.ready_ns != 0 && self.ready_ns.wrapping_add(Self::WOKEN_EARLY_NS) >= self.since_ns
    }
}

/// Waits that are totalled together, the key of map `WAITS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct WaitKey {
    /// Address of the futex word, or number of the epoll descriptor; 0 for other waits.
    pub subject: u64,
    /// Number of the system call; -1 where there is none.
    pub number: i32,
    /// Whose.
    pub slot: u16,
    /// One of [`crate::ids::sleep`].
    pub sleep: u8,
    /// Operation of `futex`, without its flags; else 0.
    pub operation: u8,
}

/// Number of size classes of [`WaitTotals`].
pub const BUCKETS: usize = 32;
/// Waits below 2 to this many ns are in the first size class.
pub const FIRST_BUCKET_BITS: u32 = 10;

/// What is added up over waits, the value of map `WAITS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct WaitTotals {
    /// How many ended.
    pub count: u64,
    /// How long they took, ns.
    pub total_ns: u64,
    /// How many by length: the first below 1024 ns, then each twice as long, the last without end.
    pub buckets: [u64; BUCKETS],
}

/// The size class of a wait.
#[inline(always)]
pub const fn bucket(ns: u64) -> usize {
    let bits = u64::BITS - ns.leading_zeros();
    let class = bits.saturating_sub(FIRST_BUCKET_BITS) as usize;
    if class < BUCKETS { class } else { BUCKETS - 1 }
}

const _: () = {
    assert!(size_of::<ThreadBirth>() == 40 + 8 * STACK_DEPTH);
    assert!(offset_of!(ThreadBirth, stack) == 40);
    assert!(size_of::<ThreadSpawn>() == 104 + SPAWN_STACK);
    assert!(offset_of!(ThreadSpawn, len) == 96 && offset_of!(ThreadSpawn, stack) == 104);
    assert!(size_of::<Thread>() == 32);
    assert!(size_of::<Asleep>() == 32 && offset_of!(Asleep, sleep) == 28);
    assert!(size_of::<ThreadPark>() == 64 && offset_of!(ThreadPark, tid) == 56);
    assert!(size_of::<ThreadReady>() == 32);
    assert!(size_of::<ThreadWait>() == 80 && offset_of!(ThreadWait, parked_ns) == 56);
    assert!(size_of::<Sleeper>() == 64 && offset_of!(Sleeper, tid) == 48);
    assert!(size_of::<WaitKey>() == 16 && offset_of!(WaitKey, slot) == 12);
    assert!(size_of::<WaitTotals>() == 16 + 8 * BUCKETS);
    assert!(bucket(0) == 0 && bucket(1023) == 0 && bucket(1024) == 1 && bucket(2048) == 2);
    assert!(bucket(u64::MAX) == BUCKETS - 1);
};
