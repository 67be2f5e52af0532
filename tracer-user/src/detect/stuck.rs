//! Waits beyond the threshold, grouped by spawn site and wait site.
//!
//! Age alone does not make a wait wrong: a worker waits for work as long as there is none. So
//! waits that nobody starts on purpose (a lock, a send) count by their age; waits that are also
//! the shape of an idle worker (receive, select, groups) are at most suspect unless others of the
//! same origin come and go; sleep, input and system calls never count alone.

use crate::base::{FrameId, Nanos, ProcId, TaskState, WaitClass};
use crate::model::{Group, GroupKey, Wait};

use super::evidence::{class_of, how_known, lower, siblings_ended};
use super::gather::{Picked, gather, objects_in_words};
use super::idle::{is_lone, waits_for_work};
use super::{Check, Confidence, Detector, Finding, FindingKind, Verdicts};

/// So many senders on one place are no longer one generator that waits to be asked.
const SENDERS: u64 = 5;
/// The looks that show a crowd take this long beyond the time they must span.
const CROWD_GRACE: Nanos = Nanos::from_secs(1);
/// A look for waits that must be over the threshold by now, at most this often.
const LOOK_EVERY: Nanos = Nanos::from_secs(5);

/// Finds waits beyond the threshold.
#[derive(Debug, Default)]
pub struct Stuck {
    /// Places it has told of: from then on they are its own, however many tasks join.
    told: hashbrown::HashSet<(ProcId, GroupKey)>,
}

impl Detector for Stuck {
    fn check(&mut self, check: &mut Check<'_>) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let process = check.process;
        for group in process.groups() {
            let Some(class) = check.class(group.key()) else { continue };
            let Some(after) = threshold(class, check.settings.stuck_after) else { continue };
            if group.key().state == TaskState::Waiting {
                let place = (process.id(), group.key());
                let is_told = self.told.contains(&place);
                let found = verdicts.findings.len();
                check_group(check, group, (class, after, is_told), &mut verdicts);
                if verdicts.findings.len() > found {
                    self.told.insert(place);
                } else if is_told {
                    self.told.remove(&place);
                }
            }
        }
        verdicts
    }
}

/// From when on a wait of this class counts; None = its length says nothing.
fn threshold(class: WaitClass, stuck_after: Nanos) -> Option<Nanos> {
    match class {
        WaitClass::Never => Some(Nanos(0)),
        WaitClass::Lock
        | WaitClass::ChanSend
        | WaitClass::ChanReceive
        | WaitClass::Select
        | WaitClass::Group
        | WaitClass::Coroutine => Some(stuck_after),
        WaitClass::Io | WaitClass::Sleep | WaitClass::Runtime | WaitClass::Other => None,
    }
}

fn check_group(
    check: &mut Check<'_>,
    group: &Group,
    (class, after, is_told): (WaitClass, Nanos, bool),
    verdicts: &mut Verdicts,
) {
    let process = check.process;
    let mut picked: Vec<Picked<'_>> = Vec::new();
    let mut matches_none = 0;
    for task in process.members(group) {
        if process.is_doubtful(task) {
            continue;
        }
        let Some(wait) = process.wait(task, check.now) else { continue };
        if check.idle.find(check.model.names(), &check.settings.idle, task, Some(class)).is_some() {
            continue;
        }
        matches_none += 1;
        if wait.length() >= after {
            picked.push((task, wait));
        } else {
            wait_for(check, wait, after, verdicts);
        }
    }
    if picked.is_empty()
        || (waits_for_work(class) && is_lone(process, group, matches_none, check.settings))
    {
        return;
    }
    if group.key().wait_site == FrameId::UNKNOWN {
        // Parked since the last look: where, the next one tells.
        return verdicts.look(check.next_look(Nanos(0)));
    }
    if matches_none >= check.settings.crowd_at_least
        && !is_told
        && class != WaitClass::Never
        && crowd_is_undecided(check)
    {
        // Of so many the crowd detector has more to say, once it has its looks.
        return verdicts.look(check.next_look(Nanos(0)));
    }
    if let Some(finding) = gather(check, FindingKind::Stuck, group.key(), picked) {
        verdicts.findings.push(judge(check, finding, class));
    }
}

/// Whether there were too few looks, or over too short a time, to tell a crowd.
fn crowd_is_undecided(check: &Check<'_>) -> bool {
    let watched = check.now.since(check.process.def().at);
    check.process.counts().looks < check.settings.crowd_looks
        || watched <= Nanos(check.settings.crowd_span.0.saturating_add(CROWD_GRACE.0))
}

/// A wait still below the threshold: when to ask again, and whether a look is needed for that.
fn wait_for(check: &Check<'_>, wait: Wait, after: Nanos, verdicts: &mut Verdicts) {
    let due = wait.since.after(after);
    verdicts.recheck(due);
    if due <= check.now {
        verdicts.look(check.next_look(LOOK_EVERY));
    }
}

fn judge(check: &Check<'_>, mut finding: Finding, class: WaitClass) -> Finding {
    let count = finding.count;
    let oldest = finding.oldest_wait.known().unwrap_or_default();
    let youngest = finding.youngest_wait.known().unwrap_or_default();
    let siblings = siblings_ended(check, &finding, youngest);
    let (confidence, why) = match class_of(class, &finding.objects) {
        WaitClass::Never => (
            Confidence::Certain,
            "blocked for ever by construction: a nil channel or a select without cases".to_owned(),
        ),
        WaitClass::Lock => (
            Confidence::Likely,
            format!("nobody plans to wait {oldest} for a lock: its holder does not let go"),
        ),
        WaitClass::ChanSend if count >= SENDERS || siblings.is_some() => (
            Confidence::Likely,
            format!("{count} senders have waited up to {oldest}: nobody receives"),
        ),
        WaitClass::ChanSend => (
            Confidence::Suspect,
            format!(
                "has waited {oldest} to send; a generator that waits to be asked looks the same"
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
    finding.reasons.extend(siblings);
    let marks = finding.unchanged_looks;
    how_known(&mut finding, marks);
    lower(check, &mut finding);
    finding
}
