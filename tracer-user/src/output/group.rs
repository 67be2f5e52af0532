//! Tasks that do the same thing in the same place, counted together. May use: view, base, stream.

use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::base::{Frame, Nanos, TaskState};
use crate::stream::WaitsOn;
use crate::view::{TaskView, Waited};

use super::{frames, wait_reason};

/// A lower bound below this is no more than the time the look itself took.
const TELLING: Nanos = Nanos::from_secs(1);

/// What makes two tasks the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupBy {
    /// State, wait reason, spawn site and the whole stack.
    Stack,
    /// State, wait reason, spawn site and wait site.
    Site,
}

/// Tasks that are the same.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// Stands for all: the one with the lowest id.
    pub first: &'a TaskView,
    /// All, by id.
    pub tasks: Vec<&'a TaskView>,
}

impl<'a> Group<'a> {
    /// The shortest and the longest wait that says something, and of how many tasks one is known.
    /// That a task waited for the moment of the look says nothing.
    pub fn waits(&self) -> (Waited, Waited, u64) {
        let telling = |w: &Waited| match w {
            Waited::Exact(_) => true,
            Waited::AtLeast(n) => *n >= TELLING,
            Waited::Unknown => false,
        };
        let known = || self.tasks.iter().map(|t| t.waited).filter(telling);
        let shortest = known().min_by_key(|w| w.known()).unwrap_or(Waited::Unknown);
        let longest = known().max_by_key(|w| w.known()).unwrap_or(Waited::Unknown);
        (shortest, longest, known().count() as u64)
    }

    /// What all of them are, if they wait by nature and are the same.
    pub fn idle(&self) -> Option<&'a str> {
        let first = self.first.idle.as_deref()?;
        self.tasks.iter().all(|t| t.idle.as_deref() == Some(first)).then_some(first)
    }

    /// The objects waited on with the number of waiters of each, most first.
    pub fn objects(&self) -> Vec<(&'a WaitsOn, u64)> {
        let mut counts: HashMap<&WaitsOn, u64, RandomState> = HashMap::default();
        for task in &self.tasks {
            if !matches!(task.waits_on, WaitsOn::Unknown | WaitsOn::Timer { .. }) {
                *counts.entry(&task.waits_on).or_default() += 1;
            }
        }
        let mut objects: Vec<_> = counts.into_iter().collect();
        objects.sort_by_key(|(on, n)| (std::cmp::Reverse(*n), address(on)));
        objects
    }
}

fn address(on: &WaitsOn) -> u64 {
    match on {
        WaitsOn::Unknown => 0,
        WaitsOn::Channels(channels) => channels.first().map_or(0, |c| c.address),
        WaitsOn::Lock { address, .. } => *address,
        WaitsOn::Timer { until } => until.0,
        WaitsOn::Futex(futex) => futex.object,
        WaitsOn::Files(set) => set.epoll.map_or(0, u64::from),
    }
}

/// Gives equal things equal small numbers.
struct Numbers<K>(HashMap<K, u32, RandomState>);

impl<K: Hash + Eq> Numbers<K> {
    fn of(&mut self, key: K) -> u32 {
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        *self.0.entry(key).or_insert(next)
    }
}

/// Groups tasks (ordered by id), the largest group first.
pub fn group<'a>(tasks: impl IntoIterator<Item = &'a TaskView>, by: GroupBy) -> Vec<Group<'a>> {
    // Tasks share their stacks, so most stacks are known by their address already.
    let mut by_address: HashMap<*const [Arc<Frame>], u32, RandomState> = HashMap::default();
    let mut stacks = Numbers(HashMap::default());
    let mut keys: HashMap<(TaskState, &str, u32, Option<&Frame>), usize, RandomState> =
        HashMap::default();
    let mut groups: Vec<Group<'a>> = Vec::new();
    for task in tasks {
        let stack = match by {
            GroupBy::Stack => *by_address
                .entry(Arc::as_ptr(&task.frames))
                .or_insert_with(|| stacks.of(frames::shown(&task.frames))),
            GroupBy::Site => stacks.of(task.wait_site.as_deref().into_iter().collect()),
        };
        let key =
            (task.state, wait_reason(task).unwrap_or_default(), stack, task.created_by.as_deref());
        let index = *keys.entry(key).or_insert(groups.len());
        match groups.get_mut(index) {
            Some(group) => group.tasks.push(task),
            None => groups.push(Group { first: task, tasks: vec![task] }),
        }
    }
    groups.sort_by_key(|g| (std::cmp::Reverse(g.tasks.len()), g.first.id));
    groups
}
