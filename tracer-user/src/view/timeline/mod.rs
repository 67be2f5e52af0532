//! What every task did from when to when, told as inputs go by: each stretch of a life in one state is a
//! [`Slice`], told when it is over. Memory is bounded by the tasks that live, not by how long it goes on.
//!
//! A slice lasts as long as the model knows its task to do what it does, and no longer: where records were
//! lost, or where nothing tells that a task went on, there is a gap between two slices, which means that
//! nothing is known.

mod follow;
mod phases;

use std::sync::Arc;

use crate::base::{FrameId, KTime, ProcId, ReasonId, TaskId, TaskState};
use crate::model::{Exactness, Names};
use crate::stream::{EndHow, Loss, Mode};

use super::{FindingView, ProcessView, WallTime};

pub use follow::Timeline;

/// Where a task comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// Where it was created.
    pub spawn_site: FrameId,
    /// The function it runs.
    pub start: FrameId,
    /// Whether it belongs to the runtime.
    pub system: bool,
}

/// A stretch of a task's life in one state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slice {
    /// In which process.
    pub process: ProcId,
    /// Which task.
    pub task: TaskId,
    /// Where that comes from.
    pub origin: Origin,
    /// What it did.
    pub state: TaskState,
    /// What it waited for.
    pub reason: ReasonId,
    /// Where it waited.
    pub wait_site: FrameId,
    /// From when; this may be before the recording begins.
    pub since: KTime,
    /// Whether that is its beginning.
    pub began: Exactness,
    /// Until when.
    pub until: KTime,
    /// How it ended.
    pub ended: Ended,
}

/// How a slice ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Ended {
    /// The task went on to something else.
    WentOn,
    /// The task ended, or its process did.
    Gone,
    /// What the task did later is not known.
    NotKnown,
    /// It goes on: what is told ends here.
    GoesOn,
}

impl Ended {
    /// The word used in exports.
    pub const fn word(self) -> &'static str {
        match self {
            Ended::WentOn => "went on",
            Ended::Gone => "gone",
            Ended::NotKnown => "not known",
            Ended::GoesOn => "goes on",
        }
    }
}

/// A task made another runnable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wake {
    /// In which process.
    pub process: ProcId,
    /// By whom.
    pub by: TaskId,
    /// Where that one comes from; None if it is not known any more.
    pub origin: Option<Origin>,
    /// Who.
    pub woken: TaskId,
    /// When.
    pub at: KTime,
}

/// The runtime was at work for itself: it stopped the program or marked for a garbage collection, its own
/// tasks ran, or tasks of the program waited for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Phase {
    /// In which process.
    pub process: ProcId,
    /// What it did: part of a collection, the function that its tasks run, or its own word for what others
    /// waited for.
    pub name: Arc<str>,
    /// From when.
    pub since: KTime,
    /// Until when; pauses of less than a millisecond are part of it.
    pub until: KTime,
}

/// How many of the program's own tasks are in each state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Of which process.
    pub process: ProcId,
    /// When.
    pub at: KTime,
    /// By state, at the index of its value.
    pub by_state: [u64; TaskState::ALL.len()],
    /// Tasks of the runtime itself.
    pub system: u64,
}

/// What became of a finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FindingChange {
    /// It is new.
    Opened,
    /// It is told again.
    Updated,
    /// It is over.
    Resolved,
}

impl FindingChange {
    /// The word used in exports.
    pub const fn word(self) -> &'static str {
        match self {
            FindingChange::Opened => "opened",
            FindingChange::Updated => "updated",
            FindingChange::Resolved => "resolved",
        }
    }
}

/// Something on the timeline.
#[derive(Clone, PartialEq, Debug)]
pub enum Moment<'a> {
    /// A process is told of for the first time.
    Process {
        /// Its number.
        process: ProcId,
        /// When.
        at: KTime,
        /// The same on the wall clock, where that is known.
        wall: Option<WallTime>,
        /// It.
        view: &'a ProcessView,
    },
    /// It ends.
    ProcessEnd {
        /// Its number.
        process: ProcId,
        /// When.
        at: KTime,
        /// How.
        how: EndHow,
    },
    /// A stretch of a task's life is over.
    Slice(Slice),
    /// A task woke another.
    Wake(Wake),
    /// The runtime was at work.
    Phase(Phase),
    /// Tasks by state.
    Counts(Counts),
    /// Memory.
    Memory {
        /// Of which process.
        process: ProcId,
        /// When.
        at: KTime,
        /// Resident, bytes.
        rss_bytes: u64,
        /// The tightest limit, bytes.
        limit_bytes: Option<u64>,
    },
    /// Records were lost.
    Loss(Loss),
    /// Other probes are attached than before.
    Mode {
        /// Of which process.
        process: ProcId,
        /// When.
        at: KTime,
        /// Now.
        mode: Mode,
        /// Why, in words.
        why: &'a str,
    },
    /// News of a finding.
    Finding {
        /// In which process.
        process: ProcId,
        /// When.
        at: KTime,
        /// What became of it.
        change: FindingChange,
        /// It.
        finding: &'a FindingView,
    },
}

/// Takes what a timeline has to tell. Slices come when they end, all else when it happens, so the order
/// is that of ends.
pub trait TimelineSink {
    /// Something on it.
    ///
    /// # Errors
    /// If it cannot be told on; the replay then ends.
    fn moment(&mut self, moment: &Moment<'_>, names: &Names) -> std::io::Result<()>;
}
