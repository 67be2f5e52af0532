//! Records from the ring -> Inputs: slots become processes, addresses become names, steps of
//! `lost_before` become located losses. What cannot be made sense of is counted, never guessed.

use std::collections::HashMap;

use tracer_common::config::HOST_SLOT;
use tracer_common::thread::Asleep;

use crate::base::{KTime, Pid, ProcId, ReasonId, RunSeq, TaskId, Tid};
use crate::runtime::link::{RecordNames, ThreadNames};
use crate::stream::decode::RawRecord;
use crate::stream::{Event, EventKind, Input, Loss, LossKind, Waker};

use super::losses::SlotLosses;

mod threads;

/// Names for the records of one process.
pub struct Names {
    /// Of its runtime's tasks, if its runtime is followed.
    pub tasks: Option<Box<dyn RecordNames>>,
    /// Of its threads.
    pub threads: Box<dyn ThreadNames>,
}

/// One slot's owner.
struct Slot {
    process: ProcId,
    names: Names,
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
    born: Vec<Born>,
}

/// A process of the host that runs another program now, or is new.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Born {
    /// Which.
    pub pid: Pid,
    /// Since when.
    pub at: KTime,
}

impl Ingest {
    /// Gives a slot to a process.
    pub fn own(&mut self, slot: u16, process: ProcId, names: Names, at: KTime) {
        self.slots.insert(slot, Slot { process, names, losses: SlotLosses::new(process, at) });
    }

    /// Takes the slot away again.
    pub fn disown(&mut self, slot: u16) {
        self.slots.remove(&slot);
    }

    /// Takes one record.
    pub fn record(&mut self, record: &RawRecord) {
        let header = *record.header();
        if header.slot == HOST_SLOT {
            self.host_record(record);
            return;
        }
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
        let kind = match record {
            RawRecord::Thread(record) => {
                Some(threads::event_kind(record, slot.names.threads.as_mut()))
            }
            record => event_kind(record, slot.names.tasks.as_mut()),
        };
        match kind {
            Some(kind) => {
                let tid = Tid(header.tid);
                self.batch.push(Input::Event(Event { process, at, tid, kind }));
            }
            None => self.stray = self.stray.saturating_add(1),
        }
    }

    /// Of a process that is no target. One that is 0 could not be read.
    fn host_record(&mut self, record: &RawRecord) {
        if let RawRecord::Exec(life) | RawRecord::Fork(life) = record
            && let Ok(pid) = u32::try_from(life.value)
            && pid != 0
        {
            self.born.push(Born { pid: Pid(pid), at: KTime(life.header.time_ns) });
        }
    }

    /// Processes of the host that run another program since the last call, or are new.
    pub fn take_born(&mut self) -> Vec<Born> {
        std::mem::take(&mut self.born)
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
        Some((slot.process, slot.names.tasks.as_mut()?.reason(number)))
    }

    /// The owner of a slot, and its name for what a thread sleeps in.
    pub fn thread_reason(&mut self, slot: u16, asleep: &Asleep) -> Option<(ProcId, ReasonId)> {
        let slot = self.slots.get_mut(&slot)?;
        Some((slot.process, slot.names.threads.reason(asleep)))
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

/// None for a record of a task whose runtime nobody knows.
fn event_kind(record: &RawRecord, names: Option<&mut Box<dyn RecordNames>>) -> Option<EventKind> {
    match record {
        RawRecord::Exec(_) => Some(EventKind::Exec),
        RawRecord::Fork(_) => Some(EventKind::Fork),
        RawRecord::Exit(r) => {
            let code = u32::try_from(r.value & 0xffff_ffff).unwrap_or(u32::MAX);
            Some(EventKind::Exit { code })
        }
        task => task_event(task, names?.as_mut()),
    }
}

fn task_event(record: &RawRecord, names: &mut dyn RecordNames) -> Option<EventKind> {
    Some(match record {
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
        RawRecord::Exec(_) | RawRecord::Exit(_) | RawRecord::Fork(_) | RawRecord::Thread(_) => {
            return None;
        }
    })
}
