//! Who could still end the wait for a wait group, told from who started whom.
//!
//! That somebody could is no proof that he will; that nobody of the family is left is a strong
//! sign, since `Done` is nearly always called by a task that the waiter, or who started the
//! waiter, has started. Where the runtime does not note who started whom, the functions tell:
//! a task that was created in a function where the waiter stands is taken for its child.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{FrameId, KTime, Nanos, StackId, TaskId, WaitClass};
use crate::model::{Process, Task};
use crate::stream::{LockKind, WaitsOn};

use super::Check;
use super::gather::Picked;

/// What may end a wait for a wait group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Hope {
    /// As many of the waiter's own children live as it waits for: the wait is theirs.
    Own,
    /// Others live that may belong to it, or it cannot be known.
    Others,
    /// As [`Hope::Own`], but none of these children has gone on for as long as it waits.
    OwnStand,
    /// Fewer children of it and of its parent live than calls of `Done` are missing.
    TooFew,
    /// None of its children is left; if it never had any, none of its parent's either, and the
    /// parent has ended or started others that have.
    NoneLeft,
}

/// A task that waits for a wait group.
#[derive(Clone, Copy)]
struct Waiter<'a> {
    task: &'a Task,
    /// How many calls of `Done` are missing; None = not known.
    missing: Option<u32>,
}

/// Living relatives of the waiters.
struct Relatives {
    /// By parent and spawn site.
    by_parent: BTreeMap<(TaskId, FrameId), u64>,
    /// Tasks of which the parent is not known. Each program has one, its first.
    parentless: u64,
    /// Tasks whose parent has ended and is none of the waiters' parents: where they were created,
    /// and when, if that was seen. They may descend from a waiter.
    orphans: BTreeMap<(FrameId, Option<KTime>), u64>,
}

/// For each task that waits for a wait group what may end that.
pub(super) fn hopes(check: &Check<'_>, picked: &[Picked<'_>]) -> BTreeMap<TaskId, Hope> {
    let waiters: Vec<Waiter<'_>> = picked.iter().filter_map(|(task, _)| waiter(task)).collect();
    if waiters.is_empty() {
        return BTreeMap::new();
    }
    let relatives = Relatives::of(check.process, &waiters);
    let mut by_stack: BTreeMap<StackId, (u64, u64)> = BTreeMap::new();
    let count = waiters.len() as u64;
    waiters
        .into_iter()
        .map(|w| {
            let hope = if w.task.parent().is_some() && relatives.parentless <= 1 {
                relatives.hope(check.process, w)
            } else {
                let stack = w.task.stack();
                let (alive, births) =
                    *by_stack.entry(stack).or_insert_with(|| created_in(check, stack));
                hope_by_names(w, alive, births, count)
            };
            (w.task.id(), hope)
        })
        .collect()
}

/// Of waiters with [`Hope::Own`] those whose children all wait for what does not come by itself, and have done so for `after`.
pub(super) fn children_stand(
    check: &mut Check<'_>,
    hopes: &mut BTreeMap<TaskId, Hope>,
    after: Nanos,
) {
    if !hopes.values().any(|&hope| hope == Hope::Own) {
        return;
    }
    let process = check.process;
    let mut stand: BTreeMap<TaskId, bool> = BTreeMap::new();
    for task in process.tasks().iter() {
        if let Some(parent) = task.parent().filter(|p| hopes.get(p) == Some(&Hope::Own)) {
            let stands = stands(check, task, after);
            *stand.entry(parent).or_insert(true) &= stands;
        }
    }
    for (waiter, _) in stand.into_iter().filter(|(_, stands)| *stands) {
        hopes.insert(waiter, Hope::OwnStand);
    }
}

fn stands(check: &mut Check<'_>, task: &Task, after: Nanos) -> bool {
    let process = check.process;
    let Some(wait) = process.wait(task, check.now) else { return false };
    let class = check.model.names().class(task.reason());
    let counts = class.is_some_and(|class| !matches!(class, WaitClass::Io | WaitClass::Sleep));
    counts
        && wait.length() >= after
        && check.idle.find(check.model.names(), &check.settings.idle, task, class).is_none()
}

/// How many tasks live, and how many births were seen, that functions of this stack created.
fn created_in(check: &Check<'_>, stack: StackId) -> (u64, u64) {
    let names = check.model.names();
    let functions: BTreeSet<&str> =
        names.stack(stack).iter().map(|&f| names.function(f)).filter(|f| !f.is_empty()).collect();
    check
        .process
        .spawn_sites()
        .filter(|(site, _)| functions.contains(names.function(*site)))
        .fold((0, 0), |(alive, births), (_, s)| (alive + s.alive, births + s.births))
}

