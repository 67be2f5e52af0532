//! Many tasks at one place of which none runs: what somebody meets who attaches late to 23 000
//! goroutines that all wait for one lock. Needs no events, and no waiting for a threshold: a few
//! looks over two seconds tell.

use std::collections::BTreeMap;

use crate::base::{FrameId, KTime, Nanos, ProcId, ReasonId, TaskState, WaitClass};
use crate::model::{Exactness, Group, GroupKey, Task, Wait};
use crate::stream::LookSeq;

use super::ages::Numbers;
use super::evidence::{class_of, how_known, lower, siblings_ended};
use super::gather::{Picked, gather, objects_in_words};
use super::idle::waits_for_work;
use super::{Check, Confidence, Detector, Finding, FindingKind, Verdicts};

/// Looks for a crowd are taken this far apart ...
const LOOK_AFTER: Nanos = Nanos::from_secs(1);
/// ... for so many looks; a place that is full and busy is then looked at ever more rarely ...
const PATIENCE: u32 = 4;
/// ... down to once in 2^6 times as long.
const MAX_DOUBLINGS: u32 = 6;
/// Going-on is counted over at least this long, at most twice as long.
const WINDOW: Nanos = Nanos::from_secs(5);
/// A crowd of which one in this many went on is a queue that moves.
const MOVES: u64 = 100;

/// Finds crowds.
#[derive(Debug, Default)]
pub struct Crowd {
    watched: BTreeMap<(ProcId, Place), Progress>,
}

/// A group's key in a form that has an order.
type Place = (FrameId, FrameId, ReasonId);

/// How often tasks of a group went on, at two moments.
#[derive(Clone, Copy, Debug)]
struct Progress {
    older: (KTime, u64),
    newer: (KTime, u64),
    checked: KTime,
    /// Looks that did not show a crowd that stands.
    vain_looks: u32,
    last_look: Option<LookSeq>,
}

impl Progress {
    fn new(now: KTime, moved: u64) -> Self {
        let start = (now, moved);
        Self { older: start, newer: start, checked: now, vain_looks: 0, last_look: None }
    }

    fn update(&mut self, now: KTime, moved: u64) {
        if moved < self.newer.1 {
            // The group was given up and began anew.
            *self = Self::new(now, moved);
        }
        if now.since(self.newer.0) >= WINDOW {
            self.older = self.newer;
            self.newer = (now, moved);
        }
        self.checked = now;
    }

    /// How many went on, and in which time.
    fn moved(&self, now: KTime, moved: u64) -> (u64, Nanos) {
        (moved.saturating_sub(self.older.1), now.since(self.older.0))
    }

    /// How long to wait for the next look at a place that no look has settled.
    fn pause(&mut self, last_look: Option<LookSeq>) -> Nanos {
        if self.last_look != last_look {
            self.last_look = last_look;
            self.vain_looks = self.vain_looks.saturating_add(1);
        }
        let doublings = self.vain_looks.saturating_sub(PATIENCE).min(MAX_DOUBLINGS);
        Nanos(LOOK_AFTER.0 << doublings)
    }
}

impl Detector for Crowd {
    fn check(&mut self, check: &mut Check<'_>) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let process = check.process;
        for group in process.groups() {
            let key = group.key();
            let crowded = group.len() >= check.settings.crowd_at_least;
            let placed = key.state == TaskState::Waiting && key.wait_site != FrameId::UNKNOWN;
            if let (true, true, Some(class)) =
                (crowded, placed, check.class(key).filter(|&c| counts(c)))
            {
                let progress = self.progress(process.id(), group, check.now);
                check_group(check, group, class, progress, &mut verdicts);
            }
        }
        self.watched.retain(|(whose, _), p| *whose != process.id() || p.checked == check.now);
        verdicts
    }
}

impl Crowd {
    fn progress(&mut self, process: ProcId, group: &Group, now: KTime) -> &mut Progress {
        let GroupKey { spawn_site, wait_site, reason, .. } = group.key();
        let progress = self
            .watched
            .entry((process, (spawn_site, wait_site, reason)))
            .or_insert_with(|| Progress::new(now, group.moved()));
        progress.update(now, group.moved());
        progress
    }
}

/// Whether many tasks in a wait of this class are worth a word. What can never go on is
/// [`super::Stuck`]'s from the first of them.
const fn counts(class: WaitClass) -> bool {
    match class {
        WaitClass::Lock
        | WaitClass::ChanSend
        | WaitClass::ChanReceive
        | WaitClass::Select
        | WaitClass::Group
        | WaitClass::Coroutine => true,
        WaitClass::Never
        | WaitClass::Io
        | WaitClass::Sleep
        | WaitClass::Runtime
        | WaitClass::Other => false,
    }
}

