//! Tasks of snapshots as columns: neighbours in a snapshot are alike, and a column of like numbers
//! packs well.

use crate::base::{FrameId, KTime, ReasonId, RunSeq, StackId, TaskId, TaskState, Tid};
use crate::stream::{
    Carries, ChannelState, LastLeave, Leave, LockKind, RunMark, TaskLook, WaitsOn,
};

use super::super::bytes::{Put as _, Take};
use super::super::error::Malformed;
use super::events::{kind_number, task_kind};
use super::threads;

/// Columns, in their order in the section.
const FLAGS: usize = 0;
const NUMBER: usize = 1;
const T0: usize = 2;
const T1: usize = 3;
const REASON: usize = 4;
const PARENT: usize = 5;
const SPAWN_SITE: usize = 6;
const START: usize = 7;
const STACK: usize = 8;
const WAIT_SITE: usize = 9;
const MARK: usize = 10;
const PC: usize = 11;
const SP: usize = 12;
const WAITS_ON: usize = 13;
const SINCE: usize = 14;
const STACK_BYTES: usize = 15;
const THREAD: usize = 16;
const LABELS: usize = 17;
const LEFT: usize = 18;
const COLUMNS: usize = 19;

/// Flags: the state in three bits, the sort of task in one, then what is there.
const STATE: u64 = 0x7;
const KIND_SHIFT: u32 = 3;
const HAS_PARENT: u64 = 1 << 4;
const HAS_MARK: u64 = 1 << 5;
const HAS_SINCE: u64 = 1 << 6;
const HAS_THREAD: u64 = 1 << 7;
const HAS_LABELS: u64 = 1 << 8;
const LOCKED: u64 = 1 << 9;
const SYSTEM: u64 = 1 << 10;
const HAS_LEFT: u64 = 1 << 11;

/// What the next task is told against.
#[derive(Clone, Copy, Default, Debug)]
struct Last {
    number: u64,
    parent: u64,
    t: u64,
    pc: u64,
    sp: u64,
}

/// Tasks on their way into columns.
#[derive(Default)]
pub struct LookWriter {
    columns: [Vec<u8>; COLUMNS],
    last: Last,
}

impl LookWriter {
    pub fn clear(&mut self) {
        self.columns.iter_mut().for_each(Vec::clear);
        self.last = Last::default();
    }

    pub fn size(&self) -> usize {
        self.columns.iter().map(Vec::len).sum()
    }

    pub fn columns(&self) -> [&[u8]; COLUMNS] {
        let mut all: [&[u8]; COLUMNS] = [&[]; COLUMNS];
        for (to, column) in all.iter_mut().zip(&self.columns) {
            *to = column;
        }
        all
    }

    /// Adds a task.
    pub fn add(&mut self, look: &TaskLook) {
        let (c, last) = (&mut self.columns, &mut self.last);
        c[FLAGS].number(flags(look));
        c[NUMBER].step(last.number, look.task.number);
        c[T0].step(last.t, look.t0.0);
        c[T1].step(look.t0.0, look.t1.0);
        c[REASON].number(u64::from(look.reason.0));
        if let Some(parent) = look.parent {
            c[PARENT].push(kind_number(parent.kind));
            c[PARENT].step(last.parent, parent.number);
            last.parent = parent.number;
        }
        c[SPAWN_SITE].number(u64::from(look.spawn_site.0));
        c[START].number(u64::from(look.start.0));
        c[STACK].number(u64::from(look.stack.0));
        c[WAIT_SITE].number(u64::from(look.wait_site.0));
        if let Some(mark) = look.mark {
            c[MARK].push(mark.seq.0);
            c[PC].step(last.pc, mark.pc);
            c[SP].step(last.sp, mark.sp);
            (last.pc, last.sp) = (mark.pc, mark.sp);
        }
        if let Some(left) = look.left {
            c[LEFT].push(leave_number(left.how));
            c[LEFT].push(left.seq.0);
        }
        waits_on(&look.waits_on, look.t0, &mut c[WAITS_ON]);
        if let Some(since) = look.waits_since {
            c[SINCE].step(look.t0.0, since.0);
        }
        c[STACK_BYTES].number(look.stack_bytes);
        if let Some(thread) = look.thread {
            c[THREAD].number(u64::from(thread.0));
        }
        if !look.labels.is_empty() {
            c[LABELS].number(look.labels.len() as u64);
            for (key, value) in &look.labels {
                c[LABELS].word(key);
                c[LABELS].word(value);
            }
        }
        (last.number, last.t) = (look.task.number, look.t1.0);
    }
}

