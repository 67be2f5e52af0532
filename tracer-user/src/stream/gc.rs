//! A garbage collection, as the runtime's own notes tell it.

use crate::base::KTime;

/// One cycle of a runtime's garbage collector. The program stands still from `stop` to `mark`, and
/// from `mark_end` to `end`; in between it runs beside the collector.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct GcCycle {
    /// The program was stopped for it.
    pub stop: KTime,
    /// It went on, and marking began. None = that had not come yet.
    pub mark: Option<KTime>,
    /// Marking was done, and the program stopped again.
    pub mark_end: Option<KTime>,
    /// It went on: the cycle is over but for sweeping.
    pub end: Option<KTime>,
}

impl GcCycle {
    /// From four times in this order, of which those that lie before one of the first belong to the
    /// cycle before. None if there was no cycle yet.
    pub fn of(times: [KTime; 4]) -> Option<GcCycle> {
        let [stop, mark, mark_end, end] = times;
        if stop == KTime(0) {
            return None;
        }
        let mark = Some(mark).filter(|at| *at >= stop);
        let mark_end = mark.and_then(|mark| Some(mark_end).filter(|at| *at >= mark));
        let end = mark_end.and_then(|done| Some(end).filter(|at| *at >= done));
        Some(GcCycle { stop, mark, mark_end, end })
    }

    /// The last moment that is known of it.
    pub fn newest(&self) -> KTime {
        self.end.or(self.mark_end).or(self.mark).unwrap_or(self.stop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_cycle_before_are_not_taken_for_this_one() {
        let of = |times: [u64; 4]| GcCycle::of(times.map(KTime));
        let at = |n| Some(KTime(n));
        assert_eq!(of([0, 0, 0, 0]), None);
        let whole = GcCycle { stop: KTime(5), mark: at(6), mark_end: at(8), end: at(9) };
        assert_eq!(of([5, 6, 8, 9]), Some(whole));
        let stopped = GcCycle { stop: KTime(10), mark: None, mark_end: None, end: None };
        assert_eq!(of([10, 6, 8, 9]), Some(stopped));
        assert_eq!(of([10, 11, 8, 9]), Some(GcCycle { mark: at(11), ..stopped }));
        let marked = GcCycle { mark: at(11), mark_end: at(12), ..stopped };
        assert_eq!(of([10, 11, 12, 9]), Some(marked));
        assert_eq!((marked.newest(), stopped.newest()), (KTime(12), KTime(10)));
    }
}
