//! What the kernel part has added up over the waits of threads, in words.

use tracer_common::thread::{Asleep, BUCKETS, FIRST_BUCKET_BITS, WaitTotals};

use std::collections::BTreeMap;

use crate::base::{Nanos, TaskKind, WaitClass};
use crate::kernel::WaitTotal;
use crate::runtime::native::names;
use crate::runtime::native::syscalls::{Subject, SyscallWait};
use crate::view::ThreadWaitsView;
use crate::view::metrics::WaitLengthsView;

/// Most things told of.
const MOST: usize = 20;

/// The totals as they are shown: those that took longest first.
pub fn told(mut totals: Vec<WaitTotal>) -> Vec<ThreadWaitsView> {
    totals.sort_by_key(|one| (std::cmp::Reverse(one.totals.total_ns), one.key.subject));
    totals.iter().take(MOST).map(view).collect()
}

/// Puts the totals by class in the place of what events have told of the waits of threads: short
/// waits are in them, too.
pub fn put(totals: Vec<WaitTotal>, waits: &mut Vec<WaitLengthsView>) {
    if totals.is_empty() {
        return;
    }
    waits.retain(|waits| waits.kind != TaskKind::Thread);
    let mut by_class: BTreeMap<&str, (WaitClass, WaitTotals)> = BTreeMap::new();
    for one in totals {
        let class = wait(&one).class;
        let sum = &mut by_class.entry(class.word()).or_insert((class, WaitTotals::default())).1;
        sum.total_ns = sum.total_ns.saturating_add(one.totals.total_ns);
        for (sum, more) in sum.buckets.iter_mut().zip(one.totals.buckets) {
            *sum = sum.saturating_add(more);
        }
    }
    waits.extend(by_class.into_values().map(|(class, sum)| WaitLengthsView {
        kind: TaskKind::Thread,
        class,
        total: Nanos(sum.total_ns),
        lengths: lengths(&sum),
    }));
}

fn wait(total: &WaitTotal) -> SyscallWait {
    let key = &total.key;
    names::wait(&Asleep {
        arguments: [key.subject, u64::from(key.operation), 0],
        number: key.number,
        sleep: key.sleep,
        ..Asleep::default()
    })
}

fn view(total: &WaitTotal) -> ThreadWaitsView {
    let key = &total.key;
    let wait = wait(total);
    let subject = match wait.subject {
        Subject::Futex | Subject::FutexList => Some(("futex", key.subject)),
        Subject::Epoll => Some(("epoll", key.subject)),
        Subject::None | Subject::Fd | Subject::FdSet => None,
    };
    ThreadWaitsView {
        reason: wait.word.into_owned(),
        subject,
        count: total.totals.count,
        total: Nanos(total.totals.total_ns),
        lengths: lengths(&total.totals),
    }
}

fn lengths(totals: &WaitTotals) -> Vec<(Nanos, u64)> {
    let below = |class: usize| {
        let bits = FIRST_BUCKET_BITS.saturating_add(u32::try_from(class).unwrap_or(u32::MAX));
        let last = class + 1 >= BUCKETS;
        if last { Nanos(u64::MAX) } else { Nanos(1u64.checked_shl(bits).unwrap_or(u64::MAX)) }
    };
    let classes = totals.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
    classes.map(|(class, count)| (below(class), *count)).collect()
}

#[cfg(test)]
mod tests {
    use tracer_common::thread::{WaitKey, bucket};

    use super::*;

    #[test]
    fn a_length_lies_below_the_bound_of_its_class() {
        for ns in [0, 1, 1023, 1024, 1_000_000, 1 << 40, u64::MAX] {
            let mut totals = WaitTotals { count: 1, total_ns: ns, ..WaitTotals::default() };
            totals.buckets[bucket(ns)] = 1;
            let [(below, 1)] = lengths(&totals)[..] else { panic!() };
            assert!(ns < below.0 || below.0 == u64::MAX);
            assert!(ns >= below.0 / 2 || below.0 == 1024 || below.0 == u64::MAX);
        }
    }

    #[test]
    fn the_longest_come_first_with_what_was_waited_for() {
        let total = |number, subject, total_ns| WaitTotal {
            key: WaitKey { subject, number, ..WaitKey::default() },
            totals: WaitTotals { count: 1, total_ns, ..WaitTotals::default() },
        };
        let told = told(vec![total(202, 0x1000, 5), total(232, 7, 9), total(0, 0, 1)]);
        let shown: Vec<_> = told.iter().map(|t| (t.reason.as_str(), t.subject)).collect();
        assert_eq!(
            shown,
            [
                ("epoll wait", Some(("epoll", 7))),
                ("futex wait", Some(("futex", 0x1000))),
                ("read", None)
            ]
        );
    }
}
