//! `/proc/PID/maps`: which files lie where in a process.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::base::Pid;

use super::{TargetError, procfs};

/// Most bytes of `maps` read: `vm.max_map_count` is 65 530 by default, 1 048 576 where a
/// distribution raised it, at about 100 bytes a line.
const MAX_MAPS_BYTES: usize = 64 << 20;
/// Most mappings kept, for the same reason.
const MAX_MAPPINGS: usize = 1 << 19;

/// Access rights of a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Perms {
    /// Can be read.
    pub read: bool,
    /// Can be written.
    pub write: bool,
    /// Can be executed.
    pub execute: bool,
}

/// A file as `maps` names it: device and inode.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileKey {
    /// Major number of the device.
    pub major: u32,
    /// Minor number of the device.
    pub minor: u32,
    /// Inode.
    pub inode: u64,
}

/// One line of `maps`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
    /// Rights.
    pub perms: Perms,
    /// Offset in the file.
    pub offset: u64,
    /// The file; None = anonymous memory.
    pub file: Option<FileKey>,
    /// Path in the target's mount namespace, or a name in brackets; empty = anonymous.
    pub path: Box<Path>,
    /// Whether the file has no name any more.
    pub deleted: bool,
}

impl Mapping {
    /// Length in bytes.
    pub const fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether it has no bytes.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// All mappings of a process, in rising order of address.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Maps {
    mappings: Vec<Mapping>,
}

impl Maps {
    /// Reads `/proc/PID/maps`.
    ///
    /// # Errors
    /// If there is no such process or the file cannot be read. A process that has exited or is a
    /// kernel thread has no mappings.
    pub fn of(pid: Pid) -> Result<Self, TargetError> {
        let text = procfs::read(pid, "maps", "the table of mappings", MAX_MAPS_BYTES)?;
        Ok(Self::parse(&text))
    }

    /// Parses the text of a `maps` file. A line that makes no sense is left out, and so is one
    /// that is not above the one before it: the kernel writes them in order.
    pub fn parse(text: &[u8]) -> Self {
        let mut mappings: Vec<Mapping> = Vec::new();
        for line in text.split(|&b| b == b'\n').filter_map(parse_line) {
            let in_order = mappings.last().is_none_or(|last| last.end <= line.start);
            if in_order && mappings.len() < MAX_MAPPINGS {
                mappings.push(line);
            }
        }
        Self { mappings }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Mapping> {
        self.mappings.iter()
    }

    /// The mapping that holds `address`.
    pub fn find(&self, address: u64) -> Option<&Mapping> {
        let above = self.mappings.partition_point(|m| m.start <= address);
        let mapping = self.mappings.get(above.checked_sub(1)?)?;
        (address < mapping.end).then_some(mapping)
    }

    /// The mappings of one file.
    pub fn of_file(&self, file: FileKey) -> impl Iterator<Item = &Mapping> {
        self.mappings.iter().filter(move |m| m.file == Some(file))
    }

    /// The files mapped with the right to execute: the program and its shared objects; each once,
    /// in order of address.
    pub fn programs(&self) -> Vec<&Mapping> {
        let mut seen = std::collections::HashSet::new();
        self.mappings
            .iter()
            .filter(|m| m.perms.execute)
            .filter(|m| m.file.is_some_and(|file| seen.insert(file)))
            .collect()
    }
}

/// `start-end perms offset major:minor inode path`, see proc_pid_maps(5).
fn parse_line(line: &[u8]) -> Option<Mapping> {
    let (range, rest) = word(line)?;
    let (perms, rest) = word(rest)?;
    let (offset, rest) = word(rest)?;
    let (device, rest) = word(rest)?;
    let (inode, rest) = word(rest).unwrap_or((rest, &[]));
    let (start, end) = split_at_byte(range, b'-')?;
    let (major, minor) = split_at_byte(device, b':')?;
    let (start, end) = (hex(start)?, hex(end)?);
    let inode: u64 = std::str::from_utf8(inode).ok()?.parse().ok()?;
    let key = FileKey {
        major: u32::try_from(hex(major)?).ok()?,
        minor: u32::try_from(hex(minor)?).ok()?,
        inode,
    };
    let (path, deleted) = parse_path(rest);
    (start < end).then_some(Mapping {
        start,
        end,
        perms: Perms {
            read: perms.first() == Some(&b'r'),
            write: perms.get(1) == Some(&b'w'),
            execute: perms.get(2) == Some(&b'x'),
        },
        offset: hex(offset)?,
        file: (inode != 0).then_some(key),
        path,
        deleted,
    })
}

/// The kernel pads before the path, writes a newline in it as `\012`, and appends ` (deleted)`.
fn parse_path(rest: &[u8]) -> (Box<Path>, bool) {
    let start = rest.iter().position(|&b| b != b' ').unwrap_or(rest.len());
    let name = rest.get(start..).unwrap_or_default();
    let (name, deleted) = match name.strip_suffix(b" (deleted)") {
        Some(name) => (name, true),
        None => (name, false),
    };
    let path = if name.windows(4).any(|w| w == b"\\012") {
        PathBuf::from(OsString::from_vec(unescape(name)))
    } else {
        PathBuf::from(OsStr::from_bytes(name))
    };
    (path.into_boxed_path(), deleted)
}

fn unescape(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, tail)) = rest.split_first() {
        match rest.strip_prefix(b"\\012") {
            Some(after) => {
                out.push(b'\n');
                rest = after;
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

/// The bytes up to the next space, and those after it.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    split_at_byte(text, b' ')
}

fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&b| b == byte)?;
    Some((text.get(..at)?, text.get(at.checked_add(1)?..)?))
}

