//! Slots: which number stands for which target in cookies and maps, and when it may be used again.
//!
//! A slot's records may still lie in the ring when its probes are gone. It becomes free only when
//! the reader has passed the place where the ring ended at that moment, so that a late record of
//! the old owner is never taken for one of the new. The oldest is used first.

use std::collections::VecDeque;

/// Bookkeeping of slots. `T` is what the owner keeps for each one in use.
#[derive(Debug)]
pub struct Slots<T> {
    used: Vec<Option<T>>,
    free: VecDeque<u16>,
    retired: VecDeque<Retired>,
}

#[derive(Clone, Copy, Debug)]
struct Retired {
    slot: u16,
    /// The ring's end when its last probe was gone; positions count up for ever.
    fence: u64,
}

impl<T> Slots<T> {
    /// All free.
    pub fn new(count: u16) -> Self {
        Self {
            used: (0..count).map(|_| None).collect(),
            free: (0..count).collect(),
            retired: VecDeque::new(),
        }
    }

    /// Takes a slot; `read` is how far the ring has been read. None if there is none.
    pub fn take(&mut self, read: u64, value: T) -> Option<u16> {
        while let Some(oldest) = self.retired.front() {
            if oldest.fence > read {
                break;
            }
            self.free.push_back(oldest.slot);
            self.retired.pop_front();
        }
        let slot = self.free.pop_front()?;
        *self.used.get_mut(usize::from(slot))? = Some(value);
        Some(slot)
    }

    /// Gives a slot back whose probes are gone; `end` is where the ring ends now.
    pub fn retire(&mut self, slot: u16, end: u64) -> Option<T> {
        let value = self.used.get_mut(usize::from(slot))?.take()?;
        self.retired.push_back(Retired { slot, fence: end });
        Some(value)
    }

    /// What is kept for a slot in use.
    pub fn get(&self, slot: u16) -> Option<&T> {
        self.used.get(usize::from(slot))?.as_ref()
    }

    /// What is kept for a slot in use.
    pub fn get_mut(&mut self, slot: u16) -> Option<&mut T> {
        self.used.get_mut(usize::from(slot))?.as_mut()
    }

    /// Slots in use.
    pub fn in_use(&self) -> impl Iterator<Item = (u16, &T)> {
        self.used.iter().zip(0u16..).filter_map(|(value, slot)| Some((slot, value.as_ref()?)))
    }

    /// Takes what is kept for all slots in use; for the end.
    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        self.used.iter_mut().filter_map(Option::take)
    }

    /// Slots that wait for the reader.
    pub fn waiting(&self) -> usize {
        self.retired.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_not_used_again_before_the_ring_is_read_past_its_last_record() {
        let mut slots = Slots::new(1);
        assert_eq!(slots.take(0, 'a'), Some(0));
        assert_eq!(slots.retire(0, 500), Some('a'));
        assert_eq!(slots.take(499, 'b'), None);
        assert_eq!(slots.waiting(), 1);
        assert_eq!(slots.take(500, 'b'), Some(0));
    }

    #[test]
    fn the_slot_that_rested_longest_is_used_first() {
        let mut slots = Slots::new(3);
        let first = slots.take(0, ()).unwrap();
        slots.retire(first, 0);
        assert_ne!(slots.take(0, ()), Some(first));
        assert_ne!(slots.take(0, ()), Some(first));
        assert_eq!(slots.take(0, ()), Some(first));
    }

    #[test]
    fn a_slot_that_is_not_in_use_cannot_be_retired() {
        let mut slots = Slots::<()>::new(2);
        assert_eq!(slots.retire(1, 0), None);
        assert_eq!(slots.retire(7, 0), None);
    }
}
