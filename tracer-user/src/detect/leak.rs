//! Tasks that never came back: those that wait on while the others of their spawn site have long
//! ended. Needs births and deaths.
//!
//! The question is survival: how many of those that waited so long were ever seen to go on? Slow
//! tasks that are right answer it themselves: where waits of 60 s do come to an end, 60 s are no
//! evidence, and the bar rises to several times that. Workers started at the site of short tasks are told
//! apart by how they came: at once, or one after another all the time.

use crate::base::{FrameId, Nanos, TaskState, WaitClass};
use crate::model::{Group, GroupKey};
use crate::stream::Mode;

use super::ages::{self, Started};
use super::evidence::{
    class_of, how_known, knows_siblings, lower, out_of_line, too_much_lost, waits_by_nature,
};
use super::gather::{Picked, gather, objects_in_words};
use super::idle::is_lone;
use super::{Check, Confidence, Detector, Finding, FindingKind, Verdicts};

/// Input comes when the other side sends, so of those that wait for it there must be so many ...
const MANY_READERS: u64 = 20;
/// ... after so many times as long.
const READERS_PATIENCE: u64 = 2;

/// Finds tasks that outlive the others of their spawn site by far.
#[derive(Debug, Default)]
pub struct Leak;

impl Detector for Leak {
    fn check(&mut self, check: &mut Check<'_>) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let process = check.process;
        if process.widest_mode() == Mode::None {
            return verdicts;
        }
        for group in process.groups() {
            let key = group.key();
            let placed = key.state == TaskState::Waiting && key.wait_site != FrameId::UNKNOWN;
            if let (true, true, Some(class)) =
                (placed, knows_siblings(check, key), check.class(key).filter(|&c| counts(c)))
            {
                verdicts.findings.extend(check_group(check, group, class));
            }
        }
        verdicts
    }
}

/// Whether waits of this class can be for ever without being so by construction.
pub(super) const fn counts(class: WaitClass) -> bool {
    match class {
        WaitClass::Lock
        | WaitClass::ChanSend
        | WaitClass::ChanReceive
        | WaitClass::Select
        | WaitClass::Group
        | WaitClass::Coroutine
        | WaitClass::Io
        | WaitClass::Other => true,
        WaitClass::Never | WaitClass::Sleep | WaitClass::Runtime => false,
    }
}

fn check_group(check: &mut Check<'_>, group: &Group, class: WaitClass) -> Option<Finding> {
    let (process, key) = (check.process, group.key());
    let mut picked: Vec<Picked<'_>> = Vec::new();
    for task in process.members(group) {
        if !process.is_doubtful(task)
            && !waits_by_nature(check, task, class)
            && let Some(wait) = process.wait(task, check.now)
            && wait.length() >= check.settings.stuck_after
        {
            picked.push((task, wait));
        }
    }
    if picked.is_empty() || is_lone(process, group, picked.len(), check.settings) {
        return None;
    }
    let waits = || picked.iter().map(|(_, wait)| wait.length());
    let patience = if class == WaitClass::Io { READERS_PATIENCE } else { 1 };
    let after = Nanos(check.settings.leak_after.0.saturating_mul(patience));
    let sure = out_of_line(process, key, after, waits());
    let bar = sure.or_else(|| out_of_line(process, key, check.settings.stuck_after, waits()))?;
    picked.retain(|(_, wait)| wait.length() >= bar);
    let started = ages::started(picked.iter().map(|&(task, _)| task));
    if class == WaitClass::Io && (picked.len() as u64) < MANY_READERS {
        return None;
    }
    let finding = gather(check, FindingKind::Leak, key, picked)?;
    Some(judge(check, finding, class, Bar { length: bar, sure: sure.is_some(), started }))
}

/// What the tasks of a finding were held against.
struct Bar {
    length: Nanos,
    /// Whether it is long enough to be called more than suspect.
    sure: bool,
    started: Started,
}

fn judge(check: &Check<'_>, mut finding: Finding, class: WaitClass, bar: Bar) -> Finding {
    let class = class_of(class, &finding.objects);
    let few = finding.count <= check.settings.lone_at_most as u64;
    let doubt = if !bar.sure && class == WaitClass::Io {
        Some("only suspect: so far, how long input takes is up to the other side")
    } else if !bar.sure {
        Some("only suspect: so far, what takes a minute and comes back looks the same")
    } else if too_much_lost(check.process) {
        Some("only suspect: of so few births and deaths known for certain, lifetimes say little")
    } else if class != WaitClass::Lock && few {
        Some("only suspect: so few may be workers that were started there on purpose")
    } else if !matches!(class, WaitClass::Lock | WaitClass::ChanSend)
        && bar.started == Started::Together
    {
        Some("only suspect: they were created together, as the workers of a pool are")
    } else {
        None
    };
    finding.confidence = if doubt.is_some() { Confidence::Suspect } else { Confidence::Likely };
    finding.reasons.extend(fate_in_words(check, &finding));
    if let Some(waits) = check.process.ended_waits(finding.key) {
        finding.reasons.push(format!(
            "the longest wait at this place that was seen to end lasted {}",
            waits.longest()
        ));
    }
    finding.reasons.extend(doubt.map(ToOwned::to_owned));
    finding.reasons.extend(objects_in_words(&finding));
    finding.reasons.extend(waker_in_words(&finding));
    if let Some(site) = &mut finding.site {
        site.outlived = Some(bar.length);
    }
    let marks = finding.unchanged_looks;
    how_known(&mut finding, marks);
    lower(check, &mut finding);
    finding
}

/// "37 of 10470 from this spawn site are still here after 4 min; ..."
fn fate_in_words(check: &Check<'_>, finding: &Finding) -> Option<String> {
    let GroupKey { spawn_site, .. } = finding.key;
    let site = check.process.spawn_site(spawn_site)?;
    let known = site.alive.saturating_add(site.deaths).saturating_add(site.vanished);
    let youngest = finding.youngest_wait.known()?;
    let (median, p99) = (site.lifetimes.at_most(50)?, site.lifetimes.at_most(99)?);
    Some(format!(
        "{} of {known} from this spawn site still wait here after {youngest} or more; of {} seen from birth to death half lived at most {median}, 99 of 100 at most {p99}",
        finding.count,
        site.lifetimes.count()
    ))
}

/// That who used to wake them has ended only adds to what is known: it is normal for workers.
fn waker_in_words(finding: &Finding) -> Option<String> {
    let waker = finding.last_waker.filter(|w| !w.alive)?;
    Some(format!(
        "{} {}, which woke them last, has ended",
        waker.task.kind.word(),
        waker.task.number
    ))
}
