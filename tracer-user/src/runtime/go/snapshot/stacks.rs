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

impl StackReader {
    /// The program counters of each goroutine's stack, in the order of `goroutines`, as far as it
    /// can be read; None where there is no saved context.
    pub(super) fn read(
        &mut self,
        mem: &dyn ReadMem,
        shapes: &mut Shapes,
        goroutines: &[Goroutine],
        spent: &mut Spent,
    ) -> Result<Vec<Option<StackPcs>>, ReadError> {
        let mut walks: Vec<Option<Walk>> = goroutines.iter().map(start).collect();
        let first = walks.iter().zip(goroutines).enumerate().filter_map(|(index, (walk, g))| {
            walk.as_ref()?;
            Some((index, g.context()?.1))
        });
        let first: Vec<(usize, u64)> = first.collect();
        let deeper = self.round(mem, shapes, goroutines, &mut walks, &first, FIRST, spent)?;
        let deepest = self.round(mem, shapes, goroutines, &mut walks, &deeper, SECOND, spent)?;
        for (index, from) in deepest {
            if let (Some(Some(walk)), Some(g)) = (walks.get_mut(index), goroutines.get(index)) {
                self.deep(mem, shapes, walk, from, g.stack_high, spent)?;
            }
        }
        Ok(walks.into_iter().map(|walk| walk.map(Walk::finish)).collect())
    }

    /// Reads `len` bytes of each stack in `from` (index, address) and walks on; gives those that
    /// need more, and from where.
    #[allow(clippy::too_many_arguments)]
    fn round(
        &mut self,
        mem: &dyn ReadMem,
        shapes: &mut Shapes,
        goroutines: &[Goroutine],
        walks: &mut [Option<Walk>],
        from: &[(usize, u64)],
        len: u64,
        spent: &mut Spent,
    ) -> Result<Vec<(usize, u64)>, ReadError> {
        self.batch.clear();
        let mut asked: Vec<(usize, u64, Ticket)> = Vec::with_capacity(from.len());
        for &(index, address) in from {
            let Some(g) = goroutines.get(index) else { continue };
            let len = usize::try_from(g.stack_high.saturating_sub(address).min(len)).unwrap_or(0);
            asked.push((index, address, self.batch.add(address, len)));
        }
        spent.bytes = spent.bytes.saturating_add(self.batch.run(mem)?);
        let mut more = Vec::new();
        for (index, start, ticket) in asked {
            // What cannot be read ends the walk where it is.
            let walk = walks.get_mut(index).and_then(Option::as_mut);
            let (Some(walk), Some(bytes)) = (walk, self.batch.get(ticket)) else { continue };
            let window = Window { start, bytes };
            if let Progress::Needs(address) = walk.advance(window, |pc| shapes.of(pc)) {
                more.push((index, address));
            }
        }
        Ok(more)
    }

    /// Walks one deep stack to its end.
    fn deep(
        &mut self,
        mem: &dyn ReadMem,
        shapes: &mut Shapes,
        walk: &mut Walk,
        mut from: u64,
        high: u64,
        spent: &mut Spent,
    ) -> Result<(), ReadError> {
        let mut left = MAX_ONE.min(spent.deep_left);
        while left > 0 {
            let len = high.saturating_sub(from).min(LARGE).min(left);
            self.large.resize(usize::try_from(len).unwrap_or(0), 0);
            match mem.read(from, &mut self.large) {
                Ok(()) => {}
                Err(error @ (ReadError::Gone | ReadError::Denied)) => return Err(error),
                Err(_) => return Ok(()),
            }
            left = left.saturating_sub(len);
            spent.bytes = spent.bytes.saturating_add(len);
            spent.deep_left = spent.deep_left.saturating_sub(len);
            let window = Window { start: from, bytes: &self.large };
            match walk.advance(window, |pc| shapes.of(pc)) {
                // A word that straddles the window's end makes progress; the same address twice
                // does not.
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
