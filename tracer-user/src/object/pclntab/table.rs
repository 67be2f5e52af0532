//! The table as a whole: header, functions by address and by name.

use std::borrow::Cow;

use ::bytes::Bytes;
use hashbrown::HashMap;

use super::func::Func;
use crate::object::bytes::{u8_at, u32_at, u64_at};

/// Functions in a table at most: more than any program has (Kubernetes: about 150 000), and a
/// bound for what a hostile header can make loiter walk.
pub const MAX_FUNCTIONS: u64 = 8 << 20;
/// Bytes of a name or path that are looked at. Names of generic functions reach some thousands.
pub const MAX_NAME: usize = 16 << 10;

const HEADER_SIZE: usize = 8 + 8 * 8;
const FTAB_ENTRY: usize = 8;

/// Why a table cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PclntabError {
    /// The bytes end before the part that is named.
    #[error("Go's function table is cut off: its {0} reaches past the {1} bytes given")]
    Short(&'static str, usize),
    /// Another version or another processor.
    #[error(
        "not a Go function table that loiter knows: it starts with {0:#010x}; known are \
         0xfffffff0 (Go 1.18 and 1.19) and 0xfffffff1 (since 1.20)"
    )]
    Magic(u32),
    /// For another processor.
    #[error(
        "a Go function table for another processor: instruction quantum {0}, pointers of {1} bytes"
    )]
    Processor(u8, u8),
    /// More functions than the table has room for.
    #[error("Go's function table says it has {0} functions, which cannot be")]
    Count(u64),
    /// Functions are not in order of addresses.
    #[error("Go's function table is malformed: function {0} starts before the one in front of it")]
    Unordered(usize),
    /// Its inline tables are larger than those of any program.
    #[error("Go's function table is malformed: its inline tables have no end")]
    InlineTables,
}

/// Which of the two layouts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Layout {
    /// Go 1.18 and 1.19: no start line; inline tree entries of 20 bytes.
    Go118,
    /// Go 1.20 and later.
    Go120,
}

impl Layout {
    fn of_magic(magic: u32) -> Option<Self> {
        match magic {
            0xffff_fff0 => Some(Layout::Go118),
            0xffff_fff1 => Some(Layout::Go120),
            _ => None,
        }
    }

    /// Bytes of a function's record before its pcdata offsets.
    pub(super) const fn record_size(self) -> usize {
        match self {
            Layout::Go118 => 40,
            Layout::Go120 => 44,
        }
    }
}

/// A function table. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Table {
    data: Bytes,
    inline_trees: Bytes,
    inline_tree_bytes: u64,
    layout: Layout,
    count: usize,
    header_text: u64,
    text: u64,
    names: usize,
    units: usize,
    files: usize,
    values: usize,
    functions: usize,
}

impl Table {
    /// Checks the header. `data` starts with the table and may go on behind it.
    ///
    /// Functions are placed at the text start that the header states; from Go 1.26 it states
    /// none, and [`Table::with_text`] must be told (`moduledata.text`).
    ///
    /// # Errors
    /// If it is not such a table, is cut off, or its functions are not in order.
    pub fn parse(data: Bytes) -> Result<Self, PclntabError> {
        let len = data.len();
        let short = |what| PclntabError::Short(what, len);
        let magic = u32_at(&data, 0).ok_or(short("header"))?;
        let layout = Layout::of_magic(magic).ok_or(PclntabError::Magic(magic))?;
        if len < HEADER_SIZE {
            return Err(short("header"));
        }
        let quantum = u8_at(&data, 6).ok_or(short("header"))?;
        let pointer = u8_at(&data, 7).ok_or(short("header"))?;
        if (quantum, pointer) != (1, 8) {
            return Err(PclntabError::Processor(quantum, pointer));
        }
        let word = |i: usize| u64_at(&data, 8 + 8 * i).ok_or(short("header"));
        let part = |i: usize, what| {
            usize::try_from(word(i)?).ok().filter(|&at| at <= len).ok_or(short(what))
        };
        let count = word(0)?;
        let functions = part(7, "list of functions")?;
        // One entry for each function and the end address behind the last.
        let room = len.saturating_sub(functions).saturating_sub(4) / FTAB_ENTRY;
        if count == 0 || count > MAX_FUNCTIONS || count > room as u64 {
            return Err(PclntabError::Count(count));
        }
        let header_text = word(2)?;
        let count = usize::try_from(count).map_err(|_| PclntabError::Count(count))?;
        check_order(data.get(functions..).unwrap_or_default(), count)?;
        let mut table = Table {
            layout,
            count,
            header_text,
            text: header_text,
            names: part(3, "list of names")?,
            units: part(4, "list of compilation units")?,
            files: part(5, "list of files")?,
            values: part(6, "value tables")?,
            functions,
            inline_trees: Bytes::new(),
            inline_tree_bytes: 0,
            data,
        };
        table.inline_tree_bytes = table.measure_inline_trees()?;
        Ok(table)
    }

    /// The same table with the text section at this address: `moduledata.text`, or the same
    /// place as linked for a file.
    #[must_use]
    pub fn with_text(mut self, text: u64) -> Self {
        self.text = text;
        self
    }

    /// The same table with the inline trees: the bytes at `moduledata.gofunc`, of which
    /// [`Table::inline_tree_bytes`] tells how many are needed. Without them, inlined calls are
    /// not told apart.
    #[must_use]
    pub fn with_inline_trees(mut self, gofunc: Bytes) -> Self {
        self.inline_trees = gofunc;
        self
    }

