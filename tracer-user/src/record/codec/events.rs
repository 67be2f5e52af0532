//! Events as columns. Most of what an event says can be foretold from what the same thread did
//! before: who parks is who ran there, who wakes others too, who runs next was often just made
//! runnable there. Writer and reader keep the same [`Context`], so that what came as foretold
//! takes a bit.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::base::{FrameId, KTime, ProcId, ReasonId, RunSeq, TaskId, TaskKind, Tid};
use crate::stream::{Event, EventKind, Waker};

use super::super::bytes::{Put as _, Take};
use super::super::error::Malformed;

/// Columns, in their order in the section.
const TAG: usize = 0;
const TIME: usize = 1;
const THREAD: usize = 2;
const TASK: usize = 3;
const OTHER: usize = 4;
const FRESH: usize = 5;
const REASON: usize = 6;
const SEQ: usize = 7;
const SITE: usize = 8;
const MORE: usize = 9;
const COLUMNS: usize = 10;

/// A tag: the kind of event in four bits, then what came as foretold.
const KIND: u8 = 0x0f;
const TASK_FORETOLD: u8 = 0x10;
const OTHER_FORETOLD: u8 = 0x20;
const SAME_THREAD: u8 = 0x40;
const SAME_REASON: u8 = 0x80;

const BIRTH: u8 = 0;
const DEATH: u8 = 1;
const PARK: u8 = 2;
const RUN: u8 = 3;
const READY: u8 = 4;
const WAITED: u8 = 5;
const FORK: u8 = 6;
const EXEC: u8 = 7;
const EXIT: u8 = 8;

/// A reference in the columns TASK and OTHER: none, one that is new, or how far back in the
/// order of first mention.
const NO_TASK: u64 = 0;
const NEW_TASK: u64 = 1;

/// An index into the tasks of a frame.
type Index = u32;

#[derive(Clone, Copy, Debug)]
struct Thread {
    process: ProcId,
    tid: Tid,
    /// Who runs there.
    current: Option<Index>,
    /// Who was made runnable there last, or born.
    readied: Option<Index>,
    /// The number of who was born there last.
    last_born: u64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    id: TaskId,
    seq: u8,
    reason: ReasonId,
    /// Whom it woke last.
    woke: Option<Index>,
}

/// What a frame has told so far.
#[derive(Default, Debug)]
struct Context {
    threads: Vec<Thread>,
    tasks: Vec<Known>,
    sites: Vec<(FrameId, FrameId)>,
    /// The thread of the last event.
    thread: usize,
    time: u64,
    /// The number of the last task that was new.
    number: u64,
}

impl Context {
    fn clear(&mut self) {
        self.threads.clear();
        self.tasks.clear();
        self.sites.clear();
        (self.thread, self.time, self.number) = (0, 0, 0);
    }

    fn thread(&self) -> Result<&Thread, Malformed> {
        self.threads.get(self.thread).ok_or(Malformed("an event of no thread"))
    }

    fn new_thread(&mut self, process: ProcId, tid: Tid) -> usize {
        self.threads.push(Thread { process, tid, current: None, readied: None, last_born: 0 });
        self.threads.len() - 1
    }

    fn new_task(&mut self, id: TaskId) -> Index {
        self.number = id.number;
        self.tasks.push(Known { id, seq: 0, reason: ReasonId::UNKNOWN, woke: None });
        (self.tasks.len() - 1) as Index
    }

    fn task(&self, index: Index) -> Result<&Known, Malformed> {
        self.tasks.get(index as usize).ok_or(Malformed("an event of no task"))
    }

    /// Whom an event is likely about; `other` is who did it.
    fn foretold(&self, kind: u8, thread: &Thread, other: Option<Index>) -> Option<Index> {
        match kind {
            DEATH | PARK | WAITED => thread.current,
            RUN => thread.readied,
            READY => self.tasks.get(other? as usize)?.woke,
            _ => None,
        }
    }

