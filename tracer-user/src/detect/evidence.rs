//! What makes a finding more or less sure, in plain words.

use crate::base::{FrameId, KTime, Nanos, WaitClass};
use crate::model::{GroupKey, Process, Task, Used};
use crate::stream::{LockKind, WaitsOn};

use super::ages;
use super::{Check, Confidence, Finding, FindingKind};

/// A wait this many times as long as nine of ten siblings lived is out of line.
const OUT_OF_LINE: u64 = 10;
/// Slow but right if more than one in this many came back after half of such a wait.
const FEW_CAME_BACK: u64 = 20;
/// From 90 s this leads beyond a year.
const MAX_DOUBLINGS: u32 = 20;
/// Whether the process runs at all is seen over this long.
const HARDLY_OVER: Nanos = Nanos::from_secs(10);
/// One lost record in this many births makes lifetimes worthless as evidence.
const TOO_MUCH_LOST: u64 = 100;

/// The class a group counts as: a plain semaphore that is known to belong to a mutex is a lock.
pub(super) fn class_of(class: WaitClass, objects: &[(WaitsOn, u64)]) -> WaitClass {
    match (class, objects.first()) {
        (
            WaitClass::Group,
            Some((
                WaitsOn::Lock {
                    kind: LockKind::Mutex | LockKind::RwRead | LockKind::RwWrite, ..
                },
                _,
            )),
        ) => WaitClass::Lock,
        _ => class,
    }
}

/// Whether a task waits by nature. What only its class says (input comes when the other side
/// sends) does not count here: populations that never end are told from those that do.
pub(super) fn waits_by_nature(check: &mut Check<'_>, task: &Task, class: WaitClass) -> bool {
    let table = &check.settings.idle;
    let found = check.idle.find(check.model.names(), table, task, Some(class));
    found.and_then(|i| table.get(i)).is_some_and(|p| !p.functions.is_empty())
}

/// A length that the siblings of the tasks at a place do not explain: nine of ten lived a tenth of
/// it, and of those that reached half of it next to none came to an end. None if none of these
/// waits is as long. At least `from`.
pub(super) fn out_of_line(
    process: &Process,
    key: GroupKey,
    from: Nanos,
    waits: impl Iterator<Item = Nanos> + Clone,
) -> Option<Nanos> {
    let site = process.spawn_site(key.spawn_site)?;
    let typical = site.lifetimes.at_most(90).unwrap_or_default();
    let mut bar = from.max(Nanos(typical.0.saturating_mul(OUT_OF_LINE)));
    for _ in 0..MAX_DOUBLINGS {
        let beyond = waits.clone().filter(|&w| w >= bar).count() as u64;
        if beyond == 0 {
            return None;
        }
        let half = Nanos(bar.0 / 2);
        let waited = process.ended_waits(key).map_or(0, |w| w.at_least(half));
        let came_back = site.lifetimes.at_least(half).max(waited);
        if came_back.saturating_mul(FEW_CAME_BACK) <= beyond {
            return Some(bar);
        }
        bar = Nanos(bar.0.saturating_mul(2));
    }
    None
}

/// Whether so much was lost that lifetimes are worthless as evidence.
pub(super) fn too_much_lost(process: &Process) -> bool {
    process.lost_in_all().saturating_mul(TOO_MUCH_LOST) > process.counts().births
}

/// Whether enough siblings were seen from birth to death.
pub(super) fn knows_siblings(check: &Check<'_>, key: GroupKey) -> bool {
    // Those of whom nobody knows where they were created are no siblings.
    let known = Some(key.spawn_site).filter(|&site| site != FrameId::UNKNOWN);
    let site = known.and_then(|site| check.process.spawn_site(site));
    site.is_some_and(|s| s.lifetimes.count() >= check.settings.leak_siblings)
}

