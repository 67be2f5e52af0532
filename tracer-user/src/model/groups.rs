//! Tasks that wait at the same place, kept up to date with every event, so that a detector looks
//! at groups and not at a hundred thousand tasks.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::base::{FrameId, ReasonId, TaskState};

use super::task::NOWHERE;

/// Most groups at once; tasks beyond are in none, and that is told.
pub const MAX_GROUPS: usize = 1 << 16;

/// What the tasks of a group have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct GroupKey {
    /// Where they were created.
    pub spawn_site: FrameId,
    /// Where they wait; [`FrameId::UNKNOWN`] until a look has told.
    pub wait_site: FrameId,
    /// What they wait for.
    pub reason: ReasonId,
    /// Waiting, or in a system call.
    pub state: TaskState,
}

/// Tasks that wait at the same place. The runtime's own are in no group.
#[derive(Clone, Debug)]
pub struct Group {
    key: GroupKey,
    pub(super) members: Vec<u32>,
    moved: u64,
    idle_looks: u8,
}

impl Group {
    /// What they have in common.
    pub fn key(&self) -> GroupKey {
        self.key
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How often since the group began one of them went on: left, or ran and came back.
    pub fn moved(&self) -> u64 {
        self.moved
    }
}

/// All groups of a process.
#[derive(Debug, Default)]
pub(super) struct Groups {
    list: Vec<Group>,
    // Seeded at random; nothing iterates over it.
    by_key: HashMap<GroupKey, u32, RandomState>,
    free: Vec<u32>,
    /// Whether a task was left out because there were too many.
    pub overflowed: bool,
}

/// Looks after which an empty group is given up.
const KEEP_EMPTY: u8 = 2;

impl Groups {
    /// All that have members, in a stable order.
    pub fn all(&self) -> impl Iterator<Item = &Group> {
        self.list.iter().filter(|g| !g.is_empty())
    }

    /// Adds the task at `slot`; its group and its place there.
    pub fn join(&mut self, key: GroupKey, slot: u32) -> (u32, u32) {
        let index = match self.by_key.get(&key) {
            Some(&index) => index,
            None => match self.open(key) {
                Some(index) => index,
                None => return (NOWHERE, NOWHERE),
            },
        };
        let Some(group) = self.list.get_mut(index as usize) else { return (NOWHERE, NOWHERE) };
        group.members.push(slot);
        (index, group.members.len() as u32 - 1)
    }

    fn open(&mut self, key: GroupKey) -> Option<u32> {
        let group = Group { key, members: Vec::new(), moved: 0, idle_looks: 0 };
        let index = match self.free.pop() {
            Some(index) => {
                *self.list.get_mut(index as usize)? = group;
                index
            }
            None if self.list.len() < MAX_GROUPS => {
                self.list.push(group);
                self.list.len() as u32 - 1
            }
            None => {
                self.overflowed = true;
                return None;
            }
        };
        self.by_key.insert(key, index);
        Some(index)
    }

    /// Takes the task at `place` out; the slot of the task that now has this place, if any.
    pub fn leave(&mut self, index: u32, place: u32) -> Option<u32> {
        let group = self.list.get_mut(index as usize)?;
        if (place as usize) < group.members.len() {
            group.members.swap_remove(place as usize);
            group.moved += 1;
        }
        group.members.get(place as usize).copied()
    }

    /// The key of a group.
    pub fn key(&self, index: u32) -> Option<GroupKey> {
        self.list.get(index as usize).map(Group::key)
    }

    /// A member's slot changed.
    pub fn renumber(&mut self, index: u32, place: u32, slot: u32) {
        if let Some(s) =
            self.list.get_mut(index as usize).and_then(|g| g.members.get_mut(place as usize))
        {
            *s = slot;
        }
    }

    /// A member ran and came back.
    pub fn note_moved(&mut self, index: u32) {
        if let Some(group) = self.list.get_mut(index as usize) {
            group.moved += 1;
        }
    }

    /// Gives up groups that stayed empty.
    pub fn tidy(&mut self) {
        for (index, group) in self.list.iter_mut().enumerate() {
            if !group.is_empty() {
                group.idle_looks = 0;
            } else if group.idle_looks < KEEP_EMPTY {
                group.idle_looks += 1;
                if group.idle_looks == KEEP_EMPTY {
                    self.by_key.remove(&group.key);
                    group.members = Vec::new();
                    self.free.push(index as u32);
                }
            }
        }
    }

    /// All tasks are gone.
    pub fn clear(&mut self) {
        *self = Self { overflowed: self.overflowed, ..Self::default() };
    }
}
