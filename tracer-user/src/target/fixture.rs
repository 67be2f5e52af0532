//! Recorded memory, so that everything above is tested without a live target.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::memory::{Piece, ReadError, ReadMem};

/// Memory made of regions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FixtureMem {
    regions: BTreeMap<u64, Vec<u8>>,
}

impl FixtureMem {
    /// No memory at all.
    pub const fn new() -> Self {
        Self { regions: BTreeMap::new() }
    }

    /// Puts bytes at an address; what was there before under the same start is replaced. Where
    /// regions overlap, the one that starts later counts.
    pub fn put(&mut self, address: u64, bytes: impl Into<Vec<u8>>) {
        self.regions.insert(address, bytes.into());
    }

    /// Changes bytes in place; false where they are not there.
    pub fn patch(&mut self, address: u64, bytes: &[u8]) -> bool {
        let Some((start, region)) = self.regions.range_mut(..=address).next_back() else {
            return false;
        };
        let at = usize::try_from(address.saturating_sub(*start)).unwrap_or(usize::MAX);
        match region.get_mut(at..at.saturating_add(bytes.len())) {
            Some(place) => {
                place.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }

    /// The regions, in rising order of address.
    pub fn regions(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.regions.iter().map(|(&address, bytes)| (address, bytes.as_slice()))
    }
}

impl ReadMem for FixtureMem {
    fn read(&self, address: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let unmapped = ReadError::Unmapped { address, len: buf.len() };
        let mut at = address;
        let mut rest = buf;
        while !rest.is_empty() {
            let (start, region) = self.regions.range(..=at).next_back().ok_or(unmapped)?;
            let skip = usize::try_from(at.saturating_sub(*start)).map_err(|_| unmapped)?;
            let bytes = region.get(skip..).filter(|b| !b.is_empty()).ok_or(unmapped)?;
            let take = bytes.len().min(rest.len());
            let (now, later) = rest.split_at_mut(take);
            now.copy_from_slice(bytes.get(..take).ok_or(unmapped)?);
            rest = later;
            at = at.checked_add(take as u64).ok_or(unmapped)?;
        }
        Ok(())
    }

    fn read_many(&self, pieces: &[Piece], buf: &mut Vec<u8>) -> Result<Vec<bool>, ReadError> {
        buf.clear();
        Ok(pieces.iter().map(|piece| append(self, *piece, buf)).collect())
    }
}

/// Reads a piece behind what is in `buf`.
fn append(mem: &impl ReadMem, piece: Piece, buf: &mut Vec<u8>) -> bool {
    let start = buf.len();
    buf.resize(start.saturating_add(piece.len), 0);
    match buf.get_mut(start..) {
        Some(place) => {
            let read = mem.read(piece.address, place).is_ok();
            if !read {
                place.fill(0);
            }
            read
        }
        None => false,
    }
}

/// Passes reads on and keeps what was read: makes a fixture of a live process.
#[derive(Debug)]
pub struct RecordingMem<M> {
    inner: M,
    recorded: RefCell<FixtureMem>,
}

impl<M: ReadMem> RecordingMem<M> {
    /// Records what is read through it.
    pub const fn new(inner: M) -> Self {
        Self { inner, recorded: RefCell::new(FixtureMem::new()) }
    }

    /// What was read.
    pub fn into_fixture(self) -> FixtureMem {
        self.recorded.into_inner()
    }

    fn keep(&self, address: u64, bytes: &[u8]) {
        let mut recorded = self.recorded.borrow_mut();
        let longer = recorded.regions.get(&address).is_some_and(|old| old.len() > bytes.len());
        if longer {
            recorded.patch(address, bytes);
        } else {
            recorded.put(address, bytes);
        }
    }
}

impl<M: ReadMem> ReadMem for RecordingMem<M> {
    fn read(&self, address: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        self.inner.read(address, buf)?;
        self.keep(address, buf);
        Ok(())
    }

    fn read_many(&self, pieces: &[Piece], buf: &mut Vec<u8>) -> Result<Vec<bool>, ReadError> {
        let done = self.inner.read_many(pieces, buf)?;
        let mut at = 0_usize;
        for (piece, read) in pieces.iter().zip(&done) {
            let end = at.saturating_add(piece.len);
            if let (true, Some(bytes)) = (*read, buf.get(at..end)) {
                self.keep(piece.address, bytes);
            }
            at = end;
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_may_cross_regions_that_touch_but_not_a_hole() {
        let mut mem = FixtureMem::new();
        mem.put(100, vec![1; 10]);
        mem.put(110, vec![2; 10]);
        mem.put(130, vec![3; 10]);
        let mut buf = [0; 20];
        mem.read(100, &mut buf).unwrap();
        assert_eq!((buf[9], buf[10]), (1, 2));
        assert!(mem.read(115, &mut buf).is_err());
        assert!(mem.read(99, &mut [0; 2]).is_err());
        assert!(mem.patch(131, &[9, 9]));
        let mut out = Vec::new();
        let pieces = [Piece { address: 130, len: 3 }, Piece { address: 0, len: 2 }];
        assert_eq!(mem.read_many(&pieces, &mut out).unwrap(), [true, false]);
        assert_eq!(out, [3, 9, 9, 0, 0]);
    }

    #[test]
    fn what_was_read_live_reads_equal_from_the_recording() {
        let data: Vec<u8> = (0..200).collect();
        let address = data.as_ptr() as u64;
        let live = crate::target::LiveMem::open(crate::base::Pid(std::process::id())).unwrap();
        let recording = RecordingMem::new(live);
        let hole = Piece { address: 16, len: 8 };
        let pieces = [Piece { address, len: 50 }, hole, Piece { address: address + 100, len: 100 }];
        let mut buf = Vec::new();
        recording.read_many(&pieces, &mut buf).unwrap();
        let fixture = recording.into_fixture();
        let mut again = Vec::new();
        assert_eq!(fixture.read_many(&pieces, &mut again).unwrap(), [true, false, true]);
        assert_eq!(again, buf);
        assert!(fixture.read(address + 60, &mut [0; 1]).is_err());
    }
}
