//! Processes in which every thread waits for another one of them: nobody is left to wake anybody.
//!
//! What waits for input, a child, a signal or a time can go on by itself, and then wake the others.
//! Where there is none such, and no word that another process could change, the process has come to
//! its end without ending. Locks in a circle are [`super::Deadlock`]'s, who says more.

use crate::base::{Nanos, TaskId, TaskKind, TaskState};
use crate::model::{Group, Process, Task};
use crate::stream::{FutexKind, FutexOf, FutexState, WaitsOn};

use super::evidence::{how_known, lower};
use super::gather::{Picked, gather, objects_in_words};
use super::{Check, Confidence, Detector, FindingKind, Verdicts};

/// Looks that must have found all of them as they are.
const LOOKS: u32 = 3;

/// Finds processes in which nobody can go on.
#[derive(Debug, Default)]
pub struct Standstill;

impl Detector for Standstill {
    fn check(&mut self, check: &mut Check<'_>) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let process = check.process;
        let complete = process.last_look().is_some_and(|look| look.outcome.is_complete());
        if !complete || process.tasks().is_empty() || !process.tasks().iter().all(waits_for_others)
        {
            return verdicts;
        }
        let all_still = process.tasks().iter().all(|task| {
            task.still_looks() >= LOOKS
                && process
                    .wait(task, check.now)
                    .is_some_and(|wait| wait.length() >= check.settings.crowd_span)
        });
        if !all_still {
            verdicts.look(check.next_look(Nanos(check.settings.crowd_span.0 / 2)));
            return verdicts;
        }
        let groups: Vec<&Group> = process.groups().collect();
        let joins = |group: &&&Group| is_join(check, group);
        // Who waits for the end of others waits for what those wait for.
        let told: Vec<&Group> = match groups.iter().all(|group| joins(&group)) {
            true => groups,
            false => groups.into_iter().filter(|group| !is_join(check, group)).collect(),
        };
        for group in told {
            tell(check, group, &mut verdicts);
        }
        verdicts
    }
}

fn futex(task: &Task) -> Option<Box<FutexState>> {
    match task.waits_on() {
        WaitsOn::Futex(futex) => Some(futex),
        _ => None,
    }
}

/// Whether only another thread of the same process can end a task's wait.
fn waits_for_others(task: &Task) -> bool {
    let own = |futex: &FutexState| {
        !futex.timed
            && (!futex.shared || futex.kind == FutexKind::Join)
            && futex.word_moved() == (futex.kind == FutexKind::Cond && futex.word_moved())
    };
    task.id().kind == TaskKind::Thread
        && task.state() == TaskState::Waiting
        && !task.is_system()
        && futex(task).is_some_and(|futex| own(&futex))
}

/// Whether a signal handler may end a task's wait: by a semaphore, the one primitive that it may use (signal-safety(7));
/// by a futex of its own; or where Python's main thread waits, which runs the handlers in between (docs.python.org,
/// module signal, "Execution of Python signal handlers").
fn may_be_woken_by_a_signal(process: &Process, task: &Task) -> bool {
    let is_main = task.id() == TaskId::thread(process.def().pid.0);
    futex(task).is_some_and(|futex| match (futex.kind, futex.of) {
        (FutexKind::Semaphore, FutexOf::Pthread) | (FutexKind::Unknown, _) => true,
        (_, FutexOf::Python) => is_main,
        _ => false,
    })
}

fn is_join(check: &Check<'_>, group: &Group) -> bool {
    let mut members = check.process.members(group);
    members.all(|task| futex(task).is_some_and(|futex| futex.kind == FutexKind::Join))
}

fn tell(check: &Check<'_>, group: &Group, verdicts: &mut Verdicts) {
    let process = check.process;
    let picked: Vec<Picked<'_>> = process
        .members(group)
        .filter(|task| !check.spoken_for.contains(&task.id()))
        .filter_map(|task| Some((task, process.wait(task, check.now)?)))
        .collect();
    let Some(mut finding) = gather(check, FindingKind::BlockedForEver, group.key(), picked) else {
        return;
    };
    let by_signal = process.tasks().iter().any(|task| may_be_woken_by_a_signal(process, task));
    finding.confidence = if by_signal { Confidence::Suspect } else { Confidence::Likely };
    let n = process.tasks().len();
    finding.reasons.push(match n {
        1 => "the one thread of the process waits for another, and there is none".into(),
        _ => format!(
            "all {n} threads of the process wait for one another: none waits for input, a signal or a time, so nobody is left to wake them"
        ),
    });
    if by_signal {
        finding.reasons.push(
            "only suspect: a signal handler may post a semaphore, set a Python event, or wake a futex of its own".into(),
        );
    }
    finding.reasons.extend(objects_in_words(&finding));
    let marks = finding.unchanged_looks;
    how_known(&mut finding, marks);
    lower(check, &mut finding);
    verdicts.findings.push(finding);
}