    /// Takes in what an event said, for what it foretells.
    fn after(&mut self, kind: u8, task: Option<Index>, other: Option<Index>) {
        let number = task.and_then(|i| self.tasks.get(i as usize)).map_or(0, |t| t.id.number);
        let Some(thread) = self.threads.get_mut(self.thread) else { return };
        match kind {
            BIRTH => (thread.readied, thread.last_born) = (task, number),
            READY => thread.readied = task,
            RUN | WAITED => {
                thread.current = task;
                if thread.readied == task {
                    thread.readied = None;
                }
            }
            DEATH | PARK => thread.current = None,
            _ => {}
        }
        if kind == READY
            && let Some(waker) = other.and_then(|i| self.tasks.get_mut(i as usize))
        {
            waker.woke = task;
        }
    }
}

/// What a fresh task born on a thread is likely numbered: the runtime gives each processor a row
/// of numbers.
const fn next_born(thread: &Thread) -> TaskId {
    TaskId::goroutine(thread.last_born.wrapping_add(1))
}

/// Events on their way into columns.
#[derive(Default)]
pub struct EventWriter {
    columns: [Vec<u8>; COLUMNS],
    context: Context,
    threads: HashMap<(ProcId, Tid), usize, RandomState>,
    tasks: HashMap<(ProcId, TaskId), Index, RandomState>,
    sites: HashMap<(FrameId, FrameId), usize, RandomState>,
}

