//! Reads the ring: records in the order in which the kernel part reserved them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::{MapData, RingBuf};

use crate::stream::decode::{RawRecord, decode};

/// How a drain went.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Drained {
    /// Records handed over.
    pub records: u64,
    /// Records that made no sense and were dropped.
    pub malformed: u64,
    /// Whether the bound was reached: more may be there.
    pub more: bool,
}

/// How full the ring is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fill {
    /// Bytes not read yet.
    pub used: u64,
    /// Bytes it holds.
    pub size: u64,
}

/// The reading end.
pub struct Ring {
    records: RingBuf<MapData>,
    positions: Positions,
    size: u64,
}

impl Ring {
    pub(super) fn new(records: RingBuf<MapData>, size: u64) -> io::Result<Self> {
        let positions = Positions::map(records.as_fd())?;
        Ok(Self { records, positions, size })
    }

    /// Hands over the records that are there, at most `most`.
    pub fn drain(&mut self, most: usize, mut each: impl FnMut(RawRecord)) -> Drained {
        let mut drained = Drained::default();
        for _ in 0..most {
            let Some(bytes) = self.records.next() else { return drained };
            match decode(&bytes) {
                Ok(record) => {
                    drained.records += 1;
                    each(record);
                }
                Err(_) => drained.malformed += 1,
            }
        }
        drained.more = true;
        drained
    }

    /// How full it is.
    pub fn fill(&self) -> Fill {
        let read = self.positions.consumer();
        Fill { used: self.positions.producer().saturating_sub(read), size: self.size }
    }

    /// Bytes read since the ring was made.
    pub fn read_position(&self) -> u64 {
        self.positions.consumer()
    }

    /// Bytes written since the ring was made.
    pub fn end_position(&self) -> u64 {
        self.positions.producer()
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.records.as_fd()
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.records.as_raw_fd()
    }
}

/// The two pages before the data: the consumer's position, then the producer's.
/// Source: kernel/bpf/ringbuf.c, `struct bpf_ringbuf`.
struct Positions {
    pages: NonNull<libc::c_void>,
    page: usize,
}

// SAFETY: the pages are only read, through atomics, and unmapped by the one owner.
unsafe impl Send for Positions {}
// SAFETY: as above.
unsafe impl Sync for Positions {}

impl Positions {
    fn map(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let page = super::page_size();
        // SAFETY: a new mapping, read-only, of the two pages every ring has.
        let pages = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                page * 2,
                libc::PROT_READ,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if pages == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let pages =
            NonNull::new(pages).ok_or_else(|| io::Error::from_raw_os_error(libc::EFAULT))?;
        Ok(Self { pages, page })
    }

    fn consumer(&self) -> u64 {
        self.load(0)
    }

    fn producer(&self) -> u64 {
        self.load(self.page)
    }

    fn load(&self, offset: usize) -> u64 {
        // SAFETY: both offsets are the start of a mapped page, which holds a word that the kernel
        // and the consumer change atomically.
        let word = unsafe { self.pages.as_ptr().byte_add(offset).cast::<AtomicU64>().as_ref() };
        word.map_or(0, |word| word.load(Ordering::Acquire))
    }
}

impl Drop for Positions {
    fn drop(&mut self) {
        // SAFETY: maps what `map` mapped, once.
        unsafe { libc::munmap(self.pages.as_ptr(), self.page * 2) };
    }
}
