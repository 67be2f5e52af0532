//! Who waits for whom: from each task that waits for a lock, or for the end of another, to the one
//! that holds it. A task waits for one thing, so that from each leads at most one way on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

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
pub(super) struct WaitFor {
    edges: BTreeMap<TaskId, Edge>,
    /// The same the other way: who waits for each holder.
    waiters: BTreeMap<TaskId, Vec<TaskId>>,
}

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
        Self::from_edges(edges)
    }

    fn from_edges(edges: BTreeMap<TaskId, Edge>) -> Self {
        let mut waiters: BTreeMap<TaskId, Vec<TaskId>> = BTreeMap::new();
        for (task, edge) in &edges {
            waiters.entry(edge.holder).or_default().push(*task);
        }
        Self { edges, waiters }
    }

    /// For whom a task waits.
    pub(super) fn edge(&self, task: TaskId) -> Option<&Edge> {
        self.edges.get(&task)
    }

    /// The circles in which all wait for one another, each once, from the lowest id on.
    pub(super) fn cycles(&self) -> Vec<Vec<TaskId>> {
        let mut done: BTreeSet<TaskId> = BTreeSet::new();
        let mut cycles = Vec::new();
        for &start in self.edges.keys() {
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

    /// Those outside of a circle that wait for one in it, or for one that does, in rising order.
    pub(super) fn behind(&self, cycle: &[TaskId]) -> Vec<TaskId> {
        let mut stuck: BTreeSet<TaskId> = cycle.iter().copied().collect();
        let mut holders: VecDeque<TaskId> = cycle.iter().copied().collect();
        let mut behind = Vec::new();
        while let Some(holder) = holders.pop_front() {
            for &task in self.waiters.get(&holder).into_iter().flatten() {
                if stuck.insert(task) {
                    behind.push(task);
                    holders.push_back(task);
                }
            }
        }
        behind.sort_unstable();
        behind
    }
}

fn from_lowest(cycle: &[TaskId]) -> Vec<TaskId> {
    let lowest = cycle.iter().enumerate().min_by_key(|(_, task)| **task).map_or(0, |(i, _)| i);
    cycle.iter().cycle().skip(lowest).take(cycle.len()).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Tid;
    use crate::stream::{FutexKind, FutexOf};

    /// Waits of the first for the second.
    fn waits(of: impl IntoIterator<Item = (u32, u32)>) -> WaitFor {
        let edge = |holder| Edge {
            holder: TaskId::thread(holder),
            futex: Box::new(FutexState {
                kind: FutexKind::Mutex,
                of: FutexOf::Pthread,
                word_address: 0x1000,
                object: 0x1000,
                expected: Some(2),
                word: Some(2),
                holder: Holder::Written(Tid(holder)),
                timed: false,
                shared: false,
            }),
        };
        let edges = of.into_iter().map(|(task, holder)| (TaskId::thread(task), edge(holder)));
        WaitFor::from_edges(edges.collect())
    }

    fn threads(tids: impl IntoIterator<Item = u32>) -> Vec<TaskId> {
        tids.into_iter().map(TaskId::thread).collect()
    }

    #[test]
    fn behind_a_circle_are_all_that_wait_for_it_in_rising_order_and_nobody_else() {
        let all = waits([(1, 2), (2, 1), (9, 1), (4, 9), (7, 2), (5, 6), (3, 3), (8, 3)]);
        assert_eq!(all.cycles(), [threads([1, 2]), threads([3])]);
        assert_eq!(all.behind(&threads([1, 2])), threads([4, 7, 9]));
        assert_eq!(all.behind(&threads([3])), threads([8]));
    }

    #[test]
    fn a_chain_of_50_000_threads_behind_a_circle_is_walked_at_once() {
        let chain = (3..50_003).map(|tid| (tid, tid - 1));
        let all = waits([(1, 2), (2, 1)].into_iter().chain(chain));
        assert_eq!(all.cycles(), [threads([1, 2])]);
        assert_eq!(all.behind(&threads([1, 2])), threads(3..50_003));
    }

    #[test]
    fn a_circle_of_50_000_threads_has_nobody_behind_it() {
        let all = waits((0..50_000).map(|tid| (tid, (tid + 1) % 50_000)));
        let cycles = all.cycles();
        assert_eq!(cycles, [threads(0..50_000)]);
        assert!(all.behind(&cycles[0]).is_empty());
    }
}
