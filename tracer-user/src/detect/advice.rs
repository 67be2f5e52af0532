//! What usually mends a finding: the first pattern of the table that its tasks fit. The table
//! comes from outside. What fits none stays without advice: a wrong one costs more than none.

use std::borrow::Cow;

use crate::base::{FrameId, FunctionAt, Pattern, Place, Shape, TaskKind, Visibility};
use crate::model::{Names, Process};
use crate::stream::{Carries, ChannelState, FutexKind, LockKind, WaitsOn};

use super::Finding;
use super::evidence::class_of;

/// The pattern that a finding fits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advice {
    /// The pattern's stable name.
    pub pattern: Cow<'static, str>,
    /// What usually mends it.
    pub text: Cow<'static, str>,
    /// The frame it was known by.
    pub frame: FrameId,
}

/// The advice for a finding; None if its tasks fit no pattern.
pub(super) fn advice(
    names: &Names,
    process: &Process,
    table: &[Pattern],
    finding: &Finding,
) -> Option<Advice> {
    // The table is that of a runtime's tasks; how threads go wrong is not in it.
    if finding.tasks.first().is_some_and(|task| task.kind == TaskKind::Thread) {
        return None;
    }
    let class = class_of(names.class(finding.key.reason)?, &finding.objects);
    table.iter().find_map(|pattern| {
        let fits = (pattern.classes.is_empty() || pattern.classes.contains(&class))
            && looks_like(pattern.object, finding);
        let frame = fits.then(|| known_by(names, process, pattern, finding))??;
        let (pattern, text) = (pattern.name.clone(), pattern.advice.clone());
        Some(Advice { pattern, text, frame })
    })
}

/// The frame a pattern is known by, if all its functions are there.
fn known_by(
    names: &Names,
    process: &Process,
    pattern: &Pattern,
    finding: &Finding,
) -> Option<FrameId> {
    let mut frames = pattern.functions.iter().map(|f| frame_of(names, process, f, finding));
    let Some(first) = frames.next() else { return Some(finding.key.wait_site) };
    let first = first?;
    if !frames.all(|frame| frame.is_some()) {
        return None;
    }
    // The way into a wait says less than the place it was entered from.
    let hidden = names.frame(first).is_some_and(|f| f.visibility == Visibility::Hidden);
    Some(if hidden { finding.key.wait_site } else { first })
}

fn frame_of(
    names: &Names,
    process: &Process,
    wanted: &FunctionAt,
    finding: &Finding,
) -> Option<FrameId> {
    let named = |id: &FrameId| wanted.names(names.function(*id));
    match wanted.place {
        Place::WaitSite => Some(finding.key.wait_site).filter(named),
        Place::SpawnSite => Some(finding.key.spawn_site).filter(named),
        Place::Start => {
            let task = process.task(*finding.tasks.first()?)?;
            Some(task.start()).filter(named)
        }
        Place::Stack => names.stack(finding.stack).iter().copied().find(named),
    }
}

/// Whether each object of a finding looks like this, as far as they are told.
fn looks_like(shape: Shape, finding: &Finding) -> bool {
    if shape == Shape::Any {
        return true;
    }
    !finding.objects.is_empty()
        && finding.objects.iter().all(|(on, _)| match on {
            WaitsOn::Channels(list) => channels_look_like(shape, list),
            WaitsOn::Lock { kind, .. } => lock_looks_like(shape, *kind),
            WaitsOn::Futex(futex) => futex_looks_like(shape, futex.kind),
            WaitsOn::Unknown | WaitsOn::Timer { .. } | WaitsOn::Files(_) => false,
        })
}

fn lock_looks_like(shape: Shape, kind: LockKind) -> bool {
    match kind {
        LockKind::Mutex => shape == Shape::Mutex,
        LockKind::RwRead | LockKind::RwWrite => shape == Shape::RwLock,
        LockKind::WaitGroup => shape == Shape::WaitGroup,
        LockKind::Cond => shape == Shape::Cond,
        LockKind::Semaphore => false,
    }
}

fn futex_looks_like(shape: Shape, kind: FutexKind) -> bool {
    match kind {
        FutexKind::Mutex => shape == Shape::Mutex,
        FutexKind::RwRead | FutexKind::RwWrite => shape == Shape::RwLock,
        FutexKind::Cond => shape == Shape::Cond,
        FutexKind::Unknown
        | FutexKind::Join
        | FutexKind::Semaphore
        | FutexKind::Barrier
        | FutexKind::Once
        | FutexKind::Park => false,
    }
}

fn channels_look_like(shape: Shape, channels: &[ChannelState]) -> bool {
    let any = |carries| channels.iter().any(|c| c.carries == carries);
    let one = |fits: fn(&ChannelState) -> bool| match channels {
        [c] => c.address != 0 && fits(c),
        _ => false,
    };
    match shape {
        Shape::Any => true,
        Shape::Nil => matches!(channels, [ChannelState { address: 0, .. }]),
        Shape::Unbuffered => one(|c| c.capacity == 0),
        Shape::Full => one(|c| c.capacity > 0 && c.length == c.capacity),
        Shape::Signal => one(|c| c.carries == Carries::Signals),
        Shape::SomeSignal => any(Carries::Signals),
        Shape::Values => one(|c| c.carries == Carries::Values),
        Shape::AllValues => {
            !channels.is_empty() && channels.iter().all(|c| c.carries == Carries::Values)
        }
        Shape::Ticker => (any(Carries::Ticks) || any(Carries::Times)) && !any(Carries::Signals),
        Shape::Timeout => any(Carries::Timeout) && !any(Carries::Ticks) && !any(Carries::Signals),
        Shape::Mutex | Shape::RwLock | Shape::WaitGroup | Shape::Cond => false,
    }
}
