//! All goroutines of a process, read out of its memory while it runs: no pause, no ptrace.
//!
//! The list `allgs` is read at once, then the g's in groups of [`GROUP`]: the structures, their
//! stacks, what hangs on them, and the structures again. A goroutine whose second reading shows
//! that it went on meanwhile is read anew; after [`ATTEMPTS`] readings it is told without what
//! could belong to two different moments. May use what runtime may use; no clock of its own.

mod batch;
mod channels;
mod details;
mod goroutine;
mod labels;
mod naming;
mod semaphores;
mod stacks;
mod task;

use crate::base::{KTime, Pid, ProcId, RunSeq, WaitClass};
use crate::stream::{Input, LastLeave, LookOutcome, LookSeq, Vitals};
use crate::symbolize::SharedInterner;
use crate::target::{FixtureMem, ReadError, ReadMem, ThreadIds, VitalsReader, monotonic_offset};

use super::bytes::u64_at;
use super::gc::GcNotes;
use super::layout::Layout;
use super::locate::Located;
use super::scheduler::SchedulerReader;
use super::tables::Shapes;
use batch::{Batch, Ticket};
use details::{Details, Wanted};
use goroutine::{Goroutine, Status, Still};
use naming::{Naming, StackInfo};
use semaphores::{SemTable, SudogOf};
use stacks::{Source, Spent, StackReader};
use task::Known;

/// Goroutines read together: bounds the memory of a look (structures and stacks of a group are
/// about 2.5 MB) and the interval in which each of them was read.
const GROUP: usize = 1024;
/// Most entries of `allgs` that are followed: 32 MB of pointers.
pub const MAX_GOROUTINES: u64 = 4 << 20;
/// How often a goroutine is read that does not stand still.
const ATTEMPTS: usize = 3;
/// The goroutine that runs `main` (`src/runtime/traceback.go`, `goroutineheader`, gives it no creator).
const MAIN_GOROUTINE: u64 = 1;
/// How often the list itself is read if it moved meanwhile.
const LIST_ATTEMPTS: usize = 4;

