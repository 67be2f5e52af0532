//! How long waits took, by what for: of waits whose begin and whose end were both told by events. Bounded in
//! reasons; what a snapshot alone knows has no length and is not in here.

use crate::base::{Nanos, ReasonId, TaskKind};

/// Classes by doubling: the first reaches to below 2^10 ns, the last has no end. The same as those in
/// which the kernel part adds up the waits of threads.
const CLASSES: usize = 32;
const FIRST_BITS: u32 = 10;
/// Most reasons kept apart, for each kind of task; those beyond share [`ReasonId`] 0.
const MAX_REASONS: usize = 256;

/// Lengths of waits by class.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lengths {
    classes: [u64; CLASSES],
    total: Nanos,
}

impl Lengths {
    fn note(&mut self, length: Nanos) {
        let bits = u64::BITS.saturating_sub(length.0.leading_zeros());
        let class = (bits.saturating_sub(FIRST_BITS) as usize).min(CLASSES - 1);
        if let Some(count) = self.classes.get_mut(class) {
            *count = count.saturating_add(1);
        }
        self.total.0 = self.total.0.saturating_add(length.0);
    }

    /// Both together.
    pub fn add(&mut self, other: &Lengths) {
        for (count, more) in self.classes.iter_mut().zip(other.classes) {
            *count = count.saturating_add(more);
        }
        self.total.0 = self.total.0.saturating_add(other.total.0);
    }

    /// How long they took in all.
    pub const fn total(&self) -> Nanos {
        self.total
    }

    /// How many by length: each class reaches to below the length beside it, `u64::MAX` ns = without
    /// end. Classes with none are left out.
    pub fn classes(&self) -> impl Iterator<Item = (Nanos, u64)> {
        let end = |class: usize| match class {
            _ if class >= CLASSES - 1 => Nanos(u64::MAX),
            _ => Nanos(1 << (FIRST_BITS as usize + class)),
        };
        let all = self.classes.iter().enumerate().map(move |(class, n)| (end(class), *n));
        all.filter(|(_, n)| *n > 0)
    }

    const fn is_empty(&self) -> bool {
        self.total.0 == 0
    }
}

/// Lengths by kind of task and reason.
#[derive(Debug, Default)]
pub(super) struct WaitLengths {
    goroutines: Vec<Lengths>,
    threads: Vec<Lengths>,
}

impl WaitLengths {
    pub fn note(&mut self, kind: TaskKind, reason: ReasonId, length: Nanos) {
        let of = match kind {
            TaskKind::Goroutine => &mut self.goroutines,
            TaskKind::Thread => &mut self.threads,
        };
        let at = Some(usize::from(reason.0)).filter(|at| *at < MAX_REASONS).unwrap_or(0);
        if of.len() <= at {
            of.resize(at + 1, Lengths::default());
        }
        if let Some(lengths) = of.get_mut(at) {
            lengths.note(length);
        }
    }

    /// Those with any.
    pub fn all(&self) -> impl Iterator<Item = (TaskKind, ReasonId, &Lengths)> {
        let kinds = [(TaskKind::Goroutine, &self.goroutines), (TaskKind::Thread, &self.threads)];
        let all = kinds.into_iter().flat_map(|(kind, all)| {
            (0..).map(ReasonId).zip(all).map(move |(reason, lengths)| (kind, reason, lengths))
        });
        all.filter(|(_, _, lengths)| !lengths.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_lies_below_the_end_of_its_class_and_reasons_are_bounded() {
        let mut all = WaitLengths::default();
        for ns in [1, 1023, 1024, 5_000_000, u64::MAX / 4] {
            let mut one = Lengths::default();
            one.note(Nanos(ns));
            let [(end, 1)] = one.classes().collect::<Vec<_>>()[..] else { panic!() };
            assert!(ns < end.0 && (ns >= end.0 / 2 || end.0 == 1024 || end.0 == u64::MAX));
        }
        for reason in 0..50_000 {
            all.note(TaskKind::Goroutine, ReasonId(reason), Nanos(5));
        }
        assert_eq!(all.all().count(), MAX_REASONS);
        let counts = all.all().flat_map(|(_, _, lengths)| lengths.classes().map(|(_, n)| n));
        assert_eq!(counts.sum::<u64>(), 50_000);
    }
}
