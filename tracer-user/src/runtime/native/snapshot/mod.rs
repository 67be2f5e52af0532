//! All threads of a process, read from `/proc` and out of its memory while it runs: no pause, no
//! ptrace, no probe.
//!
//! A thread is read between two readings of how often it came onto a processor: if it did
//! meanwhile, it is read again, and after [`ATTEMPTS`] readings told without what could belong to
//! two moments. Its mark ([`crate::stream::RunMark`]) has the lowest byte of how often it went to
//! sleep (`nvcsw` of the kernel), as events have. A thread that ends while it is read is no error.

mod files;
mod holders;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use crate::base::{
    FrameId, KTime, LIBRARY_LABEL, Pid, ProcId, ReasonId, Registers, RunSeq, StackId, TaskId,
    TaskState, Tid, WaitClass,
};
use crate::stream::{
    FutexKind, FutexOf, FutexState, Holder, Input, LookOutcome, LookSeq, RunMark, TaskLook, WaitsOn,
};
use crate::symbolize::native::{GO, NativeSymbolizer};
use crate::symbolize::{SharedInterner, StackPc};
use crate::target::{
    Doing, Maps, ReadError, ReadMem, TargetError, ThreadIds, ThreadNow, Threads, VitalsReader,
};

use super::futex::{self, Around, FutexCall, Waiter};
use super::managed::{Managed, Sleeper};
use super::naming::{self, Told};
use super::syscalls::{self, Subject, SyscallWait, number};
use super::unwind::{StackCopy, StackWalker};
use files::{Asked, Files};
use holders::{Places, Stack};

/// How often a thread is read that does not stand still.
const ATTEMPTS: usize = 3;
/// Threads that are read to learn what code there is: those of a pool stand in the same.
const WARMING: usize = 128;
/// The label under which a thread's name is told.
const NAME: &str = "thread";

/// Why a look failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The process cannot be read any more.
    #[error("the threads could not be listed: {0}")]
    Target(#[from] TargetError),
    /// Its memory cannot be read.
    #[error("the threads could not be read: {0}")]
    Read(#[from] ReadError),
}

/// Reads the registers of all threads of a process at once.
pub trait ReadRegisters: Send {
    /// The registers of each thread as of now, in no order; empty where that cannot be done.
    fn read(&mut self) -> Vec<Registers>;
}

/// What a look needs besides the memory.
pub struct LookContext<'a> {
    /// Its number.
    pub look: LookSeq,
    /// CLOCK_MONOTONIC.
    pub clock: &'a dyn Fn() -> KTime,
    /// Names that are known already, and new ones. Definitions of new ones are left in it.
    pub interner: &'a SharedInterner,
    /// Takes what is found, in order.
    pub sink: &'a mut dyn FnMut(Input),
}

/// Takes looks at the threads of one process.
pub struct ThreadSnapshotter {
    process: ProcId,
    pid: Pid,
    threads: Threads,
    ids: ThreadIds,
    vitals: VitalsReader,
    symbols: NativeSymbolizer,
    walker: StackWalker,
    managed: Managed,
    /// The name of the program's file.
    exe: String,
    registers: Option<Box<dyn ReadRegisters>>,
    is_warm: bool,
    /// The name of the program's file.
    program: Box<str>,
}

/// A thread as it was read, until all are.
struct Reading {
    look: TaskLook,
    /// Where its stack's innermost end is.
    sp: Option<u64>,
    /// Where the frames of the program's own code begin on it.
    own_from: Option<u64>,
    asked: Option<Asked>,
}

/// All threads of a look.
#[derive(Default)]
pub struct Found {
    readings: Vec<Reading>,
    outcome: LookOutcome,
}

/// One look under way.
struct Look<'a> {
    mem: &'a dyn ReadMem,
    maps: Maps,
    interner: &'a SharedInterner,
    /// By stack pointer, which no two threads have.
    registers: HashMap<u64, Registers, RandomState>,
    main_name: Box<str>,
    live: HashSet<Tid, RandomState>,
}

