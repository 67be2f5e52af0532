//! Threads that hold what the next one waits for, in a circle: none of them will ever go on, nor
//! will those that wait for one of them.
//!
//! A look reads one thread after another, so a circle of one look may never have been. It is told
//! when the next look finds the same locks with the same holders, and all of the circle as they
//! were: then each held its lock all the time, and waited for the next. Where every lock itself
//! names its holder that is certain.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{KTime, Nanos, ProcId, TaskId};
use crate::model::{Exactness, GroupKey, Process, Task, Wait};
use crate::stream::{FutexKind, FutexOf, Holder, LookSeq, WaitsOn};

use super::evidence::{how_known, lower};
use super::gather::{Picked, gather};
use super::identity::nth_of_place;
use super::waitfor::{Edge, WaitFor};
use super::{Check, Confidence, CycleStep, Detector, Finding, FindingKind, Verdicts};

/// Most circles told of one process at a time.
const MAX_CYCLES: usize = 64;
/// Most bystanders named.
const MAX_BYSTANDERS: usize = 100;
/// Looks that must have found each thread of a circle as it is.
const LOOKS: u32 = 2;

/// Finds circles of locks.
#[derive(Default)]
pub struct Deadlock {
    /// Who waited for whom at the last two looks of each process.
    seen: BTreeMap<ProcId, Seen>,
}

struct Seen {
    look: LookSeq,
    now: WaitFor,
    before: WaitFor,
    told: Told,
}

/// Which circle is which at a place that several are at: each is told by itself, under an id of its own that it
/// keeps.
#[derive(Default)]
struct Told(Vec<(Box<str>, BTreeSet<TaskId>, usize)>);

impl Told {
    /// The number of a circle at its place, from 0 on: the one it had, or the lowest that is free.
    fn number(&mut self, place: &str, circle: &BTreeSet<TaskId>) -> usize {
        let here = self.0.iter().filter(|(at, ..)| **at == *place);
        if let Some((.., number)) = here.clone().find(|(_, threads, _)| threads == circle) {
            return *number;
        }
        let free = |number: &usize| here.clone().all(|(.., taken)| taken != number);
        let number = (0..MAX_CYCLES).find(free).unwrap_or(MAX_CYCLES);
        self.0.push((place.into(), circle.clone(), number));
        number
    }

    /// Forgets the circles that are no more.
    fn retain(&mut self, cycles: &[Vec<TaskId>]) {
        let are: BTreeSet<BTreeSet<TaskId>> =
            cycles.iter().map(|cycle| cycle.iter().copied().collect()).collect();
        self.0.retain(|(_, threads, _)| are.contains(threads));
    }
}

impl Detector for Deadlock {
    fn sees_through_standstill(&self) -> bool {
        true
    }

    fn check(&mut self, check: &mut Check<'_>) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let process = check.process;
        let Some(last) = process.last_look() else { return verdicts };
        let seen = self.seen.entry(process.id()).or_insert_with(|| Seen {
            look: last.look,
            now: WaitFor::of(process),
            before: WaitFor::default(),
            told: Told::default(),
        });
        if seen.look != last.look {
            seen.look = last.look;
            seen.before = std::mem::replace(&mut seen.now, WaitFor::of(process));
        }
        let cycles = seen.now.cycles();
        seen.told.retain(&cycles);
        let mut taken = 0;
        for cycle in cycles {
            let steps = steps(process, &seen.now, &cycle);
            if steps.len() != cycle.len() || taken >= MAX_CYCLES {
                continue;
            }
            if !steps.iter().all(|(task, edge)| stands(check, task, edge, &seen.before)) {
                verdicts.look(check.next_look(Nanos(0)));
                continue;
            }
            taken += 1;
            let behind = seen.now.behind(&cycle);
            verdicts.spoken_for.extend(cycle.iter().chain(&behind));
            if let Some(mut finding) = finding(check, &steps, &behind) {
                let circle = cycle.iter().copied().collect();
                let number = seen.told.number(&finding.id, &circle);
                finding.id = nth_of_place(&finding.id, number);
                verdicts.findings.push(finding);
            }
        }
        let model = check.model;
        self.seen.retain(|id, _| model.process(*id).is_some_and(|p| p.ended().is_none()));
        verdicts
    }
}

/// The tasks of a circle with what each waits for.
fn steps<'a>(process: &'a Process, now: &WaitFor, cycle: &[TaskId]) -> Vec<(&'a Task, Edge)> {
    let step = |&id: &TaskId| Some((process.task(id)?, now.edge(id)?.clone()));
    cycle.iter().filter_map(step).collect()
}

/// Whether a task stands as the look before found it, before the same lock in the same hands.
fn stands(check: &Check<'_>, task: &Task, edge: &Edge, before: &WaitFor) -> bool {
    let same = before
        .edge(task.id())
        .is_some_and(|was| was.holder == edge.holder && was.futex.object == edge.futex.object);
    let still = task.still_looks() >= LOOKS || edge.futex.looks_again();
    same && still && !check.process.is_doubtful(task)
}

