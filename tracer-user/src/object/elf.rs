//! ELF files: what is loaded where, where a named section lies, which build it is.
//!
//! Only the headers are kept ([`Image`] is some kilobytes); contents are read on demand from a
//! [`ByteSource`]. Layouts: System V ABI, "Object Files", 64-bit little endian; processor number
//! from the AMD64 supplement. Program headers are the authority, since the kernel loads by them;
//! section headers may be absent (stripped by `sstrip`) or lie, so nothing is trusted because of
//! them.

use super::bytes::{u16_at, u32_at, u64_at};
use super::{ByteSource, SourceError};

pub use super::notes::BuildIds;

/// Program headers read at most. Linkers make about ten; a file with more is not a program.
pub const MAX_SEGMENTS: u16 = 512;
/// Section headers read at most. Linked programs have about forty.
pub const MAX_SECTIONS: u64 = 4096;
/// Bytes of section names read at most.
pub const MAX_SECTION_NAMES: u64 = 1 << 20;
/// Bytes of one note segment read at most. A build id needs under 200.
pub const MAX_NOTES: u64 = 64 << 10;
/// Relocations read at most: a position independent program of 200 MB has about two million.
pub const MAX_RELOCATIONS: u64 = 4 << 20;

const EHDR_SIZE: usize = 64;
const PHDR_SIZE: usize = 56;
const SHDR_SIZE: usize = 64;
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const EM_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_NOTE: u32 = 4;
const SHT_NOBITS: u32 = 8;
const SHF_COMPRESSED: u64 = 1 << 11;
const PAGE: u64 = 4096;

/// Why a file cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ElfError {
    /// It does not start with the ELF magic.
    #[error("not an ELF file: it does not start with 7f 45 4c 46")]
    NotElf,
    /// Another class, byte order or processor.
    #[error("an ELF file for {0}: loiter reads 64-bit little-endian x86-64 programs")]
    Machine(Box<str>),
    /// Not something that is run or loaded.
    #[error("an ELF file of type {0}: neither a program (2) nor a shared object (3)")]
    Type(u16),
    /// The headers contradict themselves or the file.
    #[error("malformed ELF headers: {0}")]
    Malformed(&'static str),
    /// Bytes that the headers name could not be read.
    #[error("reading {what}: {source}")]
    Read {
        /// Which bytes.
        what: &'static str,
        /// Why not.
        source: SourceError,
    },
    /// The address is not in any part of the file that is loaded.
    #[error("{len} bytes at address {address:#x} are not part of the file's loaded contents")]
    NotLoaded {
        /// Address as linked.
        address: u64,
        /// Length in bytes.
        len: u64,
    },
}

/// How the addresses in a file relate to those in a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Loaded at its own addresses.
    Fixed,
    /// Loaded anywhere: addresses in the process are those of the file plus a bias.
    PositionIndependent,
}

/// A part of the file that is loaded (PT_LOAD).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Address as linked.
    pub vaddr: u64,
    /// Where its contents are in the file.
    pub file_offset: u64,
    /// Bytes in the file.
    pub file_size: u64,
    /// Bytes in memory; what the file does not give is zero.
    pub mem_size: u64,
    /// Its code may run.
    pub executable: bool,
    /// Its data may be written.
    pub writable: bool,
}

impl Segment {
    /// Where the address lies in the file, if its byte is in the file.
    fn file_offset_of(&self, vaddr: u64) -> Option<u64> {
        let within = vaddr.checked_sub(self.vaddr)?;
        (within < self.file_size).then(|| self.file_offset.checked_add(within))?
    }

    fn bias(&self, mapped_at: u64, map_offset: u64) -> Option<u64> {
        // The kernel maps whole pages: a mapping begins at the page of the segment's start.
        let first = self.file_offset & !(PAGE - 1);
        let end = self.file_offset.checked_add(self.file_size)?;
        if map_offset < first || map_offset >= end {
            return None;
        }
        let linked = self.vaddr.wrapping_sub(self.file_offset).wrapping_add(map_offset);
        Some(mapped_at.wrapping_sub(linked))
    }

    fn vaddr_of(&self, offset: u64) -> Option<u64> {
        let within = offset.checked_sub(self.file_offset)?;
        (within < self.file_size).then(|| self.vaddr.checked_add(within))?
    }
}

