//! The life of one task, as a recording tells it.

use std::sync::Arc;

use crate::base::{Frame, Nanos, TaskState};
use crate::stream::LossKind;

use super::{FindingKind, WallTime};

/// Something in the life of a task.
#[derive(Clone, PartialEq, Debug)]
pub enum LifeEvent {
    /// It was created.
    Born {
        /// By whom.
        parent: Option<u64>,
        /// Where.
        spawn_site: Option<Arc<Frame>>,
        /// The function it runs.
        start: Option<Arc<Frame>>,
    },
    /// It parked.
    Parked {
        /// The runtime's own word.
        reason: Arc<str>,
    },
    /// It was made runnable.
    Readied {
        /// By whom, where seen.
        by: Option<u64>,
    },
    /// It began to run.
    Ran,
    /// A whole wait, told when it was over.
    Waited {
        /// How long.
        lasted: Nanos,
        /// The runtime's own word.
        reason: Arc<str>,
        /// Who ended it, where seen.
        by: Option<u64>,
    },
    /// A system call of it returned.
    Called {
        /// Its name.
        call: &'static str,
        /// How long it took.
        lasted: Nanos,
        /// What it returned.
        result: i64,
        /// How it ended: `done`, `timed-out`, `interrupted`, `changed`, `failed`.
        outcome: &'static str,
        /// How many threads it woke.
        woken: u64,
    },
    /// It created another.
    Bore {
        /// Which.
        task: u64,
    },
    /// It woke another.
    Woke {
        /// Which.
        task: u64,
    },
    /// A look found it so, and not so before.
    Seen {
        /// Its state.
        state: TaskState,
        /// The runtime's own word; empty if it does not wait.
        reason: Arc<str>,
        /// Where it waits.
        wait_site: Option<Arc<Frame>>,
    },
    /// A complete look did not find it any more.
    Gone,
    /// A finding began or ceased to name it.
    Named {
        /// The finding.
        finding: String,
        /// Its sort.
        kind: FindingKind,
        /// In which change of it.
        change: NamedBy,
    },
    /// The program stood still for its garbage collector.
    Stopped {
        /// How long.
        lasted: Nanos,
    },
    /// Records were lost; the life may have gone on unseen.
    Lost {
        /// Where.
        kind: LossKind,
        /// How many.
        count: u64,
    },
    /// It ended.
    Ended,
}

/// What became of a finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NamedBy {
    /// It was opened.
    Opened,
    /// It was told again.
    Updated,
    /// It was resolved.
    Resolved,
}

/// See the module.
#[derive(Clone, PartialEq, Debug)]
pub struct LifeView {
    /// The task.
    pub id: u64,
    /// In their order.
    pub events: Vec<(WallTime, LifeEvent)>,
    /// Events before the first of these that are not kept.
    pub left_out: u64,
}

impl LifeView {
    /// Most events kept: the newest.
    pub const MAX_EVENTS: usize = 10_000;
}