fn check_group(
    check: &mut Check<'_>,
    group: &Group,
    class: WaitClass,
    progress: &mut Progress,
    verdicts: &mut Verdicts,
) {
    let process = check.process;
    let mut still: Vec<Picked<'_>> = Vec::new();
    let mut undecided = 0;
    for task in process.members(group) {
        if process.is_doubtful(task)
            || check
                .idle
                .find(check.model.names(), &check.settings.idle, task, Some(class))
                .is_some()
        {
            continue;
        }
        let Some(wait) = process.wait(task, check.now) else { continue };
        if stands_still(check, task, wait) {
            still.push((task, wait));
        } else {
            undecided += 1;
        }
    }
    let least = check.settings.crowd_at_least;
    if still.len() < least && still.len() + undecided >= least {
        let pause = progress.pause(process.last_look().map(|l| l.look));
        verdicts.look(check.next_look(pause));
    }
    if still.len() < least {
        return;
    }
    progress.vain_looks = 0;
    let progress = progress.moved(check.now, group.moved());
    let marks = still.iter().map(|(task, _)| task.marks()).min().unwrap_or(0);
    let came = Came {
        numbers: Numbers::of(still.iter().map(|&(task, _)| task)),
        constant: group.moved() == 0 && still.len() == group.len(),
    };
    if let Some(finding) = gather(check, FindingKind::Crowd, group.key(), still) {
        verdicts.findings.push(judge(check, finding, class, progress, marks, &came));
    }
}

/// Whether a task did not run for long enough to be one of a crowd that stands. A wait beyond the
/// threshold of [`super::Stuck`] is enough by itself: where looks are rare, many such are a crowd.
fn stands_still(check: &Check<'_>, task: &Task, wait: Wait) -> bool {
    let settings = check.settings;
    let by_looks =
        task.still_looks() >= settings.crowd_looks && task.still_for() >= settings.crowd_span;
    let by_events = check.process.tells_every_run()
        && wait.exactness == Exactness::Exact
        && wait.length() >= settings.crowd_span;
    by_looks || by_events || wait.length() >= settings.stuck_after
}

/// How the tasks of a crowd came to be there.
struct Came {
    /// Of those older than the tracer, if all are.
    numbers: Option<Numbers>,
    /// Whether none came or went since the first look.
    constant: bool,
}

fn judge(
    check: &Check<'_>,
    mut finding: Finding,
    class: WaitClass,
    (moved, over): (u64, Nanos),
    marks: u32,
    came: &Came,
) -> Finding {
    let count = finding.count;
    let youngest = finding.youngest_wait.known().unwrap_or_default();
    let siblings = siblings_ended(check, &finding, youngest.max(check.settings.crowd_span));
    let pool = came
        .numbers
        .filter(|_| came.constant && waits_for_work(class_of(class, &finding.objects)))
        .and_then(|numbers| numbers.like_a_pool());
    let moves = moved.saturating_mul(MOVES) >= count && moved > 0;
    let (confidence, why) = match class_of(class, &finding.objects) {
        _ if moves => (
            Confidence::Suspect,
            format!("{count} tasks wait at one place, but it moves: {moved} went on in {over}"),
        ),
        WaitClass::Lock => (
            Confidence::Likely,
            format!("{count} tasks wait for a lock at one place and none gets it"),
        ),
        WaitClass::ChanSend => (
            Confidence::Likely,
            format!("{count} tasks wait to send at one place and nobody receives"),
        ),
        _ if siblings.is_some() && pool.is_none() => {
            (Confidence::Likely, format!("{count} tasks wait at one place and none goes on"))
        }
        WaitClass::ChanReceive if finding.object_count == 1 => (
            Confidence::Suspect,
            format!(
                "{count} tasks wait to receive from one channel; a pool of workers with nothing to do looks the same"
            ),
        ),
        _ => (
            Confidence::Suspect,
            format!(
                "{count} tasks wait at one place and none goes on; a pool of workers with nothing to do looks the same"
            ),
        ),
    };
    finding.confidence = confidence;
    finding.reasons.push(why);
    if moved > 0 && !moves {
        finding.reasons.push(format!("{moved} of the same place went on in {over}"));
    }
    finding.reasons.extend(objects_in_words(&finding));
    finding.reasons.extend(siblings);
    finding.reasons.extend(pool);
    finding.reasons.extend(came.numbers.and_then(|numbers| numbers.ages(check)));
    how_known(&mut finding, marks);
    lower(check, &mut finding);
    finding
}
