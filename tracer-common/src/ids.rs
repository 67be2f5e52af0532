//! Numbers that both parts must agree on: record kinds, site kinds, registers, the attach cookie.

/// Kinds of records in the ring; the `kind` byte of [`crate::event::Header`].
pub mod kind {
    /// A goroutine was created. Body: [`crate::event::Birth`].
    pub const BIRTH: u8 = 1;
    /// A goroutine ended. Body: [`crate::event::Task`].
    pub const DEATH: u8 = 2;
    /// A goroutine is about to park. Body: [`crate::event::Park`].
    pub const PARK: u8 = 3;
    /// A goroutine starts to run. Body: [`crate::event::Task`].
    pub const RUN: u8 = 4;
    /// A goroutine was made runnable. Body: [`crate::event::Ready`].
    pub const READY: u8 = 5;
    /// A whole wait, written when it ended (only with `min_wait`). Body: [`crate::event::Wait`].
    pub const WAIT: u8 = 6;
    /// A traced process replaced its image. Body: [`crate::event::Process`].
    pub const EXEC: u8 = 16;
    /// The last thread of a traced process exited. Body: [`crate::event::Process`].
    pub const EXIT: u8 = 17;
    /// A traced process made a child process. Body: [`crate::event::Process`].
    pub const FORK: u8 = 18;
    /// A thread was created. Body: [`crate::thread::ThreadBirth`].
    pub const THREAD_BIRTH: u8 = 32;
    /// A thread ended. Body: [`crate::thread::Thread`].
    pub const THREAD_DEATH: u8 = 33;
    /// A thread went to sleep. Body: [`crate::thread::ThreadPark`].
    pub const THREAD_PARK: u8 = 34;
    /// A thread that slept runs again. Body: [`crate::thread::Thread`].
    pub const THREAD_RUN: u8 = 35;
    /// A sleeping thread was woken. Body: [`crate::thread::ThreadReady`].
    pub const THREAD_READY: u8 = 36;
    /// A thread's whole wait, written when it ended (only with `min_wait`). Body:
    /// [`crate::thread::ThreadWait`].
    pub const THREAD_WAIT: u8 = 37;
    /// A thread was created, with the stack of its creator (only with [`super::follow::STACKS`]).
    /// Body: [`crate::thread::ThreadSpawn`].
    pub const THREAD_SPAWN: u8 = 38;
    /// A system call that is followed returned. Body: [`crate::call::ThreadCall`].
    pub const THREAD_CALL: u8 = 39;
}

/// What a probe site stands for; part of the attach cookie.
pub mod site {
    /// A register holds the g just created.
    pub const BIRTH: u8 = 0;
    /// A register holds the g that ends.
    pub const DEATH: u8 = 1;
    /// A register holds the g that parks.
    pub const PARK: u8 = 2;
    /// A register holds the g about to run.
    pub const RUN: u8 = 3;
    /// A register holds the g being made runnable.
    pub const READY: u8 = 4;
    /// Number of site kinds.
    pub const COUNT: usize = 5;
}

/// Where a site finds the g: a general register, in x86-64 encoding order (rax = 0 .. r15 = 15),
/// or a stack slot `[rsp + offset]`, marked by [`loc::STACK`].
pub mod loc {
    /// Set in the location byte when the value lies on the stack; the low seven bits are then
    /// the offset from `rsp` in units of 8 bytes.
    pub const STACK: u8 = 0x80;
}

/// The value a probe passes to its program: which target, which site, where the g is.
///
/// Bits 0..16 slot, 16..24 site kind, 24..32 location ([`loc`]), 32..48 index of the site in the plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cookie(pub u64);

impl Cookie {
    /// Packs the parts.
    #[inline(always)]
    pub const fn new(slot: u16, site: u8, location: u8, index: u16) -> Self {
        Self(slot as u64 | (site as u64) << 16 | (location as u64) << 24 | (index as u64) << 32)
    }
    /// The target's slot.
    #[inline(always)]
    pub const fn slot(self) -> u16 {
        self.0 as u16
    }
    /// The kind of site, one of [`site`].
    #[inline(always)]
    pub const fn site(self) -> u8 {
        (self.0 >> 16) as u8
    }
    /// Where the g is, see [`loc`].
    #[inline(always)]
    pub const fn location(self) -> u8 {
        (self.0 >> 24) as u8
    }
    /// Index of the site in the plan.
    #[inline(always)]
    pub const fn index(self) -> u16 {
        (self.0 >> 32) as u16
    }
}

