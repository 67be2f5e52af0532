//! Words that the loader fills in: in a position independent file that an external linker made,
//! a pointer is zero in the file and its value stands in the relocation table alone. Needed to
//! find Go's tables in such a file without a process. Go's own linker, and packed relocations
//! (DT_RELR), leave the value in the file as well, so those need nothing from here.
//!
//! Layouts: System V ABI, "Dynamic Section" and "Relocation"; R_X86_64_RELATIVE from the AMD64
//! supplement.

use super::ByteSource;
use super::bytes::{u32_at, u64_at};
use super::elf::{ElfError, Image, MAX_RELOCATIONS};

const DYN_SIZE: u64 = 16;
/// Entries of the dynamic section read at most; linkers make about thirty.
const MAX_DYNAMIC: u64 = 1024;
const DT_NULL: u64 = 0;
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const RELA_SIZE: usize = 24;
const R_X86_64_RELATIVE: u32 = 8;
/// Bytes of a relocation table read at a time.
const CHUNK: usize = RELA_SIZE * 4096;

/// The pointers that the loader writes, by the address where it writes them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Relocations {
    /// Address of the word, value as linked; in order of the address.
    words: Vec<(u64, u64)>,
}

impl Relocations {
    /// Reads the relative relocations; empty for a file without a dynamic section.
    ///
    /// # Errors
    /// If the tables that the dynamic section names cannot be read or have more than
    /// [`MAX_RELOCATIONS`] entries.
    pub fn parse(image: &Image, source: &(impl ByteSource + ?Sized)) -> Result<Self, ElfError> {
        let Some(dynamic) = image.dynamic() else { return Ok(Self::default()) };
        let mut words = Vec::new();
        if let Some((at, size)) = rela_table(image, source, dynamic)? {
            read_rela(image, source, at, size, &mut words)?;
        }
        words.sort_unstable();
        Ok(Self { words })
    }

    /// How many words.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether the loader writes no pointer.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Writes the pointers into `buf`, which holds the file's contents at `vaddr`.
    pub fn apply(&self, vaddr: u64, buf: &mut [u8]) {
        let start = self.words.partition_point(|&(at, _)| at < vaddr);
        for &(at, value) in self.words.get(start..).unwrap_or_default() {
            let Ok(offset) = usize::try_from(at.wrapping_sub(vaddr)) else { break };
            let Some(end) = offset.checked_add(8) else { break };
            let Some(word) = buf.get_mut(offset..end) else { break };
            word.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Addresses of the words that point to `value`.
    pub fn pointing_to(&self, value: u64) -> impl Iterator<Item = u64> + '_ {
        self.words.iter().filter(move |&&(_, v)| v == value).map(|&(at, _)| at)
    }
}

/// Address and size of the table, from the dynamic section.
fn rela_table(
    image: &Image,
    source: &(impl ByteSource + ?Sized),
    (offset, size): (u64, u64),
) -> Result<Option<(u64, u64)>, ElfError> {
    let count = (size / DYN_SIZE).min(MAX_DYNAMIC);
    let raw = image.file_bytes(source, offset, count * DYN_SIZE, "dynamic section")?;
    let (mut rela, mut rela_size) = (None, 0);
    for entry in raw.chunks_exact(DYN_SIZE as usize) {
        let (Some(tag), Some(value)) = (u64_at(entry, 0), u64_at(entry, 8)) else { break };
        match tag {
            DT_NULL => break,
            DT_RELA => rela = Some(value),
            DT_RELASZ => rela_size = value,
            _ => {}
        }
    }
    Ok(rela.map(|at| (at, rela_size)))
}

/// Reads a table of the file in pieces and hands them out.
fn in_chunks(
    image: &Image,
    source: &(impl ByteSource + ?Sized),
    at: u64,
    size: u64,
    mut each: impl FnMut(&[u8]) -> Result<(), ElfError>,
) -> Result<(), ElfError> {
    let mut done = 0u64;
    while done < size {
        let len = usize::try_from(size - done).unwrap_or(CHUNK).min(CHUNK);
        let mut buf = vec![0u8; len];
        let from = at.checked_add(done).ok_or(ElfError::NotLoaded { address: at, len: size })?;
        image.read(source, from, &mut buf)?;
        each(&buf)?;
        done += len as u64;
    }
    Ok(())
}

fn read_rela(
    image: &Image,
    source: &(impl ByteSource + ?Sized),
    at: u64,
    size: u64,
    words: &mut Vec<(u64, u64)>,
) -> Result<(), ElfError> {
    if size / RELA_SIZE as u64 > MAX_RELOCATIONS {
        return Err(ElfError::Malformed("more relocations than loiter reads"));
    }
    in_chunks(image, source, at, size, |chunk| {
        for entry in chunk.chunks_exact(RELA_SIZE) {
            let (Some(at), Some(kind), Some(addend)) =
                (u64_at(entry, 0), u32_at(entry, 8), u64_at(entry, 16))
            else {
                continue;
            };
            if kind == R_X86_64_RELATIVE {
                words.push((at, addend));
            }
        }
        Ok(())
    })
}