/// Why a look failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The memory cannot be read any more.
    #[error("the goroutines could not be read: {0}")]
    Read(#[from] ReadError),
    /// The list of goroutines is not where it was, or makes no sense.
    #[error(
        "the list of goroutines makes no sense ({0}): the process may have replaced its program; attach to it again"
    )]
    List(&'static str),
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

/// Takes looks at one process. Made once, when it is attached to.
#[derive(Debug)]
pub struct Snapshotter {
    process: ProcId,
    located: Located,
    threads: ThreadIds,
    vitals: VitalsReader,
    monotonic_offset: i64,
    semaphores: SemTable,
    shapes: Shapes,
    naming: Naming,
    stacks: StackReader,
    batch: Batch,
    gc: GcNotes,
    scheduler: SchedulerReader,
}

/// A goroutine with all that was read of it.
struct Reading {
    goroutine: Goroutine,
    stack: Option<StackInfo>,
}

/// One look under way.
struct Look<'a, 'c> {
    mem: &'a dyn ReadMem,
    context: &'a mut LookContext<'c>,
    outcome: LookOutcome,
    spent: Spent,
    /// Waiters of semaphores; read when the first is met that needs them.
    semaphores: Option<SudogOf>,
}

impl Snapshotter {
    /// Prepares looks at the runtime that was located in process `pid`, which has the number
    /// `process` here.
    pub fn new(process: ProcId, pid: Pid, located: Located) -> Self {
        Self {
            process,
            threads: ThreadIds::of(pid),
            vitals: VitalsReader::new(pid),
            monotonic_offset: monotonic_offset(pid),
            semaphores: SemTable::new(located.semtable.clone()),
            shapes: Shapes::new(located.table.clone(), located.layout),
            naming: Naming::new(&located),
            stacks: StackReader::default(),
            batch: Batch::default(),
            gc: GcNotes::new(located.gc_times),
            scheduler: SchedulerReader::new(located.scheduler.clone(), located.layout),
            located,
        }
    }

    /// How many goroutines there are, the runtime's own left out. Reads no stack.
    ///
    /// # Errors
    /// If the memory cannot be read.
    pub fn count(
        &mut self,
        mem: &dyn ReadMem,
        interner: &SharedInterner,
    ) -> Result<u64, SnapshotError> {
        let (list, left_out) = self.list(mem)?;
        let (look, clock, sink) = (LookSeq(0), &|| KTime(0), &mut |_| {});
        let mut look = Look {
            mem,
            context: &mut LookContext { look, clock, interner, sink },
            outcome: LookOutcome::default(),
            spent: Spent { bytes: 0, deep_left: 0 },
            semaphores: None,
        };
        let mut count = left_out;
        for group in list.chunks(GROUP) {
            for g in self.goroutines(&mut look, group)? {
                let own = interner.with(|names| self.naming.start(g.start, names).is_system);
                count = count.saturating_add(u64::from(!own));
            }
        }
        Ok(count)
    }

    /// Reads all goroutines and passes on what is found: perhaps an [`Input::GcCycle`], then
    /// [`Input::SnapshotBegin`], an
    /// [`Input::SnapshotTask`] for each, [`Input::SnapshotEnd`]. Definitions of new names are left
    /// in the interner, to be taken before what was passed on is used.
    ///
    /// # Errors
    /// If the memory cannot be read any more. What was passed on until then is a snapshot without
    /// its end.
    pub fn look(
        &mut self,
        mem: &dyn ReadMem,
        context: &mut LookContext<'_>,
    ) -> Result<LookOutcome, SnapshotError> {
        context.interner.with(|names| self.naming.belong_to(names));
        self.collections(mem, context)?;
        let began = (context.clock)();
        let (list, left_out) = self.list(mem)?;
        self.threads.refresh();
        let number = context.look;
        (context.sink)(Input::SnapshotBegin { process: self.process, look: number, t0: began });
        let mut look = Look {
            mem,
            context,
            outcome: LookOutcome {
                listed: left_out,
                truncated: left_out,
                ..LookOutcome::default()
            },
            spent: Spent {
                bytes: (list.len() as u64).saturating_mul(8),
                deep_left: stacks::MAX_DEEP,
            },
            semaphores: None,
        };
        for group in list.chunks(GROUP) {
            self.group(&mut look, group)?;
        }
        let scheduler = self.scheduler.read(mem)?;
        let vitals = Vitals { scheduler, ..crate::runtime::vitals::of(&self.vitals) };
        let t1 = (look.context.clock)();
        let outcome =
            LookOutcome { took: t1.since(began), bytes: look.spent.bytes, vitals, ..look.outcome };
        (look.context.sink)(Input::SnapshotEnd {
            process: self.process,
            look: number,
            t1,
            outcome,
        });
        Ok(outcome)
    }

    /// Tells what the collector has noted since the last look.
    fn collections(
        &mut self,
        mem: &dyn ReadMem,
        context: &mut LookContext<'_>,
    ) -> Result<(), SnapshotError> {
        let at = (context.clock)();
        let offset = self.monotonic_offset;
        let ours = |theirs: u64| theirs.checked_add_signed(offset).map(KTime);
        if let Some(cycle) = self.gc.news(mem, ours, at)? {
            (context.sink)(Input::GcCycle { process: self.process, at, cycle });
        }
        Ok(())
    }

    /// The addresses of all g's, and how many are left out because they are too many.
    ///
    /// `allgptr` is replaced before `allglen` grows (`src/runtime/proc.go`, `allgadd`), so the
    /// length is read first, and the old array stays valid until the collector frees it: if the
    /// pointer has not moved after the array was read, it was not freed.
    fn list(&mut self, mem: &dyn ReadMem) -> Result<(Vec<u64>, u64), SnapshotError> {
        let word = |address| -> Result<u64, ReadError> {
            let mut raw = [0; 8];
            mem.read(address, &mut raw)?;
            Ok(u64::from_le_bytes(raw))
        };
        let variables = self.located.allgs;
        for _ in 0..LIST_ATTEMPTS {
            let len = word(variables.len)?;
            let array = word(variables.array)?;
            let taken = len.min(MAX_GOROUTINES);
            let size = usize::try_from(taken).ok().and_then(|n| n.checked_mul(8));
            let mut raw = vec![0; size.ok_or(SnapshotError::List("it is too long"))?];
            match mem.read(array, &mut raw) {
                Ok(()) => {}
                Err(ReadError::Unmapped { .. }) => continue,
                Err(error) => return Err(error.into()),
            }
            if word(variables.array)? == array {
                let list = raw.chunks_exact(8).filter_map(|b| u64_at(b, 0)).filter(|&g| g != 0);
                return Ok((list.collect(), len.saturating_sub(taken)));
            }
        }
        Err(SnapshotError::List("it is not mapped, or moves with each reading"))
    }

    /// Reads one group and tells its goroutines.
    fn group(&mut self, look: &mut Look<'_, '_>, group: &[u64]) -> Result<(), SnapshotError> {
        let mut todo: Vec<u64> = group.to_vec();
        for attempt in 1..=ATTEMPTS {
            let t0 = (look.context.clock)();
            let seen = self.goroutines(look, &todo)?;
            let stacks = self.stacks(look, &seen)?;
            let details = self.details(look, &seen)?;
            let later = self.again(look, &seen)?;
            let t1 = (look.context.clock)();
            todo.clear();
            for ((goroutine, stack), now) in seen.into_iter().zip(stacks).zip(later) {
                let reading = Reading { goroutine, stack };
                match settle(&reading.goroutine, now) {
                    Settled::Yes => self.tell(look, &reading, Some(&details), (t0, t1)),
                    Settled::Ended => {}
                    Settled::No if attempt < ATTEMPTS => {
                        look.outcome.reread = look.outcome.reread.saturating_add(1);
                        todo.push(reading.goroutine.address);
                    }
                    Settled::No => {
                        look.outcome.unsettled = look.outcome.unsettled.saturating_add(1);
                        let reading = Reading { stack: None, ..reading };
                        self.tell(look, &reading, None, (t0, t1));
                    }
                }
            }
            if todo.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// The g's at these addresses that are goroutines now.
    fn goroutines(
        &mut self,
        look: &mut Look<'_, '_>,
        addresses: &[u64],
    ) -> Result<Vec<Goroutine>, ReadError> {
        let layout = self.located.layout;
        let tickets =
            self.read_starts(look, addresses.iter().copied(), usize::from(layout.g.size))?;
        let mut found = Vec::with_capacity(tickets.len());
        for (&address, ticket) in addresses.iter().zip(tickets) {
            match self.batch.get(ticket).and_then(|bytes| Goroutine::decode(layout, address, bytes))
            {
                Some(g) if g.status.is_alive() => found.push(g),
                Some(_) => {}
                None => {
                    look.outcome.unreadable = look.outcome.unreadable.saturating_add(1);
                    look.outcome.listed = look.outcome.listed.saturating_add(1);
                }
            }
        }
        Ok(found)
    }

    /// The same g's after everything else was read; None for one that cannot be read.
    fn again(
        &mut self,
        look: &mut Look<'_, '_>,
        seen: &[Goroutine],
    ) -> Result<Vec<Option<Still>>, ReadError> {
        let layout = self.located.layout;
        let tickets =
            self.read_starts(look, seen.iter().map(|g| g.address), Still::bytes(layout))?;
        let decode = |ticket| self.batch.get(ticket).and_then(|bytes| Still::decode(layout, bytes));
        Ok(tickets.into_iter().map(decode).collect())
    }

    fn read_starts(
        &mut self,
        look: &mut Look<'_, '_>,
        addresses: impl Iterator<Item = u64>,
        len: usize,
    ) -> Result<Vec<Ticket>, ReadError> {
        self.batch.clear();
        let tickets = addresses.map(|address| self.batch.add(address, len)).collect();
        look.spent.bytes = look.spent.bytes.saturating_add(self.batch.run(look.mem)?);
        Ok(tickets)
    }

    fn stacks(
        &mut self,
        look: &mut Look<'_, '_>,
        seen: &[Goroutine],
    ) -> Result<Vec<Option<StackInfo>>, ReadError> {
        let mut source = Source { mem: look.mem, shapes: &mut self.shapes, spent: &mut look.spent };
        let pcs = self.stacks.read(&mut source, seen)?;
        let names = look.context.interner;
        let stacks = pcs.into_iter().map(|pcs| {
            let pcs = pcs.filter(|pcs| !pcs.inner.is_empty())?;
            Some(names.with(|names| self.naming.stack(&pcs, names)))
        });
        Ok(stacks.collect())
    }

    /// Passes on one goroutine. Without `details` it did not stand still.
    fn tell(
        &mut self,
        look: &mut Look<'_, '_>,
        reading: &Reading,
        details: Option<&Details>,
        interval: (KTime, KTime),
    ) {
        let g = &reading.goroutine;
        look.outcome.listed = look.outcome.listed.saturating_add(1);
        look.outcome.read = look.outcome.read.saturating_add(1);
        let LookContext { interner, sink, .. } = &mut *look.context;
        let (reason, start, spawn_site, left) = interner.with(|names| {
            let reason = self.naming.reason(g.reason, names);
            let start = self.naming.start(g.start, names);
            // The main goroutine was made by assembly: the runtime's dump names no creator either.
            let made = if g.id == MAIN_GOROUTINE { 0 } else { g.created_at };
            let how = self.naming.leave(g, names);
            let left = LastLeave { how, seq: RunSeq(g.run_seq) };
            (reason, start, self.naming.spawn_site(made, names), left)
        });
        let known = Known {
            goroutine: g,
            details,
            stack: reading.stack,
            reason,
            start,
            spawn_site,
            left: Some(left),
            interval,
            monotonic_offset: self.monotonic_offset,
        };
        let task = known.into_look(&self.threads);
        sink(Input::SnapshotTask(Box::new(task)));
    }

    fn details(
        &mut self,
        look: &mut Look<'_, '_>,
        seen: &[Goroutine],
    ) -> Result<Details, ReadError> {
        let needs_semaphores = look.semaphores.is_none()
            && seen.iter().any(|g| {
                let class = self.naming.class(g.reason);
                let may_be = matches!(class, WaitClass::Lock | WaitClass::Group);
                g.status.is_waiting() && g.waiting == 0 && may_be
            });
        if needs_semaphores {
            let waiters =
                self.semaphores.waiters(look.mem, self.located.layout, &mut look.spent.bytes)?;
            look.semaphores = Some(waiters);
        }
        let none = SudogOf::new();
        let layout = self.located.layout;
        let wanted = Wanted {
            layout,
            semaphores: look.semaphores.as_ref().unwrap_or(&none),
            sleeps: &|g| g.status.is_waiting() && self.naming.class(g.reason) == WaitClass::Sleep,
        };
        Details::read(look.mem, &wanted, seen, &mut look.spent.bytes)
    }
}

/// Entry for fuzzing: `bytes` are the target's memory from [`FUZZ_AT`] on, and everything that
/// hangs on a g begins at its start. No bytes may cause a panic or a loop without end.
pub fn fuzz_memory(bytes: &[u8]) {
    let mut mem = FixtureMem::new();
    mem.put(FUZZ_AT, bytes);
    for layout in Layout::all() {
        let mut read = 0;
        let _ = Goroutine::decode(layout, FUZZ_AT, bytes);
        let _ = Still::decode(layout, bytes);
        let _ = labels::read(&mem, labels::LabelForm::of(layout.minor), &[FUZZ_AT], &mut read);
        let waiter = channels::Waiter { g: FUZZ_AT, sudog: FUZZ_AT };
        let _ = channels::read(&mem, layout, &[waiter], &mut read);
        let _ = SemTable::new(vec![FUZZ_AT]).waiters(&mem, layout, &mut read);
    }
}

/// Where the memory of [`fuzz_memory`] is.
pub const FUZZ_AT: u64 = 0x1000;

/// Whether all that was read of a goroutine belongs to one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Settled {
    Yes,
    No,
    Ended,
}

/// Compares the first reading of a g with the last, which is None if it cannot be read any more.
fn settle(then: &Goroutine, now: Option<Still>) -> Settled {
    match now {
        None => Settled::No,
        Some(now) if !now.status.is_alive() => Settled::Ended,
        Some(now) if now.id != then.id => Settled::No,
        // Of a running goroutine nothing is told that could have changed.
        Some(_) if then.status == Status::Running => Settled::Yes,
        Some(now) if then.still() == now => Settled::Yes,
        Some(_) => Settled::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory full of words that point into it.
    fn memory(seed: u64, len: usize) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 33
        };
        let word = |roll: u64, value: u64| match roll % 4 {
            0 => 0,
            1 => value % 8,
            _ => FUZZ_AT + (value % (len as u64)) / 8 * 8,
        };
        (0..len / 8).flat_map(|_| word(next(), next()).to_le_bytes()).collect()
    }

    #[test]
    fn structures_that_point_anywhere_neither_panic_nor_loop() {
        for seed in 0..300 {
            fuzz_memory(&memory(seed, 20_000));
        }
    }

    #[test]
    fn structures_that_are_cut_off_anywhere_are_survived() {
        let whole = memory(7, 1_200);
        for end in 0..whole.len() {
            fuzz_memory(&whole[..end]);
        }
    }
}