fn hex(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Entry for fuzzing: no bytes of `maps` may cause a panic.
pub fn fuzz_maps(bytes: &[u8]) {
    let maps = Maps::parse(bytes);
    let _ = maps.find(u64::MAX);
    let _ = maps.programs();
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &[u8] = b"\
00400000-00401000 r--p 00000000 08:01 1234    /app/my server\n\
00401000-00403000 r-xp 00001000 08:01 1234    /app/my server\n\
c000000000-c000400000 rw-p 00000000 00:00 0 \n\
7f0000000000-7f0000002000 r-xp 00002000 fe:11 99 /lib/odd\\012name.so (deleted)\n\
7ffc0000d000-7ffc0002e000 rw-p 00000000 00:00 0                          [stack]\n";

    #[test]
    fn each_line_is_read_with_spaces_newlines_and_deleted_names() {
        let maps = Maps::parse(MAPS);
        let all: Vec<&Mapping> = maps.iter().collect();
        assert_eq!(all.len(), 5);
        assert_eq!(&*all[0].path, Path::new("/app/my server"));
        assert_eq!(all[1].file, Some(FileKey { major: 8, minor: 1, inode: 1234 }));
        assert!(all[1].perms.execute && !all[1].perms.write);
        assert_eq!(all[2].file, None);
        assert_eq!((&*all[3].path, all[3].deleted), (Path::new("/lib/odd\nname.so"), true));
        assert_eq!(&*all[4].path, Path::new("[stack]"));
        assert_eq!(maps.find(0x402fff).map(|m| m.start), Some(0x401000));
        assert_eq!(maps.find(0x403000), None);
        assert_eq!(maps.programs().len(), 2);
    }

    #[test]
    fn every_prefix_and_thousands_of_corruptions_are_survived() {
        for end in 0..MAPS.len() {
            fuzz_maps(&MAPS[..end]);
        }
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..5_000 {
            let mut bytes = MAPS.to_vec();
            for _ in 0..4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (state >> 33) as usize % bytes.len();
                bytes[at] = (state >> 24) as u8;
            }
            fuzz_maps(&bytes);
        }
    }

    #[test]
    fn this_process_has_its_own_program_mapped() {
        let maps = Maps::of(Pid(std::process::id())).unwrap();
        let here = this_process_has_its_own_program_mapped as *const () as u64;
        assert!(maps.find(here).is_some_and(|m| m.perms.execute && m.file.is_some()));
    }
}
