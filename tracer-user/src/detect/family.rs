//! Who could still end the wait for a wait group, told from who started whom.
//!
//! That somebody could is no proof that he will; that nobody of the family is left is a strong
//! sign, since `Done` is nearly always called by a task that the waiter, or who started the
//! waiter, has started.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{FrameId, TaskId};
use crate::model::{Process, Task};
use crate::stream::{LockKind, WaitsOn};

use super::gather::Picked;

/// What may end a wait for a wait group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hope {
    /// As many of the waiter's own children live as it waits for: the wait is theirs.
    Own,
    /// Others live that may belong to it, or it cannot be known.
    Others,
    /// None of its children and of those of its parent is left, nor a task whose parent ended.
    NoneLeft,
}

/// Living relatives of the waiters.
struct Relatives {
    /// Parent and spawn site of the living.
    by_parent: BTreeMap<(TaskId, FrameId), u64>,
    /// Tasks of which the parent is not known. Each program has one, its first.
    parentless: u64,
    /// Tasks whose parent has ended, the waiters' children and siblings left out.
    orphans: u64,
}

/// For each task that waits for a wait group what may end that.
pub(super) fn hopes(process: &Process, picked: &[Picked<'_>]) -> BTreeMap<TaskId, Hope> {
    let waiters: Vec<(&Task, Option<u32>)> =
        picked.iter().filter_map(|(task, _)| Some((*task, wait_group(task)?))).collect();
    if waiters.is_empty() {
        return BTreeMap::new();
    }
    let relatives = Relatives::of(process, &waiters);
    waiters.into_iter().map(|(task, held)| (task.id(), relatives.hope(task, held))).collect()
}

/// How many `Done`s are missing, as far as known; None if it waits for something else.
fn wait_group(task: &Task) -> Option<Option<u32>> {
    match task.waits_on() {
        WaitsOn::Lock { kind: LockKind::WaitGroup, held, .. } => Some(held),
        _ => None,
    }
}

impl Relatives {
    fn of(process: &Process, waiters: &[(&Task, Option<u32>)]) -> Self {
        let ids: BTreeSet<TaskId> = waiters.iter().map(|(task, _)| task.id()).collect();
        let mut parents = ids.clone();
        parents.extend(waiters.iter().filter_map(|(task, _)| task.parent()));
        let mut all = Self { by_parent: BTreeMap::new(), parentless: 0, orphans: 0 };
        let others = process.tasks().iter().filter(|t| !t.is_system() && !ids.contains(&t.id()));
        for task in others {
            match task.parent() {
                None => all.parentless += 1,
                Some(parent) if parents.contains(&parent) => {
                    *all.by_parent.entry((parent, task.spawn_site())).or_default() += 1;
                }
                Some(parent) if process.task(parent).is_none() => all.orphans += 1,
                Some(_) => {}
            }
        }
        all
    }

    /// Living children of a task, those from one spawn site left out.
    fn children(&self, parent: TaskId, but: Option<FrameId>) -> u64 {
        let all = self.by_parent.range((parent, FrameId(0))..=(parent, FrameId(u32::MAX)));
        all.filter(|((_, site), _)| Some(*site) != but).map(|(_, n)| n).sum()
    }

    fn hope(&self, waiter: &Task, held: Option<u32>) -> Hope {
        let own = self.children(waiter.id(), None);
        if own >= u64::from(held.unwrap_or(1)).max(1) {
            return Hope::Own;
        }
        let Some(parent) = waiter.parent() else { return Hope::Others };
        // Its like wait for groups of their own.
        let siblings = self.children(parent, Some(waiter.spawn_site()));
        let known = self.parentless <= 1 && waiter.spawn_site() != FrameId::UNKNOWN;
        if known && own == 0 && siblings == 0 && self.orphans == 0 && held != Some(0) {
            Hope::NoneLeft
        } else {
            Hope::Others
        }
    }
}
