//! Tasks that may run and are not let: more work than processors, a CPU quota, or a loop that the
//! runtime cannot put off.

use std::collections::BTreeMap;

use crate::base::{FrameId, Nanos, ReasonId, TaskState};
use crate::model::{Exactness, GroupKey, Process, Task, Used};

use super::evidence::{how_known, lower};
use super::gather::{Picked, gather};
use super::{Check, Confidence, Detector, Finding, FindingKind, Verdicts};

/// Looks that must have found it ready and not moved: one alone may have met it between two turns.
const LOOKS: u32 = 2;
/// Looks that must have where no event tells when it became ready.
const LOOKS_ALONE: u32 = 3;
/// A task ready in one look is looked at again after this.
const LOOK_AFTER: Nanos = Nanos::from_secs(1);
/// While something starves, something else runs: the process uses at least one part in this many
/// of one processor. Less, and the process as a whole is kept from running by what loiter cannot see.
const LEAST_SHARE: u64 = 100;
/// A quota that took one part in this many of the time is worth a word.
const THROTTLED: u64 = 20;
/// A task that so many looks found at work does not let the processor go.
const BUSY_LOOKS: u32 = 3;

/// Finds tasks that starve.
#[derive(Debug, Default)]
pub struct Starved;

impl Detector for Starved {
    fn check(&mut self, check: &mut Check<'_>) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let process = check.process;
        if process.in_state(TaskState::Runnable) == 0 {
            return verdicts;
        }
        let mut picked: BTreeMap<(FrameId, FrameId), Vec<Picked<'_>>> = BTreeMap::new();
        let mut waits = false;
        for task in process.tasks().iter().filter(|t| t.state() == TaskState::Runnable) {
            let Some(wait) = process.queued(task, check.now) else { continue };
            waits |= task.still_looks() >= LOOKS;
            if is_starved(check, task) {
                picked.entry((task.spawn_site(), task.wait_site())).or_default().push((task, wait));
            }
        }
        if waits {
            verdicts.look(check.next_look(LOOK_AFTER));
        }
        for ((spawn_site, wait_site), tasks) in picked {
            let state = TaskState::Runnable;
            let key = GroupKey { spawn_site, wait_site, reason: ReasonId::UNKNOWN, state };
            verdicts.findings.extend(finding(check, key, tasks));
        }
        verdicts
    }
}

/// Whether a task may run and has not been let for too long.
pub(super) fn is_starved(check: &Check<'_>, task: &Task) -> bool {
    let process = check.process;
    if task.is_system() || process.is_doubtful(task) {
        return false;
    }
    let Some(wait) = process.queued(task, check.now) else { return false };
    let looks = match wait.exactness {
        Exactness::Exact => LOOKS,
        Exactness::AtLeast => LOOKS_ALONE,
    };
    let enough = task.still_looks() >= looks && wait.length() >= check.settings.starved_after;
    enough
        && process
            .history()
            .used_since(wait.since)
            .is_none_or(|used| used.cpu.0.saturating_mul(LEAST_SHARE) >= used.over.0)
}

fn finding(check: &Check<'_>, key: GroupKey, tasks: Vec<Picked<'_>>) -> Option<Finding> {
    let process = check.process;
    let marks = tasks.iter().map(|(task, _)| task.marks()).min().unwrap_or(0);
    let since = tasks.iter().map(|(_, wait)| wait.since).min()?;
    let mut finding = gather(check, FindingKind::Starved, key, tasks)?;
    let longest = finding.oldest_wait.known().unwrap_or_default();
    let hogs = hogs(process);
    let used = process.history().used_since(since);
    let (confidence, why) = if hogs > 0 {
        (
            Confidence::Likely,
            format!(
                "has been ready for {longest} and is not let; meanwhile others run without a stop: {hogs}"
            ),
        )
    } else {
        (
            Confidence::Suspect,
            format!(
                "has been ready for {longest} and is not let: {} tasks are ready and {} run; there is more work than processors",
                process.in_state(TaskState::Runnable),
                process.in_state(TaskState::Running)
            ),
        )
    };
    finding.confidence = confidence;
    finding.reasons.push(why);
    finding.reasons.extend(used.map(used_in_words));
    how_known(&mut finding, marks);
    lower(check, &mut finding);
    Some(finding)
}

/// Tasks that do not let the processor go.
fn hogs(process: &Process) -> usize {
    let runs = |t: &&Task| t.state() == TaskState::Running && t.busy_looks() >= BUSY_LOOKS;
    process.tasks().iter().filter(|t| !t.is_system()).filter(runs).count()
}

fn used_in_words(used: Used) -> String {
    let throttled = if used.throttled.0.saturating_mul(THROTTLED) >= used.over.0 {
        format!("; for {} of it the CPU quota of its cgroup kept it from running", used.throttled)
    } else {
        String::new()
    };
    format!("the process used {} of processor time in {}{throttled}", used.cpu, used.over)
}