    /// Bytes behind `moduledata.gofunc` that hold inline trees: what
    /// [`Table::with_inline_trees`] wants. As the table says: bound it by what there is.
    pub fn inline_tree_bytes(&self) -> u64 {
        self.inline_tree_bytes
    }

    /// Which layout it has.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The text start in the header: zero from Go 1.26 on.
    pub fn header_text(&self) -> u64 {
        self.header_text
    }

    /// Where the text section is taken to be.
    pub fn text(&self) -> u64 {
        self.text
    }

    /// How many functions.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none; a parsed table has at least one.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Where the last function ends.
    pub fn end(&self) -> u64 {
        self.text.wrapping_add(u64::from(self.entry_offset(self.count).unwrap_or(0)))
    }

    /// The entry of function `index` as an offset from the text start; for `index == len()`,
    /// where the last function ends.
    fn entry_offset(&self, index: usize) -> Option<u32> {
        u32_at(&self.data, self.functions.checked_add(index.checked_mul(FTAB_ENTRY)?)?)
    }

    /// Function by its place in the table, in order of addresses.
    pub fn get(&self, index: usize) -> Option<Func<'_>> {
        if index >= self.count {
            return None;
        }
        let at = self.functions + index * FTAB_ENTRY;
        let entry = u32_at(&self.data, at)?;
        let record = usize::try_from(u32_at(&self.data, at + 4)?).ok()?;
        let next = self.entry_offset(index + 1)?;
        let record = self.functions.checked_add(record)?;
        let fixed = self.data.get(record..record.checked_add(self.layout.record_size())?)?;
        Some(Func::new(
            self,
            index,
            self.text.wrapping_add(u64::from(entry)),
            u64::from(next.saturating_sub(entry)),
            record,
            fixed,
        ))
    }

    /// The function whose code holds `pc`.
    pub fn find(&self, pc: u64) -> Option<Func<'_>> {
        let offset = u32::try_from(pc.checked_sub(self.text)?).ok()?;
        if offset >= self.entry_offset(self.count)? {
            return None;
        }
        let (mut low, mut high) = (0usize, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry_offset(middle)? <= offset {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.get(low.checked_sub(1)?)
    }

    /// All functions in order of addresses.
    pub fn functions(&self) -> Functions<'_> {
        Functions { table: self, next: 0 }
    }

    /// Functions by name, in one pass over the table: for each wanted name, all that have it.
    /// Two have it where the compiler made a wrapper for the other calling convention; tell
    /// them apart by [`Func::id`].
    pub fn named(&self, names: &[&str]) -> Vec<Vec<Func<'_>>> {
        let mut found: Vec<Vec<Func<'_>>> = vec![Vec::new(); names.len()];
        let wanted: HashMap<&[u8], usize, foldhash::fast::RandomState> =
            names.iter().enumerate().map(|(i, n)| (n.as_bytes(), i)).collect();
        for func in self.functions() {
            let Some(&i) = wanted.get(func.name_bytes()) else { continue };
            if let Some(list) = found.get_mut(i) {
                list.push(func);
            }
        }
        found
    }

    /// All functions whose name starts so.
    pub fn with_prefix<'t>(&'t self, prefix: &'t str) -> impl Iterator<Item = Func<'t>> {
        self.functions().filter(|f| f.name_bytes().starts_with(prefix.as_bytes()))
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    pub(super) fn inline_trees(&self) -> &[u8] {
        &self.inline_trees
    }

    /// The value table that starts at `offset`.
    pub(super) fn value_table(&self, offset: u32) -> Option<&[u8]> {
        self.data.get(self.values.checked_add(offset as usize)?..)
    }

    /// The name at an offset of the list of names.
    pub(super) fn name_at(&self, offset: u32) -> &[u8] {
        self.string(self.names, offset)
    }

    /// The file of a compilation unit.
    pub(super) fn file_at(&self, unit: u32, index: u32) -> Option<&[u8]> {
        let entry = usize::try_from(unit.checked_add(index)?).ok()?.checked_mul(4)?;
        let offset = u32_at(&self.data, self.units.checked_add(entry)?)?;
        // All ones: no file (src/runtime/symtab.go, `funcfile`).
        (offset != u32::MAX).then(|| self.string(self.files, offset))
    }

    /// A string that ends with a zero byte; empty where it has no end.
    fn string(&self, list: usize, offset: u32) -> &[u8] {
        let tail = list.checked_add(offset as usize).and_then(|at| self.data.get(at..));
        let tail = tail.unwrap_or_default();
        let tail = tail.get(..MAX_NAME.min(tail.len())).unwrap_or_default();
        memchr::memchr(0, tail).and_then(|end| tail.get(..end)).unwrap_or_default()
    }
}

/// Entries and the end behind them must not fall, so that a search finds the one function and the
/// sizes of all functions together stay below 4 GB.
fn check_order(list: &[u8], count: usize) -> Result<(), PclntabError> {
    let mut last = 0;
    for (index, entry) in list.chunks(FTAB_ENTRY).take(count.saturating_add(1)).enumerate() {
        let entry = u32_at(entry, 0).ok_or(PclntabError::Count(count as u64))?;
        if entry < last {
            return Err(PclntabError::Unordered(index));
        }
        last = entry;
    }
    Ok(())
}

pub(super) fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// All functions of a table.
#[derive(Clone, Debug)]
pub struct Functions<'t> {
    table: &'t Table,
    next: usize,
}

impl<'t> Iterator for Functions<'t> {
    type Item = Func<'t>;

    fn next(&mut self) -> Option<Func<'t>> {
        while self.next < self.table.count {
            let index = self.next;
            self.next += 1;
            if let Some(func) = self.table.get(index) {
                return Some(func);
            }
        }
        None
    }
}
