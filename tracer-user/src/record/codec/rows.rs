//! The sorts of input of which there are few: a row each, with its length before it. A later minor
//! version may add fields at the end of a row; older readers do not see them.

use crate::base::{
    Frame, FrameId, FrameKind, KTime, Nanos, Pid, ProcId, ReasonId, StackId, TaskId, Visibility,
    WaitClass,
};
use crate::stream::{
    BuildInfo, Call, EndHow, GcCycle, Input, LookOutcome, LookSeq, Loss, LossKind, Mode, PodInfo,
    ProcessDef, Processors, SchedulerState, Stop, Vitals,
};

use super::super::bytes::{Put as _, Take};
use super::super::error::Malformed;
use super::Sort;

/// Most frames of one stack. Go itself shows 100; a reader lets a file claim no more than this.
const MAX_FRAMES: usize = 1 << 16;

/// Appends the row of an input. Events and tasks of snapshots have columns and no rows.
pub fn write(input: &Input, out: &mut Vec<u8>) {
    let mut row = Vec::with_capacity(64);
    fields(input, &mut row);
    out.number(row.len() as u64);
    out.extend_from_slice(&row);
}

fn fields(input: &Input, row: &mut Vec<u8>) {
    match input {
        Input::ProcessDef(def) => process(def, row),
        Input::ProcessEnd { process, at, how } => {
            row.number(u64::from(process.0));
            row.number(at.0);
            row.push(end_number(*how));
        }
        Input::NameDef { id, frame } => {
            row.number(u64::from(id.0));
            row.word(&frame.function);
            row.word(&frame.file);
            row.number(u64::from(frame.line));
            let inlined = u8::from(frame.kind == FrameKind::Inlined);
            let hidden = u8::from(frame.visibility == Visibility::Hidden);
            row.push(inlined | hidden << 1);
        }
        Input::StackDef { id, frames } => {
            row.number(u64::from(id.0));
            row.number(frames.len() as u64);
            let mut last = 0;
            for frame in frames {
                row.step(last, u64::from(frame.0));
                last = u64::from(frame.0);
            }
        }
        Input::ReasonDef { id, class, word } => {
            row.number(u64::from(id.0));
            row.push(class_number(*class));
            row.word(word);
        }
        Input::SnapshotBegin { process, look, t0 } => {
            row.number(u64::from(process.0));
            row.number(u64::from(look.0));
            row.number(t0.0);
        }
        Input::SnapshotEnd { process, look, t1, outcome } => {
            row.number(u64::from(process.0));
            row.number(u64::from(look.0));
            row.number(t1.0);
            for n in outcome_numbers(outcome) {
                row.number(n);
            }
            let Vitals { stopped, cpu, throttled, queued, scheduler } = outcome.vitals;
            row.push(stopped.map_or(0, stop_number));
            row.maybe_number(cpu.map(|n| n.0));
            row.maybe_number(throttled.map(|n| n.0));
            row.maybe_number(queued.map(|n| n.0));
            put_scheduler(scheduler, row);
        }
        Input::Loss(loss) => {
            row.number(loss.process.map_or(0, |p| u64::from(p.0) + 1));
            row.push(loss_number(loss.kind));
            row.number(loss.count);
            row.number(loss.since.0);
            row.number(loss.until.0);
        }
        Input::ModeChange { process, at, mode, why } => {
            row.number(u64::from(process.0));
            row.number(at.0);
            row.push(mode_number(*mode));
            row.word(why);
        }
        Input::Memory { process, at, rss_bytes, limit_bytes } => {
            row.number(u64::from(process.0));
            row.number(at.0);
            row.number(*rss_bytes);
            row.maybe_number(*limit_bytes);
        }
        Input::GcCycle { process, at, cycle } => {
            row.number(u64::from(process.0));
            row.number(at.0);
            put_cycle(cycle, row);
        }
        Input::Call(call) => put_call(call, row),
        Input::ClockAnchor { mono, wall_ns } => {
            row.number(mono.0);
            row.signed(*wall_ns);
        }
        Input::Tick(at) => row.number(at.0),
        Input::Event(_) | Input::SnapshotTask(_) => {}
    }
}

fn process(def: &ProcessDef, row: &mut Vec<u8>) {
    row.number(u64::from(def.process.0));
    row.number(u64::from(def.pid.0));
    row.number(def.start_ticks);
    row.number(def.at.0);
    row.word(&def.exe);
    row.word(&def.runtime);
    row.word(&def.runtime_version);
    let BuildInfo { path, module, version, build_id, settings } = &def.build;
    for part in [path, module, version, build_id] {
        row.maybe_word(part.as_deref());
    }
    row.number(settings.len() as u64);
    for (key, value) in settings {
        row.word(key);
        row.word(value);
    }
    row.maybe_word(def.container.as_deref());
    row.number(def.degraded.len() as u64);
    def.degraded.iter().for_each(|reason| row.word(reason));
    row.push(u8::from(def.pod.is_some()));
    if let Some(PodInfo { uid, name, namespace, container }) = &def.pod {
        for part in [uid, name, namespace, container] {
            row.maybe_word(part.as_deref());
        }
    }
}

