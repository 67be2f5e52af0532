//! Sampling in time: where all events cost too much for long, they are on for a moment now and then, so
//! that who wakes whom, and how long waits are, is known of a part at least. How often follows from what
//! they cost; where that would be too rarely to say anything, not at all. No clock, no I/O.

use crate::base::{KTime, Nanos};

use super::policy::Stay;

/// How long a moment is.
const MOMENT: Nanos = Nanos::from_millis(200);
/// Moments come no more often than this ...
const OFTEN: Nanos = Nanos::from_secs(10);
/// ... and where they would have to come more rarely than this, not at all.
const RARELY: Nanos = Nanos::from_secs(60);
/// So much of what is left for probes moments may take.
const SHARE: f64 = 0.3;
/// Distances between them are multiples of this, so that they do not change all the time.
const STEP: Nanos = Nanos::from_secs(10);

/// Moments that come again and again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rhythm {
    /// How long one is.
    pub moment: Nanos,
    /// From the beginning of one to that of the next.
    pub every: Nanos,
}

/// What becomes of moments now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// One begins; whether that is news.
    Moment(Stay),
    /// The rhythm that was told ends: moments have become too dear.
    End,
}

/// Which moment is next, or on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sampling {
    rhythm: Option<Rhythm>,
    next: Option<KTime>,
    on: Option<KTime>,
    /// The probes could not be put on for one: none is tried until the lasting mode changes.
    refused: bool,
}

impl Sampling {
    /// Whether a moment is on.
    pub const fn is_on(&self) -> bool {
        self.on.is_some()
    }

    /// Whether moments come.
    pub const fn comes_again(&self) -> bool {
        self.rhythm.is_some()
    }

    /// All events would take `part` of a CPU; `room` is what all probes may. If a moment begins
    /// now, or none will any more: that.
    pub fn begin(&mut self, now: KTime, part: f64, room: f64) -> Option<Due> {
        if self.refused {
            return None;
        }
        let Some(every) = rhythm(part, room) else { return self.leave_out(now) };
        let next = *self.next.get_or_insert(now.after(every));
        if now < next {
            return None;
        }
        self.on = Some(now);
        let rhythm = Rhythm { moment: MOMENT, every };
        let known = self.rhythm.replace(rhythm) == Some(rhythm);
        Some(Due::Moment(if known { Stay::Moment } else { Stay::Rhythm(rhythm) }))
    }

    /// No moment fits. What is too dear only between two moments leaves the rhythm as it was told: it ends
    /// when one is due.
    fn leave_out(&mut self, now: KTime) -> Option<Due> {
        if self.rhythm.is_some() && self.next.is_some_and(|next| now < next) {
            return None;
        }
        self.next = None;
        self.rhythm.take().map(|_| Due::End)
    }

    /// Ends the moment that is on, if it was long enough. One that was too long makes the next wait.
    pub fn end(&mut self, now: KTime) -> Option<()> {
        let length = now.since(self.on?);
        if length.0 < MOMENT.0 / 2 {
            return None;
        }
        self.on = None;
        let every = self.rhythm.map_or(OFTEN, |rhythm| rhythm.every).0;
        let times = length.0.div_ceil(MOMENT.0.saturating_mul(3) / 2).max(1);
        self.next = Some(now.after(Nanos(every.saturating_mul(times).saturating_sub(length.0))));
        Some(())
    }

    /// The probes of a moment could not be put on.
    pub fn refuse(&mut self) {
        *self = Self { refused: true, ..Self::default() };
    }

    /// The mode that is there to stay changed: a rhythm begins anew.
    pub fn stop(&mut self) {
        *self = Self::default();
    }
}

