//! The stacks of a group of goroutines: most end within the first read, which is one batch for
//! all of them; those that go on are read again, a little and then a lot.

use crate::target::{ReadError, ReadMem};

use super::batch::{Batch, Ticket};
use super::goroutine::Goroutine;
use crate::runtime::go::tables::Shapes;
use crate::runtime::go::unwind::{Progress, StackPcs, Walk, Window};

/// Bytes of each stack read first: Go's smallest stack.
const FIRST: u64 = 2 << 10;
/// Bytes of each stack that goes on read next.
const SECOND: u64 = 8 << 10;
/// Bytes read at a time of what is deeper still.
const LARGE: u64 = 64 << 10;
/// Most bytes read of one stack; the frames further out are left unknown.
const MAX_ONE: u64 = 64 << 20;
/// Most bytes read of all deep stacks of a look, so that a hostile target cannot occupy loiter.
pub(super) const MAX_DEEP: u64 = 1 << 30;

/// Reads and walks stacks.
#[derive(Debug, Default)]
pub(super) struct StackReader {
    batch: Batch,
    large: Vec<u8>,
}

/// What a look has spent and may still spend.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spent {
    /// Bytes read.
    pub(super) bytes: u64,
    /// Bytes of deep stacks that may still be read.
    pub(super) deep_left: u64,
}

/// Where stacks are read from, what tells their frames, and what it costs.
pub(super) struct Source<'a> {
    pub(super) mem: &'a dyn ReadMem,
    pub(super) shapes: &'a mut Shapes,
    pub(super) spent: &'a mut Spent,
}

/// A walk that needs more of its stack.
#[derive(Clone, Copy)]
struct Need {
    /// Which goroutine of the group.
    index: usize,
    /// From where.
    from: u64,
    /// End of the stack.
    high: u64,
}

impl StackReader {
    /// The program counters of each goroutine's stack, in the order of `goroutines`, as far as it
    /// can be read; None where there is no saved context.
    pub(super) fn read(
        &mut self,
        source: &mut Source<'_>,
        goroutines: &[Goroutine],
    ) -> Result<Vec<Option<StackPcs>>, ReadError> {
        let mut walks: Vec<Option<Walk>> = goroutines.iter().map(start).collect();
        let first = goroutines.iter().enumerate().filter_map(|(index, g)| {
            Some(Need { index, from: g.context()?.1, high: g.stack_high })
        });
        let first: Vec<Need> = first.collect();
        let deeper = self.round(source, &mut walks, &first, FIRST)?;
        let deepest = self.round(source, &mut walks, &deeper, SECOND)?;
        for need in deepest {
            if let Some(Some(walk)) = walks.get_mut(need.index) {
                self.deep(source, walk, need)?;
            }
        }
        Ok(walks.into_iter().map(|walk| walk.map(Walk::finish)).collect())
    }

    /// Reads `len` bytes of each stack and walks on; gives those that need more.
    fn round(
        &mut self,
        source: &mut Source<'_>,
        walks: &mut [Option<Walk>],
        needs: &[Need],
        len: u64,
    ) -> Result<Vec<Need>, ReadError> {
        self.batch.clear();
        let mut asked: Vec<(Need, Ticket)> = Vec::with_capacity(needs.len());
        for &need in needs {
            let len = need.high.saturating_sub(need.from).min(len);
            asked.push((need, self.batch.add(need.from, usize::try_from(len).unwrap_or(0))));
        }
        source.spent.bytes = source.spent.bytes.saturating_add(self.batch.run(source.mem)?);
        let mut more = Vec::new();
        for (need, ticket) in asked {
            // What cannot be read ends the walk where it is.
            let walk = walks.get_mut(need.index).and_then(Option::as_mut);
            let (Some(walk), Some(bytes)) = (walk, self.batch.get(ticket)) else { continue };
            let window = Window { start: need.from, bytes };
            if let Progress::Needs(from) = walk.advance(window, |pc| source.shapes.of(pc)) {
                more.push(Need { from, ..need });
            }
        }
        Ok(more)
    }

    /// Walks one deep stack to its end.
    fn deep(
        &mut self,
        source: &mut Source<'_>,
        walk: &mut Walk,
        need: Need,
    ) -> Result<(), ReadError> {
        let mut from = need.from;
        let mut left = MAX_ONE.min(source.spent.deep_left);
        while left > 0 {
            let len = need.high.saturating_sub(from).min(LARGE).min(left);
            self.large.resize(usize::try_from(len).unwrap_or(0), 0);
            match source.mem.read(from, &mut self.large) {
                Ok(()) => {}
                Err(error @ (ReadError::Gone | ReadError::Denied)) => return Err(error),
                Err(_) => return Ok(()),
            }
            left = left.saturating_sub(len);
            source.spent.bytes = source.spent.bytes.saturating_add(len);
            source.spent.deep_left = source.spent.deep_left.saturating_sub(len);
            let window = Window { start: from, bytes: &self.large };
            match walk.advance(window, |pc| source.shapes.of(pc)) {
                // The word that the window cuts is read whole with the next one; the same address
                // twice would be no progress.
                Progress::Needs(next) if next > from => from = next,
                _ => return Ok(()),
            }
        }
        Ok(())
    }
}

fn start(g: &Goroutine) -> Option<Walk> {
    let (pc, sp) = g.context()?;
    Some(Walk::new(pc, sp, g.stack_high))
}
