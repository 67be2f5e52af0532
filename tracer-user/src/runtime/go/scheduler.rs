//! The scheduler as `GODEBUG=schedtrace` shows it: processors, threads and queues, read from `runtime.sched` and
//! `runtime.allp`. With symbols gone both are found by what `schedtrace` itself reads (`src/runtime/proc.go`), and
//! nothing is told unless every number read makes sense.

use crate::stream::{Processors, SchedulerState};
use crate::target::{ReadError, ReadMem};

use super::bytes::{u32_at, u64_at};
use super::layout::Layout;

/// Most processors read: a P needs a CPU to be of use.
const MAX_PROCESSORS: u64 = 4096;
/// Most threads that are believed: `debug.SetMaxThreads` ends a program at 10 000 unless told otherwise.
const MAX_THREADS: i64 = 1 << 20;
/// Places in a processor's queue (`runq`).
const QUEUE: u32 = 256;

/// What `schedtrace` uses, relative to the instruction pointer.
pub(super) struct Operands {
    /// It takes these addresses: `&sched.lock` is one of them.
    pub taken: Vec<u64>,
    /// It loads these words.
    pub loads: Vec<u64>,
    /// All that it names in any way.
    pub any: Vec<u64>,
}

impl Operands {
    /// Where the variables may be; None where there is no place or more than one for the scheduler's.
    pub fn places(&self, layout: &Layout) -> Option<Places> {
        let o = &layout.schedt;
        let fits = |sched: &u64| {
            let read = [o.nmidle, o.npidle, o.nmspinning, o.runqsize];
            read.iter().all(|at| {
                sched.checked_add(u64::from(*at)).is_some_and(|address| self.any.contains(&address))
            })
        };
        let starts = self.taken.iter().filter_map(|lock| lock.checked_sub(u64::from(o.lock)));
        let mut sched: Vec<u64> = starts.filter(fits).collect();
        sched.sort_unstable();
        sched.dedup();
        let [sched] = sched[..] else { return None };
        // A slice: its pointer, then its length.
        let slice = |at: &u64| at.checked_add(8).is_some_and(|len| self.loads.contains(&len));
        let mut allp: Vec<u64> = self.loads.iter().copied().filter(slice).collect();
        allp.sort_unstable();
        allp.dedup();
        Some(Places { sched, allp })
    }
}

/// Where the variables are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Places {
    /// Address of `runtime.sched`.
    pub sched: u64,
    /// Addresses of which one is that of `runtime.allp`.
    pub allp: Vec<u64>,
}

/// Reads the scheduler of one process.
#[derive(Clone, Debug)]
pub(super) struct SchedulerReader {
    places: Option<Places>,
    layout: &'static Layout,
}

impl SchedulerReader {
    pub const fn new(places: Option<Places>, layout: &'static Layout) -> Self {
        Self { places, layout }
    }

    /// The scheduler now; None where it was not found or the numbers make no sense.
    ///
    /// # Errors
    /// If the memory cannot be read any more.
    pub fn read(&self, mem: &dyn ReadMem) -> Result<Option<SchedulerState>, ReadError> {
        match self.state(mem) {
            Err(error @ (ReadError::Gone | ReadError::Denied)) => Err(error),
            // Without it a look is worth as much.
            Err(_) => Ok(None),
            Ok(state) => Ok(state),
        }
    }

    fn state(&self, mem: &dyn ReadMem) -> Result<Option<SchedulerState>, ReadError> {
        let Some(places) = &self.places else { return Ok(None) };
        for allp in &places.allp {
            if let Some(state) = self.processors(mem, *allp)? {
                return self.threads(mem, places.sched, state);
            }
        }
        Ok(None)
    }