/// Takes the next row of a sort.
pub fn read(sort: Sort, rows: &mut Take<'_>) -> Result<Input, Malformed> {
    let len = rows.narrow()?;
    let mut row = Take(rows.bytes(len)?);
    let row = &mut row;
    Ok(match sort {
        Sort::ProcessDef => Input::ProcessDef(Box::new(read_process(row)?)),
        Sort::ProcessEnd => {
            Input::ProcessEnd { process: proc(row)?, at: time(row)?, how: read_end(row)? }
        }
        Sort::NameDef => Input::NameDef { id: FrameId(row.narrow()?), frame: read_frame(row)? },
        Sort::StackDef => Input::StackDef { id: StackId(row.narrow()?), frames: read_stack(row)? },
        Sort::ReasonDef => Input::ReasonDef {
            id: ReasonId(row.narrow()?),
            class: read_class(row)?,
            word: row.word()?.into(),
        },
        Sort::SnapshotBegin => Input::SnapshotBegin {
            process: proc(row)?,
            look: LookSeq(row.narrow()?),
            t0: time(row)?,
        },
        Sort::SnapshotEnd => Input::SnapshotEnd {
            process: proc(row)?,
            look: LookSeq(row.narrow()?),
            t1: time(row)?,
            outcome: read_outcome(row)?,
        },
        Sort::Loss => Input::Loss(read_loss(row)?),
        Sort::ModeChange => Input::ModeChange {
            process: proc(row)?,
            at: time(row)?,
            mode: read_mode(row)?,
            why: row.word()?.into(),
        },
        Sort::Memory => Input::Memory {
            process: proc(row)?,
            at: time(row)?,
            rss_bytes: row.number()?,
            limit_bytes: row.maybe_number()?,
        },
        Sort::GcCycle => {
            Input::GcCycle { process: proc(row)?, at: time(row)?, cycle: read_cycle(row)? }
        }
        Sort::Call => Input::Call(Box::new(read_call(row)?)),
        Sort::ClockAnchor => Input::ClockAnchor { mono: time(row)?, wall_ns: row.signed()? },
        Sort::Tick => Input::Tick(time(row)?),
        Sort::Event | Sort::SnapshotTask => return Err(Malformed("a row of what has columns")),
    })
}

/// A field that was added at the end of a row later on: None where it is not there yet.
fn later<'a, T>(
    row: &mut Take<'a>,
    read: impl FnOnce(&mut Take<'a>) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    if row.left() == 0 { Ok(None) } else { read(row).map(Some) }
}

/// The stop, then how long after the one before each of the others came, while they had come.
fn put_cycle(cycle: &GcCycle, row: &mut Vec<u8>) {
    let GcCycle { stop, mark, mark_end, end } = *cycle;
    row.number(stop.0);
    let mut last = stop;
    for at in [mark, mark_end, end] {
        row.maybe_number(at.map(|at| at.since(last).0));
        last = at.unwrap_or(last);
    }
}

fn read_cycle(row: &mut Take<'_>) -> Result<GcCycle, Malformed> {
    const LATE: Malformed = Malformed("a collection that ends beyond all time");
    let stop = time(row)?;
    let mut last = stop;
    let mut next = || -> Result<Option<KTime>, Malformed> {
        let Some(after) = row.maybe_number()? else { return Ok(None) };
        last = KTime(last.0.checked_add(after).ok_or(LATE)?);
        Ok(Some(last))
    };
    Ok(GcCycle { stop, mark: next()?, mark_end: next()?, end: next()? })
}

/// Of which thread, when it began, how long it took, what, and how it ended.
fn put_call(call: &Call, row: &mut Vec<u8>) {
    row.number(u64::from(call.process.0));
    row.number(call.task.number);
    row.number(call.began.0);
    row.number(call.at.since(call.began).0);
    row.signed(i64::from(call.number));
    call.arguments.iter().for_each(|argument| row.number(*argument));
    row.signed(call.result);
    row.number(u64::from(call.slept));
}