/// From one moment to the next.
fn rhythm(part: f64, room: f64) -> Option<Nanos> {
    if !part.is_finite() || room <= 0.0 {
        return None;
    }
    let needed = MOMENT.0 as f64 * part / (room * SHARE);
    let steps = (needed / STEP.0 as f64).ceil().max(1.0);
    let most = (RARELY.0 / STEP.0) as f64;
    (steps <= most).then(|| Nanos((steps as u64).saturating_mul(STEP.0)).max(OFTEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn moments(part: f64, room: f64, seconds: u64) -> (u64, Option<Rhythm>) {
        let (mut sampling, mut begun, mut news) = (Sampling::default(), 0, None);
        for now in (0..seconds * 5).map(|i| KTime(i * SECOND / 5)) {
            if sampling.is_on() {
                sampling.end(now);
            } else if let Some(due) = sampling.begin(now, part, room) {
                let Due::Moment(stay) = due else { panic!("what fits does not end") };
                begun += 1;
                if let Stay::Rhythm(rhythm) = stay {
                    assert_eq!(news.replace(rhythm), None, "told once");
                }
            }
        }
        (begun, news)
    }

    #[test]
    fn what_costs_little_is_on_for_a_fiftieth_of_the_time() {
        let (begun, news) = moments(0.02, 0.01, 100);
        assert!((9..=10).contains(&begun), "{begun}");
        assert_eq!(news.map(|rhythm| rhythm.every), Some(Nanos::from_secs(10)));
    }

    #[test]
    fn what_costs_more_comes_more_rarely_and_what_costs_too_much_never() {
        let (begun, news) = moments(0.6, 0.01, 1_000);
        assert_eq!(news.map(|rhythm| rhythm.every), Some(Nanos::from_secs(40)));
        assert!((23..=25).contains(&begun), "{begun}");
        assert_eq!(moments(2.0, 0.01, 1_000), (0, None));
        assert_eq!(moments(f64::NAN, 0.0, 1_000).1, None);
    }

    #[test]
    fn what_cannot_be_put_on_for_a_moment_is_not_tried_again_until_something_changes() {
        let mut sampling = Sampling::default();
        sampling.refuse();
        for second in 0..100 {
            assert_eq!(sampling.begin(KTime(second * SECOND), 0.02, 0.01), None);
        }
        sampling.stop();
        assert_eq!(sampling.begin(KTime(100 * SECOND), 0.02, 0.01), None);
        assert!(sampling.begin(KTime(111 * SECOND), 0.02, 0.01).is_some());
    }

    #[test]
    fn moments_end_when_one_is_due_that_is_too_dear_and_are_told_anew_when_they_come_again() {
        let mut sampling = Sampling::default();
        let mut at = |second: u64, part: f64| {
            let due = sampling.begin(KTime(second * SECOND), part, 0.01);
            sampling.end(KTime(second * SECOND + 200_000_000));
            (due, sampling.comes_again())
        };
        assert_eq!(at(0, 0.02), (None, false));
        let told = at(10, 0.02);
        assert!(matches!(told, (Some(Due::Moment(Stay::Rhythm(_))), true)), "{told:?}");
        assert_eq!(at(15, 2.0), (None, true), "none is due");
        assert_eq!(at(20, 2.0), (Some(Due::End), false));
        assert_eq!(at(21, 2.0), (None, false), "told once");
        assert_eq!(at(22, 0.02), (None, false));
        assert_eq!(at(32, 0.02), told);
    }

    #[test]
    fn a_moment_that_was_kept_too_long_makes_the_next_one_wait() {
        let mut sampling = Sampling::default();
        assert_eq!(sampling.begin(KTime(0), 0.02, 0.01), None);
        assert!(sampling.begin(KTime(10 * SECOND), 0.02, 0.01).is_some());
        assert_eq!(sampling.end(KTime(10 * SECOND + 50_000_000)), None, "too soon");
        assert_eq!(sampling.end(KTime(11 * SECOND)), Some(()));
        assert_eq!(sampling.begin(KTime(40 * SECOND), 0.02, 0.01), None);
        assert!(sampling.begin(KTime(51 * SECOND), 0.02, 0.01).is_some());
    }
}