    /// What the processors say; None if this is not their list.
    fn processors(
        &self,
        mem: &dyn ReadMem,
        allp: u64,
    ) -> Result<Option<SchedulerState>, ReadError> {
        let mut raw = [0; 16];
        mem.read(allp, &mut raw)?;
        let (Some(array), Some(len)) = (u64_at(&raw, 0), u64_at(&raw, 8)) else { return Ok(None) };
        if len == 0 || len > MAX_PROCESSORS {
            return Ok(None);
        }
        let mut list = vec![0; usize::try_from(len).unwrap_or(0).saturating_mul(8)];
        if !readable(mem, array, &mut list)? {
            return Ok(None);
        }
        let o = &self.layout.p;
        let mut raw = vec![0; usize::from(o.runqtail.max(o.runqhead)).saturating_add(4)];
        let mut state = SchedulerState::default();
        for (number, p) in (0..).zip(list.chunks_exact(8)) {
            let Some(p) = u64_at(p, 0) else { return Ok(None) };
            if !readable(mem, p, &mut raw)? {
                return Ok(None);
            }
            let word = |at: u16| u32_at(&raw, usize::from(at));
            let queued = word(o.runqtail).zip(word(o.runqhead));
            let queued = queued.map(|(tail, head)| tail.wrapping_sub(head));
            let (Some(queued), Some(status)) = (queued.filter(|n| *n <= QUEUE), word(o.status))
            else {
                return Ok(None);
            };
            if word(o.id) != Some(number) || !count(&mut state.processors, status) {
                return Ok(None);
            }
            state.local_queues = state.local_queues.saturating_add(queued);
            state.longest_local_queue = state.longest_local_queue.max(queued);
        }
        Ok(Some(state))
    }

    /// Adds what the scheduler says of its threads; None if that makes no sense.
    fn threads(
        &self,
        mem: &dyn ReadMem,
        sched: u64,
        state: SchedulerState,
    ) -> Result<Option<SchedulerState>, ReadError> {
        let o = &self.layout.schedt;
        let last = [o.nmidle, o.mnext, o.nmfreed, o.nmspinning, o.runqsize].into_iter().max();
        let mut raw = vec![0; usize::from(last.unwrap_or(0)).saturating_add(8)];
        mem.read(sched, &mut raw)?;
        let word = |at: u16| u32_at(&raw, usize::from(at));
        let long = |at: u16| u64_at(&raw, usize::from(at)).map(u64::cast_signed);
        let threads = || {
            let made = long(o.mnext)?.checked_sub(long(o.nmfreed)?)?;
            u32::try_from(made).ok().filter(|_| (1..=MAX_THREADS).contains(&made))
        };
        let sound = || {
            let threads = threads()?;
            let of_all = |at: u16| word(at).filter(|n| *n <= threads);
            // A negative number is a large one.
            let global_queue = word(o.runqsize).filter(|n| i32::try_from(*n).is_ok())?;
            Some(SchedulerState {
                threads,
                threads_idle: of_all(o.nmidle)?,
                threads_spinning: of_all(o.nmspinning)?,
                global_queue,
                ..state
            })
        };
        Ok(sound())
    }
}

/// Counts a processor of this status (`src/runtime/runtime2.go`); tells whether there is such one.
fn count(processors: &mut Processors, status: u32) -> bool {
    let of = match status {
        0 => &mut processors.idle,
        1 => &mut processors.running,
        2 => &mut processors.syscall,
        3 => &mut processors.stopped,
        _ => return false,
    };
    *of = of.saturating_add(1);
    true
}

/// A read that may fail because nothing is mapped there.
fn readable(mem: &dyn ReadMem, address: u64, buf: &mut [u8]) -> Result<bool, ReadError> {
    match mem.read(address, buf) {
        Ok(()) => Ok(true),
        Err(error @ (ReadError::Gone | ReadError::Denied)) => Err(error),
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheduler_is_where_all_that_schedtrace_reads_of_it_lies() {
        let layout = Layout::all().last().unwrap();
        let o = &layout.schedt;
        let (sched, allp) = (0x50_0000, 0x60_0000);
        let address = |at: u16| sched + u64::from(at);
        let fields = [o.nmidle, o.npidle, o.nmspinning, o.runqsize];
        let of = |any: Vec<u64>| Operands {
            taken: vec![0x1234, address(o.lock)],
            loads: vec![0x9000, allp, allp + 8],
            any,
        };
        let all: Vec<u64> = fields.map(address).into();
        let found = of(all.clone()).places(layout);
        assert_eq!(found, Some(Places { sched, allp: vec![allp] }));
        for missing in 0..all.len() {
            let mut some = all.clone();
            some.remove(missing);
            assert_eq!(of(some).places(layout), None);
        }
    }
}