impl EventWriter {
    pub fn clear(&mut self) {
        self.columns.iter_mut().for_each(Vec::clear);
        self.context.clear();
        self.threads.clear();
        self.tasks.clear();
        self.sites.clear();
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

    /// Adds an event.
    pub fn add(&mut self, event: &Event) {
        let mut tag = self.thread(event.process, event.tid);
        let [_, time, ..] = &mut self.columns;
        time.step(self.context.time, event.at.0);
        self.context.time = event.at.0;
        match event.kind {
            EventKind::Birth { task, parent, spawn_site, start } => {
                let other = self.other(event.process, parent, &mut tag);
                let born = self.born(event.process, task, &mut tag);
                self.site((spawn_site, start));
                self.end(tag | BIRTH, Some(born), other);
            }
            EventKind::Death { task } => self.plain(event, DEATH, task, tag),
            EventKind::Run { task } => self.plain(event, RUN, task, tag),
            EventKind::Park { task, reason, run_seq } => {
                let task = self.subject(event.process, PARK, task, None, &mut tag);
                self.reason(task, reason, run_seq, &mut tag);
                self.end(tag | PARK, Some(task), None);
            }
            EventKind::Ready { task, waker } => {
                let other = self.other(event.process, woken_by(waker), &mut tag);
                let task = self.subject(event.process, READY, task, other, &mut tag);
                self.end(tag | READY, Some(task), other);
            }
            EventKind::Waited { task, parked, ready, waker, reason, run_seq } => {
                let other = self.other(event.process, woken_by(waker), &mut tag);
                let task = self.subject(event.process, WAITED, task, other, &mut tag);
                self.reason(task, reason, run_seq, &mut tag);
                let [.., more] = &mut self.columns;
                more.step(event.at.0, parked.0);
                more.push(u8::from(ready.is_some()));
                if let Some(ready) = ready {
                    more.step(parked.0, ready.0);
                }
                self.end(tag | WAITED, Some(task), other);
            }
            EventKind::Fork => self.end(tag | FORK, None, None),
            EventKind::Exec => self.end(tag | EXEC, None, None),
            EventKind::Exit { code } => {
                let [.., more] = &mut self.columns;
                more.number(u64::from(code));
                self.end(tag | EXIT, None, None);
            }
        }
    }

    fn plain(&mut self, event: &Event, kind: u8, task: TaskId, mut tag: u8) {
        let task = self.subject(event.process, kind, task, None, &mut tag);
        self.end(tag | kind, Some(task), None);
    }

    fn end(&mut self, tag: u8, task: Option<Index>, other: Option<Index>) {
        let [tags, ..] = &mut self.columns;
        tags.push(tag);
        self.context.after(tag & KIND, task, other);
    }

    fn column(&mut self, column: usize) -> &mut Vec<u8> {
        // Every column there is a name for exists.
        let index = column.min(COLUMNS - 1);
        &mut self.columns[index]
    }

    fn thread(&mut self, process: ProcId, tid: Tid) -> u8 {
        if self.context.thread().is_ok_and(|t| (t.process, t.tid) == (process, tid)) {
            return SAME_THREAD;
        }
        if let Some(&known) = self.threads.get(&(process, tid)) {
            self.context.thread = known;
            self.column(THREAD).number(known as u64 + 1);
            return 0;
        }
        let new = self.context.new_thread(process, tid);
        self.context.thread = new;
        self.threads.insert((process, tid), new);
        self.column(THREAD).number(0);
        self.column(FRESH).number(u64::from(process.0));
        self.column(FRESH).number(u64::from(tid.0));
        0
    }

    fn current(&self) -> Option<Index> {
        self.context.thread().ok().and_then(|t| t.current)
    }

    /// Who did it: parent or waker.
    fn other(&mut self, process: ProcId, other: Option<TaskId>, tag: &mut u8) -> Option<Index> {
        let foretold = self.current();
        let known = foretold.and_then(|i| self.context.task(i).ok()).map(|t| t.id);
        if other == known {
            *tag |= OTHER_FORETOLD;
            return foretold;
        }
        let Some(other) = other else {
            self.column(OTHER).number(NO_TASK);
            return None;
        };
        Some(self.reference(OTHER, process, other))
    }

    /// Whom it is about.
    fn subject(
        &mut self,
        process: ProcId,
        kind: u8,
        task: TaskId,
        other: Option<Index>,
        tag: &mut u8,
    ) -> Index {
        let thread = self.context.thread().ok();
        let foretold = thread.and_then(|t| self.context.foretold(kind, t, other));
        if let Some(index) = foretold
            && self.context.task(index).is_ok_and(|t| t.id == task)
        {
            *tag |= TASK_FORETOLD;
            return index;
        }
        self.reference(TASK, process, task)
    }

    /// Who was born.
    fn born(&mut self, process: ProcId, task: TaskId, tag: &mut u8) -> Index {
        let foretold = self.context.thread().is_ok_and(|t| next_born(t) == task);
        if foretold && !self.tasks.contains_key(&(process, task)) {
            *tag |= TASK_FORETOLD;
            let index = self.context.new_task(task);
            self.tasks.insert((process, task), index);
            return index;
        }
        self.reference(TASK, process, task)
    }

    fn reference(&mut self, column: usize, process: ProcId, task: TaskId) -> Index {
        if let Some(&index) = self.tasks.get(&(process, task)) {
            let back = self.context.tasks.len() as u64 - u64::from(index);
            self.column(column).number(NEW_TASK + back);
            return index;
        }
        let last = self.context.number;
        let index = self.context.new_task(task);
        self.tasks.insert((process, task), index);
        self.column(column).number(NEW_TASK);
        let fresh = self.column(FRESH);
        fresh.push(kind_number(task.kind));
        fresh.step(last, task.number);
        index
    }

    fn reason(&mut self, task: Index, reason: ReasonId, seq: RunSeq, tag: &mut u8) {
        let Some(known) = self.context.tasks.get_mut(task as usize) else { return };
        let same = known.reason == reason;
        let step = seq.0.wrapping_sub(known.seq);
        (known.reason, known.seq) = (reason, seq.0);
        if same {
            *tag |= SAME_REASON;
        } else {
            self.column(REASON).number(u64::from(reason.0));
        }
        self.column(SEQ).push(step);
    }

    fn site(&mut self, site: (FrameId, FrameId)) {
        if let Some(&known) = self.sites.get(&site) {
            self.column(SITE).number(known as u64 + 1);
            return;
        }
        self.sites.insert(site, self.context.sites.len());
        self.context.sites.push(site);
        self.column(SITE).number(0);
        self.column(FRESH).number(u64::from(site.0.0));
        self.column(FRESH).number(u64::from(site.1.0));
    }
}

const fn woken_by(waker: Waker) -> Option<TaskId> {
    match waker {
        Waker::Task(id) => Some(id),
        Waker::Unknown => None,
    }
}

/// The number of a sort of task in the format.
pub const fn kind_number(kind: TaskKind) -> u8 {
    match kind {
        TaskKind::Goroutine => 0,
        TaskKind::Thread => 1,
    }
}

/// See [`kind_number`].
pub const fn task_kind(number: u8) -> Result<TaskKind, Malformed> {
    match number {
        0 => Ok(TaskKind::Goroutine),
        1 => Ok(TaskKind::Thread),
        _ => Err(Malformed("an unknown sort of task")),
    }
}

/// Events on their way out of columns.
pub struct EventReader<'a> {
    columns: [Take<'a>; COLUMNS],
    context: Context,
    left: u32,
}

impl<'a> EventReader<'a> {
    pub fn new(count: u32, columns: &[&'a [u8]]) -> Result<Self, Malformed> {
        let mut all = [Take::default(); COLUMNS];
        for (to, from) in all.iter_mut().zip(columns) {
            *to = Take(from);
        }
        if all[TAG].left() != count as usize {
            return Err(Malformed("events and tags do not agree"));
        }
        Ok(Self { columns: all, context: Context::default(), left: count })
    }

    pub const fn left(&self) -> u32 {
        self.left
    }

    /// The next event.
    pub fn next(&mut self) -> Result<Event, Malformed> {
        self.left = self.left.checked_sub(1).ok_or(Malformed("a run without its events"))?;
        let tag = self.columns[TAG].byte()?;
        if tag & SAME_THREAD == 0 {
            self.thread()?;
        }
        let (process, tid) = self.context.thread().map(|t| (t.process, t.tid))?;
        let time = self.columns[TIME].step(self.context.time)?;
        self.context.time = time;
        let at = KTime(time);
        let (kind, task, other) = self.kind(tag, at)?;
        self.context.after(tag & KIND, task, other);
        Ok(Event { process, at, tid, kind })
    }

    fn kind(
        &mut self,
        tag: u8,
        at: KTime,
    ) -> Result<(EventKind, Option<Index>, Option<Index>), Malformed> {
        let number = tag & KIND;
        let other = match number {
            BIRTH | READY | WAITED => self.other(tag)?,
            _ => None,
        };
        let task = match number {
            BIRTH => Some(self.born(tag)?),
            DEATH | PARK | RUN | READY | WAITED => Some(self.subject(tag, other)?),
            _ => None,
        };
        let id = |index: Option<Index>| match index {
            Some(index) => self.context.task(index).map(|t| Some(t.id)),
            None => Ok(None),
        };
        let doer = id(other)?;
        let waker = doer.map_or(Waker::Unknown, Waker::Task);
        let subject = id(task)?;
        let kind = match (number, subject, task) {
            (BIRTH, Some(task), _) => {
                let (spawn_site, start) = self.site()?;
                EventKind::Birth { task, parent: doer, spawn_site, start }
            }
            (DEATH, Some(task), _) => EventKind::Death { task },
            (RUN, Some(task), _) => EventKind::Run { task },
            (READY, Some(task), _) => EventKind::Ready { task, waker },
            (PARK, Some(task), Some(index)) => {
                let (reason, run_seq) = self.reason(tag, index)?;
                EventKind::Park { task, reason, run_seq }
            }
            (WAITED, Some(task), Some(index)) => {
                let (reason, run_seq) = self.reason(tag, index)?;
                let more = &mut self.columns[MORE];
                let parked = KTime(more.step(at.0)?);
                let ready = match more.byte()? {
                    0 => None,
                    1 => Some(KTime(more.step(parked.0)?)),
                    _ => return Err(Malformed("neither there nor not there")),
                };
                EventKind::Waited { task, parked, ready, waker, reason, run_seq }
            }
            (FORK, ..) => EventKind::Fork,
            (EXEC, ..) => EventKind::Exec,
            (EXIT, ..) => EventKind::Exit { code: self.columns[MORE].narrow()? },
            _ => return Err(Malformed("an event of an unknown kind")),
        };
        Ok((kind, task, other))
    }

    fn thread(&mut self) -> Result<(), Malformed> {
        self.context.thread = match self.columns[THREAD].number()? {
            0 => {
                let process = ProcId(self.columns[FRESH].narrow()?);
                let tid = Tid(self.columns[FRESH].narrow()?);
                self.context.new_thread(process, tid)
            }
            n => usize::try_from(n - 1).map_err(|_| Malformed("an event of no thread"))?,
        };
        Ok(())
    }

    fn other(&mut self, tag: u8) -> Result<Option<Index>, Malformed> {
        if tag & OTHER_FORETOLD != 0 {
            return Ok(self.context.thread()?.current);
        }
        self.reference(OTHER)
    }

    fn subject(&mut self, tag: u8, other: Option<Index>) -> Result<Index, Malformed> {
        const NOBODY: Malformed = Malformed("an event about nobody");
        if tag & TASK_FORETOLD != 0 {
            let thread = self.context.thread()?;
            return self.context.foretold(tag & KIND, thread, other).ok_or(NOBODY);
        }
        self.reference(TASK)?.ok_or(NOBODY)
    }

    fn born(&mut self, tag: u8) -> Result<Index, Malformed> {
        if tag & TASK_FORETOLD != 0 {
            let id = next_born(self.context.thread()?);
            return Ok(self.context.new_task(id));
        }
        self.reference(TASK)?.ok_or(Malformed("a birth of nobody"))
    }

    fn reference(&mut self, column: usize) -> Result<Option<Index>, Malformed> {
        let number = self.columns.get_mut(column).map_or(Ok(NO_TASK), Take::number)?;
        match number {
            NO_TASK => Ok(None),
            NEW_TASK => {
                let fresh = &mut self.columns[FRESH];
                let kind = task_kind(fresh.byte()?)?;
                let number = fresh.step(self.context.number)?;
                Ok(Some(self.context.new_task(TaskId { kind, number })))
            }
            n => {
                let index = (self.context.tasks.len() as u64).checked_sub(n - NEW_TASK);
                let index = index.and_then(|i| Index::try_from(i).ok());
                index.map(Some).ok_or(Malformed("an event of no task"))
            }
        }
    }

    fn reason(&mut self, tag: u8, task: Index) -> Result<(ReasonId, RunSeq), Malformed> {
        let fresh = match tag & SAME_REASON {
            0 => Some(ReasonId(self.columns[REASON].narrow()?)),
            _ => None,
        };
        let step = self.columns[SEQ].byte()?;
        let known = self.context.tasks.get_mut(task as usize);
        let known = known.ok_or(Malformed("an event of no task"))?;
        known.reason = fresh.unwrap_or(known.reason);
        known.seq = known.seq.wrapping_add(step);
        Ok((known.reason, RunSeq(known.seq)))
    }

    fn site(&mut self) -> Result<(FrameId, FrameId), Malformed> {
        match self.columns[SITE].number()? {
            0 => {
                let fresh = &mut self.columns[FRESH];
                let site = (FrameId(fresh.narrow()?), FrameId(fresh.narrow()?));
                self.context.sites.push(site);
                Ok(site)
            }
            n => {
                let index = usize::try_from(n - 1).map_err(|_| Malformed("no such site"))?;
                self.context.sites.get(index).copied().ok_or(Malformed("no such site"))
            }
        }
    }
}
