//! Sends, receives, selects and coroutines that wait beyond the threshold, grouped by spawn site
//! and wait site.
//!
//! Age alone does not make a wait wrong: a worker waits for work as long as there is none. So
//! sends count by their age; waits that are also the shape of an idle worker (receive, select)
//! are at most suspect unless others of the same origin come and go; sleep, input and system calls
//! never count alone. What can never go on is [`super::Blocked`]'s, locks and groups are
//! [`super::Locks`]'.

use crate::base::{Nanos, TaskState, WaitClass};
use crate::model::Group;

use super::evidence::{how_known, lower, siblings_ended};
use super::gather::{gather, objects_in_words};
use super::idle::{is_lone, waits_for_work};
use super::waits::{Pick, Told, is_early, lengths, pick};
use super::{Check, Confidence, Detector, Finding, FindingKind, Verdicts};

/// So many senders on one place are no longer one generator that waits to be asked.
const SENDERS: u64 = 5;

/// Finds waits beyond the threshold.
#[derive(Debug, Default)]
pub struct Stuck {
    told: Told,
}

impl Detector for Stuck {
    fn check(&mut self, check: &mut Check<'_>) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let process = check.process;
        for group in process.groups().filter(|g| g.key().state == TaskState::Waiting) {
            if let Some(class) = check.class(group.key()).filter(|&class| counts(class)) {
                let is_told = self.told.is_told(check, group.key());
                check_group(check, group, class, is_told, &mut verdicts);
            }
        }
        self.told.keep(check, &verdicts);
        verdicts
    }
}

/// Whether the length of a wait of this class says something, and is not another detector's.
const fn counts(class: WaitClass) -> bool {
    match class {
        WaitClass::ChanSend | WaitClass::ChanReceive | WaitClass::Select | WaitClass::Coroutine => {
            true
        }
        WaitClass::Never
        | WaitClass::Lock
        | WaitClass::Group
        | WaitClass::Io
        | WaitClass::Sleep
        | WaitClass::Runtime
        | WaitClass::Other => false,
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
    let Pick { tasks, unmatched } = pick(check, group, (class, after), verdicts);
    let is_background =
        waits_for_work(class) && is_lone(check.process, group, unmatched, check.settings);
    if tasks.is_empty() || is_background || is_early(check, group, unmatched, is_told, verdicts) {
        return;
    }
    let lengths = lengths(&tasks);
    if let Some(finding) = gather(check, FindingKind::Stuck, group.key(), tasks) {
        verdicts.findings.push(judge(check, finding, class, lengths));
    }
}

fn judge(
    check: &Check<'_>,
    mut finding: Finding,
    class: WaitClass,
    (oldest, youngest): (Nanos, Nanos),
) -> Finding {
    let count = finding.count;
    let siblings = siblings_ended(check, &finding, youngest);
    let (confidence, why) = match class {
        WaitClass::ChanSend if moves(check, &finding, oldest) => (
            Confidence::Suspect,
            format!(
                "{count} senders have waited up to {oldest} in one queue, but it moves: others that waited as long went on"
            ),
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

/// Whether all wait on one object, and waits of half this length came to an end there, wherever
/// those were created that waited: so does a queue that is served slowly.
fn moves(check: &Check<'_>, finding: &Finding, oldest: Nanos) -> bool {
    let ended = check.process.longest_ended_at(finding.key.wait_site).unwrap_or_default();
    finding.object_count == 1 && ended >= Nanos(oldest.0 / 2)
}
