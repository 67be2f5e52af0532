//! Waits that ended after long, by place: whoever waits as long there may be right to do so.
//! Only waits of a second or more are kept, so what is busy costs nothing. Bounded in places.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::base::{FrameId, KTime, Nanos};

use super::flow::NEVER;
use super::groups::GroupKey;

/// Shorter waits say nothing of long ones.
pub(super) const LEAST: Nanos = Nanos::from_secs(1);
/// Most places kept apart: 250 bytes each. Of places beyond nothing is kept.
const MAX_PLACES: usize = 1 << 14;
/// Buckets by doubling from [`LEAST`]; the last holds all from 4.5 hours on.
const BUCKETS: usize = 15;
/// The newest ends kept with their times.
const RECENT: usize = 8;
/// So long a wait is an old one: see [`Recent`].
pub const OLD: Nanos = Nanos::from_secs(8);

/// When the newest of some events happened, and so how many there were since a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recent {
    newest: [KTime; RECENT],
    next: u8,
}

impl Default for Recent {
    fn default() -> Self {
        Self { newest: [NEVER; RECENT], next: 0 }
    }
}

impl Recent {
    /// More than are counted.
    pub const MANY: u64 = RECENT as u64;

    pub(super) fn add(&mut self, at: KTime) {
        if let Some(slot) = self.newest.get_mut(usize::from(self.next) % RECENT) {
            *slot = at;
        }
        self.next = self.next.wrapping_add(1) % RECENT as u8;
    }

    /// How many after `since`; [`Recent::MANY`] = so many or more.
    pub fn after(&self, since: KTime) -> u64 {
        self.newest.iter().filter(|&&at| at != NEVER && at > since).count() as u64
    }
}

/// Waits at one place that ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EndedWaits {
    buckets: [u32; BUCKETS],
    longest: Nanos,
    old: Recent,
}

impl EndedWaits {
    fn add(&mut self, length: Nanos, at: KTime) {
        let bucket = (length.0 / LEAST.0).max(1).ilog2() as usize;
        if let Some(count) = self.buckets.get_mut(bucket.min(BUCKETS - 1)) {
            *count = count.saturating_add(1);
        }
        self.longest = self.longest.max(length);
        if length >= OLD {
            self.old.add(at);
        }
    }

    /// How many were at least so long; those of its last doubling below may be among them.
    pub fn at_least(&self, length: Nanos) -> u64 {
        if length > self.longest {
            return 0;
        }
        let first = (length.0 / LEAST.0).max(1).ilog2() as usize;
        self.buckets.iter().skip(first.min(BUCKETS - 1)).map(|&n| u64::from(n)).sum()
    }

    /// The longest.
    pub fn longest(&self) -> Nanos {
        self.longest
    }

    /// Those of [`OLD`] or longer.
    pub fn old(&self) -> &Recent {
        &self.old
    }
}

/// Ended waits by place.
#[derive(Debug, Default)]
pub(super) struct Ended {
    // Seeded at random; nothing iterates over it.
    by_place: HashMap<GroupKey, EndedWaits, RandomState>,
    /// The longest by wait site alone, wherever those were created that waited.
    longest: HashMap<FrameId, Nanos, RandomState>,
}

impl Ended {
    /// A wait at a place came to its end.
    pub fn add(&mut self, key: GroupKey, length: Nanos, at: KTime) {
        if key.wait_site == FrameId::UNKNOWN || length < LEAST {
            return;
        }
        if self.by_place.len() < MAX_PLACES || self.by_place.contains_key(&key) {
            self.by_place.entry(key).or_default().add(length, at);
            let longest = self.longest.entry(key.wait_site).or_default();
            *longest = length.max(*longest);
        }
    }

    /// The longest that ended at a wait site.
    pub fn longest_at(&self, wait_site: FrameId) -> Option<Nanos> {
        self.longest.get(&wait_site).copied()
    }

    pub fn get(&self, key: GroupKey) -> Option<&EndedWaits> {
        self.by_place.get(&key)
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_waits_are_counted_from_the_doubling_in_which_a_length_lies() {
        let mut waits = EndedWaits::default();
        for s in [1, 5, 60] {
            waits.add(Nanos::from_secs(s), KTime(s));
        }
        assert_eq!(waits.at_least(Nanos::from_secs(1)), 3);
        assert_eq!(waits.at_least(Nanos::from_secs(33)), 1);
        assert_eq!(waits.at_least(Nanos::from_secs(61)), 0);
        assert_eq!(waits.old().after(KTime(0)), 1, "of eight seconds or longer");
    }

    #[test]
    fn recent_events_are_counted_up_to_a_bound() {
        let mut recent = Recent::default();
        (1..=100).for_each(|at| recent.add(KTime(at)));
        assert_eq!((recent.after(KTime(98)), recent.after(KTime(0))), (2, Recent::MANY));
    }
}
