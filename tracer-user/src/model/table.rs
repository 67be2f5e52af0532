//! The tasks of a process: a dense list, found by id. Slots move when a task leaves, so a slot is
//! good only until the next removal.

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

use crate::base::TaskId;

use super::task::Task;

/// The table gives memory back when it is filled less than this part of what it holds.
const SHRINK_BELOW: usize = 4;
/// Below this many tasks it is not worth it.
const SHRINK_FROM: usize = 4096;

/// Tasks by slot and by id.
#[derive(Debug, Default)]
pub(super) struct TaskTable {
    slots: Vec<Task>,
    // Seeded at random: ids are the target's choice. Nothing iterates over it.
    index: HashTable<u32>,
    hasher: RandomState,
}

/// What a removal did.
pub(super) struct Removed {
    /// The task taken out.
    pub task: Task,
    /// Whether the task that had the last slot now has the freed one.
    pub moved: bool,
}

impl TaskTable {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// All, in slot order.
    pub fn all(&self) -> &[Task] {
        &self.slots
    }

    /// The task at a slot.
    pub fn get(&self, slot: u32) -> Option<&Task> {
        self.slots.get(slot as usize)
    }

    /// The task at a slot.
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut Task> {
        self.slots.get_mut(slot as usize)
    }

    /// The slot of a task.
    pub fn find(&self, id: TaskId) -> Option<u32> {
        self.index
            .find(self.hasher.hash_one(id), |&slot| {
                self.slots.get(slot as usize).is_some_and(|t| t.id() == id)
            })
            .copied()
    }

    /// Makes room for so many tasks in all.
    pub fn reserve(&mut self, tasks: usize) {
        let more = tasks.saturating_sub(self.slots.len());
        self.slots.reserve_exact(more);
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index.reserve(more, |&s| slots.get(s as usize).map_or(0, |t| hasher.hash_one(t.id())));
    }

    /// Adds a task that is not there yet.
    pub fn insert(&mut self, task: Task) -> u32 {
        if self.slots.len() == self.slots.capacity() {
            // Less than doubling: a table of 100 000 tasks is 20 MB.
            self.slots.reserve_exact(64.max(self.slots.len() / 8));
        }
        let slot = self.slots.len() as u32;
        let (slots, hasher) = (&self.slots, &self.hasher);
        let rehash = |&s: &u32| slots.get(s as usize).map_or(0, |t| hasher.hash_one(t.id()));
        self.index.insert_unique(hasher.hash_one(task.id()), slot, rehash);
        self.slots.push(task);
        slot
    }

    /// Takes a task out.
    pub fn remove(&mut self, slot: u32) -> Option<Removed> {
        let id = self.get(slot)?.id();
        let last = self.slots.len() as u32 - 1;
        if let Ok(entry) = self.index.find_entry(self.hasher.hash_one(id), |&s| s == slot) {
            entry.remove();
        }
        if slot != last {
            let moving = self.slots.last().map(Task::id)?;
            if let Some(s) = self.index.find_mut(self.hasher.hash_one(moving), |&s| s == last) {
                *s = slot;
            }
        }
        let task = self.slots.swap_remove(slot as usize);
        Some(Removed { task, moved: slot != last })
    }

    /// Gives memory back after many have left.
    pub fn tidy(&mut self) {
        let room = self.slots.capacity();
        if room > SHRINK_FROM && self.slots.len() < room / SHRINK_BELOW {
            self.slots.shrink_to(self.slots.len() * 2);
            let (slots, hasher) = (&self.slots, &self.hasher);
            self.index.shrink_to(slots.len() * 2, |&s| {
                slots.get(s as usize).map_or(0, |t| hasher.hash_one(t.id()))
            });
        }
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.slots = Vec::new();
        self.index = HashTable::new();
    }
}
