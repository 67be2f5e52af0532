//! What the kernel part has added up over the system calls of threads, in words.

use tracer_common::call::Outcome;
use tracer_common::thread::WaitKey;

use crate::base::Nanos;
use crate::kernel::CallTotal;
use crate::runtime::native::syscalls::{self, Subject};
use crate::stream::call;
use crate::view::ThreadCallsView;

/// Most things told of.
const MOST: usize = 20;

/// The totals as they are shown: those that took longest first.
pub fn told(mut totals: Vec<CallTotal>) -> Vec<ThreadCallsView> {
    totals.sort_by_key(|one| (std::cmp::Reverse(one.totals.total_ns), one.key.subject));
    totals.iter().take(MOST).map(view).collect()
}

fn view(total: &CallTotal) -> ThreadCallsView {
    let (key, totals) = (&total.key, &total.totals);
    let of = |outcome: Outcome| totals.outcomes.get(outcome as usize).copied().unwrap_or(0);
    ThreadCallsView {
        call: call::name(key.number),
        operation: operation(key),
        subject: super::thread_waits::subject(subject(key), key.subject),
        count: totals.count,
        slept: totals.slept,
        outcomes: Outcome::ALL.map(|outcome| (call::outcome_word(outcome), of(outcome))).to_vec(),
        woken: totals.woken,
        total: Nanos(totals.total_ns),
    }
}

fn subject(key: &WaitKey) -> Subject {
    let number = i64::from(key.number);
    if number == syscalls::number::FUTEX_WAKE {
        return Subject::Futex;
    }
    syscalls::wait(number, &[key.subject, u64::from(key.operation), 0, 0, 0, 0]).subject
}

/// The operation of `futex`; None for other calls. Source: include/uapi/linux/futex.h.
fn operation(key: &WaitKey) -> Option<&'static str> {
    const OPERATIONS: [&str; 14] = [
        "wait",
        "wake",
        "fd",
        "requeue",
        "cmp_requeue",
        "wake_op",
        "lock_pi",
        "unlock_pi",
        "trylock_pi",
        "wait_bitset",
        "wake_bitset",
        "wait_requeue_pi",
        "cmp_requeue_pi",
        "lock_pi2",
    ];
    let is_futex = i64::from(key.number) == syscalls::number::FUTEX;
    let known = OPERATIONS.get(usize::from(key.operation)).copied().unwrap_or("unknown");
    is_futex.then_some(known)
}

#[cfg(test)]
mod tests {
    use tracer_common::call::CallTotals;

    use super::*;

    #[test]
    fn calls_are_told_with_what_for_and_how_they_ended() {
        let total = |number, operation, total_ns| CallTotal {
            key: WaitKey { subject: 0x1000, number, operation, ..WaitKey::default() },
            totals: CallTotals {
                count: 3,
                outcomes: [2, 1, 0, 0, 0, 0, 0, 0],
                total_ns,
                ..CallTotals::default()
            },
        };
        let told = told(vec![total(202, 1, 5), total(232, 0, 9), total(454, 0, 1)]);
        let shown: Vec<_> = told.iter().map(|t| (t.call, t.operation, t.subject)).collect();
        assert_eq!(
            shown,
            [
                ("epoll_wait", None, Some(("epoll", 0x1000))),
                ("futex", Some("wake"), Some(("futex", 0x1000))),
                ("futex_wake", None, Some(("futex", 0x1000))),
            ]
        );
        assert_eq!(told[0].outcomes[..2], [("done", 2), ("timed-out", 1)]);
    }
}