/// The same for tasks whose parents are not known; `count` waiters share those alive.
fn hope_by_names(waiter: Waiter<'_>, alive: u64, births: u64, count: u64) -> Hope {
    let missing = u64::from(waiter.missing.unwrap_or(1)).max(1);
    if alive >= missing.saturating_mul(count) {
        Hope::Own
    } else if alive == 0 && births >= missing.saturating_mul(count) && waiter.missing != Some(0) {
        Hope::NoneLeft
    } else {
        Hope::Others
    }
}

fn waiter(task: &Task) -> Option<Waiter<'_>> {
    match task.waits_on() {
        WaitsOn::Lock { kind: LockKind::WaitGroup, held, .. } => {
            Some(Waiter { task, missing: held })
        }
        _ => None,
    }
}

impl Relatives {
    fn of(process: &Process, waiters: &[Waiter<'_>]) -> Self {
        let ids: BTreeSet<TaskId> = waiters.iter().map(|w| w.task.id()).collect();
        let mut parents = ids.clone();
        parents.extend(waiters.iter().filter_map(|w| w.task.parent()));
        let mut all = Self { by_parent: BTreeMap::new(), parentless: 0, orphans: BTreeMap::new() };
        let others = process.tasks().iter().filter(|t| !t.is_system() && !ids.contains(&t.id()));
        for task in others {
            match task.parent() {
                None => all.parentless += 1,
                Some(parent) if parents.contains(&parent) => {
                    *all.by_parent.entry((parent, task.spawn_site())).or_default() += 1;
                }
                Some(parent) if process.task(parent).is_none() => {
                    *all.orphans.entry((task.spawn_site(), task.born())).or_default() += 1;
                }
                Some(_) => {}
            }
        }
        all
    }

    /// Living children of a task, those from one spawn site left out.
    fn children(&self, parent: TaskId, but: Option<FrameId>) -> u64 {
        let all = self.by_parent.range((parent, FrameId(0))..=(parent, FrameId(u32::MAX)));
        all.filter(|((_, site), _)| Some(*site) != but).map(|(_, n)| n).sum()
    }

    /// Whether a living task may be a waiter's child's child. Those of the waiter's own spawn site
    /// are its like; those born before it are not its descendants.
    fn may_have_descendants(&self, waiter: &Task) -> bool {
        self.orphans.keys().any(|&(site, born)| {
            site != waiter.spawn_site()
                && born.is_none_or(|born| waiter.born().is_none_or(|w| born >= w))
        })
    }

    fn hope(&self, process: &Process, waiter: Waiter<'_>) -> Hope {
        let Waiter { task, missing } = waiter;
        let own = self.children(task.id(), None);
        if own >= u64::from(missing.unwrap_or(1)).max(1) {
            return Hope::Own;
        }
        let Some(parent) = task.parent() else { return Hope::Others };
        // Its like wait for groups of their own.
        let siblings = self.children(parent, Some(task.spawn_site()));
        // One child for each call of `Done` that is missing: it needs no other help.
        let had = u64::from(task.children_born());
        let all_ended = own == 0 && had >= u64::from(missing.unwrap_or(1)).max(1);
        let parent_may = own == 0 && had == 0 && may_end_it_itself(process, parent, task);
        let alone = own == 0
            && (had > 0 || (siblings == 0 && !parent_may))
            && !self.may_have_descendants(task);
        let helpers = own.saturating_add(siblings).saturating_add(u64::from(parent_may));
        if missing == Some(0) {
            Hope::Others
        } else if all_ended || alone {
            Hope::NoneLeft
        } else if self.may_have_descendants(task) {
            Hope::Others
        } else if missing.is_some_and(|n| helpers < u64::from(n)) {
            Hope::TooFew
        } else {
            Hope::Others
        }
    }
}

/// Whether a waiter's parent may be who calls `Done`, as where many wait for what one fetches: it
/// lives, and is not known to have started others than waiters.
fn may_end_it_itself(process: &Process, parent: TaskId, waiter: &Task) -> bool {
    let waiters = process.spawn_site(waiter.spawn_site()).map_or(0, |site| site.births);
    process.task(parent).is_some_and(|parent| u64::from(parent.children_born()) <= waiters)
}
