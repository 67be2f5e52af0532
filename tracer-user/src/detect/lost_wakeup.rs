//! Threads that sleep for a word that has changed: the kernel puts a thread to sleep only while the
//! futex word has the value it expects, and whoever changes the word has to wake it. If the word
//! is another one in look after look and the thread has not run, nobody did.
//!
//! Where a word counts events, those that one wake-up left asleep look the same: such primitives
//! are left out, and so is a word that is not recognised and has several waiters.

use std::collections::BTreeMap;

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
        for (task, futex) in &waiters {
            let alone =
                waiters.iter().filter(|(_, f)| f.word_address == futex.word_address).count();
            if !tells(futex, alone == 1) || !futex.word_moved() {
                continue;
            }
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
