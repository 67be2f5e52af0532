//! Inlined calls: which functions an address belongs to, from the innermost outwards.
//! Source: src/runtime/symtabinl.go (1.21 and later), src/runtime/traceback.go (1.19).

use std::borrow::Cow;

use hashbrown::HashMap;

use super::table::{Layout, text_of};
use super::{FileLine, Func, FuncId, PclntabError, Table};
use crate::object::bytes::{i32_at, u8_at, u32_at};

/// Functions inlined into each other at most; the compiler stops far below. Bounds a tree that
/// was made to go in circles.
pub const MAX_INLINE_DEPTH: usize = 256;
/// Runs and entries looked at in one pass over all inline tables at most: ten times what the
/// largest programs have.
const MAX_PASS: u64 = 128 << 20;

/// One entry of an inline tree.
#[derive(Clone, Copy, Debug)]
struct Entry {
    id: FuncId,
    name: u32,
    /// Offset from the outer function's entry of an instruction at the call site.
    parent_pc: u32,
}

const fn entry_size(layout: Layout) -> usize {
    match layout {
        Layout::Go118 => 20,
        Layout::Go120 => 16,
    }
}

impl Entry {
    /// 1.20 and later: funcID u8, pad 3, nameOff i32, parentPc i32, startLine i32.
    /// 1.18, 1.19: parent i16, funcID u8, pad 1, file i32, line i32, func i32, parentPc i32.
    fn read(table: &Table, tree: usize, index: usize) -> Option<Self> {
        let size = entry_size(table.layout());
        let at = tree.checked_add(index.checked_mul(size)?)?;
        let raw = table.inline_trees().get(at..at.checked_add(size)?)?;
        let (id, name, parent) = match table.layout() {
            Layout::Go118 => (2, 12, 16),
            Layout::Go120 => (0, 4, 8),
        };
        Some(Entry {
            id: FuncId(u8_at(raw, id)?),
            name: u32_at(raw, name)?,
            parent_pc: u32::try_from(i32_at(raw, parent)?).ok()?,
        })
    }
}

/// One of the functions an address belongs to.
#[derive(Clone, Debug)]
pub struct Level<'t> {
    func: Func<'t>,
    /// Address that gives file and line.
    pc: u64,
    entry: Option<Entry>,
}

impl<'t> Level<'t> {
    /// The name as the linker wrote it.
    pub fn name(&self) -> Cow<'t, str> {
        text_of(match self.entry {
            Some(entry) => self.func.table().name_at(entry.name),
            None => self.func.name_bytes(),
        })
    }

    /// Which special function it is.
    pub fn id(&self) -> FuncId {
        self.entry.map_or_else(|| self.func.id(), |entry| entry.id)
    }

    /// Whether it was inlined; the last level is the function itself.
    pub fn is_inlined(&self) -> bool {
        self.entry.is_some()
    }

    /// Where in it the address, or the call of the level before, is.
    pub fn file_line(&self) -> Option<FileLine<'t>> {
        self.func.file_line(self.pc)
    }
}

/// The functions an address belongs to, innermost first; the last is the function itself.
#[derive(Clone, Debug)]
pub struct Levels<'t> {
    func: Func<'t>,
    tree: Option<usize>,
    next_pc: Option<u64>,
    left: usize,
}

impl<'t> Iterator for Levels<'t> {
    type Item = Level<'t>;

    fn next(&mut self) -> Option<Level<'t>> {
        let pc = self.next_pc.take()?;
        let outermost = Level { func: self.func, pc, entry: None };
        self.left = self.left.saturating_sub(1);
        let entry = (self.left > 0)
            .then(|| {
                let index = self.func.inline_index(pc)?;
                Entry::read(self.func.table(), self.tree?, index)
            })
            .flatten();
        let Some(entry) = entry else { return Some(outermost) };
        self.next_pc = Some(self.func.entry().wrapping_add(u64::from(entry.parent_pc)));
        Some(Level { func: self.func, pc, entry: Some(entry) })
    }
}

/// Inlined copies of a function within another.
#[derive(Clone, Debug)]
pub struct InlinedCopy<'t> {
    /// Which of the wanted names.
    pub name: usize,
    /// The function that holds the copies.
    pub into: Func<'t>,
    /// How many entries of its inline tree are copies.
    pub copies: usize,
}

impl<'t> Func<'t> {
    /// The functions `pc` belongs to, innermost first. For a return address, ask for the
    /// address before it.
    pub fn levels(&self, pc: u64) -> Levels<'t> {
        Levels { func: *self, tree: self.inline_tree(), next_pc: Some(pc), left: MAX_INLINE_DEPTH }
    }
}

impl Func<'_> {
    /// How many entries its inline tree has. The tree does not state it: its entries are those
    /// that the code refers to, and their parents, which come before them.
    fn tree_len(&self) -> usize {
        let entries = self.inline_runs().filter_map(|run| usize::try_from(run.value).ok());
        entries.max().map_or(0, |last| last.saturating_add(1))
    }
}

impl Table {
    /// Where the last inline tree ends. Fails if the trees are larger than those of any program,
    /// so that later passes over them end soon.
    pub(super) fn measure_inline_trees(&self) -> Result<u64, PclntabError> {
        let size = entry_size(self.layout()) as u64;
        let (mut end, mut left) = (0, MAX_PASS);
        for func in self.functions() {
            let Some(tree) = func.inline_tree() else { continue };
            let mut len = 0;
            for run in func.inline_runs() {
                left = left.checked_sub(1).ok_or(PclntabError::InlineTables)?;
                len = len.max(u64::try_from(run.value).map_or(0, |index| index + 1));
            }
            left = left.checked_sub(len).ok_or(PclntabError::InlineTables)?;
            end = end.max((tree as u64).saturating_add(len.saturating_mul(size)));
        }
        Ok(end)
    }

    /// Finds functions that hold inlined copies of the named ones: a probe on the function
    /// itself would miss those. One pass over all inline trees.
    pub fn inlined_copies(&self, names: &[&str]) -> Vec<InlinedCopy<'_>> {
        // Names are stored once, so that comparing offsets is enough after the first look.
        let mut known: HashMap<u32, Option<usize>, foldhash::fast::RandomState> =
            HashMap::default();
        let mut found = Vec::new();
        for func in self.functions() {
            let Some(tree) = func.inline_tree() else { continue };
            let first_of_func = found.len();
            for index in 0..func.tree_len() {
                let Some(entry) = Entry::read(self, tree, index) else { break };
                let name = *known.entry(entry.name).or_insert_with(|| {
                    let bytes = self.name_at(entry.name);
                    names.iter().position(|n| n.as_bytes() == bytes)
                });
                if let Some(name) = name {
                    count(&mut found, first_of_func, name, func);
                }
            }
        }
        found
    }
}

fn count<'t>(found: &mut Vec<InlinedCopy<'t>>, from: usize, name: usize, into: Func<'t>) {
    let of_func = found.get_mut(from..).unwrap_or_default();
    match of_func.iter_mut().find(|copy| copy.name == name) {
        Some(copy) => copy.copies += 1,
        None => found.push(InlinedCopy { name, into, copies: 1 }),
    }
}