/// Whether tasks of the same origin come and go while these stay, so that these are not workers
/// that were started here on purpose.
pub(super) fn siblings_ended(
    check: &Check<'_>,
    finding: &Finding,
    youngest: Nanos,
) -> Option<String> {
    let (process, key) = (check.process, finding.key);
    let site = process.spawn_site(key.spawn_site)?;
    let tasks = || finding.tasks.iter().filter_map(|&id| process.task(id));
    let sound = knows_siblings(check, key)
        && !too_much_lost(process)
        && finding.count > check.settings.lone_at_most as u64
        && out_of_line(process, key, check.settings.leak_after, std::iter::once(youngest))
            .is_some()
        && ages::started(tasks()) == ages::Started::OverTime;
    let (ended, typical) = (site.lifetimes.count(), site.lifetimes.at_most(90)?);
    sound.then(|| {
        format!("{ended} others from the same spawn site have ended, nine of ten within {typical}; these have not")
    })
}

/// How the waits are known, in words.
pub(super) fn how_known(finding: &mut Finding, marks: u32) {
    let looks = finding.unchanged_looks;
    if looks >= 2 {
        let chance = match 256u64.checked_pow(marks.saturating_sub(1)) {
            Some(n) if marks <= 6 => format!("one in {n}"),
            _ => "less than one in a million million".into(),
        };
        finding.reasons.push(format!(
            "{looks} looks in a row found each of them as it was; the chance that a busy task looks so is {chance}"
        ));
    }
}

/// What the process had of the processors lately, if that was too little for anything to be said
/// of tasks that did not go on: what they wait for may just not have been let.
fn hardly_ran(check: &Check<'_>, kind: FindingKind) -> Option<Used> {
    let by_time = match kind {
        FindingKind::Crowd
        | FindingKind::Stuck
        | FindingKind::Leak
        | FindingKind::Growth
        | FindingKind::LockHeld
        | FindingKind::PoolBlocked
        | FindingKind::LostWakeup => true,
        FindingKind::BlockedForEver
        | FindingKind::Starved
        | FindingKind::Hog
        | FindingKind::Deadlock => false,
    };
    let since = KTime(check.now.0.saturating_sub(HARDLY_OVER.0));
    let used = check.process.history().used_since(since)?;
    (by_time && used.hardly_ran()).then_some(used)
}

/// Lowers the confidence for what is less than complete, and says so.
pub(super) fn lower(check: &Check<'_>, finding: &mut Finding) {
    let seen_still = finding.unchanged_looks >= 3;
    let by_construction = check.class(finding.key) == Some(WaitClass::Never);
    let degraded = &check.process.def().degraded;
    if let Some(why) = degraded.first() {
        let more = match degraded.len() - 1 {
            0 => String::new(),
            n => format!(" (and {n} more)"),
        };
        if seen_still || by_construction {
            finding.confidence = finding.confidence.min(Confidence::Likely);
            finding
                .reasons
                .push(format!("what is known of this process is less than complete: {why}{more}"));
        } else {
            finding.confidence = finding.confidence.lowered();
            finding.reasons.push(format!(
                "less sure, because what is known of this process is less than complete: {why}{more}"
            ));
        }
    }
    if let Some(used) = hardly_ran(check, finding.kind) {
        finding.confidence = finding.confidence.min(Confidence::Suspect);
        finding.reasons.push(format!(
            "no more than suspect, because the process itself was kept from running: it had {} of processor time in {}, and was ready and not let for {}",
            used.cpu,
            used.over,
            Nanos(used.queued.0.saturating_add(used.throttled.0))
        ));
    }
    if check.process.is_in_doubt() {
        finding.confidence = finding.confidence.lowered();
        finding
            .reasons
            .push("less sure, because events were lost and no look has settled it yet".into());
    } else if check.process.lost_in_all() > 0 {
        finding.reasons.push(format!(
            "{} records were lost; only what a look confirmed afterwards is told",
            check.process.lost_in_all()
        ));
    }
}
