//! The neutral language of states and waits, so that detectors know no runtime.

/// What a task is doing, in words that fit every runtime.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TaskState {
    /// Ready to run, waiting for a processor.
    Runnable,
    /// On a processor.
    Running,
    /// In a system call or foreign code, as the runtime sees it.
    Syscall,
    /// Parked: waits for something.
    Waiting,
    /// Stopped for the runtime's own reasons (preempted, stack being copied).
    Preempted,
    /// Not known: never seen in a snapshot, or the read failed.
    Unknown,
}

impl TaskState {
    /// All states, each at the index of its value.
    pub const ALL: [TaskState; 6] = [
        TaskState::Runnable,
        TaskState::Running,
        TaskState::Syscall,
        TaskState::Waiting,
        TaskState::Preempted,
        TaskState::Unknown,
    ];

    /// The word used in JSON and text.
    pub const fn word(self) -> &'static str {
        match self {
            TaskState::Runnable => "runnable",
            TaskState::Running => "running",
            TaskState::Syscall => "syscall",
            TaskState::Waiting => "waiting",
            TaskState::Preempted => "preempted",
            TaskState::Unknown => "unknown",
        }
    }
}

/// What kind of thing a task waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WaitClass {
    /// Sends on a channel.
    ChanSend,
    /// Receives from a channel.
    ChanReceive,
    /// Select over channels.
    Select,
    /// Blocked for ever by construction: nil channel, select without cases.
    Never,
    /// Mutex, read-write lock.
    Lock,
    /// Wait group, semaphore, condition variable.
    Group,
    /// Network or file readiness.
    Io,
    /// A timer.
    Sleep,
    /// A coroutine waits for its turn.
    Coroutine,
    /// The runtime's own business: garbage collection, idle workers.
    Runtime,
    /// A reason this table does not class.
    Other,
}

impl WaitClass {
    /// The word used in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            WaitClass::ChanSend => "chan-send",
            WaitClass::ChanReceive => "chan-receive",
            WaitClass::Select => "select",
            WaitClass::Never => "never",
            WaitClass::Lock => "lock",
            WaitClass::Group => "group",
            WaitClass::Io => "io",
            WaitClass::Sleep => "sleep",
            WaitClass::Coroutine => "coroutine",
            WaitClass::Runtime => "runtime",
            WaitClass::Other => "other",
        }
    }
}
