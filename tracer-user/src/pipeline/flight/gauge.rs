//! Watches how many tasks there are: when the number passes a bound, or rises too fast. Sits on the
//! thread of the model, where the number is, and goes by the time of the inputs.

use std::collections::VecDeque;

use crate::base::{KTime, Nanos};
use crate::pipeline::settings::Trigger;

/// Over this time a rise is measured: a burst that is over at once is none, and looks alone, every
/// two seconds, still tell one.
const SPAN: Nanos = Nanos::from_secs(5);
/// Measured from no less than this.
const LEAST_SPAN: Nanos = Nanos::from_secs(4);
/// Between two samples; ticks come as often.
const STEP: Nanos = Nanos::from_millis(150);

/// See the module.
#[derive(Debug, Default)]
pub struct Gauge {
    over: Vec<Bound>,
    rises: Vec<Bound>,
    samples: VecDeque<(KTime, u64)>,
}

/// Fires when it is passed, and again only after the number was back.
#[derive(Debug)]
struct Bound {
    at: u64,
    side: Side,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Within,
    Beyond,
}

impl Bound {
    fn passed(&mut self, by: bool) -> bool {
        let side = if by { Side::Beyond } else { Side::Within };
        let before = std::mem::replace(&mut self.side, side);
        side == Side::Beyond && before == Side::Within
    }
}

impl Gauge {
    /// One for those of the triggers that go by the number of tasks.
    pub fn of(triggers: &[Trigger]) -> Self {
        let mut gauge = Self::default();
        for trigger in triggers {
            match *trigger {
                Trigger::Tasks { over } => {
                    gauge.over.push(Bound { at: over, side: Side::Within });
                }
                Trigger::Rise { per_second } => {
                    gauge.rises.push(Bound { at: per_second, side: Side::Within });
                }
                Trigger::Finding | Trigger::Exit => {}
            }
        }
        gauge
    }

    /// So many tasks live now. Tells what was passed by that, in words.
    pub fn note(&mut self, now: KTime, tasks: u64) -> Option<(&'static str, String)> {
        if self.over.is_empty() && self.rises.is_empty() {
            return None;
        }
        let mut passed = None;
        for bound in &mut self.over {
            if bound.passed(tasks > bound.at) {
                passed = Some(("tasks", format!("{tasks} tasks, over {}", bound.at)));
            }
        }
        if let Some((rise, over)) = self.rise(now, tasks) {
            for bound in &mut self.rises {
                // Compared as products: exact.
                let most = u128::from(bound.at) * u128::from(over.0);
                if bound.passed(u128::from(rise) * 1_000_000_000 > most) {
                    let words = format!("{rise} tasks more in {over}, over {}/s", bound.at);
                    passed.get_or_insert(("rise", words));
                }
            }
        }
        passed
    }

    /// By how much the number rose, over what time.
    fn rise(&mut self, now: KTime, tasks: u64) -> Option<(u64, Nanos)> {
        if self.rises.is_empty() {
            return None;
        }
        while self.samples.get(1).is_some_and(|(at, _)| now.since(*at) >= SPAN) {
            self.samples.pop_front();
        }
        let oldest = self.samples.front().copied();
        if self.samples.back().is_none_or(|(at, _)| now.since(*at) >= STEP) {
            self.samples.push_back((now, tasks));
        }
        let (at, before) = oldest?;
        let over = now.since(at);
        (over >= LEAST_SPAN).then_some((tasks.saturating_sub(before), over))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> KTime {
        KTime(ms * 1_000_000)
    }

    #[test]
    fn a_bound_fires_each_time_it_is_passed_and_not_while_it_stays_so() {
        let mut gauge = Gauge::of(&[Trigger::Tasks { over: 10 }]);
        let mut fired = |n: u64, tasks| gauge.note(at(n), tasks).is_some();
        assert!(!fired(0, 10));
        assert!(fired(1, 11));
        assert!(!fired(2, 500));
        assert!(!fired(3, 10));
        assert!(fired(4, 12));
    }

    #[test]
    fn a_rise_is_measured_over_seconds() {
        let mut gauge = Gauge::of(&[Trigger::Rise { per_second: 100 }]);
        // 90 a second never fires, however it is looked at.
        for n in 0..100 {
            assert_eq!(gauge.note(at(n * 200), n * 18), None, "{n}");
        }
        let from = 99 * 18;
        let mut fired = Vec::new();
        for n in 100..200 {
            let (now, tasks) = (at(n * 200), from + (n - 99) * 30);
            fired.extend(gauge.note(now, tasks).map(|_| n));
        }
        assert_eq!(fired.len(), 1, "{fired:?}");
        assert!(fired[0] > 102, "{fired:?}");
    }

    #[test]
    fn what_was_there_at_the_first_look_is_no_rise() {
        let mut gauge = Gauge::of(&[Trigger::Rise { per_second: 1 }]);
        for n in 0..100 {
            assert_eq!(gauge.note(at(n * 200), 100_000), None);
        }
    }
}