fn finding(check: &Check<'_>, steps: &[(&Task, Edge)], behind: &[TaskId]) -> Option<Finding> {
    let waits = |task: &Task| {
        check.process.wait(task, check.now).unwrap_or(Wait {
            since: KTime(check.now.0),
            until: check.now,
            exactness: Exactness::AtLeast,
        })
    };
    let picked: Vec<Picked<'_>> = steps.iter().map(|(task, _)| (*task, waits(task))).collect();
    let (first, _) = steps.iter().min_by_key(|(task, _)| named(check, task))?;
    let key = GroupKey {
        spawn_site: first.spawn_site(),
        wait_site: first.wait_site(),
        reason: first.reason(),
        state: first.state(),
    };
    let mut finding = gather(check, FindingKind::Deadlock, key, picked)?;
    let run_by = run_by(check.process, steps);
    finding.cycle = steps
        .iter()
        .map(|(task, edge)| CycleStep {
            task: task.id(),
            waits_on: WaitsOn::Futex(edge.futex.clone()),
            wait_site: task.wait_site(),
            runs: run_by.get(&task.id()).copied(),
        })
        .collect();
    finding.tasks = steps.iter().map(|(task, _)| task.id()).collect();
    finding.bystanders = behind.iter().take(MAX_BYSTANDERS).copied().collect();
    finding.bystander_count = behind.len() as u64;
    judge(check, &mut finding, steps);
    Some(finding)
}

/// The tasks that the threads of a circle run: a lock that is taken in foreign code is its thread's.
fn run_by(process: &Process, steps: &[(&Task, Edge)]) -> BTreeMap<TaskId, TaskId> {
    let threads: BTreeSet<TaskId> = steps.iter().map(|(task, _)| task.id()).collect();
    let runs = |task: &Task| Some((TaskId::thread(task.thread()?.0), task.id()));
    process.tasks().iter().filter_map(runs).filter(|(on, _)| threads.contains(on)).collect()
}

/// What the place is named by: the same circle has the same name in every run.
fn named<'a>(check: &Check<'a>, task: &Task) -> (&'a str, u32, TaskId) {
    let names = check.model.names();
    let site = task.wait_site();
    (names.function(site), names.frame(site).map_or(0, |frame| frame.line), task.id())
}

fn judge(check: &Check<'_>, finding: &mut Finding, steps: &[(&Task, Edge)]) {
    let proven = steps.iter().all(|(_, edge)| edge.is_proven());
    finding.confidence = if proven { Confidence::Certain } else { Confidence::Likely };
    finding.reasons.extend(steps.iter().map(|(task, edge)| in_words(task, edge)));
    if let [(task, edge)] = steps
        && matches!(edge.futex.holder, Holder::Inferred(_))
    {
        judge_alone(check, finding, (task, edge));
    } else if steps.iter().any(|(_, edge)| edge.futex.timed) {
        finding.reasons.push("only likely: one of the waits ends by itself after a time".into());
    } else if steps.iter().any(|(_, edge)| edge.futex.looks_again()) {
        finding.reasons.push(
            "only likely: these threads wake now and then to look whether the lock is free, so that two looks found the same circle and nothing proves that it stood between them"
                .into(),
        );
    } else if !proven {
        finding.reasons.push(
            "only likely: not every lock names its holder; the one thread was taken that has the lock's address on its stack"
                .into(),
        );
    }
    if finding.bystander_count > 0 {
        let n = finding.bystander_count;
        let (s, verb) = if n == 1 { ("", "waits") } else { ("s", "wait") };
        finding.reasons.push(format!("{n} other thread{s} {verb} for those of the circle"));
    }
    let marks = finding.unchanged_looks;
    how_known(finding, marks);
    lower(check, finding);
}

/// A thread that seems to hold what it waits for. That it has the lock's address says less than of another
/// thread, so that the length of the wait has to speak, too.
fn judge_alone(check: &Check<'_>, finding: &mut Finding, (task, edge): (&Task, &Edge)) {
    let waited = check.process.wait(task, check.now).map_or(Nanos(0), |wait| wait.length());
    finding.reasons.push(
        "not certain: the lock does not name its holder; no other thread has its address on its stack or in a register, and this one has it in frames that are not of the wait"
            .into(),
    );
    if edge.futex.timed {
        finding.reasons.push("the wait ends by itself after a time".into());
    }
    if waited < check.settings.stuck_after {
        finding.confidence = Confidence::Suspect;
    }
}

/// One step of the circle.
fn in_words(task: &Task, edge: &Edge) -> String {
    let (me, other) = (task.id().number, edge.holder.number);
    let lock = match edge.futex.kind {
        FutexKind::Join => return format!("thread {me} waits for the end of thread {other}"),
        FutexKind::RwRead => "the read-write lock, to read,",
        FutexKind::RwWrite => "the read-write lock, to write,",
        FutexKind::Once => "the one-time initialisation",
        _ if edge.futex.of == FutexOf::Java => "the Java monitor",
        _ if edge.futex.of == FutexOf::Python => "the Python RLock",
        _ => "the mutex",
    };
    let by = match &edge.futex.holder {
        _ if me != other => format!("which thread {other} holds"),
        Holder::Inferred(_) => "which it seems to hold itself".to_owned(),
        _ => "which it holds itself".to_owned(),
    };
    format!("thread {me} waits for {lock} {:#x}, {by}", edge.futex.object)
}
