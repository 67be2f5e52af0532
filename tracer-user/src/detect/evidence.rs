//! What makes a finding more or less sure, in plain words.

use crate::base::{Nanos, WaitClass};
use crate::model::{GroupKey, Process};
use crate::stream::{LockKind, WaitsOn};

use super::{Check, Confidence, Finding};

/// So many siblings must have ended before their lifetimes say anything.
const SIBLINGS: u64 = 20;
/// A wait this many times as long as nine of ten siblings lived is out of line.
const OUT_OF_LINE: u64 = 10;
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

/// Whether tasks of the same origin come and go while these stay.
pub(super) fn siblings_ended(process: &Process, key: GroupKey, youngest: Nanos) -> Option<String> {
    let site = process.spawn_site(key.spawn_site)?;
    let ended = site.lifetimes.count();
    let typical = site.lifetimes.at_most(90)?;
    let lost = process.lost_in_all().saturating_mul(TOO_MUCH_LOST) > process.counts().births;
    let out_of_line = youngest.0 >= typical.0.saturating_mul(OUT_OF_LINE);
    (ended >= SIBLINGS && out_of_line && !lost).then(|| {
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
