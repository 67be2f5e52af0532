//! Waits that nothing can end, by construction: a nil channel, a select without cases, a select
//! all of whose channels are nil. Certain at first sight, in every mode; there is no threshold.

use crate::base::{FrameId, Nanos, TaskState, WaitClass};
use crate::model::{Group, Task};
use crate::stream::WaitsOn;

use super::evidence::{how_known, lower};
use super::gather::gather;
use super::waits::pick;
use super::{Check, Confidence, Detector, Finding, FindingKind, Verdicts};

/// Finds waits that nothing can end.
#[derive(Debug, Default)]
pub struct Blocked;

impl Detector for Blocked {
    fn sees_through_standstill(&self) -> bool {
        true
    }

    fn check(&mut self, check: &mut Check<'_>) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let process = check.process;
        for group in process.groups().filter(|g| g.key().state == TaskState::Waiting) {
            let class = check.class(group.key());
            if let Some(class @ (WaitClass::Never | WaitClass::Select)) = class {
                check_group(check, group, class, &mut verdicts);
            }
        }
        verdicts
    }
}

fn check_group<'a>(
    check: &mut Check<'a>,
    group: &'a Group,
    class: WaitClass,
    verdicts: &mut Verdicts,
) {
    if class == WaitClass::Select && !check.process.members(group).any(has_no_channel) {
        return;
    }
    let mut picked = pick(check, group, (class, Nanos(0)), verdicts).tasks;
    picked.retain(|(task, _)| class == WaitClass::Never || has_no_channel(task));
    if picked.is_empty() {
        return;
    }
    if group.key().wait_site == FrameId::UNKNOWN {
        // Parked since the last look: where, the next one tells.
        return verdicts.look(check.next_look(Nanos(0)));
    }
    if let Some(finding) = gather(check, FindingKind::BlockedForEver, group.key(), picked) {
        verdicts.findings.push(judge(check, finding, class));
    }
}

/// Whether a select waits on an empty list: the runtime leaves nil channels out of it.
fn has_no_channel(task: &Task) -> bool {
    matches!(task.waits_on(), WaitsOn::Channels(list) if list.is_empty())
}

fn judge(check: &Check<'_>, mut finding: Finding, class: WaitClass) -> Finding {
    finding.confidence = Confidence::Certain;
    finding.reasons.push(match class {
        WaitClass::Select => {
            "blocked for ever by construction: a select all of whose channels are nil".into()
        }
        _ => "blocked for ever by construction: a nil channel or a select without cases".into(),
    });
    let marks = finding.unchanged_looks;
    how_known(&mut finding, marks);
    lower(check, &mut finding);
    finding
}
