//! DWARF: lines, and which functions were inlined where.

use std::sync::Arc;

use addr2line::Context;
use gimli::{EndianArcSlice, LittleEndian};

use crate::object::ByteSource;
use crate::object::elf::{Image, Section};

use super::budget::{Budget, Share};

/// Most levels of inlining told at one address; compilers stop earlier.
const MAX_INLINED: usize = 64;
/// Most bytes of a file's name.
const MAX_PATH: usize = 1024;

type Reader = EndianArcSlice<LittleEndian>;

/// A function at an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// As the compiler wrote it; None = the debug information does not say.
    pub(super) function: Option<String>,
    /// Source file; empty if it is not known.
    pub(super) file: String,
    /// Line; 0 if it is not known.
    pub(super) line: u32,
}

/// The debug information of a file.
pub(super) struct Debug {
    context: Context<Reader>,
    /// Given back once the context is gone.
    _share: Share,
}

impl std::fmt::Debug for Debug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Debug")
    }
}

impl Debug {
    /// Reads it; None if there is none, it is too large for what is left or makes no sense.
    pub(super) fn read(
        image: &Image,
        source: &(impl ByteSource + ?Sized),
        budget: &Arc<Budget>,
    ) -> Option<Self> {
        image.section(".debug_info").filter(|s| s.has_contents)?;
        let mut share = Share::of(budget);
        let mut load = |id: gimli::SectionId| -> Result<Reader, gimli::Error> {
            let bytes = match image.section(id.name()) {
                Some(section) => contents(image, source, section, &mut share)
                    .ok_or(gimli::Error::UnexpectedEof(gimli::ReaderOffsetId(0)))?,
                None => Vec::new(),
            };
            Ok(EndianArcSlice::new(bytes.into(), LittleEndian))
        };
        let dwarf = gimli::Dwarf::load(&mut load).ok()?;
        let context = Context::from_dwarf(dwarf).ok()?;
        Some(Self { context, _share: share })
    }

    /// The functions at an address as linked, innermost first; empty if nothing is known.
    pub(super) fn places(&self, address: u64) -> Vec<Place> {
        let Ok(mut frames) = self.context.find_frames(address).skip_all_loads() else {
            return Vec::new();
        };
        let mut places = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            let function = frame
                .function
                .as_ref()
                .and_then(|name| name.raw_name().ok().map(std::borrow::Cow::into_owned));
            let (file, line) = frame.location.as_ref().map_or((String::new(), 0), |location| {
                (cut(location.file.unwrap_or_default()), location.line.unwrap_or(0))
            });
            places.push(Place { function, file, line });
            if places.len() >= MAX_INLINED {
                break;
            }
        }
        places
    }
}

fn cut(path: &str) -> String {
    let end = (0..=MAX_PATH.min(path.len())).rev().find(|&i| path.is_char_boundary(i));
    let path = path.get(..end.unwrap_or(0)).unwrap_or_default();
    path.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The contents of a section, unpacked, which count as taken before there is memory for them.
fn contents(
    image: &Image,
    source: &(impl ByteSource + ?Sized),
    section: &Section,
    share: &mut Share,
) -> Option<Vec<u8>> {
    if section.size > share.left() {
        return None;
    }
    if !section.compressed {
        share.take(section.size)?;
    }
    let raw = image.section_contents(source, section, section.size).ok()?;
    if section.compressed { unpacked(&raw, share) } else { Some(raw) }
}

/// Unpacks what stands behind an `Elf64_Chdr`: type, 4 bytes unused, size, alignment (System V
/// ABI, "Section compression").
fn unpacked(raw: &[u8], share: &mut Share) -> Option<Vec<u8>> {
    use object::read::{CompressedData, CompressionFormat};
    const HEADER: usize = 24;
    let word = |at: usize, len: usize| raw.get(at..at.checked_add(len)?);
    let kind = u32::from_le_bytes(word(0, 4)?.try_into().ok()?);
    let size = u64::from_le_bytes(word(8, 8)?.try_into().ok()?);
    let format = match kind {
        1 => CompressionFormat::Zlib,
        2 => CompressionFormat::Zstandard,
        _ => return None,
    };
    let data = raw.get(HEADER..)?;
    share.take(size)?;
    let packed = CompressedData { format, data, uncompressed_size: size };
    packed.decompress().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: usize = 64;
    const PROGRAM_HEADER: usize = 56;

    /// A library of no code with an empty `.debug_info` and a `.debug_str` of so many bytes.
    fn library(strings: usize) -> Vec<u8> {
        let names = b"\0.debug_info\0.debug_str\0.shstrtab\0";
        let mut file = vec![0; HEADER + PROGRAM_HEADER];
        let strings_at = file.len();
        file.resize(strings_at + strings, 0);
        let names_at = file.len();
        file.extend(names);
        let sections_at = file.len();
        let sections =
            [(0, 0, 0), (1, names_at, 0), (13, strings_at, strings), (24, names_at, names.len())];
        for (name, at, size) in sections {
            let mut section = [0; 64];
            section[..4].copy_from_slice(&u32::to_le_bytes(name));
            section[4] = 1;
            section[24..32].copy_from_slice(&(at as u64).to_le_bytes());
            section[32..40].copy_from_slice(&(size as u64).to_le_bytes());
            file.extend(section);
        }
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        file[16] = 3;
        file[18] = 62;
        file[32] = HEADER as u8;
        file[40..48].copy_from_slice(&(sections_at as u64).to_le_bytes());
        for (at, value) in [(54, 56), (56, 1), (58, 64), (60, 4), (62, 3)] {
            file[at] = value;
        }
        file[HEADER] = 1;
        file
    }

    #[test]
    fn debug_information_counts_as_long_as_it_is_kept() {
        let budget = Arc::new(Budget::default());
        let left = || Share::of(&budget).left();
        let file = library(1000);
        let image = Image::parse(file.as_slice()).unwrap();
        let read = || Debug::read(&image, file.as_slice(), &budget);
        let mut others = Share::of(&budget);
        others.take(others.left()).unwrap();
        let mut more = Share::of(&budget);
        more.take(more.left() - 1999).unwrap();
        let one = read().unwrap();
        assert_eq!(left(), 999);
        assert!(read().is_none(), "two do not fit");
        assert_eq!(left(), 999, "what was not read has taken nothing");
        drop(one);
        assert!(left() == 1999 && read().is_some());
    }
}