/// A named section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// Its name; names that are not UTF-8 are made so.
    pub name: Box<str>,
    /// Address as linked; 0 if it is not loaded.
    pub vaddr: u64,
    /// Where its contents are in the file.
    pub file_offset: u64,
    /// Bytes.
    pub size: u64,
    /// Whether the file holds contents for it.
    pub has_contents: bool,
    /// Whether its contents are packed, behind a header that says how (`Elf64_Chdr`).
    pub compressed: bool,
}

/// The headers of an ELF file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    kind: Kind,
    entry: u64,
    segments: Vec<Segment>,
    notes: Vec<Range>,
    dynamic: Option<Range>,
    sections: Vec<Section>,
}

/// A piece of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    offset: u64,
    size: u64,
}

impl Image {
    /// Reads the headers.
    ///
    /// A section table that is absent or makes no sense is left out, since stripped files run
    /// as well.
    ///
    /// # Errors
    /// If it is not an x86-64 program or shared object, or its program headers are malformed.
    pub fn parse(source: &(impl ByteSource + ?Sized)) -> Result<Self, ElfError> {
        let mut header = [0u8; EHDR_SIZE];
        let have = usize::try_from(source.len()).unwrap_or(usize::MAX).min(EHDR_SIZE);
        let start = header.get_mut(..have).ok_or(ElfError::NotElf)?;
        source.read_at(0, start).map_err(|source| ElfError::Read { what: "ELF header", source })?;
        if !header.starts_with(b"\x7fELF") {
            return Err(ElfError::NotElf);
        }
        if have < EHDR_SIZE {
            return Err(ElfError::Malformed("the file ends within the ELF header"));
        }
        let header = Header::parse(&header)?;
        let mut image = Image {
            kind: header.kind,
            entry: header.entry,
            segments: Vec::new(),
            notes: Vec::new(),
            dynamic: None,
            sections: Vec::new(),
        };
        image.read_program_headers(source, &header)?;
        image.sections = read_sections(source, &header).unwrap_or_default();
        Ok(image)
    }

    fn read_program_headers(
        &mut self,
        source: &(impl ByteSource + ?Sized),
        header: &Header,
    ) -> Result<(), ElfError> {
        if header.phnum == 0 {
            return Err(ElfError::Malformed("no program headers: nothing is loaded"));
        }
        if header.phnum > MAX_SEGMENTS {
            return Err(ElfError::Malformed("more program headers than any program has"));
        }
        if usize::from(header.phentsize) != PHDR_SIZE {
            return Err(ElfError::Malformed("program headers of an unknown size"));
        }
        let mut raw = vec![0u8; usize::from(header.phnum) * PHDR_SIZE];
        source
            .read_at(header.phoff, &mut raw)
            .map_err(|source| ElfError::Read { what: "program headers", source })?;
        for entry in raw.chunks_exact(PHDR_SIZE) {
            let entry = ProgramHeader::parse(entry)
                .ok_or(ElfError::Malformed("a program header is cut off"))?;
            let range = Range { offset: entry.offset, size: entry.filesz };
            match entry.kind {
                PT_LOAD => self.segments.push(entry.segment()?),
                PT_NOTE => self.notes.push(range),
                PT_DYNAMIC => self.dynamic = Some(range),
                _ => {}
            }
        }
        if self.segments.is_empty() {
            return Err(ElfError::Malformed("no segment is loaded"));
        }
        Ok(())
    }

