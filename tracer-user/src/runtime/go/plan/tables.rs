//! Go's function table with everything a plan needs of it, out of the file alone: where the code
//! was linked to and where the inline trees are stands in `moduledata`.

use crate::object::ByteSource;
use crate::object::elf::{Image, Segment};
use crate::object::pclntab::{self, Table};
use crate::object::reloc::Relocations;
use crate::runtime::go::bytes::u64_at;
use crate::runtime::go::layout::{Layout, Moduledata};

use super::PlanError;

/// Bytes of data searched for `moduledata` at most.
const MAX_SEARCH: u64 = 1 << 30;
/// Bytes read at a time.
const CHUNK: usize = 1 << 20;
/// Bytes of inline trees read at most; a program of 500 MB has about 40 MB.
const MAX_INLINE_TREES: u64 = 256 << 20;
/// Where the linker puts `moduledata`: a section of its own since 1.26, before among the data without
/// pointers. Without sections all writable data is searched.
const SECTIONS: [&str; 2] = [".go.module", ".noptrdata"];
const WORD: usize = 8;
/// Pointers to the function table that are looked at in one place of the file: a program has three.
const MAX_CANDIDATES: usize = 1024;

/// Reads the function table of a program's file: placed where the code was linked to, with inline
/// trees.
///
/// # Errors
/// If there is no table, no module that belongs to it, or they cannot be read.
pub fn linked_table(
    image: &Image,
    source: &(impl ByteSource + ?Sized),
    layout: &Layout,
) -> Result<Table, PlanError> {
    let at = pclntab::locate(image, source).ok_or(PlanError::NoTable)?;
    let table = Table::read(image, source, at)?;
    let relocations = Relocations::parse(image, source)?;
    let search = Search { image, source, relocations, offsets: &layout.moduledata };
    let module = search.module(at.vaddr, &table).ok_or(PlanError::NoModule)?;
    let table = table.with_text(module.text);
    let needed = table.inline_tree_bytes().min(MAX_INLINE_TREES).min(source.len());
    let mut trees = vec![0; usize::try_from(needed).unwrap_or(0)];
    image.read(source, module.gofunc, &mut trees)?;
    Ok(table.with_inline_trees(trees.into()))
}

/// What of `moduledata` is used.
struct Module {
    text: u64,
    gofunc: u64,
}

struct Search<'a, S: ?Sized> {
    image: &'a Image,
    source: &'a S,
    /// What an external linker left for the loader to fill in.
    relocations: Relocations,
    offsets: &'a Moduledata,
}

impl<S: ByteSource + ?Sized> Search<'_, S> {
    /// The module whose function table is at `table_at`.
    fn module(&self, table_at: u64, table: &Table) -> Option<Module> {
        let mut pointing = self.relocations.pointing_to(table_at).take(MAX_CANDIDATES);
        if let Some(module) = pointing.find_map(|at| self.module_at(at, table)) {
            return Some(module);
        }
        let sections = SECTIONS.iter().filter_map(|name| self.image.section(name));
        let sections = sections.map(|section| (section.vaddr, section.size));
        let writable = self.image.segments().iter().filter(|segment| segment.writable);
        let mut left = MAX_SEARCH;
        sections.chain(writable.map(|s| (s.vaddr, s.file_size))).find_map(|(start, size)| {
            let size = size.min(left);
            left -= size;
            self.module_in(start, size, table_at, table)
        })
    }

    fn module_in(&self, start: u64, size: u64, table_at: u64, table: &Table) -> Option<Module> {
        let wanted = table_at.to_le_bytes();
        let finder = memchr::memmem::Finder::new(&wanted);
        let mut done = 0u64;
        let mut buf = Vec::new();
        let mut left = MAX_CANDIDATES;
        while done < size && left > 0 {
            buf.resize(usize::try_from(size - done).unwrap_or(CHUNK).min(CHUNK), 0);
            let at = start.checked_add(done)?;
            self.image.read(self.source, at, &mut buf).ok()?;
            // A module is aligned to words, and so are the pieces.
            let found = finder.find_iter(&buf).filter_map(|i| at.checked_add(i as u64));
            for place in found.filter(|place| place % WORD as u64 == 0).take(left) {
                left = left.saturating_sub(1);
                if let Some(module) = self.module_at(place, table) {
                    return Some(module);
                }
            }
            done += CHUNK as u64;
        }
        None
    }

    /// Checks what may be a module: its list of functions is as long as the table's, its bounds
    /// enclose each other, and its text is code.
    fn module_at(&self, address: u64, table: &Table) -> Option<Module> {
        let o = self.offsets;
        let mut raw = vec![0; usize::from(o.size)];
        self.image.read(self.source, address, &mut raw).ok()?;
        self.relocations.apply(address, &mut raw);
        let word = |offset: u16| u64_at(&raw, usize::from(offset));
        let functions = word(o.ftab.checked_add(8)?)?;
        let (text, etext) = (word(o.text)?, word(o.etext)?);
        let (min, max) = (word(o.minpc)?, word(o.maxpc)?);
        let sound = functions == (table.len() as u64).checked_add(1)?
            && (text..=max).contains(&min)
            && (min..=etext).contains(&max)
            && self.is_code(text)
            && [0, text].contains(&table.header_text());
        sound.then_some(Module { text, gofunc: word(o.gofunc)? })
    }

    fn is_code(&self, address: u64) -> bool {
        let holds = |s: &&Segment| address.checked_sub(s.vaddr).is_some_and(|at| at < s.mem_size);
        self.image.segments().iter().filter(|s| s.executable).any(|s| holds(&s))
    }
}
