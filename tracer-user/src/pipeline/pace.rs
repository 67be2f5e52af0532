//! When to look next: as often as asked for, but never so often that looking becomes the load.

use crate::base::{KTime, Nanos};

/// Which part of the time looks may take: one in so many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share(u64);

impl Share {
    /// For a watch that stays.
    pub const WATCH: Share = Share(50);
    /// For a person who waits for the answer.
    pub const DIAGNOSE: Share = Share(2);
}

/// Two looks are at least this far apart, whoever asks.
const LEAST: Nanos = Nanos::from_millis(100);

/// Decides when the next look is due.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    interval: Nanos,
    share: Share,
    last_end: Option<KTime>,
    took: Nanos,
    asked: Option<KTime>,
}

impl Pace {
    /// One look every `interval`, the first at once, as far as `share` allows.
    pub const fn new(interval: Nanos, share: Share) -> Self {
        Self { interval, share, last_end: None, took: Nanos(0), asked: None }
    }

    /// Somebody wants a look, not before this.
    pub fn ask(&mut self, not_before: KTime) {
        self.asked = Some(self.asked.map_or(not_before, |asked| asked.min(not_before)));
    }

    /// A look ended.
    pub fn looked(&mut self, end: KTime, took: Nanos) {
        (self.last_end, self.took, self.asked) = (Some(end), took, None);
    }

    /// When the next look is due.
    pub fn due(&self) -> KTime {
        let Some(end) = self.last_end else { return KTime(0) };
        let regular = end.after(self.interval.max(Nanos(self.took.0.saturating_mul(self.share.0))));
        match self.asked {
            Some(asked) => asked.max(end.after(LEAST)).min(regular),
            None => regular,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_takes_long_is_taken_less_often() {
        let mut pace = Pace::new(Nanos::from_secs(1), Share::WATCH);
        pace.looked(KTime(0), Nanos::from_millis(1));
        assert_eq!(pace.due(), KTime(1_000_000_000));
        pace.looked(KTime(0), Nanos::from_millis(200));
        assert_eq!(pace.due(), KTime(10_000_000_000));
    }

    #[test]
    fn a_wish_brings_the_next_look_forward_but_not_to_a_stand_still() {
        let mut pace = Pace::new(Nanos::from_secs(10), Share::WATCH);
        pace.looked(KTime(1_000_000_000), Nanos::from_millis(1));
        pace.ask(KTime(1_000_000_001));
        assert_eq!(pace.due(), KTime(1_100_000_000));
        pace.ask(KTime(0));
        assert_eq!(pace.due(), KTime(1_100_000_000));
    }
}
