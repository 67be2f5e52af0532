//! Stacks of compiled code. Threads stand at the same few places, so what an address stands for is
//! remembered.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::base::{Frame, FrameId, FrameKind, Pid, Visibility};
use crate::symbolize::{Interner, PcKind, StackPc};
use crate::target::{Maps, ReadMem};

use super::{Modules, demangled};

/// Addresses remembered at most; beyond it the memory starts anew.
const MAX_REMEMBERED: usize = 1 << 17;

/// A frame of a stack that was resolved.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Its id.
    pub id: FrameId,
    /// The function, as shown.
    pub function: Arc<str>,
    /// The file of code; empty if it lies in none.
    pub module: Arc<str>,
    /// Where the function begins in the process; 0 if it is not known.
    pub entry: u64,
}

/// Names the compiled code of one process.
#[derive(Default, Debug)]
pub struct NativeSymbolizer {
    modules: Modules,
    /// Of which interner the ids below are.
    token: u64,
    known: HashMap<StackPc, Arc<[Resolved]>, RandomState>,
}

impl NativeSymbolizer {
    /// Brings the files of code in line with the mappings of now; whether they changed.
    pub fn refresh(&mut self, pid: Pid, maps: &Maps, mem: &dyn ReadMem) -> bool {
        let changed = self.modules.refresh(pid, maps, mem);
        if changed {
            self.known.clear();
        }
        changed
    }

    /// The files of code.
    pub fn modules(&self) -> &Modules {
        &self.modules
    }

    /// The frames at a program counter, innermost first; at least one.
    pub fn resolve(&mut self, at: StackPc, names: &mut Interner) -> Arc<[Resolved]> {
        if self.token != names.token() {
            self.token = names.token();
            self.known.clear();
        }
        if let Some(known) = self.known.get(&at) {
            return Arc::clone(known);
        }
        if self.known.len() >= MAX_REMEMBERED {
            self.known.clear();
        }
        let found: Arc<[Resolved]> = self.look_up(at, names).into();
        self.known.insert(at, Arc::clone(&found));
        found
    }

    fn look_up(&self, at: StackPc, names: &mut Interner) -> Vec<Resolved> {
        let pc = match at.kind {
            PcKind::ReturnAddress => at.pc.saturating_sub(1),
            PcKind::Exact => at.pc,
        };
        let Some(module) = self.modules.find(pc) else {
            return vec![resolved(names, format!("{:#x}", at.pc), ("", 0), (FrameKind::Call, ""), 0)];
        };
        let linked = module.linked(pc);
        let file = module.binary.name();
        let symbol = module.binary.function(linked);
        let entry = symbol.as_ref().map_or(0, |(_, start)| start.wrapping_add(module.bias));
        let outer = match &symbol {
            Some((name, _)) => demangled(name),
            None => format!("{file}+{:#x}", module.linked(at.pc)),
        };
        let places = module.binary.places(linked);
        let Some(last) = places.len().checked_sub(1) else {
            return vec![resolved(names, outer, ("", 0), (FrameKind::Call, file), entry)];
        };
        let mut frames = Vec::with_capacity(places.len());
        for (i, place) in places.into_iter().enumerate() {
            let kind = if i == last { FrameKind::Call } else { FrameKind::Inlined };
            // The linker's name of the outermost has the path that DWARF's lacks in C++ and Rust.
            let function = match (&place.function, &symbol) {
                (_, Some(_)) if i == last => outer.clone(),
                (Some(name), _) => demangled(name),
                (None, _) => outer.clone(),
            };
            let site = (&*place.file, place.line);
            frames.push(resolved(names, function, site, (kind, file), entry));
        }
        frames
    }
}

fn resolved(
    names: &mut Interner,
    function: String,
    (file, line): (&str, u32),
    (kind, module): (FrameKind, &str),
    entry: u64,
) -> Resolved {
    let visibility = Visibility::Shown;
    let frame =
        Frame { function: function.as_str().into(), file: file.into(), line, kind, visibility };
    Resolved { id: names.frame(&frame), function: function.into(), module: module.into(), entry }
}
