//! One task as a snapshot found it.

use crate::base::{FrameId, KTime, Nanos, ReasonId, RunSeq, StackId, TaskId, TaskState};

use super::scheduler::SchedulerState;
use super::waits::{FileSet, FutexState};

/// Numbers the snapshots of one process, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LookSeq(pub u32);

/// What stays equal while a task does not run: equal marks in k looks mean it has not run, with a
/// doubt of about (1/256)^(k-1), since the counter is a byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RunMark {
    /// Grows each time the task leaves running.
    pub seq: RunSeq,
    /// Saved program counter.
    pub pc: u64,
    /// Saved stack pointer.
    pub sp: u64,
}

/// What a channel carries, as far as its own words tell.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Carries {
    /// Not known.
    #[default]
    Unknown,
    /// Elements without content: only that it is closed, or that something came, says anything.
    Signals,
    /// Elements with content.
    Values,
    /// The times of a timer that fires again and again.
    Ticks,
    /// The time of a timer that fires once.
    Timeout,
    /// Times, as from a timer of which no more is known.
    Times,
}

/// How a task last left the processor, as far as the runtime's notes show it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Leave {
    /// It cannot be told.
    Unknown,
    /// By itself: it parked or made a system call.
    Gave,
    /// It was put off, or made way for others: it would have gone on.
    PutOff,
}

/// What is known of the past of a task that runs or may run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LastLeave {
    /// How it last left the processor.
    pub how: Leave,
    /// See [`RunMark::seq`]: of two looks that both found it running, an equal one says that it
    /// did not leave the processor in between.
    pub seq: RunSeq,
}

/// A channel that a task waits on, as the snapshot found it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ChannelState {
    /// Its address in the target; 0 = a nil channel.
    pub address: u64,
    /// Buffer size in elements; 0 = unbuffered.
    pub capacity: u64,
    /// Elements in the buffer.
    pub length: u64,
    /// Whether it was closed.
    pub closed: bool,
    /// What it carries.
    pub carries: Carries,
}

/// Which sort of lock or group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LockKind {
    /// `sync.Mutex`.
    Mutex,
    /// `sync.RWMutex`, to read.
    RwRead,
    /// `sync.RWMutex`, to write.
    RwWrite,
    /// `sync.WaitGroup`.
    WaitGroup,
    /// `sync.Cond`.
    Cond,
    /// A plain semaphore of the runtime.
    Semaphore,
}

/// The object a task waits on, as far as it can be known.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum WaitsOn {
    /// Not known, or nothing.
    Unknown,
    /// One channel (send or receive) or several (select), in the order of the runtime's list.
    Channels(Box<[ChannelState]>),
    /// A lock or group at this address.
    Lock {
        /// Its sort.
        kind: LockKind,
        /// Address of the primitive or of its semaphore word.
        address: u64,
        /// How many hold it back: 1 for a locked mutex, 0 for one that is free; the readers that a
        /// writer still waits for, 1 for a writer that readers wait for; the calls of `Done` that
        /// a wait group lacks. None = not read, or there is no such number.
        held: Option<u32>,
    },
    /// A timer that fires at this time.
    Timer {
        /// When, CLOCK_MONOTONIC.
        until: KTime,
    },
    /// A futex.
    Futex(Box<FutexState>),
    /// Open files.
    Files(Box<FileSet>),
}

/// One task as a snapshot found it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskLook {
    /// Which.
    pub task: TaskId,
    /// The read happened in `[t0, t1]`.
    pub t0: KTime,
    /// See `t0`.
    pub t1: KTime,
    /// Its state.
    pub state: TaskState,
    /// What it waits for.
    pub reason: ReasonId,
    /// Its parent, where the runtime says.
    pub parent: Option<TaskId>,
    /// Where it was created.
    pub spawn_site: FrameId,
    /// The function it runs.
    pub start: FrameId,
    /// Its stack.
    pub stack: StackId,
    /// The frame of `stack` that says where it waits: the innermost that is not plumbing of the
    /// runtime. [`FrameId::UNKNOWN`] where there is none.
    pub wait_site: FrameId,
    /// Equal marks = has not run. None for a task that is running or whose state has no mark.
    pub mark: Option<RunMark>,
    /// Of a task that runs or may run: how it came off the processor last.
    pub left: Option<LastLeave>,
    /// What it waits on.
    pub waits_on: WaitsOn,
    /// Start of the wait where the runtime itself wrote it down exactly.
    pub waits_since: Option<KTime>,
    /// Stack held, in bytes.
    pub stack_bytes: u64,
    /// The thread it runs on or is locked to, where there is one.
    pub thread: Option<crate::base::Tid>,
    /// Whether it is locked to that thread.
    pub locked_to_thread: bool,
    /// Whether it belongs to the runtime itself.
    pub system: bool,
    /// pprof labels.
    pub labels: Box<[(Box<str>, Box<str>)]>,
}

/// Why every thread of a process stands still.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stop {
    /// A signal stopped it (SIGSTOP, SIGTSTP ...), until SIGCONT.
    Signal,
    /// A debugger holds it.
    Tracer,
    /// Its cgroup is frozen.
    Frozen,
}

impl Stop {
    /// What to tell a person.
    pub const fn words(self) -> &'static str {
        match self {
            Stop::Signal => "stopped by a signal, until SIGCONT",
            Stop::Tracer => "held by a debugger",
            Stop::Frozen => "frozen with its cgroup",
        }
    }
}

/// What the kernel says of the whole process at the time of a look. Unknown where it was not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Vitals {
    /// Why it stands still, if it does.
    pub stopped: Option<Stop>,
    /// Processor time that all its threads have used since it started, to 10 ms.
    pub cpu: Option<Nanos>,
    /// For how long its cgroup was kept from running by its CPU quota, since the cgroup was made.
    pub throttled: Option<Nanos>,
    /// For how long its threads were ready and another had the processor, all together, since they
    /// started. Falls when a thread ends.
    pub queued: Option<Nanos>,
    /// The runtime's scheduler.
    pub scheduler: Option<SchedulerState>,
}

/// How a snapshot went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LookOutcome {
    /// Tasks the runtime's own list holds that are not dead.
    pub listed: u64,
    /// Tasks read.
    pub read: u64,
    /// Tasks that could not be read.
    pub unreadable: u64,
    /// Tasks that changed while being read and were read again.
    pub reread: u64,
    /// Tasks that still changed on the last try: their stack is left out.
    pub unsettled: u64,
    /// Tasks left out because a bound was reached.
    pub truncated: u64,
    /// How long it took.
    pub took: Nanos,
    /// Bytes read from the target.
    pub bytes: u64,
    /// The process as a whole.
    pub vitals: Vitals,
}

impl LookOutcome {
    /// Whether a task that is absent from the look can be taken as ended.
    pub const fn is_complete(&self) -> bool {
        self.unreadable == 0 && self.truncated == 0
    }
}
