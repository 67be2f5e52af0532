//! The scheduler of a runtime at the time of a look: how many processors and threads it has for its tasks,
//! and how many tasks wait for one. Read one after the other while it runs: numbers of the same moment
//! to some microseconds, not exactly.

/// Processors of a runtime's scheduler (Go's P) by what they do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Processors {
    /// Without work.
    pub idle: u32,
    /// Run tasks, or look for some.
    pub running: u32,
    /// Of a thread that is in a system call.
    pub syscall: u32,
    /// Stand still for the collector.
    pub stopped: u32,
}

impl Processors {
    /// With the word for each state.
    pub const fn by_state(&self) -> [(&'static str, u32); 4] {
        [
            ("idle", self.idle),
            ("running", self.running),
            ("syscall", self.syscall),
            ("gcstop", self.stopped),
        ]
    }
}

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SchedulerState {
    /// All of them are GOMAXPROCS.
    pub processors: Processors,
    /// Threads of the scheduler (Go's M).
    pub threads: u32,
    /// Of these: wait for work.
    pub threads_idle: u32,
    /// Of these: look for work.
    pub threads_spinning: u32,
    /// Tasks in the queue of all.
    pub global_queue: u32,
    /// Tasks in the queues of processors.
    pub local_queues: u32,
    /// Tasks in the longest of these.
    pub longest_local_queue: u32,
}
