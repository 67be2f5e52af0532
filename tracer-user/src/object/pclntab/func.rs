//! One function of the table.

use std::borrow::Cow;

use super::Table;
use super::pcvalue::{Runs, value_at};
use super::table::{Layout, text_of};
use crate::object::bytes::{i32_at, u8_at, u32_at};

/// The number by which the runtime knows a function that it treats in a special way; 0 for all
/// others. Which number means what differs between versions: see `runtime::go::layout`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FuncId(pub u8);

impl FuncId {
    /// An ordinary function.
    pub const NORMAL: FuncId = FuncId(0);
}

/// A place in the source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileLine<'t> {
    /// The file's path as the binary has it.
    pub file: Cow<'t, str>,
    /// The line, from 1.
    pub line: u32,
}

/// A function.
#[derive(Clone, Copy, Debug)]
pub struct Func<'t> {
    table: &'t Table,
    index: usize,
    entry: u64,
    size: u64,
    record: usize,
    fixed: &'t [u8],
}

/// Index of the table that tells which inlined call an address belongs to, and of the inline
/// tree; the same in all versions. Source: src/internal/abi/symtab.go, `PCDATA_InlTreeIndex`,
/// `FUNCDATA_InlTree` (1.19: src/runtime/symtab.go).
const PCDATA_INL_TREE_INDEX: u32 = 2;
const FUNCDATA_INL_TREE: u32 = 3;

const FLAG_TOP_FRAME: u8 = 1;
const FLAG_SP_WRITE: u8 = 2;
const FLAG_ASM: u8 = 4;

impl<'t> Func<'t> {
    pub(super) fn new(
        table: &'t Table,
        index: usize,
        entry: u64,
        size: u64,
        record: usize,
        fixed: &'t [u8],
    ) -> Self {
        Self { table, index, entry, size, record, fixed }
    }

    pub(super) fn table(&self) -> &'t Table {
        self.table
    }

    fn word(&self, at: usize) -> u32 {
        u32_at(self.fixed, at).unwrap_or(0)
    }

    /// A byte counted from the end of the fixed part.
    fn byte_from_end(&self, back: usize) -> u8 {
        self.fixed.len().checked_sub(back).and_then(|at| u8_at(self.fixed, at)).unwrap_or(0)
    }

    /// Its place in the table.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Address of its first instruction.
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// Address behind its last byte, padding included.
    pub fn end(&self) -> u64 {
        self.entry.wrapping_add(self.size)
    }

    /// Its name as the linker wrote it; empty where the table is damaged.
    pub fn name(&self) -> Cow<'t, str> {
        text_of(self.name_bytes())
    }

    /// The bytes of its name.
    pub fn name_bytes(&self) -> &'t [u8] {
        self.table.name_at(self.word(4))
    }

    /// Which special function it is.
    pub fn id(&self) -> FuncId {
        FuncId(self.byte_from_end(4))
    }

    /// A stack ends here: nothing calls this function (`FuncFlagTopFrame`).
    pub fn is_top_frame(&self) -> bool {
        self.byte_from_end(3) & FLAG_TOP_FRAME != 0
    }

    /// It moves the stack pointer in ways the tables do not tell: nothing can be unwound from
    /// within it (`FuncFlagSPWrite`).
    pub fn writes_sp(&self) -> bool {
        self.byte_from_end(3) & FLAG_SP_WRITE != 0
    }

    /// It was written in assembly (`FuncFlagAsm`).
    pub fn is_assembly(&self) -> bool {
        self.byte_from_end(3) & FLAG_ASM != 0
    }

    /// Whether stack depths are known; not so for foreign code such as the race detector's.
    pub fn has_stack_depths(&self) -> bool {
        self.word(16) != 0
    }

    /// The line of the `func` keyword; None up to Go 1.19.
    pub fn start_line(&self) -> Option<u32> {
        match self.table.layout() {
            Layout::Go118 => None,
            Layout::Go120 => u32::try_from(i32_at(self.fixed, 36)?).ok().filter(|&line| line > 0),
        }
    }

    /// How far the stack pointer at `pc` is below where it was at entry, in bytes: the return
    /// address is at `sp + depth`. None where the table has no answer.
    pub fn stack_depth(&self, pc: u64) -> Option<u32> {
        u32::try_from(self.value(self.word(16), pc)?).ok()
    }

    /// File and line of the instruction at `pc`, in the innermost function inlined there.
    pub fn file_line(&self, pc: u64) -> Option<FileLine<'t>> {
        let file = u32::try_from(self.value(self.word(20), pc)?).ok()?;
        let line = u32::try_from(self.value(self.word(24), pc)?).ok()?;
        let file = self.table.file_at(self.word(32), file)?;
        Some(FileLine { file: text_of(file), line })
    }

    /// The value at `pc` in the table that starts at `offset`. Zero means: no table.
    fn value(&self, offset: u32, pc: u64) -> Option<i32> {
        if offset == 0 {
            return None;
        }
        let within = pc.checked_sub(self.entry)?;
        value_at(self.table.value_table(offset)?, self.size, within)
    }

    fn pcdata_count(&self) -> u32 {
        self.word(28)
    }

    /// Entry `n` of the offsets behind the fixed part: pcdata first, then funcdata.
    fn offset_entry(&self, n: u32) -> Option<u32> {
        let at = self.record.checked_add(self.fixed.len())?;
        u32_at(self.table.data(), at.checked_add((n as usize).checked_mul(4)?)?)
    }

    fn inline_index_table(&self) -> Option<&'t [u8]> {
        if PCDATA_INL_TREE_INDEX >= self.pcdata_count() {
            return None;
        }
        let offset = self.offset_entry(PCDATA_INL_TREE_INDEX).filter(|&offset| offset != 0)?;
        self.table.value_table(offset)
    }

    /// Which entry of the inline tree `pc` belongs to; None if the function's own code.
    pub(super) fn inline_index(&self, pc: u64) -> Option<usize> {
        let within = pc.checked_sub(self.entry)?;
        usize::try_from(value_at(self.inline_index_table()?, self.size, within)?).ok()
    }

    /// The runs of instructions that belong to one entry of the inline tree.
    pub(super) fn inline_runs(&self) -> Runs<'t> {
        Runs::new(self.inline_index_table().unwrap_or_default(), self.size)
    }

    /// Offset of its inline tree from `moduledata.gofunc`.
    pub(super) fn inline_tree(&self) -> Option<usize> {
        if u32::from(self.byte_from_end(1)) <= FUNCDATA_INL_TREE {
            return None;
        }
        let n = self.pcdata_count().checked_add(FUNCDATA_INL_TREE)?;
        // All ones: no such data (src/runtime/symtab.go, `funcdata`).
        let offset = self.offset_entry(n).filter(|&offset| offset != u32::MAX)?;
        usize::try_from(offset).ok()
    }
}

impl PartialEq for Func<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.entry == other.entry && self.record == other.record
    }
}
