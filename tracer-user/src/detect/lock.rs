//! Waits for locks and groups beyond the threshold, with the object and all who wait for it.
//!
//! Nobody starts a wait for a mutex on purpose, so its length speaks. A condition variable or a
//! semaphore is also where a worker waits that has nothing to do. A wait group is waited for as
//! long as the work lasts: what counts is whether somebody is left who could end it.

use std::collections::BTreeMap;

use crate::base::{FrameId, Nanos, TaskId, TaskState, WaitClass};
use crate::model::Group;
use crate::stream::{FutexKind, Holder, LockKind, WaitsOn};

use super::evidence::{class_of, how_known, lower, siblings_ended};
use super::family::{self, Hope};
use super::gather::{gather, objects_in_words};
use super::idle::{is_lone, waits_for_work};
use super::waits::{Pick, Told, is_early, lengths, pick};
use super::{Check, Confidence, Detector, Finding, FindingKind, Verdicts};

/// Sites named for one object.
const SITES_NAMED: usize = 3;

/// Finds waits for locks and groups.
#[derive(Debug, Default)]
pub struct Locks {
    told: Told,
}

impl Detector for Locks {
    fn check(&mut self, check: &mut Check<'_>) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let process = check.process;
        for group in process.groups().filter(|g| g.key().state == TaskState::Waiting) {
            let class = check.class(group.key());
            if let Some(class @ (WaitClass::Lock | WaitClass::Group)) = class {
                let is_told = self.told.is_told(check, group.key());
                check_group(check, group, class, is_told, &mut verdicts);
            }
        }
        self.told.keep(check, &verdicts);
        verdicts
    }
}

fn check_group<'a>(
    check: &mut Check<'a>,
    group: &'a Group,
    class: WaitClass,
    is_told: bool,
    verdicts: &mut Verdicts,
) {
    let after = check.settings.stuck_after;
    let Pick { mut tasks, unmatched } = pick(check, group, (class, after), verdicts);
    if tasks.is_empty() {
        return;
    }
    let mut hopes = family::hopes(check, &tasks);
    family::children_stand(check, &mut hopes, after);
    tasks.retain(|(task, _)| hopes.get(&task.id()) != Some(&Hope::Own));
    // A place is as hopeful as the most hopeful of its waiters.
    let hope = tasks.iter().filter_map(|(task, _)| hopes.get(&task.id()).copied()).min();
    let lengths = lengths(&tasks);
    if tasks.is_empty() || is_early(check, group, unmatched, is_told, verdicts) {
        return;
    }
    let Some(finding) = gather(check, FindingKind::Stuck, group.key(), tasks) else { return };
    let class = class_of(class, &finding.objects);
    let finding = judge(check, finding, class, lengths, hope);
    let is_background = waits_for_work(class)
        && finding.confidence == Confidence::Suspect
        && !matches!(hope, Some(Hope::TooFew | Hope::OwnStand))
        && is_lone(check.process, group, unmatched, check.settings);
    if !is_background {
        verdicts.findings.push(finding);
    }
}

fn judge(
    check: &Check<'_>,
    mut finding: Finding,
    class: WaitClass,
    (oldest, youngest): (Nanos, Nanos),
    hope: Option<Hope>,
) -> Finding {
    let siblings = siblings_ended(check, &finding, youngest);
    let (confidence, why) = match (class, hope) {
        (WaitClass::Lock, _) => of_lock(&finding, oldest),
        (_, Some(Hope::NoneLeft)) => (
            Confidence::Likely,
            format!(
                "has waited up to {oldest} for a wait group, and of the tasks started for it none is left to end that"
            ),
        ),
        (_, Some(Hope::TooFew)) => (
            Confidence::Suspect,
            format!(
                "has waited up to {oldest} for a wait group that lacks more calls of Done than tasks of its family are left"
            ),
        ),
        (_, Some(Hope::OwnStand)) => (
            Confidence::Suspect,
            format!(
                "has waited up to {oldest} for a wait group, and the tasks it started for that are stuck themselves"
            ),
        ),
        (_, Some(Hope::Others | Hope::Own)) => (
            Confidence::Suspect,
            format!(
                "waits of up to {oldest} for a wait group; its parent or tasks of the same parent are alive that may still end that"
            ),
        ),
        _ if siblings.is_some() => (Confidence::Likely, format!("waits of up to {oldest}")),
        _ => (
            Confidence::Suspect,
            format!("waits of up to {oldest}; workers that have nothing to do look the same"),
        ),
    };
    finding.confidence = confidence;
    finding.reasons.push(why);
    finding.reasons.extend(objects_in_words(&finding));
    if let (WaitClass::Lock, Some(holder)) = (class, holder_in_words(check, &finding)) {
        finding.kind = FindingKind::LockHeld;
        finding.reasons.push(holder);
    }
    finding.reasons.extend(elsewhere(check, &finding));
    finding.reasons.extend(siblings);
    let marks = finding.unchanged_looks;
    how_known(&mut finding, marks);
    lower(check, &mut finding);
    finding
}

