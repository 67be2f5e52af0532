//! Records about OS threads.

use tracer_common::event::Header;
use tracer_common::ids::{kind, sleep};
use tracer_common::thread::{
    Asleep, SPAWN_STACK, STACK_DEPTH, Thread, ThreadBirth, ThreadPark, ThreadReady, ThreadSpawn,
    ThreadWait,
};

use super::Fields;

/// A record about a thread, checked as [`super::RawRecord`] is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ThreadRecord {
    /// A thread was created.
    Birth(Box<ThreadBirth>),
    /// A thread was created, with its creator's stack.
    Spawn(Box<ThreadSpawn>),
    /// A thread ended.
    Death(Thread),
    /// A thread went to sleep.
    Park(ThreadPark),
    /// A thread that slept runs again.
    Run(Thread),
    /// A sleeping thread was woken.
    Ready(ThreadReady),
    /// A whole wait, written when it ended.
    Wait(ThreadWait),
}

impl ThreadRecord {
    /// The head of the record.
    pub const fn header(&self) -> &Header {
        match self {
            ThreadRecord::Birth(r) => &r.header,
            ThreadRecord::Spawn(r) => &r.header,
            ThreadRecord::Death(r) | ThreadRecord::Run(r) => &r.header,
            ThreadRecord::Park(r) => &r.header,
            ThreadRecord::Ready(r) => &r.header,
            ThreadRecord::Wait(r) => &r.header,
        }
    }

    /// A thread that can be: it has a number, sleeps in something known, and ends no wait before it
    /// began.
    pub(super) fn is_possible(&self) -> bool {
        match self {
            ThreadRecord::Birth(r) => r.tid != 0 && r.depth as usize <= STACK_DEPTH,
            ThreadRecord::Spawn(r) => r.tid != 0 && r.len as usize <= SPAWN_STACK,
            ThreadRecord::Death(r) | ThreadRecord::Run(r) => r.tid != 0,
            ThreadRecord::Park(r) => r.tid != 0 && r.asleep.sleep <= sleep::COMPAT,
            ThreadRecord::Ready(r) => r.tid != 0,
            ThreadRecord::Wait(r) => {
                let known = r.asleep.sleep <= sleep::COMPAT;
                r.tid != 0 && known && r.parked_ns <= r.header.time_ns
            }
        }
    }
}

/// The length of a record of a kind about threads; None for other kinds.
pub(super) const fn length_of(kind: u8) -> Option<usize> {
    Some(match kind {
        kind::THREAD_BIRTH => size_of::<ThreadBirth>(),
        kind::THREAD_SPAWN => size_of::<ThreadSpawn>(),
        kind::THREAD_DEATH | kind::THREAD_RUN => size_of::<Thread>(),
        kind::THREAD_PARK => size_of::<ThreadPark>(),
        kind::THREAD_READY => size_of::<ThreadReady>(),
        kind::THREAD_WAIT => size_of::<ThreadWait>(),
        _ => return None,
    })
}

/// Takes the body of a record about threads.
pub(super) fn body(fields: &mut Fields<'_>, header: Header) -> Option<ThreadRecord> {
    Some(match header.kind {
        kind::THREAD_BIRTH => ThreadRecord::Birth(Box::new(ThreadBirth {
            header,
            tid: fields.u32()?,
            parent: fields.u32()?,
            depth: fields.u32()?,
            pad: fields.u32()?,
            stack: fields.words()?,
        })),
        kind::THREAD_SPAWN => ThreadRecord::Spawn(Box::new(ThreadSpawn {
            header,
            tid: fields.u32()?,
            parent: fields.u32()?,
            pc: fields.u64()?,
            sp: fields.u64()?,
            bp: fields.u64()?,
            bx: fields.u64()?,
            r12_to_r15: fields.words()?,
            len: fields.u32()?,
            pad: fields.u32()?,
            stack: fields.take()?,
        })),
        kind::THREAD_DEATH => ThreadRecord::Death(thread(fields, header)?),
        kind::THREAD_RUN => ThreadRecord::Run(thread(fields, header)?),
        kind::THREAD_PARK => ThreadRecord::Park(ThreadPark {
            header,
            asleep: asleep(fields)?,
            tid: fields.u32()?,
            pad: fields.u32()?,
        }),
        kind::THREAD_READY => {
            ThreadRecord::Ready(ThreadReady { header, tid: fields.u32()?, waker: fields.u32()? })
        }
        kind::THREAD_WAIT => ThreadRecord::Wait(ThreadWait {
            header,
            asleep: asleep(fields)?,
            parked_ns: fields.u64()?,
            ready_ns: fields.u64()?,
            tid: fields.u32()?,
            waker: fields.u32()?,
        }),
        _ => return None,
    })
}

fn thread(fields: &mut Fields<'_>, header: Header) -> Option<Thread> {
    Some(Thread { header, tid: fields.u32()?, pad: fields.u32()? })
}

fn asleep(fields: &mut Fields<'_>) -> Option<Asleep> {
    Some(Asleep {
        arguments: fields.words()?,
        number: fields.u32()?.cast_signed(),
        sleep: fields.u8()?,
        run_seq: fields.u8()?,
        pad: fields.u16()?,
    })
}
