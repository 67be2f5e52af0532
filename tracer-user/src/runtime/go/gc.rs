//! The collector's own notes: when the phases of the newest cycle began. `gcStart`, `gcMarkDone` and
//! `gcMarkTermination` write them (`work.tSweepTerm`, `tMark`, `tMarkTerm`, `tEnd`: four words in a
//! row, `src/runtime/mgc.go`, the same from 1.19 to 1.27); with symbols gone, they are found by
//! who writes and reads them.

use crate::base::KTime;
use crate::stream::GcCycle;
use crate::target::{ReadError, ReadMem};

use super::bytes::u64_at;

/// Bytes of a word, and of the four.
const WORD: u64 = 8;
const BYTES: usize = 32;
/// How often the words are read until they stay the same.
const ATTEMPTS: usize = 4;

/// What the three functions store and load, relative to the instruction pointer.
pub(super) struct Operands {
    /// `gcStart` stores.
    pub start: Vec<u64>,
    /// `gcMarkDone` stores.
    pub done: Vec<u64>,
    /// `gcMarkTermination` stores.
    pub end: Vec<u64>,
    /// `gcMarkTermination` loads.
    pub reads: Vec<u64>,
}

impl Operands {
    /// The first of the four words; None unless there is exactly one place that fits.
    pub fn times(&self) -> Option<u64> {
        let mut fits: Vec<u64> = self.start.iter().copied().filter(|&at| self.fits(at)).collect();
        fits.sort_unstable();
        fits.dedup();
        match fits[..] {
            [at] => Some(at),
            _ => None,
        }
    }

    fn fits(&self, at: u64) -> bool {
        let word = |n: u64| at.checked_add(n * WORD);
        let has = |of: &[u64], n| word(n).is_some_and(|at| of.contains(&at));
        has(&self.done, 2) && has(&self.end, 3) && (0..4).all(|n| has(&self.reads, n))
    }
}

/// Reads the notes of one process.
#[derive(Clone, Debug)]
pub(super) struct GcNotes {
    /// None: they were not found, and nothing is told of collections.
    at: Option<u64>,
    last: Option<GcCycle>,
}

impl GcNotes {
    pub const fn new(at: Option<u64>) -> Self {
        Self { at, last: None }
    }

    /// The newest cycle, if more is known of it than the last time. `ours` turns the target's clock
    /// into loiter's.
    ///
    /// # Errors
    /// If the memory cannot be read any more.
    pub fn news(
        &mut self,
        mem: &dyn ReadMem,
        ours: impl Fn(u64) -> Option<KTime>,
        now: KTime,
    ) -> Result<Option<GcCycle>, ReadError> {
        let Some(at) = self.at else { return Ok(None) };
        let times = match steady(mem, at) {
            Ok(times) => times,
            Err(error @ (ReadError::Gone | ReadError::Denied)) => return Err(error),
            // Without it a look is worth as much.
            Err(_) => None,
        };
        let Some(times) = times else { return Ok(None) };
        let times = times.map(|at| if at == 0 { Some(KTime(0)) } else { ours(at) });
        let [Some(stop), Some(mark), Some(mark_end), Some(end)] = times else { return Ok(None) };
        let cycle = GcCycle::of([stop, mark, mark_end, end]);
        // What lies in the future is no time: the words are another's.
        let Some(cycle) = cycle.filter(|cycle| cycle.newest() <= now) else { return Ok(None) };
        if self.last.replace(cycle) == Some(cycle) { Ok(None) } else { Ok(Some(cycle)) }
    }
}

/// The four words, read twice alike: they are written one by one while the program runs.
fn steady(mem: &dyn ReadMem, at: u64) -> Result<Option<[u64; 4]>, ReadError> {
    let read = || -> Result<[u8; BYTES], ReadError> {
        let mut raw = [0; BYTES];
        mem.read(at, &mut raw)?;
        Ok(raw)
    };
    let mut before = read()?;
    for _ in 0..ATTEMPTS {
        let now = read()?;
        if now == before {
            let word = |n: usize| u64_at(&now, n * 8).unwrap_or(0);
            return Ok(Some([word(0), word(1), word(2), word(3)]));
        }
        before = now;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operands() -> Operands {
        Operands {
            start: vec![0x100, 0x200, 0x208],
            done: vec![0x210, 0x300],
            end: vec![0x218, 0x400],
            reads: vec![0x200, 0x208, 0x210, 0x218, 0x220],
        }
    }

    #[test]
    fn the_words_are_known_by_who_writes_and_reads_them() {
        assert_eq!(operands().times(), Some(0x200));
        assert_eq!(Operands { done: vec![0x208], ..operands() }.times(), None);
        assert_eq!(Operands { reads: vec![0x200, 0x208, 0x210], ..operands() }.times(), None);
        let start = vec![0x200, 0x1000];
        let done = vec![0x210, 0x1010];
        let end = vec![0x218, 0x1018];
        let reads = [0x200, 0x1000].iter().flat_map(|at| (0..4).map(move |n| at + 8 * n)).collect();
        assert_eq!(Operands { start, done, end, reads }.times(), None, "two places fit");
        let all = vec![u64::MAX, u64::MAX - 8];
        let (start, done, end) = (all.clone(), all.clone(), all.clone());
        assert_eq!(Operands { start, done, end, reads: all }.times(), None);
    }
}
