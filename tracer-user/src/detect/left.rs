//! Tasks that are left when a program ends: whoever started them did not see to their end.
//!
//! Not asked by the engine as the other detectors are, but by whoever holds a program at its end,
//! for as long as tasks are given to end by themselves. Each that is still there then counts, also
//! the one that waits for work: nobody will bring any.

use std::collections::BTreeMap;

use crate::base::{
    FrameId, KTime, LIBRARY_LABEL, Nanos, ReasonId, TaskId, TaskState, Tid, WaitClass,
};
use crate::model::{Exactness, GroupKey, Task, Wait};
use crate::stream::WaitsOn;

use super::evidence::{class_of, how_known, lower};
use super::gather::{Picked, gather, objects_in_words};
use super::{Check, Confidence, Finding, FindingKind};

/// Equal looks that show that a task has not run.
const STILL: u32 = 2;

/// A program that is held at its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AtEnd {
    /// The thread that ends it; the task on it is not left behind.
    pub by: Tid,
    /// The task whose end is the program's.
    pub main: Option<TaskId>,
    /// For how long it has been held.
    pub held: Nanos,
}

/// What is left behind.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LeftBehind {
    /// The tasks, by where they were created and where they wait.
    pub findings: Vec<Finding>,
    /// Whether one could run now, and has not yet: it may be on its way to its end.
    pub on_their_way: bool,
    /// Why nothing can be said of the rest, if so: what could end was not let run.
    pub stalled: Option<String>,
}

/// Says what is left behind now.
pub(super) fn left_behind(check: &mut Check<'_>, end: &AtEnd) -> LeftBehind {
    let process = check.process;
    let mut groups: BTreeMap<Key, Vec<Picked<'_>>> = BTreeMap::new();
    let (mut on_their_way, mut not_let_run) = (false, 0_u64);
    for task in process.tasks() {
        if task.is_system() || Some(task.id()) == end.main || is_ending(task, end.by) {
            continue;
        }
        let kept = kept_waiting(check, task);
        on_their_way |= kept.is_some();
        not_let_run += u64::from(kept.is_some_and(|kept| kept > NOT_LET_RUN));
        let class = check.model.names().class(task.reason());
        if check.idle.find(check.model.names(), &check.settings.idle, task, class).is_none() {
            let wait = process.wait(task, check.now).unwrap_or(at_least_now(check.now));
            groups.entry(Key::of(task)).or_default().push((task, wait));
        }
    }
    let groups = groups.into_iter();
    let findings = groups.filter_map(|(key, picked)| judge(check, end, key, picked)).collect();
    let mut findings = one_for_each_id(findings);
    // A task may wait for one that cannot run: then only what no task can change is sure.
    let stalled = (not_let_run > 0).then(|| {
        format!(
            "{not_let_run} tasks that could run were given no processor (with GOMAXPROCS=1 the task that ends the program holds the only one), so what was about to end could not: only what runs or can never end is told"
        )
    });
    if stalled.is_some() {
        findings.retain(|f| {
            check.class(f.key) == Some(WaitClass::Never) || f.key.state == TaskState::Running
        });
    }
    LeftBehind { findings, on_their_way, stalled }
}

/// What the tasks of a finding have in common; ordered, so that each run tells the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    spawn_site: FrameId,
    wait_site: FrameId,
    reason: ReasonId,
    state: u8,
}

impl Key {
    fn of(task: &Task) -> Self {
        Self {
            spawn_site: task.spawn_site(),
            wait_site: task.wait_site(),
            reason: task.reason(),
            state: task.state() as u8,
        }
    }

    fn state(self) -> TaskState {
        TaskState::ALL.get(usize::from(self.state)).copied().unwrap_or(TaskState::Unknown)
    }
}

/// Whether it is the task that has called for the end.
fn is_ending(task: &Task, by: Tid) -> bool {
    task.thread() == Some(by) && matches!(task.state(), TaskState::Running | TaskState::Syscall)
}

