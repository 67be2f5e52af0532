//! Many small reads of one round as one batched read.
//!
//! The kernel's cost of a batch is mostly that of its pieces (about a microsecond each), not of
//! its bytes; and what is read together lies together: g's in spans of one size, small stacks side
//! by side. So pieces that are close to each other are read as one.

use std::ops::Range;

use crate::target::{Piece, ReadError, ReadMem};

/// Most bytes gathered in one round. Callers bound each piece; this bounds their number too, so
/// that a hostile target cannot make loiter allocate: what does not fit counts as not readable.
const MAX_ROUND: usize = 64 << 20;
/// Pieces this far apart are joined. Less than a page: then a joined piece touches no page that
/// was not asked for.
const MAX_GAP: u64 = 2048;
/// Most bytes of a joined piece.
const MAX_JOINED: u64 = 64 << 10;

/// One piece of a round; None = it did not fit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket(Option<usize>);

/// A round of reads: add pieces, run, take the results.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pieces: Vec<Piece>,
    /// Where in `buf` each piece is, if it was read.
    places: Vec<Option<Range<usize>>>,
    total: usize,
    buf: Vec<u8>,
}

/// Pieces read as one.
struct Joined {
    piece: Piece,
    /// Indices into the pieces sorted by address.
    members: Range<usize>,
}

impl Batch {
    /// Forgets the last round; keeps its memory for the next.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.places.clear();
        self.total = 0;
    }

    /// Asks for `len` bytes at `address`.
    pub(super) fn add(&mut self, address: u64, len: usize) -> Ticket {
        let end = self.total.saturating_add(len);
        if end > MAX_ROUND {
            return Ticket(None);
        }
        self.pieces.push(Piece { address, len });
        self.total = end;
        Ticket(self.pieces.len().checked_sub(1))
    }

    /// Reads them all; the number of bytes read.
    pub(super) fn run(&mut self, mem: &dyn ReadMem) -> Result<u64, ReadError> {
        self.places.clear();
        self.places.resize(self.pieces.len(), None);
        if self.pieces.is_empty() {
            return Ok(0);
        }
        let mut order: Vec<usize> = (0..self.pieces.len()).collect();
        order.sort_unstable_by_key(|&index| self.pieces.get(index).map(|piece| piece.address));
        let joined = self.join(&order);
        let pieces: Vec<Piece> = joined.iter().map(|j| j.piece).collect();
        let read = mem.read_many(&pieces, &mut self.buf)?;
        let mut bytes = 0_u64;
        let mut start = 0_usize;
        let mut alone = Vec::new();
        for (joined, read) in joined.iter().zip(read) {
            let members = order.get(joined.members.clone()).unwrap_or_default();
            if read {
                bytes = bytes.saturating_add(joined.piece.len as u64);
                members.iter().for_each(|&index| self.place(index, start, joined.piece.address));
            } else if members.len() > 1 {
                alone.extend_from_slice(members);
            }
            start = start.saturating_add(joined.piece.len);
        }
        Ok(bytes.saturating_add(self.run_alone(mem, &alone)?))
    }

    /// Reads again, each by itself, what was joined with something unreadable.
    fn run_alone(&mut self, mem: &dyn ReadMem, indices: &[usize]) -> Result<u64, ReadError> {
        if indices.is_empty() {
            return Ok(0);
        }
        let pieces: Vec<Piece> =
            indices.iter().filter_map(|&index| self.pieces.get(index).copied()).collect();
        let mut buf = Vec::new();
        let read = mem.read_many(&pieces, &mut buf)?;
        let mut start = self.buf.len();
        self.buf.append(&mut buf);
        let mut bytes = 0_u64;
        for ((&index, piece), read) in indices.iter().zip(&pieces).zip(read) {
            if read {
                bytes = bytes.saturating_add(piece.len as u64);
                self.place(index, start, piece.address);
            }
            start = start.saturating_add(piece.len);
        }
        Ok(bytes)
    }

    /// The piece `index` was read as part of bytes from `address` on, which are at `start`.
    fn place(&mut self, index: usize, start: usize, address: u64) {
        let place = self.pieces.get(index).and_then(|piece| {
            let within = usize::try_from(piece.address.checked_sub(address)?).ok()?;
            let from = start.checked_add(within)?;
            Some(from..from.checked_add(piece.len)?)
        });
        if let Some(slot) = self.places.get_mut(index) {
            *slot = place;
        }
    }

    /// Joins pieces that are close, in order of address.
    fn join(&self, order: &[usize]) -> Vec<Joined> {
        let mut all: Vec<Joined> = Vec::new();
        for (at, piece) in
            order.iter().enumerate().filter_map(|(at, &i)| Some((at, *self.pieces.get(i)?)))
        {
            match all.last_mut().and_then(|last| Some((union(last.piece, piece)?, last))) {
                Some((union, last)) => {
                    last.piece = union;
                    last.members.end = at.saturating_add(1);
                }
                None => all.push(Joined { piece, members: at..at.saturating_add(1) }),
            }
        }
        all
    }

    /// The bytes of a piece; None if they could not be read.
    pub(super) fn get(&self, ticket: Ticket) -> Option<&[u8]> {
        self.buf.get(self.places.get(ticket.0?)?.clone()?)
    }
}