    /// Whether it is loaded at its own addresses.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Address where the program starts, as linked.
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// What is loaded, in the order of the headers.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// All sections; empty where the file has no usable section table.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The first section of that name.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|s| &*s.name == name)
    }

    /// The file offset of the byte loaded at `vaddr`; None where memory holds it but the file
    /// does not (zeroed data), or nothing is loaded.
    pub fn file_offset(&self, vaddr: u64) -> Option<u64> {
        self.segments.iter().find_map(|s| s.file_offset_of(vaddr))
    }

    /// The address, as linked, at which the file's byte is loaded. The executable segment wins
    /// where several segments load the same byte.
    pub fn vaddr(&self, file_offset: u64) -> Option<u64> {
        let by = |wanted: bool| {
            self.segments
                .iter()
                .filter(move |s| s.executable == wanted)
                .find_map(|s| s.vaddr_of(file_offset))
        };
        by(true).or_else(|| by(false))
    }

    /// What must be added to addresses as linked to get those in the process, from one of its
    /// mappings of this file: where the mapping starts and from which offset of the file.
    /// None if no segment is loaded from there.
    pub fn bias(&self, mapped_at: u64, map_offset: u64) -> Option<u64> {
        self.segments.iter().find_map(|s| s.bias(mapped_at, map_offset))
    }

    /// As [`Image::bias`], of a mapping that is executable: where a page of the file holds the end of
    /// one segment and the start of the next, it is mapped twice, at addresses that are linked apart.
    pub fn code_bias(&self, mapped_at: u64, map_offset: u64) -> Option<u64> {
        let code = self.segments.iter().filter(|s| s.executable);
        code.filter_map(|s| s.bias(mapped_at, map_offset)).next()
    }

    /// Fills `buf` with what the file loads at `vaddr`.
    ///
    /// # Errors
    /// If not all of it is in the file, within one segment, or the read fails.
    pub fn read(
        &self,
        source: &(impl ByteSource + ?Sized),
        vaddr: u64,
        buf: &mut [u8],
    ) -> Result<(), ElfError> {
        let len = buf.len() as u64;
        let offset = self
            .segments
            .iter()
            .find_map(|s| {
                let last = vaddr.checked_add(len.saturating_sub(1))?;
                s.file_offset_of(last)?;
                s.file_offset_of(vaddr)
            })
            .ok_or(ElfError::NotLoaded { address: vaddr, len })?;
        source
            .read_at(offset, buf)
            .map_err(|source| ElfError::Read { what: "loaded contents", source })
    }

    /// How many bytes the file loads from `vaddr` on, to the end of the segment; 0 if it loads
    /// nothing there.
    pub fn loaded_from(&self, vaddr: u64) -> u64 {
        self.segments
            .iter()
            .find_map(|s| s.file_size.checked_sub(vaddr.checked_sub(s.vaddr)?).filter(|&n| n > 0))
            .unwrap_or(0)
    }

    /// The contents of a section, at most `max` bytes of it.
    ///
    /// # Errors
    /// If the file does not hold them.
    pub fn section_contents(
        &self,
        source: &(impl ByteSource + ?Sized),
        section: &Section,
        max: u64,
    ) -> Result<Vec<u8>, ElfError> {
        if !section.has_contents {
            return Err(ElfError::Malformed("the section has no contents in the file"));
        }
        read_vec(source, section.file_offset, section.size.min(max), "section contents")
    }

    /// Where the dynamic section is in the file, and its size.
    pub(super) fn dynamic(&self) -> Option<(u64, u64)> {
        self.dynamic.map(|r| (r.offset, r.size))
    }

    /// A piece of the file; `what` names it in errors.
    pub(super) fn file_bytes(
        &self,
        source: &(impl ByteSource + ?Sized),
        offset: u64,
        size: u64,
        what: &'static str,
    ) -> Result<Vec<u8>, ElfError> {
        read_vec(source, offset, size, what)
    }

    /// The ids of the build, from the note segments.
    pub fn build_ids(&self, source: &(impl ByteSource + ?Sized)) -> BuildIds {
        let mut ids = BuildIds::default();
        for range in &self.notes {
            let size = range.size.min(MAX_NOTES);
            if let Ok(notes) = read_vec(source, range.offset, size, "notes") {
                ids.add(&notes);
            }
        }
        ids
    }
}

/// The fields of the ELF header that are used.
struct Header {
    kind: Kind,
    entry: u64,
    phoff: u64,
    phentsize: u16,
    phnum: u16,
    shoff: u64,
    shentsize: u16,
    shnum: u16,
    shstrndx: u16,
}

impl Header {
    fn parse(raw: &[u8; EHDR_SIZE]) -> Result<Self, ElfError> {
        const SHORT: ElfError = ElfError::Malformed("the ELF header is cut off");
        let &[_, _, _, _, class, order, ..] = raw;
        let machine = |what: String| ElfError::Machine(what.into_boxed_str());
        if class != 2 {
            return Err(machine(format!("class {class} (1 is 32-bit)")));
        }
        if order != 1 {
            return Err(machine(format!("byte order {order} (2 is big endian)")));
        }
        let half = |at| u16_at(raw, at).ok_or(SHORT);
        let word = |at| u64_at(raw, at).ok_or(SHORT);
        match half(18)? {
            EM_X86_64 => {}
            183 => return Err(machine("processor arm64".to_owned())),
            other => return Err(machine(format!("processor number {other}"))),
        }
        let kind = match half(16)? {
            ET_EXEC => Kind::Fixed,
            ET_DYN => Kind::PositionIndependent,
            other => return Err(ElfError::Type(other)),
        };
        Ok(Header {
            kind,
            entry: word(24)?,
            phoff: word(32)?,
            shoff: word(40)?,
            phentsize: half(54)?,
            phnum: half(56)?,
            shentsize: half(58)?,
            shnum: half(60)?,
            shstrndx: half(62)?,
        })
    }
}