/// What a wait for a lock is worth: less if the lock's own words say that nobody holds it.
fn of_lock(finding: &Finding, oldest: Nanos) -> (Confidence, String) {
    let free = |on: &WaitsOn| match on {
        WaitsOn::Lock { held, .. } => *held == Some(0),
        WaitsOn::Futex(futex) => futex.kind == FutexKind::Mutex && futex.word == Some(0),
        _ => false,
    };
    if !finding.objects.is_empty() && finding.objects.iter().all(|(on, _)| free(on)) {
        return (
            Confidence::Suspect,
            format!(
                "has waited up to {oldest} for a lock that nobody held when it was looked at: it goes from hand to hand, or its memory was copied or overwritten"
            ),
        );
    }
    (
        Confidence::Likely,
        format!("nobody plans to wait {oldest} for a lock: its holder does not let go"),
    )
}

/// Who holds what is waited for, and what it does itself; None if nobody can be named.
pub(super) fn holder_in_words(check: &Check<'_>, finding: &Finding) -> Option<String> {
    let (WaitsOn::Futex(futex), _) = finding.objects.first()? else { return None };
    let tid = futex.holder.thread().filter(|_| futex.kind != FutexKind::Join)?;
    let known = match futex.holder {
        Holder::Written(_) => "holds it",
        _ => "holds it, to judge by its stack",
    };
    let Some(holder) = check.process.task(TaskId::thread(tid.0)) else {
        return Some(format!("thread {tid} {known}"));
    };
    let names = check.model.names();
    let site = names.function(holder.wait_site());
    let doing = match (holder.state(), names.reason(holder.reason())) {
        (TaskState::Waiting, Some(reason)) => format!("itself waits in {} at {site}", reason.word),
        (state, _) => format!("itself is {}", state.word()),
    };
    Some(format!("thread {tid} {known}, and {doing}"))
}

/// Who waits for the same object at other places, in words; None if nobody does.
fn elsewhere(check: &Check<'_>, finding: &Finding) -> Option<String> {
    let (WaitsOn::Lock { kind, address, .. }, _) = finding.objects.first()? else { return None };
    let mut sites: BTreeMap<FrameId, u64> = BTreeMap::new();
    let process = check.process;
    let groups = process.groups().filter(|g| {
        g.key().state == TaskState::Waiting
            && matches!(check.class(g.key()), Some(WaitClass::Lock | WaitClass::Group))
    });
    for group in groups {
        let waiters = process.members(group).filter(|t| is_at(t.waits_on(), *address)).count();
        if waiters > 0 {
            let count = sites.entry(group.key().wait_site).or_default();
            *count = count.saturating_add(waiters as u64);
        }
    }
    if sites.len() < 2 {
        return None;
    }
    let mut all: Vec<(u64, &str)> =
        sites.iter().map(|(&site, &n)| (n, check.model.names().function(site))).collect();
    all.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    let waiters: u64 = all.iter().map(|(n, _)| n).sum();
    let mut named: Vec<String> =
        all.iter().take(SITES_NAMED).map(|(n, name)| format!("{n} in {name}")).collect();
    if all.len() > SITES_NAMED {
        named.push(format!("{} more", all.len() - SITES_NAMED));
    }
    Some(format!(
        "{} {address:#x} has {waiters} waiters at {} sites: {}",
        noun(*kind),
        all.len(),
        named.join(", ")
    ))
}

fn is_at(on: WaitsOn, wanted: u64) -> bool {
    matches!(on, WaitsOn::Lock { address, .. } if address == wanted)
}

/// The name of a sort of lock; to read and to write is one lock.
const fn noun(kind: LockKind) -> &'static str {
    match kind {
        LockKind::Mutex => "mutex",
        LockKind::RwRead | LockKind::RwWrite => "read-write lock",
        LockKind::WaitGroup => "wait group",
        LockKind::Cond => "condition variable",
        LockKind::Semaphore => "semaphore",
    }
}