impl ThreadSnapshotter {
    /// Prepares looks at process `pid`, which has the number `process` here. Without `registers`
    /// stacks are walked from what `/proc` tells.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn new(
        process: ProcId,
        pid: Pid,
        symbols: NativeSymbolizer,
        registers: Option<Box<dyn ReadRegisters>>,
    ) -> Result<Self, TargetError> {
        Ok(Self {
            process,
            pid,
            threads: Threads::of(pid)?,
            ids: ThreadIds::of(pid),
            vitals: VitalsReader::new(pid),
            symbols,
            walker: StackWalker::default(),
            managed: Managed::default(),
            exe: crate::target::exe_link(pid)?
                .path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            registers,
            is_warm: false,
            program: program_name(pid),
        })
    }

    /// How many threads there are.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn count(&self) -> Result<u64, TargetError> {
        let (tids, left_out) = self.threads.list()?;
        Ok((tids.len() as u64).saturating_add(left_out))
    }

    /// Reads all threads and passes on what is found, as a look of its own.
    ///
    /// # Errors
    /// If the process cannot be read any more. What was passed on until then is a snapshot without
    /// its end.
    pub fn look(
        &mut self,
        mem: &dyn ReadMem,
        context: &mut LookContext<'_>,
    ) -> Result<LookOutcome, SnapshotError> {
        self.warm_up(mem, context.interner, context.clock)?;
        let began = (context.clock)();
        let (process, look) = (self.process, context.look);
        let found = self.read(mem, context.interner, context.clock)?;
        (context.sink)(Input::SnapshotBegin { process, look, t0: began });
        let vitals = crate::runtime::vitals::of(&self.vitals);
        let mut outcome = found.tell(context.sink);
        let t1 = (context.clock)();
        outcome.took = t1.since(began);
        outcome.vitals = vitals;
        (context.sink)(Input::SnapshotEnd { process, look, t1, outcome });
        Ok(outcome)
    }

    /// Reads what code the process has, before the first look: names and lines of a large program
    /// take some seconds, and a look is to be of one moment.
    ///
    /// # Errors
    /// As [`ThreadSnapshotter::read`].
    pub fn warm_up(
        &mut self,
        mem: &dyn ReadMem,
        interner: &SharedInterner,
        clock: &dyn Fn() -> KTime,
    ) -> Result<(), SnapshotError> {
        if !std::mem::replace(&mut self.is_warm, true) {
            self.read_most(WARMING, mem, interner, clock)?;
        }
        Ok(())
    }

    /// Reads all threads.
    ///
    /// # Errors
    /// If the process cannot be read any more.
    pub fn read(
        &mut self,
        mem: &dyn ReadMem,
        interner: &SharedInterner,
        clock: &dyn Fn() -> KTime,
    ) -> Result<Found, SnapshotError> {
        self.read_most(usize::MAX, mem, interner, clock)
    }

    /// As [`ThreadSnapshotter::read`], of no more threads than this, taken from all over the list.
    fn read_most(
        &mut self,
        most: usize,
        mem: &dyn ReadMem,
        interner: &SharedInterner,
        clock: &dyn Fn() -> KTime,
    ) -> Result<Found, SnapshotError> {
        let maps = Maps::of(self.pid)?;
        if self.symbols.refresh(self.pid, &maps, mem) {
            self.walker = StackWalker::new(self.symbols.modules());
            self.managed = Managed::of(self.symbols.modules(), mem);
        }
        let registers = self.registers.as_mut().map(|source| source.read()).unwrap_or_default();
        self.ids.refresh();
        let (tids, left_out) = self.threads.list()?;
        let main_name = self.threads.now(Tid(self.pid.0)).map(|now| now.name);
        let look = Look {
            mem,
            maps,
            interner,
            registers: registers.into_iter().map(|regs| (regs.sp, regs)).collect(),
            main_name: main_name.unwrap_or_default(),
            live: tids.iter().copied().collect(),
        };
        let mut found = Found::default();
        found.outcome.truncated = left_out;
        let step = tids.len().div_ceil(most.max(1)).max(1);
        for tid in tids.into_iter().step_by(step) {
            self.thread(&look, tid, clock, &mut found);
        }
        found.outcome.listed = (found.readings.len() as u64).saturating_add(left_out);
        found.outcome.read = found.readings.len() as u64;
        name_files(self.pid, &mut found.readings);
        self.name_monitors(&look, &mut found.readings);
        name_holders(self.pid, &look, &mut found.readings);
        Ok(found)
    }

    /// Reads a thread until it stood still meanwhile.
    fn thread(&mut self, look: &Look<'_>, tid: Tid, clock: &dyn Fn() -> KTime, found: &mut Found) {
        for attempt in 1..=ATTEMPTS {
            let t0 = clock();
            let Some(now) = self.threads.now(tid) else { return };
            let mut reading = self.reading(look, &now);
            let still = now.runs.is_some() && self.threads.runs(tid) == now.runs;
            reading.look.t0 = t0;
            reading.look.t1 = clock();
            let runs = now.doing == Doing::Runs;
            if still || runs || now.runs.is_none() {
                if !still {
                    reading.look.mark = None;
                }
                found.readings.push(reading);
                return;
            }
            if attempt < ATTEMPTS {
                found.outcome.reread = found.outcome.reread.saturating_add(1);
                continue;
            }
            found.outcome.unsettled = found.outcome.unsettled.saturating_add(1);
            reading.look.stack = StackId::EMPTY;
            reading.look.wait_site = FrameId::UNKNOWN;
            reading.look.waits_on = WaitsOn::Unknown;
            reading.look.mark = None;
            reading.asked = None;
            found.readings.push(reading);
        }
    }

    fn reading(&mut self, look: &Look<'_>, now: &ThreadNow) -> Reading {
        // The main thread has the program's name, which its file may not have (a link was started).
        let is_main = now.tid.0 == self.pid.0;
        let known_name = match is_main && !self.exe.starts_with(&*now.name) {
            true => "",
            false => &look.main_name,
        };
        let mut task = blank(now, known_name);
        let (registers, call) = match now.doing {
            Doing::InSyscall { number, arguments, sp, pc } => {
                // They were read at another moment: only of the same wait they are right.
                let known = look.registers.get(&sp).copied();
                let same = known.filter(|regs| regs.pc == pc);
                let bare = Registers { pc, sp, ..Registers::default() };
                (Some(same.unwrap_or(bare)), Some((number, arguments)))
            }
            Doing::Runs | Doing::Unknown => (None, None),
        };
        let mut sp = registers.map(|regs| regs.sp);
        let (mut asked, mut own_from) = (None, None);
        if let (Some(regs), Some((number, arguments))) = (registers, call) {
            let mut stack = StackCopy::new(look.mem, &look.maps, regs.sp);
            let is_code = |pc| look.maps.find(pc).is_some_and(|m| m.perms.execute);
            let walked = self.walker.walk(&regs, &is_code, &mut stack);
            let told = self.told(look, &walked.pcs);
            own_from = told.own.and_then(|nth| walked.sps.get(nth).copied());
            (task.stack, task.wait_site, task.start) = (told.stack, told.wait_site, told.start);
            task.system = told.is_runtime;
            if self.is_library(&told.module) {
                let label = (Box::from(LIBRARY_LABEL), Box::from(&*told.module));
                task.labels = task.labels.iter().cloned().chain([label]).collect();
            }
            task.stack_bytes = stack_bytes(&look.maps, regs.sp);
            let seq = RunSeq(now.sleeps as u8);
            task.mark = now.runs.map(|_| RunMark { seq, pc: regs.pc, sp: regs.sp });
            let wait = syscalls::wait(number, &arguments);
            let mut futex =
                self.futex(look, now.tid, (&wait, number, &arguments), &told, &mut stack);
            if let Some(futex) = &mut futex {
                self.refine(look, &regs, &mut stack, futex);
            }
            let (class, word) = match &futex {
                _ if let Some(lock) = naming::database_lock(&told.frames) => {
                    (WaitClass::Lock, lock.to_owned())
                }
                Some(futex) => reason(futex, &wait),
                None => (wait.class, wait.word.clone().into_owned()),
            };
            asked = files::asked(wait.subject, number, &arguments, look.mem);
            task.reason = look.interner.with(|names| names.reason(class, &word));
            task.waits_on = futex.map_or(WaitsOn::Unknown, |futex| WaitsOn::Futex(Box::new(futex)));
        } else if let (Doing::Unknown, Some(function)) = (now.doing, &now.sleeps_in) {
            task.reason = look.interner.with(|names| names.reason(WaitClass::Other, function));
            sp = None;
        }
        Reading { look: task, sp, own_from, asked }
    }

    /// Whether a file of code is neither the program nor Go code.
    fn is_library(&self, module: &str) -> bool {
        !module.is_empty() && module != GO && !self.program.is_empty() && module != &*self.program
    }

    fn told(&mut self, look: &Look<'_>, pcs: &[StackPc]) -> Told {
        look.interner.with(|names| naming::told(&mut self.symbols, pcs, names))
    }

    /// The futex a thread waits on, if it does.
    fn futex(
        &self,
        look: &Look<'_>,
        tid: Tid,
        (wait, number, arguments): (&SyscallWait, i64, &[u64; 6]),
        told: &Told,
        stack: &mut StackCopy<'_>,
    ) -> Option<FutexState> {
        if wait.subject != Subject::Futex {
            return None;
        }
        let call = match number {
            number::FUTEX_WAIT => FutexCall::of_futex_wait(arguments),
            _ => FutexCall::of_futex(arguments),
        };
        let around = around(look, call.address);
        let own: Vec<u64> = stack.words(futex::OWN_STACK as u64 * 8).collect();
        let thread =
            |theirs: u32| self.ids.ours(theirs.into()).filter(|tid| look.live.contains(tid));
        let byte = |address| {
            let mut byte = [0];
            look.mem.read(address, &mut byte).ok().map(|()| byte[0])
        };
        Some(futex::recognise(&Waiter {
            tid,
            call,
            frames: &told.frames,
            around: &around,
            stack: &own,
            thread: &thread,
            byte: &byte,
        }))
    }
}

