//! Records from the ring -> Inputs: slots become processes, addresses become names, steps of
//! `lost_before` become located losses. What cannot be made sense of is counted, never guessed.

use std::collections::HashMap;

use crate::base::{KTime, ProcId, ReasonId, RunSeq, TaskId, Tid};
use crate::runtime::link::RecordNames;
use crate::stream::decode::RawRecord;
use crate::stream::{Event, EventKind, Input, Loss, LossKind, Waker};

use super::losses::SlotLosses;

/// One slot's owner.
struct Slot {
    process: ProcId,
    names: Box<dyn RecordNames>,
    losses: SlotLosses,
}

/// Makes Inputs of records.
#[derive(Default)]
pub struct Ingest {
    slots: HashMap<u16, Slot>,
    batch: Vec<Input>,
    /// Records of slots that nobody owns any more: written before a detach, read after it.
    stray: u64,
    /// Whether a record stepped over a loss since the counters were last read.
    stepped: bool,
    exec: Vec<ProcId>,
}

impl Ingest {
    /// Gives a slot to a process.
    pub fn own(&mut self, slot: u16, process: ProcId, names: Box<dyn RecordNames>, at: KTime) {
        self.slots.insert(slot, Slot { process, names, losses: SlotLosses::new(process, at) });
    }

    /// Takes the slot away again.
    pub fn disown(&mut self, slot: u16) {
        self.slots.remove(&slot);
    }

    /// Takes one record.
    pub fn record(&mut self, record: &RawRecord) {
        let header = *record.header();
        let Some(slot) = self.slots.get_mut(&header.slot) else {
            self.stray = self.stray.saturating_add(1);
            return;
        };
        let at = KTime(header.time_ns);
        self.stepped |= slot.losses.record(header.lost_before, at);
        let process = slot.process;
        if let RawRecord::Exec(_) = record {
            self.exec.push(process);
        }
        let kind = event_kind(record, slot.names.as_mut());
        self.batch.push(Input::Event(Event { process, at, tid: Tid(header.tid), kind }));
    }

    /// The inputs since the last call.
    pub fn take(&mut self) -> Vec<Input> {
        std::mem::take(&mut self.batch)
    }

    /// Whether the counters should be read because a record stepped over a loss; asking clears it.
    pub const fn take_stepped(&mut self) -> bool {
        std::mem::replace(&mut self.stepped, false)
    }

    /// Records of slots without an owner since the last call.
    pub const fn take_stray(&mut self) -> u64 {
        std::mem::replace(&mut self.stray, 0)
    }

    /// Processes that replaced their image since the last call.
    pub fn take_exec(&mut self) -> Vec<ProcId> {
        std::mem::take(&mut self.exec)
    }

    /// Turns a slot's counters, read at `now`, into loss inputs for what was not told before.
    pub fn settle(&mut self, slot: u16, totals: &[(LossKind, u64)], now: KTime) {
        if let Some(slot) = self.slots.get_mut(&slot) {
            self.batch.extend(slot.losses.settle(totals, now).into_iter().map(Input::Loss));
        }
    }

    /// Tells losses of nobody in particular.
    pub fn lost(&mut self, kind: LossKind, count: u64, since: KTime, now: KTime) {
        if count > 0 {
            self.batch.push(Input::Loss(Loss { process: None, kind, count, since, until: now }));
        }
    }

    /// The owner of a slot, and its name for a wait reason.
    pub fn reason(&mut self, slot: u16, number: u8) -> Option<(ProcId, ReasonId)> {
        let slot = self.slots.get_mut(&slot)?;
        Some((slot.process, slot.names.reason(number)))
    }
}

fn goroutine(goid: u64) -> Option<TaskId> {
    (goid != 0).then(|| TaskId::goroutine(goid))
}

fn waker(goid: u64) -> Waker {
    goroutine(goid).map_or(Waker::Unknown, Waker::Task)
}

/// The probe reads the counter while the goroutine still runs; the park then adds one
/// (`casgstatus`, runtime/proc.go, Go 1.19 to 1.27).
const fn parked_seq(read: u8) -> RunSeq {
    RunSeq(read.wrapping_add(1))
}

fn event_kind(record: &RawRecord, names: &mut dyn RecordNames) -> EventKind {
    match record {
        RawRecord::Birth(r) => EventKind::Birth {
            task: TaskId::goroutine(r.goid),
            parent: goroutine(r.parent),
            spawn_site: names.spawn_site(r.gopc),
            start: names.start(r.startpc),
        },
        RawRecord::Death(r) => EventKind::Death { task: TaskId::goroutine(r.goid) },
        RawRecord::Park(r) => EventKind::Park {
            task: TaskId::goroutine(r.goid),
            reason: names.reason(r.reason),
            run_seq: parked_seq(r.run_seq),
        },
        RawRecord::Run(r) => EventKind::Run { task: TaskId::goroutine(r.goid) },
        RawRecord::Ready(r) => {
            EventKind::Ready { task: TaskId::goroutine(r.goid), waker: waker(r.waker) }
        }
        RawRecord::Wait(r) => EventKind::Waited {
            task: TaskId::goroutine(r.goid),
            parked: KTime(r.parked_ns),
            ready: (r.ready_ns != 0).then_some(KTime(r.ready_ns)),
            waker: waker(r.waker),
            reason: names.reason(r.reason),
            run_seq: parked_seq(r.run_seq),
        },
        RawRecord::Exec(_) => EventKind::Exec,
        RawRecord::Exit(r) => {
            EventKind::Exit { code: u32::try_from(r.value & 0xffff_ffff).unwrap_or(u32::MAX) }
        }
        RawRecord::Fork(_) => EventKind::Fork,
    }
}
