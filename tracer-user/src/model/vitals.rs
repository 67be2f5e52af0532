//! What the kernel said of a whole process over the last looks: whether it stood still, and how
//! much processor time it had.

use std::collections::VecDeque;

use crate::base::{KTime, Nanos};
use crate::stream::{Stop, Vitals};

/// Most samples kept.
const SAMPLES: usize = 128;
/// Samples are at least this far apart; the newest is kept beside them.
const APART: Nanos = Nanos::from_secs(1);

/// Processor time up to a moment, and time kept from running by a quota.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: KTime,
    cpu: Nanos,
    throttled: Nanos,
    queued: Nanos,
}

/// A process that waits for processors so many times as long as it has them hardly runs.
const HARDLY: u64 = 10;

/// What a process had of the processors over a span.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Used {
    /// Processor time of all its threads.
    pub cpu: Nanos,
    /// How long its cgroup was kept from running by its quota.
    pub throttled: Nanos,
    /// How long its threads were ready and another had the processor, all together.
    pub queued: Nanos,
    /// The span.
    pub over: Nanos,
}

impl Used {
    /// Whether it was kept from running for most of the span, and ran next to nothing of what it
    /// would have: what did not happen in it says nothing.
    pub const fn hardly_ran(&self) -> bool {
        let kept = self.queued.0.saturating_add(self.throttled.0);
        kept >= self.over.0 / 2 && kept >= self.cpu.0.saturating_mul(HARDLY)
    }
}

/// The last vitals of a process.
#[derive(Debug, Default)]
pub struct History {
    samples: VecDeque<Sample>,
    newest: Option<Sample>,
    stopped: Option<Stop>,
    went_on_at: Option<KTime>,
}

impl History {
    /// A look came.
    pub(super) fn add(&mut self, vitals: Vitals, at: KTime) {
        let before = self.newest.map(|s| s.cpu);
        if let Some(cpu) = vitals.cpu {
            let sample = Sample {
                at,
                cpu,
                throttled: vitals.throttled.unwrap_or_default(),
                queued: vitals.queued.unwrap_or_default(),
            };
            self.newest = Some(sample);
            if self.samples.back().is_none_or(|last| at.since(last.at) >= APART) {
                if self.samples.len() >= SAMPLES {
                    self.samples.pop_front();
                }
                self.samples.push_back(sample);
            }
        }
        // Who traces system calls stops a process at each of them, and it goes on.
        let goes_on = before.is_some_and(|before| vitals.cpu.is_some_and(|cpu| cpu > before));
        let stopped = vitals.stopped.filter(|&stop| stop != Stop::Tracer || !goes_on);
        if self.stopped.is_some() && stopped.is_none() {
            self.went_on_at = Some(at);
        }
        self.stopped = stopped;
    }

    /// Why it stands still, if it does.
    pub fn stopped(&self) -> Option<Stop> {
        self.stopped
    }

    /// When it was first seen to go on after it had stood still.
    pub fn went_on_at(&self) -> Option<KTime> {
        self.went_on_at
    }

    /// What it used from `since` on, to the nearest sample before; None if too little is known.
    pub fn used_since(&self, since: KTime) -> Option<Used> {
        let newest = self.newest?;
        let first = self.samples.iter().rev().find(|s| s.at <= since).or(self.samples.front())?;
        (first.at < newest.at).then(|| Used {
            cpu: Nanos(newest.cpu.0.saturating_sub(first.cpu.0)),
            throttled: Nanos(newest.throttled.0.saturating_sub(first.throttled.0)),
            queued: Nanos(newest.queued.0.saturating_sub(first.queued.0)),
            over: newest.at.since(first.at),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vitals(cpu: u64, stopped: Option<Stop>) -> Vitals {
        Vitals { stopped, cpu: Some(Nanos::from_secs(cpu)), ..Vitals::default() }
    }

    fn at(secs: u64) -> KTime {
        KTime(0).after(Nanos::from_secs(secs))
    }

    #[test]
    fn processor_time_is_counted_over_the_span_asked_for_as_far_as_it_is_kept() {
        let mut h = History::default();
        assert_eq!(h.used_since(at(0)), None);
        (0..500).for_each(|n| h.add(vitals(n / 2, None), at(n)));
        let used = h.used_since(at(479)).unwrap();
        assert_eq!((used.cpu, used.over), (Nanos::from_secs(10), Nanos::from_secs(20)));
        assert_eq!(h.used_since(at(0)).unwrap().over, Nanos::from_secs(SAMPLES as u64 - 1));
    }

    #[test]
    fn a_process_that_gets_next_to_nothing_of_the_processors_it_asks_for_hardly_ran() {
        let used = |cpu, throttled, queued| Used {
            cpu: Nanos(cpu),
            throttled: Nanos(throttled),
            queued: Nanos(queued),
            over: Nanos(1000),
        };
        assert!(used(50, 0, 950).hardly_ran() && used(20, 700, 0).hardly_ran());
        assert!(!used(1, 0, 20).hardly_ran(), "it hardly asked");
        assert!(!used(500, 0, 900).hardly_ran(), "it shared");
    }

    #[test]
    fn a_stop_ends_with_the_first_look_that_does_not_show_it() {
        let mut h = History::default();
        h.add(vitals(1, Some(Stop::Signal)), at(1));
        assert_eq!((h.stopped(), h.went_on_at()), (Some(Stop::Signal), None));
        h.add(vitals(1, None), at(9));
        assert_eq!((h.stopped(), h.went_on_at()), (None, Some(at(9))));
    }

    #[test]
    fn a_traced_process_that_goes_on_does_not_stand_still() {
        let mut h = History::default();
        (0..5).for_each(|n| h.add(vitals(n, Some(Stop::Tracer)), at(n)));
        assert_eq!(h.stopped(), None);
        h.add(vitals(4, Some(Stop::Tracer)), at(5));
        assert_eq!(h.stopped(), Some(Stop::Tracer));
    }
}
