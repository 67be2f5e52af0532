//! Stacks of a Go process. Thousands of goroutines stand at the same few places, so whole stacks
//! and single program counters are remembered.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::printed_name;
use super::rules::{Around, Rules};
use crate::base::{Frame, FrameId, FrameKind, StackId, Visibility};
use crate::object::pclntab::{FuncId, Level, Table};
use crate::symbolize::{Interner, PcKind, StackPc, Symbolizer};

/// Program counters and stacks remembered at most, each; beyond it the memory starts anew.
const MAX_REMEMBERED: usize = 1 << 18;

/// One logical frame, whatever is around it.
#[derive(Debug)]
struct Known {
    /// None for code that is not known.
    id: Option<FuncId>,
    /// As the linker wrote it: the rules go by it.
    linker_name: Box<str>,
    function: Box<str>,
    file: Box<str>,
    line: u32,
    kind: FrameKind,
}

impl Known {
    /// Code that is not known is shown: the runtime's rules say nothing of it.
    fn visibility(&self, rules: &Rules, around: Around) -> Visibility {
        self.id.map_or(Visibility::Shown, |id| rules.visibility(id, &self.linker_name, around))
    }

    fn frame(&self, visibility: Visibility) -> Frame {
        Frame {
            function: self.function.clone(),
            file: self.file.clone(),
            line: self.line,
            kind: self.kind,
            visibility,
        }
    }
}

/// Names the code of one Go process.
#[derive(Debug)]
pub struct GoSymbolizer {
    /// One for each module: the program, plugins.
    tables: Vec<Table>,
    rules: Rules,
    /// Of which interner the ids below are.
    token: u64,
    levels: HashMap<StackPc, Arc<[Known]>, RandomState>,
    stacks: HashMap<Box<[StackPc]>, StackId, RandomState>,
}

impl GoSymbolizer {
    /// Over tables that are placed where the code is in the process
    /// ([`Table::with_text`], [`Table::with_inline_trees`]).
    pub fn new(tables: Vec<Table>, rules: Rules) -> Self {
        Self { tables, rules, token: 0, levels: HashMap::default(), stacks: HashMap::default() }
    }

    /// The tables it was made with.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The frames at a program counter of Go code, innermost first; empty if it is none. For
    /// threads, whose stacks mix Go code with other code and are not shown by Go's rules.
    pub fn frames(&mut self, at: StackPc) -> Vec<Frame> {
        let levels = self.levels(at);
        let known = levels.iter().filter(|known| known.id.is_some());
        known.map(|known| known.frame(Visibility::Shown)).collect()
    }

    /// Ids of another interner mean something else.
    fn belong_to(&mut self, names: &Interner) {
        if self.token != names.token() {
            self.token = names.token();
            self.stacks.clear();
        }
    }

    /// The logical frames at a program counter, innermost first; at least one.
    fn levels(&mut self, at: StackPc) -> Arc<[Known]> {
        if let Some(known) = self.levels.get(&at) {
            return Arc::clone(known);
        }
        if self.levels.len() >= MAX_REMEMBERED {
            self.levels.clear();
        }
        let found: Arc<[Known]> = self.look_up(at).into();
        self.levels.insert(at, Arc::clone(&found));
        found
    }

    fn look_up(&self, at: StackPc) -> Vec<Known> {
        let Some(func) = self.tables.iter().find_map(|table| table.find(at.pc)) else {
            return vec![by_number(at.pc)];
        };
        func.levels(line_pc(at, func.entry())).map(|level| self.known(&level)).collect()
    }

    fn known(&self, level: &Level<'_>) -> Known {
        let name = level.name();
        let place = level.file_line();
        Known {
            id: Some(level.id()),
            function: printed_name(&name, self.rules.minor).into(),
            linker_name: name.into(),
            file: place.as_ref().map(|p| &*p.file).unwrap_or_default().into(),
            line: place.map_or(0, |p| p.line),
            kind: if level.is_inlined() { FrameKind::Inlined } else { FrameKind::Call },
        }
    }

    /// Source: `traceback2`. If that would show no frame at all, all are shown (`traceback1`).
    fn resolve(&mut self, pcs: &[StackPc], names: &mut Interner) -> StackId {
        let levels: Vec<Arc<[Known]>> = pcs.iter().map(|&at| self.levels(at)).collect();
        let mut around = Around { callee: FuncId::NORMAL, is_first: true };
        let mut shown: Vec<(&Known, Visibility)> = Vec::new();
        for known in levels.iter().flat_map(|levels| levels.iter()) {
            let visibility = known.visibility(&self.rules, around);
            around.callee = known.id.unwrap_or(FuncId::NORMAL);
            around.is_first &= visibility == Visibility::Hidden;
            shown.push((known, visibility));
        }
        let nothing = around.is_first;
        let ids: Vec<FrameId> = shown
            .into_iter()
            .map(|(known, visibility)| {
                names.frame(&known.frame(if nothing { Visibility::Shown } else { visibility }))
            })
            .collect();
        names.stack(&ids)
    }
}

impl Symbolizer for GoSymbolizer {
    fn stack(&mut self, pcs: &[StackPc], names: &mut Interner) -> StackId {
        self.belong_to(names);
        if let Some(&id) = self.stacks.get(pcs) {
            return id;
        }
        if self.stacks.len() >= MAX_REMEMBERED {
            self.stacks.clear();
        }
        let id = self.resolve(pcs, names);
        self.stacks.insert(pcs.into(), id);
        id
    }

    /// The runtime names the function that holds the `go` statement and, where that was inlined
    /// into it, still gives the statement's own line. Source: `printcreatedby1`.
    fn spawn_site(&mut self, pc: u64, names: &mut Interner) -> FrameId {
        if pc == 0 {
            return FrameId::UNKNOWN;
        }
        let levels = self.levels(StackPc::return_address(pc));
        let (Some(inner), Some(outer)) = (levels.first(), levels.last()) else {
            return FrameId::UNKNOWN;
        };
        let around = Around { callee: FuncId::NORMAL, is_first: false };
        let visibility = outer.visibility(&self.rules, around);
        let frame = Frame { file: inner.file.clone(), line: inner.line, ..outer.frame(visibility) };
        names.frame(&frame)
    }

    fn start(&mut self, pc: u64, names: &mut Interner) -> FrameId {
        if pc == 0 {
            return FrameId::UNKNOWN;
        }
        let levels = self.levels(StackPc::exact(pc));
        let Some(outer) = levels.last() else { return FrameId::UNKNOWN };
        let start_line =
            self.tables.iter().find_map(|table| table.find(pc)).and_then(|func| func.start_line());
        let around = Around { callee: FuncId::NORMAL, is_first: false };
        let visibility = outer.visibility(&self.rules, around);
        let line = start_line.unwrap_or(outer.line);
        names.frame(&Frame { line, ..outer.frame(visibility) })
    }
}

/// The address whose line is meant. A return address may lie behind the call's function, so it is
/// looked up by its function first; at an entry nothing was called. Source: `unwinder.symPC`.
fn line_pc(at: StackPc, entry: u64) -> u64 {
    match at.kind {
        PcKind::ReturnAddress if at.pc > entry => at.pc.saturating_sub(1),
        PcKind::ReturnAddress | PcKind::Exact => at.pc,
    }
}

fn by_number(pc: u64) -> Known {
    let name: Box<str> = format!("{pc:#x}").into();
    Known {
        id: None,
        linker_name: name.clone(),
        function: name,
        file: "".into(),
        line: 0,
        kind: FrameKind::Call,
    }
}
