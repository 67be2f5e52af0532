//! What the detectors of single waits have in common: which tasks of a group count, and when a
//! group is left to others.

use hashbrown::HashSet;

use crate::base::{FrameId, KTime, Nanos, ProcId, WaitClass};
use crate::model::{Group, GroupKey, Wait};

use super::gather::Picked;
use super::{Check, Verdicts};

/// The looks that show a crowd take this long beyond the time they must span.
const CROWD_GRACE: Nanos = Nanos::from_secs(1);
/// A look for waits that must be over the threshold by now, at most this often.
const LOOK_EVERY: Nanos = Nanos::from_secs(5);

/// Places a detector has told of: from then on they are its own, however many tasks join.
#[derive(Debug, Default)]
pub(super) struct Told(HashSet<(ProcId, GroupKey)>);

impl Told {
    /// Whether it was told at the last check.
    pub(super) fn is_told(&self, check: &Check<'_>, key: GroupKey) -> bool {
        self.0.contains(&(check.process.id(), key))
    }

    /// Keeps what was told now. While something lost is not healed nothing is forgotten.
    pub(super) fn keep(&mut self, check: &Check<'_>, verdicts: &Verdicts) {
        let (model, id) = (check.model, check.process.id());
        let in_doubt = check.process.is_in_doubt();
        let lives = |id| model.process(id).is_some_and(|p| p.ended().is_none());
        self.0.retain(|&(whose, _)| if whose == id { in_doubt } else { lives(whose) });
        self.0.extend(verdicts.findings.iter().map(|f| (id, f.key)));
    }
}

/// The tasks of a group that count.
pub(super) struct Pick<'a> {
    /// Those that have waited for long enough.
    pub(super) tasks: Vec<Picked<'a>>,
    /// How many match no pattern of what waits by nature, however long they wait.
    pub(super) unmatched: usize,
}

/// Picks the tasks of a group that have waited for `after`, and says when others will have.
pub(super) fn pick<'a>(
    check: &mut Check<'a>,
    group: &'a Group,
    (class, after): (WaitClass, Nanos),
    verdicts: &mut Verdicts,
) -> Pick<'a> {
    let process = check.process;
    let mut pick = Pick { tasks: Vec::new(), unmatched: 0 };
    for task in process.members(group) {
        if process.is_doubtful(task) || check.spoken_for.contains(&task.id()) {
            continue;
        }
        let Some(wait) = process.wait(task, check.now) else { continue };
        if check.idle.find(check.model.names(), &check.settings.idle, task, Some(class)).is_some() {
            continue;
        }
        pick.unmatched += 1;
        if wait.length() >= after {
            pick.tasks.push((task, wait));
        } else {
            wait_for(check, wait.since.after(after), verdicts);
        }
    }
    pick
}

/// A wait still below the threshold: when to ask again, and whether a look is needed for that.
fn wait_for(check: &Check<'_>, due: KTime, verdicts: &mut Verdicts) {
    verdicts.recheck(due);
    if due <= check.now {
        verdicts.look(check.next_look(LOOK_EVERY));
    }
}

/// Whether more has to be known before a group is told; asks for the look that will tell.
pub(super) fn is_early(
    check: &Check<'_>,
    group: &Group,
    unmatched: usize,
    is_told: bool,
    verdicts: &mut Verdicts,
) -> bool {
    // Parked since the last look: where, the next one tells.
    let no_place = group.key().wait_site == FrameId::UNKNOWN;
    // Of so many the crowd detector has more to say, once it has its looks.
    let to_crowd =
        unmatched >= check.settings.crowd_at_least && !is_told && crowd_is_undecided(check);
    let early = no_place || to_crowd;
    if early {
        verdicts.look(check.next_look(Nanos(0)));
    }
    early
}

/// Whether there were too few looks, or over too short a time, to tell a crowd.
fn crowd_is_undecided(check: &Check<'_>) -> bool {
    let watched = check.now.since(check.process.def().at);
    check.process.counts().looks < check.settings.crowd_looks
        || watched <= Nanos(check.settings.crowd_span.0.saturating_add(CROWD_GRACE.0))
}

/// The length of the longest and of the shortest wait that is known.
pub(super) fn lengths(picked: &[Picked<'_>]) -> (Nanos, Nanos) {
    let all = || picked.iter().map(|(_, wait): &(_, Wait)| wait.length());
    (all().max().unwrap_or_default(), all().min().unwrap_or_default())
}