/// For how long it could have run, or its timer has been over, and nobody has let it.
fn kept_waiting(check: &Check<'_>, task: &Task) -> Option<Nanos> {
    match (task.state(), task.waits_on()) {
        (TaskState::Runnable, _) => Some(task.still_for()),
        (TaskState::Waiting, WaitsOn::Timer { until }) => {
            let look = check.process.last_look()?;
            (look.t0 > until).then(|| look.t0.since(until))
        }
        _ => None,
    }
}

/// A task that is kept waiting for longer than this is not let run at all: longer than a machine
/// with ten times as much to do as it can delays anything.
const NOT_LET_RUN: Nanos = Nanos::from_millis(500);

const fn at_least_now(now: KTime) -> Wait {
    Wait { since: now, until: now, exactness: Exactness::AtLeast }
}

fn judge(check: &Check<'_>, end: &AtEnd, key: Key, picked: Vec<Picked<'_>>) -> Option<Finding> {
    let group = GroupKey {
        spawn_site: key.spawn_site,
        wait_site: key.wait_site,
        reason: key.reason,
        state: key.state(),
    };
    let mut finding = gather(check, FindingKind::Leak, group, picked)?;
    finding.reasons.push(format!(
        "still there when the program ended; {} were left to it to end by itself",
        end.held
    ));
    let is_still = finding.unchanged_looks >= STILL;
    let (confidence, why) = match (key.state(), check.class(group)) {
        (_, Some(WaitClass::Never)) => (
            Confidence::Certain,
            Some("blocked for ever by construction: a nil channel or a select without cases"),
        ),
        (TaskState::Waiting, Some(class)) if is_still => {
            confidence_of(class_of(class, &finding.objects))
        }
        (TaskState::Waiting, _) => (
            Confidence::Suspect,
            Some("it has run while the program was held: a loop that nothing ends, or slow work"),
        ),
        (TaskState::Syscall, _) => {
            (Confidence::Suspect, Some("it is in a system call or in foreign code"))
        }
        _ => (Confidence::Suspect, Some("it runs: a loop that nothing ends, or slow work")),
    };
    finding.confidence = confidence;
    finding.reasons.extend(why.map(Into::into));
    cap_library(&mut finding);
    finding.reasons.extend(objects_in_words(&finding));
    let marks = finding.unchanged_looks;
    how_known(&mut finding, marks);
    lower(check, &mut finding);
    Some(finding)
}

/// Threads that a library has started are its own business: its pool may be meant to last as long as
/// the program.
fn cap_library(finding: &mut Finding) {
    let library = finding.labels.iter().find(|label| &*label.key == LIBRARY_LABEL);
    if let Some(library) = library.filter(|label| label.tasks == finding.count) {
        let why = format!("only suspect: a thread of {}, not of the program itself", library.value);
        finding.confidence = Confidence::Suspect;
        finding.reasons.push(why);
    }
}

/// How sure it is that a wait of this class has no end.
const fn confidence_of(class: WaitClass) -> (Confidence, Option<&'static str>) {
    match class {
        WaitClass::Never
        | WaitClass::ChanSend
        | WaitClass::ChanReceive
        | WaitClass::Select
        | WaitClass::Lock
        | WaitClass::Group
        | WaitClass::Coroutine => (Confidence::Likely, None),
        WaitClass::Sleep => {
            (Confidence::Suspect, Some("it sleeps: its timer would have come after the end"))
        }
        WaitClass::Io => {
            (Confidence::Suspect, Some("it waits for input: the other side may have been late"))
        }
        WaitClass::Runtime | WaitClass::Other => (Confidence::Suspect, None),
    }
}

/// Places of one name have one id: the largest stands for them, surest first.
fn one_for_each_id(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|a, b| {
        (b.confidence, b.count).cmp(&(a.confidence, a.count)).then_with(|| a.id.cmp(&b.id))
    });
    let mut seen = hashbrown::HashSet::new();
    findings.retain(|f| seen.insert(f.id.clone()));
    findings
}
