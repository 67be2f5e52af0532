//! What happened to a task, at a time. Names are resolved; ids are checked.

use crate::base::{FrameId, KTime, ProcId, ReasonId, RunSeq, TaskId, Tid};

/// Who made a waiting task runnable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Waker {
    /// This task did.
    Task(TaskId),
    /// Something else, or it was not seen: the network poller, a timer, the runtime.
    Unknown,
}

/// An event of one process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// Whose.
    pub process: ProcId,
    /// When.
    pub at: KTime,
    /// On which thread (host PID namespace).
    pub tid: Tid,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// A task was created.
    Birth {
        /// The new task.
        task: TaskId,
        /// Its parent, where the runtime says.
        parent: Option<TaskId>,
        /// Where it was created (the `go` statement).
        spawn_site: FrameId,
        /// The function it runs.
        start: FrameId,
    },
    /// A task ended.
    Death {
        /// Which.
        task: TaskId,
    },
    /// A task parked: its wait begins.
    Park {
        /// Which.
        task: TaskId,
        /// What for.
        reason: ReasonId,
        /// Its run counter as a snapshot of the parked task would show it.
        run_seq: RunSeq,
    },
    /// A task starts to run.
    Run {
        /// Which.
        task: TaskId,
    },
    /// A task was made runnable.
    Ready {
        /// Which.
        task: TaskId,
        /// By whom.
        waker: Waker,
    },
    /// A whole wait, told when it was over (`min_wait`); `at` is when the task ran again.
    Waited {
        /// Which.
        task: TaskId,
        /// When it parked.
        parked: KTime,
        /// When it was made runnable, where seen.
        ready: Option<KTime>,
        /// By whom.
        waker: Waker,
        /// What for.
        reason: ReasonId,
        /// Its run counter as a snapshot of the parked task would have shown it.
        run_seq: RunSeq,
    },
    /// The process made a child.
    Fork,
    /// The process replaced its image; its tasks are gone.
    Exec,
    /// The process is exiting.
    Exit {
        /// Raw wait status.
        code: u32,
    },
}
