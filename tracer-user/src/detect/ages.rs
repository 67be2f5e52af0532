//! What the numbers and the first sight of tasks tell of when they were created: together, as a
//! pool is, or one after another; and, for those older than the tracer, about how long ago.
//!
//! Runtimes that number tasks in order (Go: in batches of 16 for each processor) give ages away:
//! two looks tell how many numbers are given out in a second. Such an age is an estimate, and is
//! only ever shown as one.

use crate::base::{KTime, Nanos, TaskKind};
use crate::model::{Origin, Task};

use super::Check;

/// How tasks came to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Started {
    /// At once, or so few that it cannot be told.
    Together,
    /// One after another.
    OverTime,
}

/// Tasks created within this were created together.
const TOGETHER: Nanos = Nanos::from_secs(10);
/// ... unless they came in so many separate bursts.
const BURSTS: usize = 3;
/// Numbers of tasks created in one go have gaps: other processors give out numbers too, 16 at once.
const GAPS: u64 = 64;
/// ... and of those created in one go, at least every second is one of them.
const DENSE: u64 = 2;
/// Numbers spread so much wider than there are tasks were given out over time.
const SPARSE: u64 = 4;
/// Fewer new numbers between two looks than a few batches make no rate.
const LEAST_NUMBERS: u64 = 64;
/// Ticks of the clock in which the start of a process is told: USER_HZ, 100 on every Linux.
const NANOS_A_TICK: u64 = 10_000_000;

/// How these tasks came to be.
pub(super) fn started<'a>(tasks: impl Iterator<Item = &'a Task>) -> Started {
    let mut seen: Vec<KTime> = Vec::new();
    let mut before = Numbers::default();
    for task in tasks {
        match task.origin() {
            Origin::Before => before.add(task),
            Origin::Born | Origin::Appeared | Origin::Event => seen.push(task.known_since()),
        }
    }
    if came_over_time(seen) || before.are_sparse() { Started::OverTime } else { Started::Together }
}

fn came_over_time(mut seen: Vec<KTime>) -> bool {
    seen.sort_unstable();
    let (Some(&first), Some(&last)) = (seen.first(), seen.last()) else { return false };
    let apart = |pair: &[KTime]| matches!(pair, [a, b] if b.since(*a) >= Nanos::from_secs(1));
    let bursts = 1 + seen.windows(2).filter(|pair| apart(pair)).count();
    let steady = seen.len() >= BURSTS && bursts == 1;
    last.since(first) >= TOGETHER && (bursts >= BURSTS || steady)
}

/// The range of some tasks' numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers {
    count: u64,
    lowest: u64,
    highest: u64,
}

impl Numbers {
    fn add(&mut self, task: &Task) {
        let number = task.id().number;
        self.lowest = if self.count == 0 { number } else { self.lowest.min(number) };
        self.highest = self.highest.max(number);
        self.count += 1;
    }

    /// Of tasks that are numbered in order and were there at the first look; None if one is not.
    pub(super) fn of<'a>(tasks: impl Iterator<Item = &'a Task>) -> Option<Self> {
        let mut all = Self::default();
        for task in tasks {
            if task.id().kind != TaskKind::Goroutine || task.origin() != Origin::Before {
                return None;
            }
            all.add(task);
        }
        (all.count > 0).then_some(all)
    }

    fn range(&self) -> u64 {
        self.highest.saturating_sub(self.lowest)
    }

    fn are_sparse(&self) -> bool {
        self.range() > self.count.saturating_mul(SPARSE).saturating_add(GAPS)
    }

    /// Why they look like a pool that was started at once, in words.
    pub(super) fn like_a_pool(&self) -> Option<String> {
        let dense = self.range() <= self.count.saturating_mul(DENSE).saturating_add(GAPS);
        dense.then(|| {
            format!(
                "their numbers, {} to {}, follow each other and none came or went since: a pool that was started at once looks so",
                self.lowest, self.highest
            )
        })
    }

    /// About how long ago they were created, in words.
    pub(super) fn ages(&self, check: &Check<'_>) -> Option<String> {
        let ((t0, first), (t1, newest)) = check.process.highest_numbers()?;
        let given_out = newest.checked_sub(first).filter(|&n| n >= LEAST_NUMBERS)?;
        let each = u128::from(t1.since(t0).0).checked_div(u128::from(given_out))?;
        let lived = check
            .now
            .0
            .saturating_sub(check.process.def().start_ticks.saturating_mul(NANOS_A_TICK));
        let age = |number: u64| {
            let behind = u128::from(newest.saturating_sub(number));
            let age = u64::try_from(behind.saturating_mul(each)).unwrap_or(u64::MAX);
            Nanos(age.min(lived))
        };
        Some(format!(
            "by their numbers the oldest was created about {} ago, the newest about {} ago (an estimate: {given_out} numbers were given out in the last {})",
            age(self.lowest),
            age(self.highest),
            t1.since(t0)
        ))
    }
}
