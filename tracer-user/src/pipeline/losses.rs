//! Loss accounting: what the kernel part counts becomes `Input::Loss`, exactly once and as near to
//! its place in the stream as can be known.
//!
//! Two sources agree on the number: the counter maps (exact, by kind, read now and then) and the
//! `lost_before` word of each record (located, without kind). The maps are the authority on how
//! much; the records only narrow down when.

use crate::base::{KTime, ProcId};
use crate::stream::{Loss, LossKind};

/// How far back the last records without a step are remembered, per slot.
#[derive(Clone, Copy, Debug)]
struct Seen {
    lost_before: u32,
    at: KTime,
}

/// What one slot has lost, and how much of it was told.
#[derive(Debug)]
pub struct SlotLosses {
    process: ProcId,
    told: [u64; LossKind::ALL.len()],
    seen: Seen,
    /// Span in which records stepped since the last reading of the counters.
    span: Option<(KTime, KTime)>,
    attached_at: KTime,
}

impl SlotLosses {
    /// A slot that begins with all counters at zero.
    pub fn new(process: ProcId, attached_at: KTime) -> Self {
        Self {
            process,
            told: [0; LossKind::ALL.len()],
            seen: Seen { lost_before: 0, at: attached_at },
            span: None,
            attached_at,
        }
    }

    /// Notes a record's `lost_before`; true if it stepped, so that the counters should be read now.
    pub fn record(&mut self, lost_before: u32, at: KTime) -> bool {
        let stepped = lost_before != self.seen.lost_before;
        if stepped {
            let since = self.seen.at.min(at);
            self.span = Some(match self.span {
                Some((first, last)) => (first.min(since), last.max(at)),
                None => (since, at),
            });
            self.seen.lost_before = lost_before;
        }
        self.seen.at = self.seen.at.max(at);
        stepped
    }

    /// Turns the counters' present totals, read at `now`, into losses not told before.
    pub fn settle(&mut self, totals: &[(LossKind, u64)], now: KTime) -> Vec<Loss> {
        let since = self.span.map_or(self.seen.at, |(first, _)| first).max(self.attached_at);
        let mut losses = Vec::new();
        for &(kind, total) in totals {
            let Some(told) = self.told.get_mut(kind as usize) else { continue };
            let count = total.saturating_sub(*told);
            if count == 0 {
                continue;
            }
            *told = total;
            // A record may still be lost after the last one seen, so the span ends now.
            losses.push(Loss { process: Some(self.process), kind, count, since, until: now });
        }
        if !losses.is_empty() {
            self.span = None;
        }
        losses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: ProcId = ProcId(1);

    #[test]
    fn a_loss_is_told_once_and_lies_between_the_records_around_it() {
        let mut slot = SlotLosses::new(P, KTime(100));
        assert!(!slot.record(0, KTime(200)));
        assert!(slot.record(7, KTime(300)));
        let told = slot.settle(&[(LossKind::RingFull, 7)], KTime(310));
        assert_eq!(
            told,
            [Loss {
                process: Some(P),
                kind: LossKind::RingFull,
                count: 7,
                since: KTime(200),
                until: KTime(310)
            }]
        );
        assert!(slot.settle(&[(LossKind::RingFull, 7)], KTime(400)).is_empty());
    }

    #[test]
    fn a_loss_that_no_record_follows_is_told_from_the_counters() {
        let mut slot = SlotLosses::new(P, KTime(100));
        slot.record(0, KTime(200));
        let told = slot.settle(&[(LossKind::UserRead, 3)], KTime(500));
        assert_eq!((told[0].since, told[0].until, told[0].count), (KTime(200), KTime(500), 3));
    }
}
