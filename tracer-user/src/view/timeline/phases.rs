//! When the runtime was at work for itself, made out of the slices: those of its tasks that ran, and of others
//! that waited for the runtime. Slices of one name that follow each other closely are one phase. And what the
//! runtime's own notes tell of its garbage collections.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::base::{KTime, Nanos, ProcId, TaskState, WaitClass};
use crate::model::Names;
use crate::stream::GcCycle;

use super::{Moment, Phase, Slice};

/// A shorter pause does not end a phase.
const PAUSE: Nanos = Nanos::from_millis(1);
/// What the parts of a collection are called.
const STOPPED: &str = "stopped for garbage collection";
const MARKING: &str = "garbage collection marks";
/// Most names: a runtime has few; phases of others are not told.
const MAX_NAMES: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Phases {
    open: HashMap<(ProcId, Arc<str>), (KTime, KTime), RandomState>,
    /// Up to when collections were told.
    collected: HashMap<ProcId, KTime, RandomState>,
}

impl Phases {
    /// Takes in the slices that are about to be told, and tells the phases that are over beside them.
    pub fn follow(&mut self, names: &Names, out: &mut Vec<Moment<'static>>) {
        for at in 0..out.len() {
            let phase = match out.get(at) {
                Some(Moment::Slice(slice)) => name(slice, names).and_then(|n| self.add(n, slice)),
                _ => None,
            };
            out.extend(phase.map(Moment::Phase));
        }
    }

    /// Tells of a collection what was not told before; it comes again when more of it is known.
    pub fn collection(
        &mut self,
        process: ProcId,
        begun: KTime,
        cycle: &GcCycle,
        out: &mut Vec<Moment<'static>>,
    ) {
        let told = self.collected.entry(process).or_insert(begun);
        let GcCycle { stop, mark, mark_end, end } = *cycle;
        let parts =
            [(Some(stop), mark, STOPPED), (mark, mark_end, MARKING), (mark_end, end, STOPPED)];
        for (since, until, name) in parts {
            if let (Some(since), Some(until)) = (since, until)
                && until > *told
            {
                *told = until;
                out.push(Moment::Phase(Phase { process, name: Arc::from(name), since, until }));
            }
        }
    }

    /// Tells those that are open.
    pub fn finish(&mut self, out: &mut Vec<Moment<'static>>) {
        let mut rest: Vec<_> = self.open.drain().collect();
        rest.sort_unstable();
        out.extend(rest.into_iter().map(|((process, name), (since, until))| {
            Moment::Phase(Phase { process, name, since, until })
        }));
    }

    fn add(&mut self, name: Arc<str>, slice: &Slice) -> Option<Phase> {
        let key = (slice.process, name);
        if let Some((since, until)) = self.open.get_mut(&key) {
            if slice.since <= until.after(PAUSE) {
                *since = slice.since.min(*since);
                *until = slice.until.max(*until);
                return None;
            }
            let over = Phase { process: key.0, name: key.1, since: *since, until: *until };
            (*since, *until) = (slice.since, slice.until);
            return Some(over);
        }
        if self.open.len() < MAX_NAMES {
            self.open.insert(key, (slice.since, slice.until));
        }
        None
    }
}

/// What phase a slice belongs to; None if to none.
fn name(slice: &Slice, names: &Names) -> Option<Arc<str>> {
    match slice.state {
        TaskState::Running if slice.origin.system => {
            names.frame(slice.origin.start).map(|f| Arc::from(&*f.function))
        }
        TaskState::Waiting if !slice.origin.system => {
            let reason = names.reason(slice.reason)?;
            (reason.class == WaitClass::Runtime).then(|| reason.word.clone())
        }
        _ => None,
    }
}