fn flags(look: &TaskLook) -> u64 {
    let there = |is: bool, flag| if is { flag } else { 0 };
    state_number(look.state)
        | u64::from(kind_number(look.task.kind)) << KIND_SHIFT
        | there(look.parent.is_some(), HAS_PARENT)
        | there(look.mark.is_some(), HAS_MARK)
        | there(look.waits_since.is_some(), HAS_SINCE)
        | there(look.thread.is_some(), HAS_THREAD)
        | there(!look.labels.is_empty(), HAS_LABELS)
        | there(look.locked_to_thread, LOCKED)
        | there(look.system, SYSTEM)
        | there(look.left.is_some(), HAS_LEFT)
}

const fn state_number(state: TaskState) -> u64 {
    match state {
        TaskState::Runnable => 0,
        TaskState::Running => 1,
        TaskState::Syscall => 2,
        TaskState::Waiting => 3,
        TaskState::Preempted => 4,
        TaskState::Unknown => 5,
    }
}

/// A state that a later version added is not known to this one.
const fn state(flags: u64) -> TaskState {
    match flags & STATE {
        0 => TaskState::Runnable,
        1 => TaskState::Running,
        2 => TaskState::Syscall,
        3 => TaskState::Waiting,
        4 => TaskState::Preempted,
        _ => TaskState::Unknown,
    }
}

const ON_NOTHING: u8 = 0;
const ON_CHANNELS: u8 = 1;
const ON_LOCK: u8 = 2;
const ON_TIMER: u8 = 3;
const ON_FUTEX: u8 = 4;
const ON_FILES: u8 = 5;

/// With its length, so that a way to wait that a later version added is passed over.
fn waits_on(on: &WaitsOn, at: KTime, out: &mut Vec<u8>) {
    let mut what = Vec::new();
    match on {
        WaitsOn::Unknown => {
            out.push(ON_NOTHING);
            return;
        }
        WaitsOn::Channels(channels) => {
            out.push(ON_CHANNELS);
            what.number(channels.len() as u64);
            for channel in channels {
                what.number(channel.address);
                what.number(channel.capacity);
                what.number(channel.length);
                what.number(u64::from(channel.closed) | carries_number(channel.carries) << 1);
            }
        }
        WaitsOn::Lock { kind, address, held } => {
            out.push(ON_LOCK);
            what.push(lock_number(*kind));
            what.number(*address);
            what.number(held.map_or(0, |n| u64::from(n) + 1));
        }
        WaitsOn::Timer { until } => {
            out.push(ON_TIMER);
            what.step(at.0, until.0);
        }
        WaitsOn::Futex(futex) => {
            out.push(ON_FUTEX);
            threads::put_futex(futex, &mut what);
        }
        WaitsOn::Files(set) => {
            out.push(ON_FILES);
            threads::put_files(set, &mut what);
        }
    }
    out.number(what.len() as u64);
    out.extend_from_slice(&what);
}

const LOCKS: [LockKind; 6] = [
    LockKind::Mutex,
    LockKind::RwRead,
    LockKind::RwWrite,
    LockKind::WaitGroup,
    LockKind::Cond,
    LockKind::Semaphore,
];

const fn lock_number(kind: LockKind) -> u8 {
    match kind {
        LockKind::Mutex => 0,
        LockKind::RwRead => 1,
        LockKind::RwWrite => 2,
        LockKind::WaitGroup => 3,
        LockKind::Cond => 4,
        LockKind::Semaphore => 5,
    }
}

const fn carries_number(carries: Carries) -> u64 {
    match carries {
        Carries::Unknown => 0,
        Carries::Signals => 1,
        Carries::Values => 2,
        Carries::Ticks => 3,
        Carries::Timeout => 4,
        Carries::Times => 5,
    }
}

const fn carries(number: u64) -> Carries {
    match number {
        1 => Carries::Signals,
        2 => Carries::Values,
        3 => Carries::Ticks,
        4 => Carries::Timeout,
        5 => Carries::Times,
        _ => Carries::Unknown,
    }
}

const fn leave_number(leave: Leave) -> u8 {
    match leave {
        Leave::Unknown => 0,
        Leave::Gave => 1,
        Leave::PutOff => 2,
    }
}

const fn leave(number: u8) -> Leave {
    match number {
        1 => Leave::Gave,
        2 => Leave::PutOff,
        _ => Leave::Unknown,
    }
}

