//! Tasks that ended a short while ago. Numbers are never reused, so whatever still comes for one
//! of these is late: it must not bring the task back. Bounded in number and time; how far back
//! the memory reaches is known, so that a look can tell what it cannot tell.

use std::collections::VecDeque;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::base::{FrameId, KTime, Nanos, TaskId};

use super::flow::NEVER;
use super::task::Origin;

/// Most tombs kept: 7 MB, and 130 ms of deaths at a million a second.
pub(super) const MAX_TOMBS: usize = 1 << 17;
/// How long one is kept: far more than records are late or looks last.
const KEEP: Nanos = Nanos::from_secs(10);

/// How an end was known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// By its death event.
    Seen,
    /// It was absent from a complete look.
    Missed,
}

/// A task that ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tomb {
    pub at: KTime,
    pub spawn_site: FrameId,
    pub end: End,
    /// How it came to be known; None = only by its death.
    pub origin: Option<Origin>,
}

/// The recent ends.
#[derive(Debug)]
pub(super) struct Tombs {
    by_id: HashMap<TaskId, Tomb, RandomState>,
    in_order: VecDeque<TaskId>,
    forgotten: KTime,
}

impl Tombs {
    pub fn new() -> Self {
        Self { by_id: HashMap::default(), in_order: VecDeque::new(), forgotten: NEVER }
    }

    /// A task ended. `now` lets old ones go.
    pub fn bury(&mut self, id: TaskId, tomb: Tomb, now: KTime) {
        while let Some(&oldest) = self.in_order.front() {
            let at = self.by_id.get(&oldest).map_or(NEVER, |t| t.at);
            if self.in_order.len() < MAX_TOMBS && now.since(at) <= KEEP {
                break;
            }
            self.by_id.remove(&oldest);
            self.in_order.pop_front();
            self.forgotten = self.forgotten.max(at);
        }
        if self.by_id.insert(id, tomb).is_none() {
            self.in_order.push_back(id);
        }
    }

    pub fn get_mut(&mut self, id: TaskId) -> Option<&mut Tomb> {
        self.by_id.get_mut(&id)
    }

    /// Whether a task that did something at `at` is among these. One that was only missed by a
    /// look and does something afterwards lives: foreign threads lend their goroutine out again
    /// and again under one number (extra Ms, runtime/proc.go). It is taken out.
    pub fn keeps(&mut self, id: TaskId, at: KTime) -> bool {
        match self.by_id.get(&id) {
            Some(tomb) if tomb.end == End::Missed && at > tomb.at => {
                self.by_id.remove(&id);
                false
            }
            found => found.is_some(),
        }
    }

    /// Ends up to this time may have been forgotten.
    pub fn forgotten(&self) -> KTime {
        self.forgotten
    }
}