fn read_call(row: &mut Take<'_>) -> Result<Call, Malformed> {
    const LATE: Malformed = Malformed("a system call that returns beyond all time");
    const NUMBER: Malformed = Malformed("a number that no system call has");
    let process = proc(row)?;
    let task = TaskId::thread(row.narrow()?);
    let began = time(row)?;
    let at = KTime(began.0.checked_add(row.number()?).ok_or(LATE)?);
    let number = i32::try_from(row.signed()?).map_err(|_| NUMBER)?;
    let mut arguments = [0; 6];
    for argument in &mut arguments {
        *argument = row.number()?;
    }
    let result = row.signed()?;
    Ok(Call { process, task, began, at, number, arguments, result, slept: row.narrow()? })
}

fn proc(row: &mut Take<'_>) -> Result<ProcId, Malformed> {
    row.narrow().map(ProcId)
}

fn time(row: &mut Take<'_>) -> Result<KTime, Malformed> {
    row.number().map(KTime)
}

fn read_frame(row: &mut Take<'_>) -> Result<Frame, Malformed> {
    let (function, file) = (row.word()?.into(), row.word()?.into());
    let line = row.narrow()?;
    let flags = row.byte()?;
    let kind = if flags & 1 == 0 { FrameKind::Call } else { FrameKind::Inlined };
    let visibility = if flags & 2 == 0 { Visibility::Shown } else { Visibility::Hidden };
    Ok(Frame { function, file, line, kind, visibility })
}

fn read_stack(row: &mut Take<'_>) -> Result<Box<[FrameId]>, Malformed> {
    let n = row.count()?;
    if n > MAX_FRAMES {
        return Err(Malformed("a stack of too many frames"));
    }
    let mut frames = Vec::with_capacity(n);
    let mut last = 0;
    for _ in 0..n {
        last = row.step(last)?;
        frames.push(FrameId(u32::try_from(last).map_err(|_| Malformed("no such frame"))?));
    }
    Ok(frames.into())
}

fn read_process(row: &mut Take<'_>) -> Result<ProcessDef, Malformed> {
    let (process, pid) = (proc(row)?, Pid(row.narrow()?));
    let (start_ticks, at) = (row.number()?, time(row)?);
    let (exe, runtime, runtime_version) =
        (row.word()?.into(), row.word()?.into(), row.word()?.into());
    let mut part = || Ok(row.maybe_word()?.map(Into::into));
    let (path, module, version, build_id) = (part()?, part()?, part()?, part()?);
    let mut settings = Vec::new();
    for _ in 0..row.count()? {
        settings.push((row.word()?.into(), row.word()?.into()));
    }
    let container = row.maybe_word()?.map(Into::into);
    let mut degraded = Vec::new();
    for _ in 0..row.count()? {
        degraded.push(row.word()?.into());
    }
    let build = BuildInfo { path, module, version, build_id, settings };
    let degraded = degraded.into();
    let pod = later(row, read_pod)?.flatten();
    let def = ProcessDef {
        process,
        pid,
        start_ticks,
        at,
        exe,
        runtime,
        runtime_version,
        build,
        container,
        pod,
        degraded,
    };
    Ok(def)
}

fn read_pod(row: &mut Take<'_>) -> Result<Option<PodInfo>, Malformed> {
    if row.byte()? == 0 {
        return Ok(None);
    }
    let mut part = || Ok(row.maybe_word()?.map(Into::into));
    let (uid, name, namespace, container) = (part()?, part()?, part()?, part()?);
    Ok(Some(PodInfo { uid, name, namespace, container }))
}

fn read_loss(row: &mut Take<'_>) -> Result<Loss, Malformed> {
    let process = match row.number()? {
        0 => None,
        n => Some(ProcId(u32::try_from(n - 1).map_err(|_| Malformed("no such process"))?)),
    };
    let number = row.byte()?;
    let kind = LossKind::ALL.into_iter().find(|&kind| loss_number(kind) == number);
    let kind = kind.ok_or(Malformed("a loss of an unknown kind"))?;
    Ok(Loss { process, kind, count: row.number()?, since: time(row)?, until: time(row)? })
}

const fn outcome_numbers(outcome: &LookOutcome) -> [u64; 8] {
    let LookOutcome {
        listed,
        read,
        unreadable,
        reread,
        unsettled,
        truncated,
        took,
        bytes,
        vitals: _,
    } = *outcome;
    [listed, read, unreadable, reread, unsettled, truncated, took.0, bytes]
}

fn read_outcome(row: &mut Take<'_>) -> Result<LookOutcome, Malformed> {
    Ok(LookOutcome {
        listed: row.number()?,
        read: row.number()?,
        unreadable: row.number()?,
        reread: row.number()?,
        unsettled: row.number()?,
        truncated: row.number()?,
        took: Nanos(row.number()?),
        bytes: row.number()?,
        vitals: Vitals {
            stopped: read_stop(row.byte()?),
            cpu: row.maybe_number()?.map(Nanos),
            throttled: row.maybe_number()?.map(Nanos),
            queued: later(row, Take::maybe_number)?.flatten().map(Nanos),
            scheduler: later(row, take_scheduler)?.flatten(),
        },
    })
}