fn read_waits_on(take: &mut Take<'_>, at: KTime) -> Result<WaitsOn, Malformed> {
    let what = take.byte()?;
    if what == ON_NOTHING {
        return Ok(WaitsOn::Unknown);
    }
    let len = take.narrow()?;
    let mut of = Take(take.bytes(len)?);
    Ok(match what {
        ON_CHANNELS => {
            let n = of.count()?;
            let mut channels = Vec::with_capacity(n);
            for _ in 0..n {
                let (address, capacity, length) = (of.number()?, of.number()?, of.number()?);
                let flags = of.number()?;
                let (closed, carries) = (flags & 1 != 0, carries(flags >> 1));
                channels.push(ChannelState { address, capacity, length, closed, carries });
            }
            WaitsOn::Channels(channels.into())
        }
        ON_LOCK => match LOCKS.get(usize::from(of.byte()?)) {
            Some(&kind) => {
                let address = of.number()?;
                let held = of.number()?.checked_sub(1).and_then(|n| u32::try_from(n).ok());
                WaitsOn::Lock { kind, address, held }
            }
            None => WaitsOn::Unknown,
        },
        ON_TIMER => WaitsOn::Timer { until: KTime(of.step(at.0)?) },
        ON_FUTEX => WaitsOn::Futex(Box::new(threads::take_futex(&mut of)?)),
        ON_FILES => WaitsOn::Files(Box::new(threads::take_files(&mut of)?)),
        _ => WaitsOn::Unknown,
    })
}

/// Tasks on their way out of columns.
pub struct LookReader<'a> {
    columns: [Take<'a>; COLUMNS],
    last: Last,
    left: u32,
}

impl<'a> LookReader<'a> {
    pub fn new(count: u32, columns: &[&'a [u8]]) -> Result<Self, Malformed> {
        let mut all = [Take::default(); COLUMNS];
        for (to, from) in all.iter_mut().zip(columns) {
            *to = Take(from);
        }
        Ok(Self { columns: all, last: Last::default(), left: count })
    }

    pub const fn left(&self) -> u32 {
        self.left
    }

    /// The next task.
    pub fn next(&mut self) -> Result<TaskLook, Malformed> {
        self.left = self.left.checked_sub(1).ok_or(Malformed("a run without its tasks"))?;
        let flags = self.columns[FLAGS].number()?;
        let has = |flag| flags & flag != 0;
        let (c, last) = (&mut self.columns, &mut self.last);
        let task = TaskId {
            kind: task_kind((flags >> KIND_SHIFT & 1) as u8)?,
            number: c[NUMBER].step(last.number)?,
        };
        let t0 = KTime(c[T0].step(last.t)?);
        let t1 = KTime(c[T1].step(t0.0)?);
        let parent = if has(HAS_PARENT) {
            let kind = task_kind(c[PARENT].byte()?)?;
            last.parent = c[PARENT].step(last.parent)?;
            Some(TaskId { kind, number: last.parent })
        } else {
            None
        };
        let mark = if has(HAS_MARK) {
            let seq = RunSeq(c[MARK].byte()?);
            last.pc = c[PC].step(last.pc)?;
            last.sp = c[SP].step(last.sp)?;
            Some(RunMark { seq, pc: last.pc, sp: last.sp })
        } else {
            None
        };
        (last.number, last.t) = (task.number, t1.0);
        Ok(TaskLook {
            task,
            t0,
            t1,
            state: state(flags),
            reason: ReasonId(c[REASON].narrow()?),
            parent,
            spawn_site: FrameId(c[SPAWN_SITE].narrow()?),
            start: FrameId(c[START].narrow()?),
            stack: StackId(c[STACK].narrow()?),
            wait_site: FrameId(c[WAIT_SITE].narrow()?),
            mark,
            left: if has(HAS_LEFT) {
                let (how, seq) = (leave(c[LEFT].byte()?), RunSeq(c[LEFT].byte()?));
                Some(LastLeave { how, seq })
            } else {
                None
            },
            waits_on: read_waits_on(&mut c[WAITS_ON], t0)?,
            waits_since: if has(HAS_SINCE) { Some(KTime(c[SINCE].step(t0.0)?)) } else { None },
            stack_bytes: c[STACK_BYTES].number()?,
            thread: if has(HAS_THREAD) { Some(Tid(c[THREAD].narrow()?)) } else { None },
            locked_to_thread: has(LOCKED),
            system: has(SYSTEM),
            labels: if has(HAS_LABELS) { labels(&mut c[LABELS])? } else { Box::default() },
        })
    }
}

/// pprof labels.
type Labels = Box<[(Box<str>, Box<str>)]>;

fn labels(take: &mut Take<'_>) -> Result<Labels, Malformed> {
    let mut labels = Vec::new();
    for _ in 0..take.count()? {
        labels.push((take.word()?.into(), take.word()?.into()));
    }
    Ok(labels.into())
}
