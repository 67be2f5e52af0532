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

/// A process at rest is looked at so many times more rarely, at most.
const REST: u64 = 4;

/// So much of an allowance is saved at most.
const SAVED: Nanos = Nanos::from_secs(60);

/// Decides when the next look is due.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    interval: Nanos,
    share: Share,
    last_end: Option<KTime>,
    took: Nanos,
    asked: Option<KTime>,
    allowance: Option<Allowance>,
    /// Whether anything happens in the process, as far as events tell.
    activity: Activity,
    /// So many intervals lie between two looks.
    stretch: u64,
}

/// Whether anything happens in a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activity {
    /// All events are followed, and there are hardly any; nor does it use the processor.
    Rests,
    /// Something happens, or nobody can know.
    Stirs,
}

/// Processor time that looks may take on the whole.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    /// ns for each ns.
    rate: f64,
    /// What was saved by the end of the last look, ns; below 0 what is owed.
    credit: f64,
}

impl Pace {
    /// One look every `interval`, the first at once, as far as `share` allows.
    pub const fn new(interval: Nanos, share: Share) -> Self {
        Self {
            interval,
            share,
            last_end: None,
            took: Nanos(0),
            asked: None,
            allowance: None,
            activity: Activity::Stirs,
            stretch: 1,
        }
    }

    /// One look every `interval` from now on.
    pub const fn set_interval(&mut self, interval: Nanos) {
        self.interval = interval;
    }

    /// What the process does at present: at rest a look finds what the one before has found, and the
    /// next comes later each time. When it stirs, looks come as asked for at once.
    pub const fn note(&mut self, activity: Activity) {
        self.activity = activity;
        if matches!(activity, Activity::Stirs) {
            self.stretch = 1;
        }
    }

    /// Somebody wants a look, not before this.
    pub fn ask(&mut self, not_before: KTime) {
        self.asked = Some(self.asked.map_or(not_before, |asked| asked.min(not_before)));
    }

    /// Looks may take this part of one CPU from now on.
    pub fn allow(&mut self, part: f64) {
        let rate = part.max(1e-6);
        let saved = rate * SAVED.0 as f64;
        let allowance = self.allowance.get_or_insert(Allowance { rate, credit: saved });
        allowance.rate = rate;
    }

    /// A look ended; it took so long, and so much processor time.
    pub fn looked(&mut self, end: KTime, took: Nanos, cost: Nanos) {
        if let (Some(allowance), Some(last)) = (&mut self.allowance, self.last_end) {
            let saved = allowance.credit + end.since(last).0 as f64 * allowance.rate;
            allowance.credit = saved.min(allowance.rate * SAVED.0 as f64) - cost.0 as f64;
        }
        (self.last_end, self.took, self.asked) = (Some(end), took, None);
        if self.activity == Activity::Rests {
            self.stretch = self.stretch.saturating_mul(2).min(REST);
        }
    }

    /// How long the last look makes the next one wait.
    pub fn held_back(&self) -> Nanos {
        let owed = self.allowance.filter(|a| a.credit < 0.0);
        Nanos(owed.map_or(0, |a| (-a.credit / a.rate) as u64))
    }

    /// When the next look is due.
    pub fn due(&self) -> KTime {
        let Some(end) = self.last_end else { return KTime(0) };
        self.wanted(end).max(end.after(self.held_back()))
    }

    fn wanted(&self, end: KTime) -> KTime {
        let interval = Nanos(self.interval.0.saturating_mul(self.stretch));
        let regular = end.after(interval.max(Nanos(self.took.0.saturating_mul(self.share.0))));
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
        pace.looked(KTime(0), Nanos::from_millis(1), Nanos(0));
        assert_eq!(pace.due(), KTime(1_000_000_000));
        pace.looked(KTime(0), Nanos::from_millis(200), Nanos(0));
        assert_eq!(pace.due(), KTime(10_000_000_000));
    }

    #[test]
    fn a_wish_brings_the_next_look_forward_but_not_to_a_stand_still() {
        let mut pace = Pace::new(Nanos::from_secs(10), Share::WATCH);
        pace.looked(KTime(1_000_000_000), Nanos::from_millis(1), Nanos(0));
        pace.ask(KTime(1_000_000_001));
        assert_eq!(pace.due(), KTime(1_100_000_000));
        pace.ask(KTime(0));
        assert_eq!(pace.due(), KTime(1_100_000_000));
    }

    #[test]
    fn a_process_at_rest_is_looked_at_ever_more_rarely_until_it_stirs() {
        let second = |n: u64| KTime(n * 1_000_000_000);
        let mut pace = Pace::new(Nanos::from_secs(2), Share::WATCH);
        pace.note(Activity::Rests);
        for (at, due) in [(0, 4), (4, 12), (12, 20)] {
            pace.looked(second(at), Nanos::from_millis(1), Nanos(0));
            assert_eq!(pace.due(), second(due));
        }
        pace.ask(second(13));
        assert_eq!(pace.due(), second(13), "who asks is not made to wait");
        pace.looked(second(13), Nanos::from_millis(1), Nanos(0));
        assert_eq!(pace.due(), second(21));
        pace.note(Activity::Stirs);
        assert_eq!(pace.due(), second(15));
    }

    #[test]
    fn looks_that_cost_more_than_they_may_come_less_often_also_when_asked_for() {
        let mut pace = Pace::new(Nanos::from_secs(1), Share::WATCH);
        pace.allow(0.005);
        let (took, cost) = (Nanos::from_millis(10), Nanos::from_millis(50));
        let (mut now, mut looks) = (KTime(0), 0u64);
        while now.0 < 600 * 1_000_000_000 {
            pace.looked(now, took, cost);
            pace.ask(now);
            (now, looks) = (pace.due(), looks + 1);
        }
        // Half a hundredth of ten minutes is 3 s; what was saved at the beginning comes on top.
        assert!((60..=70).contains(&looks), "{looks}");
    }

    #[test]
    fn looks_that_cost_little_come_as_often_as_asked_for() {
        let mut pace = Pace::new(Nanos::from_secs(1), Share::WATCH);
        pace.allow(0.005);
        for second in 0..100 {
            pace.looked(
                KTime(second * 1_000_000_000),
                Nanos::from_millis(1),
                Nanos::from_millis(2),
            );
            assert_eq!(pace.due(), KTime((second + 1) * 1_000_000_000));
        }
    }
}