/// How many numbers follow, so that a later version may add some; then those.
fn put_scheduler(scheduler: Option<SchedulerState>, row: &mut Vec<u8>) {
    let Some(state) = scheduler else {
        row.push(0);
        return;
    };
    let Processors { idle, running, syscall, stopped } = state.processors;
    let numbers = [
        idle,
        running,
        syscall,
        stopped,
        state.threads,
        state.threads_idle,
        state.threads_spinning,
        state.global_queue,
        state.local_queues,
        state.longest_local_queue,
    ];
    row.push(numbers.len() as u8);
    for n in numbers {
        row.number(n.into());
    }
}

fn take_scheduler(row: &mut Take<'_>) -> Result<Option<SchedulerState>, Malformed> {
    let count = row.byte()?;
    if count == 0 {
        return Ok(None);
    }
    let mut numbers = [0u32; 10];
    for n in &mut numbers {
        *n = row.narrow()?;
    }
    for _ in numbers.len()..usize::from(count) {
        row.number()?;
    }
    let [idle, running, syscall, stopped, threads, threads_idle, threads_spinning, queues @ ..] =
        numbers;
    let [global_queue, local_queues, longest_local_queue] = queues;
    Ok(Some(SchedulerState {
        processors: Processors { idle, running, syscall, stopped },
        threads,
        threads_idle,
        threads_spinning,
        global_queue,
        local_queues,
        longest_local_queue,
    }))
}

const fn stop_number(stop: Stop) -> u8 {
    match stop {
        Stop::Signal => 1,
        Stop::Tracer => 2,
        Stop::Frozen => 3,
    }
}

const fn read_stop(number: u8) -> Option<Stop> {
    match number {
        1 => Some(Stop::Signal),
        2 => Some(Stop::Tracer),
        3 => Some(Stop::Frozen),
        _ => None,
    }
}

/// The numbers of words are the format's, and no other's.
const fn end_number(how: EndHow) -> u8 {
    match how {
        EndHow::Exit => 0,
        EndHow::Exec => 1,
        EndHow::Detached => 2,
    }
}

fn read_end(row: &mut Take<'_>) -> Result<EndHow, Malformed> {
    Ok(match row.byte()? {
        0 => EndHow::Exit,
        1 => EndHow::Exec,
        2 => EndHow::Detached,
        _ => return Err(Malformed("an unknown end of a process")),
    })
}

const fn mode_number(mode: Mode) -> u8 {
    match mode {
        Mode::None => 0,
        Mode::Lifecycle => 1,
        Mode::All => 2,
    }
}

fn read_mode(row: &mut Take<'_>) -> Result<Mode, Malformed> {
    Ok(match row.byte()? {
        0 => Mode::None,
        1 => Mode::Lifecycle,
        2 => Mode::All,
        _ => return Err(Malformed("an unknown mode")),
    })
}

const fn loss_number(kind: LossKind) -> u8 {
    match kind {
        LossKind::RingFull => 0,
        LossKind::MapFull => 1,
        LossKind::UserRead => 2,
        LossKind::Recursion => 3,
        LossKind::Malformed => 4,
        LossKind::Recording => 5,
    }
}

const CLASSES: [WaitClass; 11] = [
    WaitClass::ChanSend,
    WaitClass::ChanReceive,
    WaitClass::Select,
    WaitClass::Never,
    WaitClass::Lock,
    WaitClass::Group,
    WaitClass::Io,
    WaitClass::Sleep,
    WaitClass::Coroutine,
    WaitClass::Runtime,
    WaitClass::Other,
];

const fn class_number(class: WaitClass) -> u8 {
    match class {
        WaitClass::ChanSend => 0,
        WaitClass::ChanReceive => 1,
        WaitClass::Select => 2,
        WaitClass::Never => 3,
        WaitClass::Lock => 4,
        WaitClass::Group => 5,
        WaitClass::Io => 6,
        WaitClass::Sleep => 7,
        WaitClass::Coroutine => 8,
        WaitClass::Runtime => 9,
        WaitClass::Other => 10,
    }
}

/// A class that a later version added is one this version does not class.
fn read_class(row: &mut Take<'_>) -> Result<WaitClass, Malformed> {
    Ok(CLASSES.get(usize::from(row.byte()?)).copied().unwrap_or(WaitClass::Other))
}
