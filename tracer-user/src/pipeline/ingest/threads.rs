//! Records about OS threads -> events.

use tracer_common::thread::ThreadSpawn;

use crate::base::{FrameId, KTime, Registers, RunSeq, TaskId};
use crate::runtime::link::{SpawnStack, ThreadNames};
use crate::stream::decode::ThreadRecord;
use crate::stream::{EventKind, Waker};

/// What a record says of a thread.
pub(super) fn event_kind(record: &ThreadRecord, names: &mut dyn ThreadNames) -> EventKind {
    match record {
        ThreadRecord::Birth(r) => {
            let depth = usize::try_from(r.depth).unwrap_or(usize::MAX).min(r.stack.len());
            EventKind::Birth {
                task: TaskId::thread(r.tid),
                parent: (r.parent != 0).then(|| TaskId::thread(r.parent)),
                spawn_site: names.spawn_site(r.stack.get(..depth).unwrap_or_default()),
                // What it runs stands in no register that means the same in every C library.
                start: FrameId::UNKNOWN,
            }
        }
        ThreadRecord::Spawn(r) => EventKind::Birth {
            task: TaskId::thread(r.tid),
            parent: (r.parent != 0).then(|| TaskId::thread(r.parent)),
            spawn_site: names.unwound_site(&spawn_stack(r)),
            start: FrameId::UNKNOWN,
        },
        ThreadRecord::Death(r) => EventKind::Death { task: TaskId::thread(r.tid) },
        ThreadRecord::Park(r) => EventKind::Park {
            task: TaskId::thread(r.tid),
            reason: names.reason(&r.asleep),
            run_seq: RunSeq(r.asleep.run_seq),
        },
        ThreadRecord::Run(r) => EventKind::Run { task: TaskId::thread(r.tid) },
        ThreadRecord::Ready(r) => {
            EventKind::Ready { task: TaskId::thread(r.tid), waker: waker(r.waker) }
        }
        ThreadRecord::Wait(r) => EventKind::Waited {
            task: TaskId::thread(r.tid),
            parked: KTime(r.parked_ns),
            // A thread can be woken while it is still on its way to sleep.
            ready: (r.ready_ns != 0).then_some(KTime(r.ready_ns.max(r.parked_ns))),
            waker: waker(r.waker),
            reason: names.reason(&r.asleep),
            run_seq: RunSeq(r.asleep.run_seq),
        },
    }
}

fn spawn_stack(record: &ThreadSpawn) -> SpawnStack<'_> {
    let ThreadSpawn { pc, sp, bp, bx, r12_to_r15, .. } = *record;
    let len = usize::try_from(record.len).unwrap_or(usize::MAX).min(record.stack.len());
    SpawnStack {
        at: KTime(record.header.time_ns),
        registers: Registers { pc, sp, bp, bx, r12_to_r15 },
        bytes: record.stack.get(..len).unwrap_or_default(),
    }
}

fn waker(tid: u32) -> Waker {
    if tid == 0 { Waker::Unknown } else { Waker::Task(TaskId::thread(tid)) }
}
