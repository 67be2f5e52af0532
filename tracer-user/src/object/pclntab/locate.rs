//! Finding the table in a file: by section where there is one, else by its magic.

use super::{PclntabError, Table};
use crate::object::ByteSource;
use crate::object::bytes::{u32_at, u64_at};
use crate::object::elf::{Image, Segment};

/// Bytes of one segment that are searched at most; larger than any program's read-only data.
pub const MAX_SCAN: u64 = 2 << 30;
/// Bytes read at a time. The table's header must not be split: pieces overlap by
/// [`HEADER`] bytes.
const CHUNK: usize = 1 << 20;
const HEADER: usize = 72;
/// The linker aligns the table to this (src/cmd/link/internal/ld/data.go: 32; 8 is enough for
/// words).
const ALIGN: usize = 8;

/// Where a table is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Location {
    /// Address as linked.
    pub vaddr: u64,
    /// Bytes from there that may belong to it: to the end of its section or segment.
    pub max_size: u64,
}

/// Finds the function table of a Go binary: in section `.gopclntab`, or
/// `.data.rel.ro.gopclntab` (position independent, Go's linker), else by searching the loaded
/// contents (an external linker keeps no section for it). None if there is none.
pub fn locate(image: &Image, source: &(impl ByteSource + ?Sized)) -> Option<Location> {
    [".gopclntab", ".data.rel.ro.gopclntab"]
        .iter()
        .filter_map(|name| image.section(name))
        .find_map(|section| {
            let mut header = [0u8; HEADER];
            image.read(source, section.vaddr, &mut header).ok()?;
            let found = Location { vaddr: section.vaddr, max_size: section.size };
            looks_right(&header, section.size).then_some(found)
        })
        .or_else(|| {
            // Read-only data first: the table is hardly ever elsewhere.
            let (last, first): (Vec<&Segment>, Vec<&Segment>) =
                image.segments().iter().partition(|s| s.executable);
            first.into_iter().chain(last).find_map(|s| scan_segment(image, source, s))
        })
}

fn scan_segment(
    image: &Image,
    source: &(impl ByteSource + ?Sized),
    segment: &Segment,
) -> Option<Location> {
    let size = segment.file_size.min(MAX_SCAN);
    let mut at = 0u64;
    while at < size {
        let len = usize::try_from(size - at).unwrap_or(CHUNK).min(CHUNK + HEADER);
        let mut buf = vec![0u8; len];
        let vaddr = segment.vaddr.checked_add(at)?;
        image.read(source, vaddr, &mut buf).ok()?;
        if let Some(found) = scan(&buf, vaddr, size - at) {
            return Some(found);
        }
        at = at.checked_add(CHUNK as u64)?;
    }
    None
}

/// Searches contents that lie at `vaddr` for the start of a table; `available` bytes follow
/// from `vaddr` on, of which `contents` may be only the first. Candidates are checked by their
/// header alone.
pub fn scan(contents: &[u8], vaddr: u64, available: u64) -> Option<Location> {
    let skew = usize::try_from(vaddr % ALIGN as u64).ok()?;
    let mut at = (ALIGN - skew) % ALIGN;
    while let Some(header) = contents.get(at..at.checked_add(HEADER)?) {
        let left = available.checked_sub(at as u64)?;
        if looks_right(header, left) {
            return Some(Location { vaddr: vaddr.checked_add(at as u64)?, max_size: left });
        }
        at += ALIGN;
    }
    None
}

/// Whether a header can be that of a table with `size` bytes: magic, processor, and parts that
/// follow each other as the linker lays them out (src/cmd/link/internal/ld/pcln.go).
fn looks_right(header: &[u8], size: u64) -> bool {
    let magic = u32_at(header, 0);
    if !matches!(magic, Some(0xffff_fff0 | 0xffff_fff1)) {
        return false;
    }
    if header.get(4..8) != Some(&[0, 0, 1, 8]) {
        return false;
    }
    let Some(functions) = u64_at(header, 8) else { return false };
    let mut last = HEADER as u64 - 1;
    for part in 3..8 {
        match u64_at(header, 8 + 8 * part) {
            Some(at) if at > last && at < size => last = at,
            _ => return false,
        }
    }
    functions > 0 && functions.checked_mul(8).is_some_and(|bytes| bytes <= size - last)
}

impl Table {
    /// Reads the table at a place found in a file.
    ///
    /// # Errors
    /// If the file does not hold it, or it is not a table.
    pub fn read(
        image: &Image,
        source: &(impl ByteSource + ?Sized),
        at: Location,
    ) -> Result<Table, ReadTableError> {
        let size = at.max_size.min(MAX_TABLE);
        let mut data = vec![0u8; usize::try_from(size).map_err(|_| PclntabError::Count(size))?];
        image.read(source, at.vaddr, &mut data)?;
        Ok(Table::parse(data.into())?)
    }
}

/// Bytes of a table read at most. That of a 500 MB binary has about 120 MB.
pub const MAX_TABLE: u64 = 512 << 20;

/// Why a table could not be read from a file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadTableError {
    /// The file does not hold it.
    #[error("Go's function table: {0}")]
    Elf(#[from] crate::object::elf::ElfError),
    /// It is not one.
    #[error(transparent)]
    Table(#[from] PclntabError),
}
