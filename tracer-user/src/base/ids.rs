//! Newtypes for the numbers that must not be confused.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number!(
    /// A process id as loiter's own PID namespace shows it.
    Pid(u32)
);
number!(
    /// A thread id. Events carry the host's, `/proc` that of loiter's PID namespace.
    Tid(u32)
);
number!(
    /// One incarnation of a process: a new one for each exec and each reuse of a PID. Given out
    /// in order by the pipeline; never reused within a run or recording.
    ProcId(u32)
);
number!(
    /// An interned [`super::Frame`].
    FrameId(u32)
);
number!(
    /// An interned stack: frames from the innermost to the outermost.
    StackId(u32)
);
number!(
    /// An interned wait reason: its class and the runtime's own word for it.
    ReasonId(u16)
);
number!(
    /// A counter, modulo 256, that grows each time the task leaves running (Go: `g.trackingSeq`).
    RunSeq(u8)
);

impl FrameId {
    /// The frame that stands for "not known"; always defined.
    pub const UNKNOWN: FrameId = FrameId(0);
}

impl StackId {
    /// The empty stack: not read, or not readable; always defined.
    pub const EMPTY: StackId = StackId(0);
}

impl ReasonId {
    /// No reason known; always defined.
    pub const UNKNOWN: ReasonId = ReasonId(0);
}

/// What sort of task it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TaskKind {
    /// A goroutine; its number is the goid.
    Goroutine,
    /// An OS thread; its number is the tid.
    Thread,
}

impl TaskKind {
    /// The word used in JSON and text.
    pub const fn word(self) -> &'static str {
        match self {
            TaskKind::Goroutine => "goroutine",
            TaskKind::Thread => "thread",
        }
    }
}

/// A task within one process incarnation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TaskId {
    /// The sort of task.
    pub kind: TaskKind,
    /// The runtime's own number (goid, tid).
    pub number: u64,
}

impl TaskId {
    /// A goroutine by its goid.
    pub const fn goroutine(goid: u64) -> Self {
        Self { kind: TaskKind::Goroutine, number: goid }
    }

    /// A thread by its tid, as loiter's own PID namespace shows it.
    pub const fn thread(tid: u32) -> Self {
        Self { kind: TaskKind::Thread, number: tid as u64 }
    }
}
