//! Who waits for whom: from each task that waits for a lock, or for the end of another, to the one
//! that holds it. A task waits for one thing, so that from each leads at most one way on.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{TaskId, TaskState};
use crate::model::Process;
use crate::stream::{FutexState, Holder, WaitsOn};

/// A task waits for what another one has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Edge {
    /// Who has it.
    pub(super) holder: TaskId,
    /// What it is.
    pub(super) futex: Box<FutexState>,
}

impl Edge {
    /// Whether the lock itself names its holder, and the wait ends only when that one lets go.
    pub(super) fn is_proven(&self) -> bool {
        let named = matches!(self.futex.holder, Holder::Written(_));
        named && !self.futex.timed && !self.futex.looks_again()
    }
}

/// All such waits of a process.
#[derive(Clone, Default, Debug)]
pub(super) struct WaitFor(BTreeMap<TaskId, Edge>);

impl WaitFor {
    /// As the last look found them.
    pub(super) fn of(process: &Process) -> Self {
        let mut edges = BTreeMap::new();
        for task in process.tasks() {
            if task.state() == TaskState::Waiting
                && let WaitsOn::Futex(futex) = task.waits_on()
                && futex.kind.has_holder()
                && let Some(tid) = futex.holder.thread()
            {
                let holder = TaskId::thread(tid.0);
                if process.task(holder).is_some() {
                    edges.insert(task.id(), Edge { holder, futex });
                }
            }
        }
        Self(edges)
    }

    /// For whom a task waits.
    pub(super) fn edge(&self, task: TaskId) -> Option<&Edge> {
        self.0.get(&task)
    }

    /// The circles in which all wait for one another, each once, from the lowest id on.
    pub(super) fn cycles(&self) -> Vec<Vec<TaskId>> {
        let mut done: BTreeSet<TaskId> = BTreeSet::new();
        let mut cycles = Vec::new();
        for &start in self.0.keys() {
            let mut path: Vec<TaskId> = Vec::new();
            let mut on_path: BTreeSet<TaskId> = BTreeSet::new();
            let mut next = Some(start);
            while let Some(task) = next.filter(|task| !done.contains(task)) {
                if !on_path.insert(task) {
                    let from = path.iter().position(|t| *t == task).unwrap_or(0);
                    cycles.push(from_lowest(path.get(from..).unwrap_or_default()));
                    break;
                }
                path.push(task);
                next = self.edge(task).map(|edge| edge.holder);
            }
            done.extend(path);
        }
        cycles
    }

    /// Those outside of a circle that wait for one in it, or for one that does.
    pub(super) fn behind(&self, cycle: &[TaskId]) -> Vec<TaskId> {
        let mut stuck: BTreeSet<TaskId> = cycle.iter().copied().collect();
        loop {
            let more: Vec<TaskId> = self
                .0
                .iter()
                .filter(|(task, edge)| !stuck.contains(task) && stuck.contains(&edge.holder))
                .map(|(task, _)| *task)
                .collect();
            if more.is_empty() {
                break;
            }
            stuck.extend(more);
        }
        stuck.into_iter().filter(|task| !cycle.contains(task)).collect()
    }
}

fn from_lowest(cycle: &[TaskId]) -> Vec<TaskId> {
    let lowest = cycle.iter().enumerate().min_by_key(|(_, task)| **task).map_or(0, |(i, _)| i);
    cycle.iter().cycle().skip(lowest).take(cycle.len()).copied().collect()
}
