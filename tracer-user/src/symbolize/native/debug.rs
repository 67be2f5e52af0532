//! DWARF: lines, and which functions were inlined where.

use addr2line::Context;
use gimli::{EndianArcSlice, LittleEndian};

use crate::object::ByteSource;
use crate::object::elf::{Image, Section};

/// Most bytes of DWARF of one file, unpacked. What is larger goes without lines.
const MAX_DWARF: u64 = 384 << 20;
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
pub(super) struct Debug(Context<Reader>);

impl std::fmt::Debug for Debug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Debug")
    }
}

impl Debug {
    /// Reads it; None if there is none, it is too large or makes no sense.
    pub(super) fn read(image: &Image, source: &(impl ByteSource + ?Sized)) -> Option<Self> {
        image.section(".debug_info").filter(|s| s.has_contents)?;
        let mut left = MAX_DWARF;
        let mut load = |id: gimli::SectionId| -> Result<Reader, gimli::Error> {
            let bytes = match image.section(id.name()) {
                Some(section) => contents(image, source, section, &mut left)
                    .ok_or(gimli::Error::UnexpectedEof(gimli::ReaderOffsetId(0)))?,
                None => Vec::new(),
            };
            Ok(EndianArcSlice::new(bytes.into(), LittleEndian))
        };
        let dwarf = gimli::Dwarf::load(&mut load).ok()?;
        Context::from_dwarf(dwarf).ok().map(Self)
    }

    /// The functions at an address as linked, innermost first; empty if nothing is known.
    pub(super) fn places(&self, address: u64) -> Vec<Place> {
        let Ok(mut frames) = self.0.find_frames(address).skip_all_loads() else {
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

/// The contents of a section, unpacked, within what is `left`.
fn contents(
    image: &Image,
    source: &(impl ByteSource + ?Sized),
    section: &Section,
    left: &mut u64,
) -> Option<Vec<u8>> {
    let raw = match section.size <= *left && section.has_contents {
        true => image.section_contents(source, section, *left).ok()?,
        false => return None,
    };
    let bytes = if section.compressed { unpacked(&raw, *left)? } else { raw };
    *left = left.checked_sub(bytes.len() as u64)?;
    Some(bytes)
}

/// Unpacks what stands behind an `Elf64_Chdr`: type, 4 bytes unused, size, alignment (System V
/// ABI, "Section compression").
fn unpacked(raw: &[u8], max: u64) -> Option<Vec<u8>> {
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
    if size > max {
        return None;
    }
    let data = raw.get(HEADER..)?;
    let packed = CompressedData { format, data, uncompressed_size: size };
    packed.decompress().ok().map(std::borrow::Cow::into_owned)
}
