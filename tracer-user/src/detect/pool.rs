//! Pools whose workers all wait for one lock: nothing is worked on any more, however many threads
//! there are.

use std::collections::BTreeMap;

use crate::base::{FrameId, Nanos, TaskKind, TaskState};
use crate::model::{GroupKey, Task};
use crate::stream::{FutexKind, FutexState, WaitsOn};

use super::evidence::{how_known, lower};
use super::gather::{Picked, gather, objects_in_words};
use super::{Check, Confidence, Detector, Finding, FindingKind, Verdicts};

/// So many threads that run one function are a pool.
const WORKERS: usize = 4;
/// ... and wait for a lock for longer than work under a lock lasts.
const AFTER: Nanos = Nanos::from_secs(5);
/// Looks that must have found each of them as it is.
const LOOKS: u32 = 2;

/// Finds pools whose workers all wait for one lock.
#[derive(Debug, Default)]
pub struct Pool;

impl Detector for Pool {
    fn check(&mut self, check: &mut Check<'_>) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let process = check.process;
        let mut pools: BTreeMap<FrameId, Vec<&Task>> = BTreeMap::new();
        for task in process.tasks() {
            let known = task.start() != FrameId::UNKNOWN && !task.is_system();
            if task.id().kind == TaskKind::Thread && known {
                pools.entry(task.start()).or_default().push(task);
            }
        }
        for workers in pools.into_values().filter(|workers| workers.len() >= WORKERS) {
            verdicts.findings.extend(blocked(check, &workers, &mut verdicts.recheck_at));
        }
        verdicts
    }
}

/// The lock a task waits for.
fn lock(task: &Task) -> Option<Box<FutexState>> {
    let is_lock = |kind| {
        matches!(kind, FutexKind::Mutex | FutexKind::RwRead | FutexKind::RwWrite | FutexKind::Once)
    };
    match task.waits_on() {
        WaitsOn::Futex(futex) if task.state() == TaskState::Waiting && is_lock(futex.kind) => {
            Some(futex)
        }
        _ => None,
    }
}

fn blocked(
    check: &Check<'_>,
    workers: &[&Task],
    recheck_at: &mut Option<crate::base::KTime>,
) -> Option<Finding> {
    let process = check.process;
    let first = workers.first()?;
    let waited_for = workers.iter().find_map(|task| lock(task))?;
    let object = waited_for.object;
    // Who holds the lock may be one of them, and does something else.
    let holder = waited_for.holder.thread().map(|tid| u64::from(tid.0));
    let mut picked: Vec<Picked<'_>> = Vec::new();
    for task in workers {
        if Some(task.id().number) == holder {
            continue;
        }
        if check.spoken_for.contains(&task.id()) || lock(task)?.object != object {
            return None;
        }
        let wait = process.wait(task, check.now)?;
        if wait.length() < AFTER || task.still_looks() < LOOKS {
            let due = wait.since.after(AFTER).max(check.now);
            *recheck_at = Some(recheck_at.map_or(due, |at| at.min(due)));
            return None;
        }
        picked.push((task, wait));
    }
    let (task, _) = picked.first()?;
    let key = GroupKey {
        spawn_site: task.spawn_site(),
        wait_site: task.wait_site(),
        reason: task.reason(),
        state: task.state(),
    };
    let start = check.model.names().function(first.start()).to_owned();
    let all = workers.len();
    let mut finding = gather(check, FindingKind::PoolBlocked, key, picked)?;
    finding.confidence = Confidence::Likely;
    let count = finding.count;
    finding.reasons.push(format!(
        "{count} of the {all} threads that run {start} wait for one lock: the pool does no work"
    ));
    finding.reasons.extend(objects_in_words(&finding));
    finding.reasons.extend(super::lock::holder_in_words(check, &finding));
    let marks = finding.unchanged_looks;
    how_known(&mut finding, marks);
    lower(check, &mut finding);
    Some(finding)
}
