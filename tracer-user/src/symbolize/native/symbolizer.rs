//! Stacks of compiled code. Threads stand at the same few places, so what an address stands for is
//! remembered.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::base::{Frame, FrameId, FrameKind, Pid, Visibility};
use crate::symbolize::go::GoSymbolizer;
use crate::symbolize::{Interner, PcKind, StackPc};
use crate::target::{Maps, ReadMem};

use super::perf_map::PerfMap;
use super::{Modules, demangled};

/// Addresses remembered at most; beyond it the memory starts anew.
const MAX_REMEMBERED: usize = 1 << 17;

/// Stands for the file of Go code, whichever it is.
pub const GO: &str = "go";

/// Stands for the file of code that was compiled while the program runs.
const COMPILED: &str = "compiled";

/// Where compilers say that the sources of their own libraries lie: rustc, and GCC's or Clang's C++.
const LANGUAGES: [&str; 2] = ["/rustc/", "/usr/include/c++/"];

/// A frame of a stack that was resolved.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Its id.
    pub id: FrameId,
    /// The function, as shown.
    pub function: Arc<str>,
    /// The file of code; empty if it lies in none.
    pub module: Arc<str>,
    /// Whether the function is known; else `function` says no more than where it lies.
    pub named: bool,
    /// Whether its source is of the library that comes with a language: what is inlined has often no more of a
    /// name than `lock`.
    pub of_language: bool,
}

/// Names the compiled code of one process.
#[derive(Default, Debug)]
pub struct NativeSymbolizer {
    modules: Modules,
    /// Of which interner the ids below are.
    token: u64,
    known: HashMap<StackPc, Arc<[Resolved]>, RandomState>,
    go: Option<GoSymbolizer>,
    compiled: PerfMap,
}

impl NativeSymbolizer {
    /// As [`NativeSymbolizer::default`], for a process that has Go code, too.
    pub fn with_go(go: GoSymbolizer) -> Self {
        Self { go: Some(go), ..Self::default() }
    }

    /// Another one of the same process, which shares the files that were read.
    pub fn sharing(&self) -> Self {
        Self { modules: self.modules.sharing(), ..Self::default() }
    }

    /// Brings the files of code in line with the mappings of now; whether they changed.
    pub fn refresh(&mut self, pid: Pid, maps: &Maps, mem: &dyn ReadMem) -> bool {
        let changed = self.modules.refresh(pid, maps, mem);
        if self.compiled.refresh(pid) || changed {
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

    fn look_up(&mut self, at: StackPc, names: &mut Interner) -> Vec<Resolved> {
        let go = self.go.as_mut().map(|go| go.frames(at)).unwrap_or_default();
        if !go.is_empty() {
            let resolved = go.into_iter().map(|frame| Resolved {
                id: names.frame(&frame),
                function: frame.function.as_ref().into(),
                module: GO.into(),
                named: true,
                of_language: false,
            });
            return resolved.collect();
        }
        let pc = match at.kind {
            PcKind::ReturnAddress => at.pc.saturating_sub(1),
            PcKind::Exact => at.pc,
        };
        let Some(module) = self.modules.find(pc) else {
            if let Some(name) = self.compiled.find(pc) {
                let place = (FrameKind::Call, COMPILED);
                return vec![resolved(names, name.to_owned(), ("", 0), place, true)];
            }
            let number = format!("{:#x}", at.pc);
            return vec![resolved(names, number, ("", 0), (FrameKind::Call, ""), false)];
        };
        let linked = module.linked(pc);
        let file = module.binary.name();
        let symbol = module.binary.function(linked);
        let outer = match &symbol {
            Some(name) => demangled(name),
            None => format!("{file}+{:#x}", module.linked(at.pc)),
        };
        let places = module.binary.places(linked);
        let Some(last) = places.len().checked_sub(1) else {
            return vec![resolved(
                names,
                outer,
                ("", 0),
                (FrameKind::Call, file),
                symbol.is_some(),
            )];
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
            frames.push(resolved(names, function, site, (kind, file), true));
        }
        frames
    }
}

fn resolved(
    names: &mut Interner,
    function: String,
    (file, line): (&str, u32),
    (kind, module): (FrameKind, &str),
    named: bool,
) -> Resolved {
    let visibility = Visibility::Shown;
    let frame =
        Frame { function: function.as_str().into(), file: file.into(), line, kind, visibility };
    Resolved {
        id: names.frame(&frame),
        function: function.into(),
        module: module.into(),
        named,
        of_language: LANGUAGES.iter().any(|place| file.starts_with(place)),
    }
}