/// Words of a thread's own stack in which an interpreter's lock is looked for.
const LOCK_STACK: u64 = 512 * 8;

impl ThreadSnapshotter {
    /// What an interpreter knows more of a futex.
    fn refine(
        &self,
        look: &Look<'_>,
        regs: &Registers,
        stack: &mut StackCopy<'_>,
        futex: &mut FutexState,
    ) {
        if !self.managed.knows_more(futex) {
            return;
        }
        let mut words = vec![regs.bx, regs.bp];
        words.extend(regs.r12_to_r15);
        words.extend(stack.words(LOCK_STACK));
        let is_object = |word: u64| {
            let mapping = look.maps.find(word).filter(|_| word.is_multiple_of(8));
            mapping.is_some_and(|m| m.perms.read && m.perms.write)
        };
        words.retain(|&word| is_object(word));
        let thread = |theirs| self.thread_called(look, theirs);
        self.managed.refine(&Sleeper { words: &words, mem: look.mem, thread: &thread }, futex);
    }

    fn thread_called(&self, look: &Look<'_>, theirs: u32) -> Option<Tid> {
        self.ids.ours(theirs.into()).filter(|tid| look.live.contains(tid))
    }

    /// Which monitors threads of a Java virtual machine wait to enter, and who is in them. That
    /// they look again now and then is the machine's business: the wait has no end of its own.
    fn name_monitors(&self, look: &Look<'_>, readings: &mut [Reading]) {
        let enters =
            |futex: &FutexState| (futex.of, futex.kind) == (FutexOf::Java, FutexKind::Mutex);
        if !readings.iter().any(|reading| futex_of(reading).is_some_and(enters)) {
            return;
        }
        let thread = |theirs| self.thread_called(look, theirs);
        let threads = self.managed.java_threads(look.mem, &thread);
        for reading in readings {
            if let WaitsOn::Futex(futex) = &mut reading.look.waits_on
                && enters(futex)
            {
                futex.expected = None;
                futex.timed = false;
                let tid = u32::try_from(reading.look.task.number).ok().map(Tid);
                let monitor = tid.and_then(|tid| threads.as_ref()?.waits_for(tid));
                if let Some(monitor) = monitor {
                    futex.object = monitor.address;
                    futex.holder = monitor.owner.map_or(Holder::Unknown, Holder::Written);
                }
            }
        }
    }
}

