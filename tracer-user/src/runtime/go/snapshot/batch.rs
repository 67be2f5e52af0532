//! Many small reads of one round as one batched read.

use std::ops::Range;

use crate::target::{Piece, ReadError, ReadMem};

/// Most bytes gathered in one round. Callers bound each piece; this bounds their number too, so
/// that a hostile target cannot make loiter allocate: what does not fit counts as not readable.
const MAX_ROUND: usize = 64 << 20;

/// One piece of a round; None = it did not fit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket(Option<usize>);

/// A round of reads: add pieces, run, take the results.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pieces: Vec<Piece>,
    ranges: Vec<Range<usize>>,
    total: usize,
    buf: Vec<u8>,
    read: Vec<bool>,
}

impl Batch {
    /// Forgets the last round; keeps its memory for the next.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.ranges.clear();
        self.total = 0;
        self.buf.clear();
        self.read.clear();
    }

    /// Asks for `len` bytes at `address`.
    pub(super) fn add(&mut self, address: u64, len: usize) -> Ticket {
        let end = self.total.saturating_add(len);
        if end > MAX_ROUND {
            return Ticket(None);
        }
        self.ranges.push(self.total..end);
        self.pieces.push(Piece { address, len });
        self.total = end;
        Ticket(self.pieces.len().checked_sub(1))
    }

    /// Reads them all; the number of bytes read.
    pub(super) fn run(&mut self, mem: &dyn ReadMem) -> Result<u64, ReadError> {
        if self.pieces.is_empty() {
            return Ok(0);
        }
        self.read = mem.read_many(&self.pieces, &mut self.buf)?;
        let done = self.pieces.iter().zip(&self.read).filter(|(_, read)| **read);
        Ok(done.map(|(piece, _)| piece.len as u64).sum())
    }

    /// The bytes of a piece; None if they could not be read.
    pub(super) fn get(&self, ticket: Ticket) -> Option<&[u8]> {
        let index = ticket.0?;
        let read = *self.read.get(index)?;
        self.buf.get(self.ranges.get(index)?.clone()).filter(|_| read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::FixtureMem;

    #[test]
    fn each_ticket_gives_its_own_bytes_or_none() {
        let mut mem = FixtureMem::new();
        mem.put(0x1000, (0..64).collect::<Vec<u8>>());
        let mut batch = Batch::default();
        let a = batch.add(0x1004, 4);
        let hole = batch.add(0x9000, 8);
        let absurd = batch.add(0x1000, usize::MAX);
        let b = batch.add(0x1010, 2);
        assert_eq!(batch.run(&mem).unwrap(), 6);
        assert_eq!(batch.get(a), Some(&[4, 5, 6, 7][..]));
        assert_eq!(batch.get(hole), None);
        assert_eq!(batch.get(absurd), None);
        assert_eq!(batch.get(b), Some(&[16, 17][..]));
        batch.clear();
        assert_eq!(batch.run(&mem).unwrap(), 0);
        assert_eq!(batch.get(a), None);
    }
}
