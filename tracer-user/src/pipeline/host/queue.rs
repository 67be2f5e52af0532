//! Processes that wait for room among those that are watched, and how many ever found none.

use std::collections::{HashSet, VecDeque};

use crate::base::Pid;

/// Processes that wait at most.
const MAX_WAITING: usize = 4096;
/// Processes of which is remembered at most that they were counted.
const MAX_COUNTED: usize = 65_536;

/// See the module.
#[derive(Default)]
pub struct Queue {
    order: VecDeque<Pid>,
    counted: HashSet<Pid>,
    beyond: u64,
}

impl Queue {
    /// There is no room for this one; whether it is the first ever. One that comes again, as each
    /// reading of `/proc` brings it, is counted once.
    pub fn put(&mut self, pid: Pid) -> bool {
        if self.order.len() < MAX_WAITING && !self.has(pid) {
            self.order.push_back(pid);
        }
        let is_new = self.counted.len() < MAX_COUNTED && self.counted.insert(pid);
        self.beyond = self.beyond.saturating_add(is_new.into());
        is_new && self.beyond == 1
    }

    /// Takes out the one that waits longest. It stays counted until it is forgotten, since it may
    /// find that the room was taken by another.
    pub fn take_first(&mut self) -> Option<Pid> {
        self.order.pop_front()
    }

    /// Whether it waits.
    pub fn has(&self, pid: Pid) -> bool {
        self.order.contains(&pid)
    }

    /// It waits no more, and is still counted if it comes again.
    pub fn take_out(&mut self, pid: Pid) {
        self.order.retain(|other| *other != pid);
    }

    /// It ended, got its room, or will never have one: its PID may come again as another's.
    pub fn forget(&mut self, pid: Pid) {
        self.counted.remove(&pid);
        self.take_out(pid);
    }

    /// How many found no room so far.
    pub const fn beyond(&self) -> u64 {
        self.beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pids: &[u32]) -> Queue {
        let mut queue = Queue::default();
        for pid in pids {
            queue.put(Pid(*pid));
        }
        queue
    }

    fn rest(mut queue: Queue) -> Vec<u32> {
        std::iter::from_fn(|| queue.take_first()).map(|pid| pid.0).collect()
    }

    #[test]
    fn those_who_wait_longest_come_first() {
        assert_eq!(rest(with(&[7, 3, 5])), [7, 3, 5]);
    }

    #[test]
    fn only_the_first_one_beyond_is_news() {
        let mut queue = Queue::default();
        assert_eq!([7, 7, 3].map(|pid| queue.put(Pid(pid))), [true, false, false]);
    }

    #[test]
    fn one_that_comes_again_is_neither_counted_nor_queued_again() {
        let queue = with(&[7, 3, 7, 3]);
        assert_eq!(queue.beyond(), 2);
        assert_eq!(rest(queue), [7, 3]);
    }

    #[test]
    fn one_whose_room_was_taken_by_another_waits_again_and_is_not_counted_again() {
        let mut queue = with(&[7, 3]);
        assert_eq!(queue.take_first(), Some(Pid(7)));
        queue.put(Pid(7));
        assert_eq!(queue.beyond(), 2);
        assert_eq!(rest(queue), [3, 7]);
    }

    #[test]
    fn one_that_ended_waits_no_more_and_its_pid_counts_anew() {
        let mut queue = with(&[7, 3]);
        queue.forget(Pid(7));
        assert!(!queue.has(Pid(7)));
        queue.put(Pid(7));
        assert_eq!(queue.beyond(), 3);
        assert_eq!(rest(queue), [3, 7]);
    }

    #[test]
    fn the_queue_has_an_end_and_those_behind_it_are_counted() {
        let most = u32::try_from(MAX_WAITING).unwrap();
        let queue = with(&(1..=most + 5).collect::<Vec<_>>());
        assert_eq!(queue.beyond(), u64::from(most) + 5);
        assert_eq!(rest(queue).len(), MAX_WAITING);
    }
}
