//! Names of code that was compiled while the program runs, from the map that Java, Node and others
//! write for `perf` where they are asked to: `/tmp/perf-PID.map`, lines of address, size and name
//! (tools/perf/Documentation/jit-interface.txt of Linux). The program's owner wrote it, so it is
//! bounded, and only believed for code that lies in no file.

use crate::base::Pid;
use crate::target::{FileAt, FileId, perf_map};

/// Most bytes read: a large Java server writes about 5 MB.
const MAX_BYTES: u64 = 32 << 20;
/// Most bytes of a name kept.
const MAX_NAME: usize = 256;

/// What was compiled, by address.
#[derive(Default, Debug)]
pub(super) struct PerfMap {
    id: Option<FileId>,
    /// Start, size, name; of equal starts the last one written.
    code: Vec<(u64, u64, Box<str>)>,
}

impl PerfMap {
    /// Reads it again where it has changed; whether it did.
    pub(super) fn refresh(&mut self, pid: Pid) -> bool {
        let file = perf_map(pid);
        let id = file.as_ref().map(FileAt::id);
        if id == self.id || self.id.zip(id).is_some_and(has_grown_little) {
            return false;
        }
        self.id = id;
        self.code = file.and_then(|file| text(&file)).map(|text| parse(&text)).unwrap_or_default();
        true
    }

    /// What lies at an address.
    pub(super) fn find(&self, address: u64) -> Option<&str> {
        let above = self.code.partition_point(|(start, _, _)| *start <= address);
        let (start, size, name) = self.code.get(above.checked_sub(1)?)?;
        (address.checked_sub(*start)? < *size).then_some(name)
    }
}

/// A program writes to its map as long as it compiles: it is not read anew for a few lines more.
fn has_grown_little((was, is): (FileId, FileId)) -> bool {
    let same = (was.device, was.inode) == (is.device, is.inode);
    same && is.len.checked_sub(was.len).is_some_and(|more| more < was.len / 16)
}

fn text(file: &FileAt) -> Option<String> {
    let len = usize::try_from(file.len().min(MAX_BYTES)).ok()?;
    let mut bytes = vec![0; len];
    file.read_at(0, &mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn parse(text: &str) -> Vec<(u64, u64, Box<str>)> {
    let mut code: Vec<(u64, u64, Box<str>)> = text.lines().filter_map(line).collect();
    // Memory is used again for other code: what was written last is what lies there now.
    code.reverse();
    code.sort_by_key(|(start, _, _)| *start);
    code.dedup_by_key(|(start, _, _)| *start);
    code
}

fn line(line: &str) -> Option<(u64, u64, Box<str>)> {
    let (start, rest) = line.split_once(' ')?;
    let (size, name) = rest.split_once(' ')?;
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let name: String = name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
    let name = name.trim();
    (!name.is_empty()).then_some((number(start)?, number(size)?, name.into()))
}

/// Entry for fuzzing: whatever the map holds, it is read to its end without a panic.
pub fn fuzz_perf_map(bytes: &[u8]) {
    let map = PerfMap { id: None, code: parse(&String::from_utf8_lossy(bytes)) };
    for (start, size, _) in &map.code {
        let _ = map.find(*start);
        let _ = map.find(start.wrapping_add(*size));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "7f0000001000 40 Interpreter\n7f0000002000 100 Lcom/shop/Orders;::pay\n\
                       0x7f0000001000 80 LazyCompile:~pay /srv/shop.js:12\nnot a line\n10 zz x\n";

    fn map(text: &str) -> PerfMap {
        PerfMap { id: None, code: parse(text) }
    }

    #[test]
    fn code_is_found_by_any_of_its_addresses_and_the_last_line_counts() {
        let map = map(MAP);
        assert_eq!(map.find(0x7f00_0000_1000), Some("LazyCompile:~pay /srv/shop.js:12"));
        assert_eq!(map.find(0x7f00_0000_107f), Some("LazyCompile:~pay /srv/shop.js:12"));
        assert_eq!(map.find(0x7f00_0000_1080), None);
        assert_eq!(map.find(0x7f00_0000_20ff), Some("Lcom/shop/Orders;::pay"));
        assert_eq!((map.find(0), map.find(u64::MAX)), (None, None));
    }

    #[test]
    fn a_map_is_read_anew_when_it_is_another_or_has_much_more() {
        let id = |inode, len| FileId { device: 1, inode, modified_ns: 0, len };
        assert!(has_grown_little((id(1, 1600), id(1, 1699))));
        for other in [id(1, 1700), id(1, 1599), id(2, 1600)] {
            assert!(!has_grown_little((id(1, 1600), other)));
        }
    }

    #[test]
    fn every_prefix_and_extremes_are_survived() {
        for end in 0..=MAP.len() {
            fuzz_perf_map(&MAP.as_bytes()[..end]);
        }
        fuzz_perf_map(b"ffffffffffffffff ffffffffffffffff a\n0 ffffffffffffffff b\n");
        assert_eq!(map("ffffffffffffffff 1 a").find(u64::MAX), Some("a"));
    }
}