/// In what a thread sleeps; a byte of records and of keys.
pub mod sleep {
    /// In a system call of the 64-bit interface.
    pub const SYSCALL: u8 = 0;
    /// On the way into or out of the kernel without a system call: a page fault, for example.
    pub const NO_SYSCALL: u8 = 1;
    /// It is stopped: by a signal, a debugger or the freezer.
    pub const STOPPED: u8 = 2;
    /// A thread that the kernel runs on behalf of the process (io_uring, vhost).
    pub const WORKER: u8 = 3;
    /// In a system call of the 32-bit interface, whose numbers are others.
    pub const COMPAT: u8 = 4;
}

/// What of a process's threads is followed; the upper half of a value of the map `TGIDS`.
pub mod follow {
    /// Births and deaths.
    pub const LIVES: u32 = 1 << 16;
    /// Waits.
    pub const WAITS: u32 = 1 << 17;
    /// With births the creator's stack as it lies in memory: code without frame pointers.
    pub const STACKS: u32 = 1 << 18;
    /// System calls ([`crate::call::CALLS`]).
    pub const CALLS: u32 = 1 << 19;
    /// Where the slot is.
    pub const SLOT: u32 = 0xffff;
}

/// Names that both parts must agree on: programs and maps are found by them.
pub mod name {
    /// The programs of the five site kinds, by number ([`super::site`]).
    pub const SITE_PROGRAMS: [&str; super::site::COUNT] =
        ["birth", "death", "park", "run", "ready"];
    /// Programs on kernel tracepoints: name of the program, name of the tracepoint.
    pub const PROCESS_PROGRAMS: [(&str, &str); 3] = [
        ("proc_exec", "sched_process_exec"),
        ("proc_exit", "sched_process_exit"),
        ("proc_fork", "sched_process_fork"),
    ];
    /// Programs on kernel tracepoints that tell of all processes of the host.
    pub const HOST_PROGRAMS: [(&str, &str); 2] =
        [("host_exec", "sched_process_exec"), ("host_fork", "sched_process_fork")];
    /// Programs on kernel tracepoints that are attached while some target's waits of threads are
    /// followed: name of the program, name of the tracepoint.
    pub const SCHED_PROGRAMS: [(&str, &str); 2] =
        [("sched_switch", "sched_switch"), ("sched_waking", "sched_waking")];
    /// Programs at the tracepoints of system calls: when one begins, when it returns.
    pub const CALL_PROGRAMS: [&str; 2] = ["sys_enter", "sys_exit"];
    /// Host tid -> [`crate::call::Calling`].
    pub const CALLS: &str = "CALLS";
    /// [`crate::thread::WaitKey`] -> [`crate::call::CallTotals`].
    pub const CALL_TOTALS: &str = "CALL_TOTALS";
    /// Host tid -> [`crate::thread::Sleeper`].
    pub const SLEEPERS: &str = "SLEEPERS";
    /// [`crate::thread::WaitKey`] -> [`crate::thread::WaitTotals`].
    pub const WAITS: &str = "WAITS";
    /// The ring of records.
    pub const RING: &str = "RING";
    /// Slot -> [`crate::config::TargetConfig`].
    pub const TARGETS: &str = "TARGETS";
    /// Slot -> [`crate::config::SlotCounters`], per CPU.
    pub const COUNTERS: &str = "COUNTERS";
    /// Slot -> records lost, the source of `Header::lost_before`.
    pub const LOST: &str = "LOST";
    /// [`crate::config::parked_key`] -> [`crate::config::Parked`].
    pub const PARKED: &str = "PARKED";
    /// Thread group, as loiter's PID namespace counts it, -> slot and [`super::follow`].
    pub const TGIDS: &str = "TGIDS";
    /// Global: log2 of the step of the ring's fill level at which the reader is woken.
    pub const WAKE_SHIFT: &str = "WAKE_SHIFT";
    /// Global: [`crate::config::KernelLayout`].
    pub const KERNEL_LAYOUT: &str = "KERNEL_LAYOUT";
}