/// Both pieces and what is between them; None if they are too far apart. `second` does not start
/// before `first`.
fn union(first: Piece, second: Piece) -> Option<Piece> {
    let end = first.address.checked_add(first.len as u64)?;
    let second_end = second.address.checked_add(second.len as u64)?;
    let len = end.max(second_end).checked_sub(first.address)?;
    let close = second.address <= end.checked_add(MAX_GAP)? && len <= MAX_JOINED;
    (close && first.len > 0 && second.len > 0)
        .then_some(Piece { address: first.address, len: usize::try_from(len).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::FixtureMem;

    fn memory() -> FixtureMem {
        let mut mem = FixtureMem::new();
        mem.put(0x1000, (0..=255).cycle().take(8192).collect::<Vec<u8>>());
        mem
    }

    #[test]
    fn each_ticket_gives_its_own_bytes_or_none() {
        let mem = memory();
        let mut batch = Batch::default();
        let b = batch.add(0x1010, 2);
        let hole = batch.add(0x9000, 8);
        let absurd = batch.add(0x1000, usize::MAX);
        let a = batch.add(0x1004, 4);
        let nothing = batch.add(0, 0);
        let same = batch.add(0x1010, 2);
        batch.run(&mem).unwrap();
        assert_eq!(batch.get(a), Some(&[4, 5, 6, 7][..]));
        assert_eq!(batch.get(hole), None);
        assert_eq!(batch.get(absurd), None);
        assert_eq!(batch.get(b), Some(&[16, 17][..]));
        assert_eq!(batch.get(same), Some(&[16, 17][..]));
        assert_eq!(batch.get(nothing), Some(&[][..]));
        batch.clear();
        assert_eq!(batch.run(&mem).unwrap(), 0);
        assert_eq!(batch.get(a), None);
    }

    #[test]
    fn an_unreadable_piece_does_not_lose_those_it_was_joined_with() {
        let mem = memory();
        let mut batch = Batch::default();
        let end = 0x1000 + 8192;
        let beyond = batch.add(end + 16, 8);
        let last = batch.add(end - 8, 8);
        let across = batch.add(end - 4, 8);
        batch.run(&mem).unwrap();
        assert_eq!(batch.get(last), Some(&[248, 249, 250, 251, 252, 253, 254, 255][..]));
        assert_eq!(batch.get(across), None);
        assert_eq!(batch.get(beyond), None);
    }

    #[test]
    fn pieces_far_apart_or_too_large_together_stay_apart() {
        let piece = |address, len| Piece { address, len };
        assert_eq!(union(piece(0, 100), piece(200, 50)), Some(piece(0, 250)));
        assert_eq!(union(piece(0, 100), piece(10, 5)), Some(piece(0, 100)));
        assert_eq!(union(piece(0, 100), piece(100 + MAX_GAP + 1, 5)), None);
        assert_eq!(union(piece(0, 60 << 10), piece(60 << 10, 8 << 10)), None);
        assert_eq!(union(piece(u64::MAX, 100), piece(u64::MAX, 1)), None);
    }

    #[test]
    fn random_rounds_give_what_single_reads_give() {
        let mem = memory();
        let mut state = 5_u64;
        for _ in 0..300 {
            let mut batch = Batch::default();
            let pieces: Vec<(u64, usize, Ticket)> = (0..40)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let (address, len) = (0x0f00 + (state >> 50), (state >> 20) as usize % 900);
                    (address, len, batch.add(address, len))
                })
                .collect();
            batch.run(&mem).unwrap();
            for (address, len, ticket) in pieces {
                let mut alone = vec![0; len];
                let expected = mem.read(address, &mut alone).is_ok().then_some(&alone[..]);
                assert_eq!(batch.get(ticket), expected);
            }
        }
    }
}