struct ProgramHeader {
    kind: u32,
    flags: u32,
    offset: u64,
    vaddr: u64,
    filesz: u64,
    memsz: u64,
}

impl ProgramHeader {
    fn parse(raw: &[u8]) -> Option<Self> {
        Some(ProgramHeader {
            kind: u32_at(raw, 0)?,
            flags: u32_at(raw, 4)?,
            offset: u64_at(raw, 8)?,
            vaddr: u64_at(raw, 16)?,
            filesz: u64_at(raw, 32)?,
            memsz: u64_at(raw, 40)?,
        })
    }

    fn segment(&self) -> Result<Segment, ElfError> {
        let fits = |start: u64, size: u64| start.checked_add(size).is_some();
        if !fits(self.vaddr, self.memsz) || !fits(self.offset, self.filesz) {
            return Err(ElfError::Malformed("a segment reaches past the end of the address space"));
        }
        if self.filesz > self.memsz {
            return Err(ElfError::Malformed("a segment has more bytes in the file than in memory"));
        }
        Ok(Segment {
            vaddr: self.vaddr,
            file_offset: self.offset,
            file_size: self.filesz,
            mem_size: self.memsz,
            executable: self.flags & 1 != 0,
            writable: self.flags & 2 != 0,
        })
    }
}

/// None where the table is absent or makes no sense.
fn read_sections(source: &(impl ByteSource + ?Sized), header: &Header) -> Option<Vec<Section>> {
    if header.shoff == 0 || usize::from(header.shentsize) != SHDR_SIZE {
        return None;
    }
    let first = read_vec(source, header.shoff, SHDR_SIZE as u64, "section header").ok()?;
    // Counts that do not fit their 16 bits are in the first entry (System V ABI, `e_shnum`).
    let count = if header.shnum == 0 { u64_at(&first, 32)? } else { u64::from(header.shnum) };
    let names_at =
        if header.shstrndx == 0xffff { u32_at(&first, 40)? } else { u32::from(header.shstrndx) };
    if count > MAX_SECTIONS {
        return None;
    }
    let size = count.checked_mul(SHDR_SIZE as u64)?;
    let raw = read_vec(source, header.shoff, size, "section headers").ok()?;
    let entries: Vec<&[u8]> = raw.chunks_exact(SHDR_SIZE).collect();
    let names = entries.get(usize::try_from(names_at).ok()?)?;
    let names_size = u64_at(names, 32)?.min(MAX_SECTION_NAMES);
    let names = read_vec(source, u64_at(names, 24)?, names_size, "section names").ok()?;
    entries
        .into_iter()
        .map(|raw| {
            Some(Section {
                name: name_at(&names, u32_at(raw, 0)?),
                vaddr: u64_at(raw, 16)?,
                file_offset: u64_at(raw, 24)?,
                size: u64_at(raw, 32)?,
                has_contents: u32_at(raw, 4)? != SHT_NOBITS,
                compressed: u64_at(raw, 8)? & SHF_COMPRESSED != 0,
            })
        })
        .collect()
}

fn name_at(names: &[u8], at: u32) -> Box<str> {
    let tail = usize::try_from(at).ok().and_then(|at| names.get(at..)).unwrap_or_default();
    let end = memchr::memchr(0, tail).unwrap_or(tail.len());
    String::from_utf8_lossy(tail.get(..end).unwrap_or_default()).into()
}

/// Reads a piece of the file; never allocates more than the file holds.
fn read_vec(
    source: &(impl ByteSource + ?Sized),
    offset: u64,
    size: u64,
    what: &'static str,
) -> Result<Vec<u8>, ElfError> {
    let past = SourceError::PastEnd { offset, len: size, end: source.len() };
    if offset.checked_add(size).is_none_or(|end| end > source.len()) {
        return Err(ElfError::Read { what, source: past });
    }
    let size = usize::try_from(size).map_err(|_| ElfError::Read { what, source: past })?;
    let mut buf = vec![0u8; size];
    source.read_at(offset, &mut buf).map_err(|source| ElfError::Read { what, source })?;
    Ok(buf)
}

#[cfg(test)]
mod tests;
