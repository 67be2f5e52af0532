//! The function table as the unwinder asks it: one answer a program counter, remembered, since
//! thousands of goroutines stand at the same few places.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::object::pclntab::Table;

use super::layout::Layout;
use super::unwind::FrameShape;

/// Most program counters remembered (24 bytes each); beyond it the memory starts anew.
const MAX_REMEMBERED: usize = 1 << 19;

/// Frame shapes by program counter.
#[derive(Debug)]
pub(super) struct Shapes {
    table: Table,
    layout: &'static Layout,
    known: HashMap<u64, Option<FrameShape>, RandomState>,
}

impl Shapes {
    /// Over a table placed where the code is in the process.
    pub(super) fn new(table: Table, layout: &'static Layout) -> Self {
        Self { table, layout, known: HashMap::default() }
    }

    /// The frame that `pc` is in; None if it is in no function of the table.
    pub(super) fn of(&mut self, pc: u64) -> Option<FrameShape> {
        if let Some(known) = self.known.get(&pc) {
            return *known;
        }
        if self.known.len() >= MAX_REMEMBERED {
            self.known.clear();
        }
        let shape = shape(&self.table, self.layout, pc);
        self.known.insert(pc, shape);
        shape
    }
}

/// Source: `src/runtime/traceback.go`, `unwinder.resolveInternal`: `cgocallback` writes the stack
/// pointer, but so that its frame is valid on both stacks.
fn shape(table: &Table, layout: &Layout, pc: u64) -> Option<FrameShape> {
    let func = table.find(pc)?;
    let id = func.id();
    Some(FrameShape {
        size: func.stack_depth(pc),
        is_top: func.is_top_frame(),
        writes_sp: func.writes_sp() && id.0 != layout.func_ids.cgocallback,
        is_injected: layout.func_ids.is_injected(id),
    })
}