impl Found {
    /// Passes on all threads, and says how it went.
    pub fn tell(self, sink: &mut dyn FnMut(Input)) -> LookOutcome {
        for reading in self.readings {
            sink(Input::SnapshotTask(Box::new(reading.look)));
        }
        self.outcome
    }
}

fn program_name(pid: Pid) -> Box<str> {
    let exe = crate::target::exe_link(pid).ok();
    let name = exe.as_ref().and_then(|exe| exe.path.file_name());
    name.map(|name| name.to_string_lossy().into()).unwrap_or_default()
}

/// What is known of a thread without its memory.
fn blank(now: &ThreadNow, known_name: &str) -> TaskLook {
    let named = !now.name.is_empty() && &*now.name != known_name;
    let labels =
        if named { Box::from([(Box::from(NAME), now.name.clone())]) } else { Box::default() };
    TaskLook {
        task: TaskId::thread(now.tid.0),
        t0: KTime(0),
        t1: KTime(0),
        state: state(now),
        reason: ReasonId::UNKNOWN,
        parent: None,
        spawn_site: FrameId::UNKNOWN,
        start: FrameId::UNKNOWN,
        stack: StackId::EMPTY,
        wait_site: FrameId::UNKNOWN,
        mark: None,
        left: None,
        waits_on: WaitsOn::Unknown,
        waits_since: None,
        stack_bytes: 0,
        thread: None,
        locked_to_thread: false,
        system: false,
        labels,
    }
}

/// A thread that is stopped by a signal or a debugger does not go on by itself, and waits for
/// nothing.
fn state(now: &ThreadNow) -> TaskState {
    match (now.state, now.doing) {
        ('T' | 't', _) => TaskState::Preempted,
        (_, Doing::Runs) | ('R', _) => TaskState::Running,
        ('S' | 'D' | 'I', _) => TaskState::Waiting,
        _ => TaskState::Unknown,
    }
}

