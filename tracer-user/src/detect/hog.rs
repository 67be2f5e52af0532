//! Tasks that run without a stop: a loop that never blocks.
//!
//! A long computation looks just so, and is fine; only when others starve meanwhile is it more
//! than suspect. A runtime puts a task that runs for long off the processor every now and then and
//! lets it go on: that is no stop, only what the task does by itself is.

use std::collections::BTreeMap;

use crate::base::{FrameId, Nanos, ReasonId, StackId, TaskId, TaskKind, TaskState};
use crate::model::{Exactness, GroupKey, Process, Task, Wait};

use super::evidence::lower;
use super::gather::{Picked, gather};
use super::starved::is_starved;
use super::{Check, Confidence, Detector, Finding, FindingKind, Verdicts};

/// Looks that must have found it at work where events tell that it did not stop in between.
const LOOKS_WITH_EVENTS: u32 = 3;
/// A task that so many looks found at work is looked at more often ...
const CANDIDATE: u32 = 3;
/// ... this often.
const LOOK_EVERY: Nanos = Nanos::from_secs(3);
/// Who runs uses a processor: at least one part in this many of it, on a machine that is busy.
const LEAST_SHARE: u64 = 20;

/// Finds tasks that run without a stop.
#[derive(Debug, Default)]
pub struct Hog {
    /// Where a look last caught one off the processor: of a task that runs no stack can be read.
    stacks: BTreeMap<(crate::base::ProcId, TaskId), StackId>,
}

impl Detector for Hog {
    fn check(&mut self, check: &mut Check<'_>) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let process = check.process;
        let mut picked: BTreeMap<FrameId, Vec<Picked<'_>>> = BTreeMap::new();
        let mut seen: BTreeMap<TaskId, StackId> = BTreeMap::new();
        for (task, run) in candidates(process) {
            let before = self.stacks.get(&(process.id(), task.id())).copied();
            let stack = Some(task.stack()).filter(|&s| s != StackId::EMPTY).or(before);
            seen.extend(stack.map(|stack| (task.id(), stack)));
            if is_hog(check, task, run) {
                picked.entry(task.spawn_site()).or_default().push((task, run));
            } else {
                verdicts.look(check.next_look(LOOK_EVERY));
            }
        }
        self.keep(check, seen);
        let starved = if picked.is_empty() {
            0
        } else {
            process.tasks().iter().filter(|t| is_starved(check, t)).count()
        };
        for (spawn_site, tasks) in picked {
            if let Some(finding) = self.finding(check, spawn_site, tasks, starved) {
                verdicts.findings.push(finding);
            }
        }
        verdicts
    }
}

/// The tasks that some looks in a row found at work.
fn candidates(process: &Process) -> impl Iterator<Item = (&Task, Wait)> {
    let at_work = [TaskState::Running, TaskState::Runnable, TaskState::Preempted];
    let any = at_work.iter().any(|&state| process.in_state(state) > 0);
    let tasks = if any { process.tasks() } else { &[] };
    tasks
        .iter()
        // That a thread computes is what threads are for; how long is for nobody to say.
        .filter(|t| t.id().kind != TaskKind::Thread)
        .filter(|t| !t.is_system() && t.busy_looks() >= CANDIDATE)
        .filter_map(|t| Some((t, process.busy(t)?)))
}

fn is_hog(check: &Check<'_>, task: &Task, run: Wait) -> bool {
    let settings = check.settings;
    let looks = match run.exactness {
        Exactness::Exact => LOOKS_WITH_EVENTS,
        Exactness::AtLeast => settings.hog_looks,
    };
    let history = check.process.history();
    // Who runs and uses no processor stands still with the whole process, or waits for a page.
    let works = history
        .used_since(run.since)
        .is_none_or(|used| used.cpu.0.saturating_mul(LEAST_SHARE) >= used.over.0);
    task.busy_looks() >= looks
        && run.length() >= settings.hog_after
        && works
        // Waiting for its turn is no work: that is the other detector's.
        && !is_starved(check, task)
}

impl Hog {
    fn keep(&mut self, check: &Check<'_>, seen: BTreeMap<TaskId, StackId>) {
        let (model, id) = (check.model, check.process.id());
        let lives = |id| model.process(id).is_some_and(|p| p.ended().is_none());
        self.stacks.retain(|&(whose, _), _| whose != id && lives(whose));
        self.stacks.extend(seen.into_iter().map(|(task, stack)| ((id, task), stack)));
    }

    fn finding(
        &self,
        check: &Check<'_>,
        spawn_site: FrameId,
        tasks: Vec<Picked<'_>>,
        starved: usize,
    ) -> Option<Finding> {
        // Where in its loop it is differs from look to look, and must not change what it is called.
        let key = GroupKey {
            spawn_site,
            wait_site: FrameId::UNKNOWN,
            reason: ReasonId::UNKNOWN,
            state: TaskState::Running,
        };
        let looks = tasks.iter().map(|(task, _)| task.busy_looks()).min().unwrap_or(0);
        let exact = tasks.iter().all(|(_, run)| run.exactness == Exactness::Exact);
        let stack = tasks.iter().find_map(|(t, _)| self.stacks.get(&(check.process.id(), t.id())));
        let since = tasks.iter().map(|(_, run)| run.since).min()?;
        let mut finding = gather(check, FindingKind::Hog, key, tasks)?;
        finding.stack = stack.copied().unwrap_or(StackId::EMPTY);
        finding.unchanged_looks = 0;
        let longest = finding.oldest_wait.known().unwrap_or_default();
        let (confidence, why) = if starved > 0 {
            (
                Confidence::Likely,
                format!(
                    "runs for {longest} without a stop while {starved} others may run and are not let"
                ),
            )
        } else {
            (
                Confidence::Suspect,
                format!("runs for {longest} without a stop; a long computation looks the same"),
            )
        };
        finding.confidence = confidence;
        finding.reasons.push(why);
        finding.reasons.push(if exact {
            format!("no event told of a stop, and {looks} looks in a row found it at work")
        } else {
            format!(
                "{looks} looks in a row found it at work, and none that it had stopped in between"
            )
        });
        if let Some(used) = check.process.history().used_since(since) {
            finding
                .reasons
                .push(format!("the process used {} of processor time in {}", used.cpu, used.over));
        }
        lower(check, &mut finding);
        Some(finding)
    }
}
