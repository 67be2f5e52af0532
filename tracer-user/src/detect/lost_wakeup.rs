//! Threads that sleep for a word that has changed: the kernel puts a thread to sleep only while the
//! futex word has the value it expects, and whoever changes the word has to wake it. If the word
//! is another one in look after look and the thread has not run, nobody did.
//!
//! Where a word counts events, those that one wake-up left asleep look the same: such primitives
//! are left out, and so is a word that is not recognised and has several waiters.

use std::collections::BTreeMap;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::base::{KTime, ProcId, TaskId, TaskState};
use crate::model::{GroupKey, Task};
use crate::stream::{FutexKind, FutexOf, FutexState, LookSeq, WaitsOn};

use super::evidence::{how_known, lower};
use super::gather::{Picked, gather, objects_in_words};
use super::{Check, Confidence, Detector, Finding, FindingKind, Verdicts};

/// Looks in a row that must have found it so.
const LOOKS: u32 = 3;

/// Finds lost wake-ups.
#[derive(Debug, Default)]
pub struct LostWakeup {
    seen: BTreeMap<(ProcId, TaskId), Seen>,
}

/// A thread that sleeps for a word that has changed.
#[derive(Clone, Copy, Debug)]
struct Seen {
    look: LookSeq,
    since: KTime,
    looks: u32,
    word_address: u64,
}

impl Detector for LostWakeup {
    fn check(&mut self, check: &mut Check<'_>) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let process = check.process;
        let Some(last) = process.last_look() else { return verdicts };
        let waiters = sleepers(check);
        let mut found: BTreeMap<Place, Vec<Picked<'_>>> = BTreeMap::new();
        let mut kept = BTreeMap::new();
        for (task, futex) in telling(&waiters) {
            let fresh = Seen {
                look: last.look,
                since: check.now,
                looks: 1,
                word_address: futex.word_address,
            };
            let id = (process.id(), task.id());
            let mut seen = match self.seen.get(&id) {
                Some(seen) if seen.word_address == futex.word_address => *seen,
                _ => fresh,
            };
            if seen.look != last.look {
                seen.look = last.look;
                seen.looks = seen.looks.saturating_add(1);
            }
            kept.insert(id, seen);
            let long = check.now.since(seen.since) >= check.settings.crowd_span;
            let still = task.still_looks() >= LOOKS && seen.looks >= LOOKS;
            if long && still && !process.is_doubtful(task) {
                let wait = process.wait(task, check.now);
                let place = Place(task.spawn_site().0, task.wait_site().0, task.reason().0);
                found.entry(place).or_default().extend(wait.map(|wait| (*task, wait)));
            } else {
                verdicts.look(check.next_look(check.settings.crowd_span));
            }
        }
        self.seen.retain(|(whose, _), _| *whose != process.id());
        self.seen.extend(kept);
        for picked in found.into_values() {
            verdicts.spoken_for.extend(picked.iter().map(|(task, _)| task.id()));
            verdicts.findings.extend(finding(check, picked));
        }
        verdicts
    }
}

/// A group's key in a form that has an order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place(u32, u32, u16);

/// All that sleep on a futex, whatever for.
fn sleepers<'a>(check: &Check<'a>) -> Vec<(&'a Task, Box<FutexState>)> {
    let waiting = check
        .process
        .tasks()
        .iter()
        .filter(|task| task.state() == TaskState::Waiting && !task.is_system());
    waiting
        .filter_map(|task| match task.waits_on() {
            WaitsOn::Futex(futex) => Some((task, futex)),
            _ => None,
        })
        .collect()
}

/// Those of them whose word has changed, where that says that a wake-up is missing.
fn telling<T>(waiters: &[(T, Box<FutexState>)]) -> impl Iterator<Item = &(T, Box<FutexState>)> {
    let mut by_word: HashMap<u64, usize, RandomState> = HashMap::default();
    for (_, futex) in waiters {
        let count = by_word.entry(futex.word_address).or_default();
        *count = count.saturating_add(1);
    }
    waiters.iter().filter(move |(_, futex)| {
        let alone = by_word.get(&futex.word_address) == Some(&1);
        futex.word_moved() && tells(futex, alone)
    })
}

/// Whether a word that has changed says that a wake-up is missing.
fn tells(futex: &FutexState, alone: bool) -> bool {
    match (futex.kind, futex.of) {
        // Its words count, and a wake-up is for one of several.
        (FutexKind::Cond | FutexKind::Barrier | FutexKind::RwWrite | FutexKind::RwRead, _) => false,
        (FutexKind::Join, _) => false,
        (FutexKind::Unknown, _) | (_, FutexOf::Unknown) => alone,
        (FutexKind::Mutex | FutexKind::Semaphore | FutexKind::Once | FutexKind::Park, _) => true,
    }
}

fn finding(check: &Check<'_>, picked: Vec<Picked<'_>>) -> Option<Finding> {
    let (task, _) = picked.first()?;
    let key = GroupKey {
        spawn_site: task.spawn_site(),
        wait_site: task.wait_site(),
        reason: task.reason(),
        state: task.state(),
    };
    let mut finding = gather(check, FindingKind::LostWakeup, key, picked)?;
    finding.confidence = Confidence::Likely;
    finding.reasons.push(
        "sleeps for a word that has changed since, in look after look: who changed it did not wake it"
            .into(),
    );
    finding.reasons.extend(objects_in_words(&finding));
    let marks = finding.unchanged_looks;
    how_known(&mut finding, marks);
    lower(check, &mut finding);
    Some(finding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Holder;

    fn waits(id: u32, kind: FutexKind, word_address: u64, word: u32) -> (u32, Box<FutexState>) {
        let futex = FutexState {
            kind,
            of: FutexOf::Pthread,
            word_address,
            object: word_address,
            expected: Some(0),
            word: Some(word),
            holder: Holder::Unknown,
            timed: false,
            shared: false,
        };
        (id, Box::new(futex))
    }

    fn told(waiters: &[(u32, Box<FutexState>)]) -> Vec<u32> {
        telling(waiters).map(|(id, _)| *id).collect()
    }

    #[test]
    fn a_moved_word_that_is_not_recognised_tells_only_of_one_who_is_alone() {
        use FutexKind::Unknown;
        let alone = [waits(1, Unknown, 0x1000, 1), waits(2, Unknown, 0x2000, 1)];
        assert_eq!(told(&alone), [1, 2]);
        let two = [
            waits(1, Unknown, 0x1000, 1),
            waits(2, Unknown, 0x2000, 1),
            waits(3, Unknown, 0x1000, 1),
        ];
        assert_eq!(told(&two), [2]);
    }

    #[test]
    fn a_moved_word_of_a_mutex_tells_of_all_who_wait_and_one_that_stands_of_nobody() {
        use FutexKind::{Cond, Mutex};
        let two = [waits(2, Mutex, 0x1000, 1), waits(1, Mutex, 0x1000, 1)];
        assert_eq!(told(&two), [2, 1]);
        assert!(told(&[waits(1, Mutex, 0x1000, 0)]).is_empty());
        assert!(told(&[waits(1, Cond, 0x1000, 1)]).is_empty(), "it counts");
    }

    #[test]
    fn as_many_waiters_as_there_can_be_threads_are_gone_through_once() {
        let many: Vec<_> =
            (0..1 << 16).map(|id| waits(id, FutexKind::Unknown, 0x1000, 1)).collect();
        assert!(told(&many).is_empty());
    }
}