fn stack_bytes(maps: &Maps, sp: u64) -> u64 {
    maps.find(sp).map_or(0, |mapping| mapping.end.saturating_sub(sp))
}

/// The memory around a futex word, within its mapping.
fn around(look: &Look<'_>, address: u64) -> Around {
    let Some(mapping) = look.maps.find(address) else { return Around::default() };
    let start = (address & !7).saturating_sub(futex::BEFORE).max(mapping.start);
    let end = address.saturating_add(futex::BEHIND).min(mapping.end);
    let len = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
    let mut bytes = vec![0; len];
    match look.mem.read(start, &mut bytes) {
        Ok(()) => Around { start, bytes },
        Err(_) => Around::default(),
    }
}

/// What a wait on a futex is a wait for.
fn reason(futex: &FutexState, wait: &SyscallWait) -> (WaitClass, String) {
    let (class, word) = match futex.kind {
        FutexKind::Mutex if futex.of == FutexOf::PythonGil => (WaitClass::Lock, "Python GIL"),
        FutexKind::Mutex if futex.of == FutexOf::Python => (WaitClass::Lock, "Python RLock"),
        FutexKind::Semaphore if futex.of == FutexOf::Python => (WaitClass::Group, "Python lock"),
        FutexKind::Mutex if futex.of == FutexOf::Java => (WaitClass::Lock, "Java monitor"),
        FutexKind::Unknown => return (wait.class, wait.word.clone().into_owned()),
        FutexKind::Mutex => (WaitClass::Lock, "mutex"),
        FutexKind::RwRead => (WaitClass::Lock, "rwlock read"),
        FutexKind::RwWrite => (WaitClass::Lock, "rwlock write"),
        FutexKind::Once => (WaitClass::Lock, "once"),
        FutexKind::Cond => (WaitClass::Group, "condition variable"),
        FutexKind::Join => (WaitClass::Group, "thread join"),
        FutexKind::Semaphore => (WaitClass::Group, "semaphore"),
        FutexKind::Barrier => (WaitClass::Group, "barrier"),
        FutexKind::Park => (WaitClass::Group, "park"),
    };
    (class, word.to_owned())
}

fn name_files(pid: Pid, readings: &mut [Reading]) {
    let asked: Vec<&Asked> = readings.iter().filter_map(|r| r.asked.as_ref()).collect();
    if asked.is_empty() {
        return;
    }
    let files = Files::of(pid, &asked);
    for reading in readings {
        if let Some(asked) = &reading.asked {
            reading.look.waits_on = files.waits_on(asked);
        }
    }
}

/// Looks for the holders of locks that do not name them.
fn name_holders(pid: Pid, look: &Look<'_>, readings: &mut [Reading]) {
    let sought: HashSet<u64, RandomState> = readings
        .iter()
        .filter_map(|reading| futex_of(reading).filter(|f| holders::is_sought(f)))
        .map(|futex| futex.object)
        .collect();
    if sought.is_empty() {
        return;
    }
    let mut stacks: Vec<Stack> = readings
        .iter()
        .filter_map(|reading| {
            Some(Stack {
                tid: Some(Tid(u32::try_from(reading.look.task.number).ok()?)),
                sp: reading.sp?,
                registers: look.registers.get(&reading.sp?).map(holders::kept).unwrap_or_default(),
                waits_for: futex_of(reading).map(|futex| futex.object),
                own_from: reading.own_from,
            })
        })
        .collect();
    // Threads that run have stacks, too: those that no sleeping thread has.
    let asleep: HashSet<u64, RandomState> = stacks.iter().map(|stack| stack.sp).collect();
    let running = readings.len().saturating_sub(stacks.len());
    let others = look.registers.values().filter(|regs| !asleep.contains(&regs.sp));
    stacks.extend(others.map(Stack::of_one_that_runs));
    let all_known =
        !look.registers.is_empty() && stacks.len() >= asleep.len().saturating_add(running);
    let main_base = crate::target::stat(pid).ok().and_then(|stat| stat.stack_base);
    let places = Places { maps: &look.maps, main_base };
    let found = holders::candidates((&sought, all_known), &stacks, &places, look.mem);
    for reading in readings {
        if let WaitsOn::Futex(futex) = &mut reading.look.waits_on
            && holders::is_sought(futex)
            && let Some(holder) = found.get(&futex.object)
        {
            futex.holder = Holder::clone(holder);
        }
    }
}

fn futex_of(reading: &Reading) -> Option<&FutexState> {
    match &reading.look.waits_on {
        WaitsOn::Futex(futex) => Some(futex),
        _ => None,
    }
}
