//! Names for what a look finds, each looked up once a process: thousands of goroutines share a
//! few stacks, spawn sites and start functions.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::base::{FrameId, ReasonId, StackId, WaitClass};
use crate::runtime::go::layout::Layout;
use crate::runtime::go::locate::Located;
use crate::runtime::go::reasons::{self, is_plumbing};
use crate::runtime::go::unwind::{Reach, StackPcs};
use crate::runtime::go::waits_on::Primitive;
use crate::stream::Leave;
use crate::symbolize::go::GoSymbolizer;
use crate::symbolize::{Interner, Symbolizer};

use super::goroutine::Goroutine;

/// Most entries of each of the memories below (some tens of bytes each); beyond it they start
/// anew.
const MAX_REMEMBERED: usize = 1 << 18;

/// What is known of a stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct StackInfo {
    pub(super) id: StackId,
    /// The innermost frame that is not plumbing, or [`FrameId::UNKNOWN`].
    pub(super) wait_site: FrameId,
    pub(super) primitive: Primitive,
    /// Whether a frame belongs to the program, not to the runtime.
    pub(super) runs_program_code: bool,
}

/// What is known of the function a goroutine started with.
#[derive(Clone, Copy, Debug)]
pub(super) struct StartInfo {
    pub(super) frame: FrameId,
    pub(super) is_system: bool,
}

/// What is known of a wait reason.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reason {
    pub(super) id: ReasonId,
    pub(super) class: WaitClass,
    /// Of the waits that never end, those at a nil channel.
    pub(super) is_nil_channel: bool,
    /// A wait that the runtime counts as one for a mutex (`isMutexWait` in
    /// `src/runtime/runtime2.go`).
    pub(super) is_mutex: bool,
}

type Memory<K, V> = HashMap<K, V, RandomState>;

/// The names of one process.
#[derive(Debug)]
pub(super) struct Naming {
    symbolizer: GoSymbolizer,
    layout: &'static Layout,
    /// Of which interner the ids below are.
    token: u64,
    stacks: Memory<StackId, StackInfo>,
    spawn_sites: Memory<u64, FrameId>,
    starts: Memory<u64, StartInfo>,
    reasons: Memory<u8, Reason>,
    leaves: Memory<u64, Leave>,
}

impl Naming {
    pub(super) fn new(located: &Located) -> Self {
        Self {
            symbolizer: GoSymbolizer::new(vec![located.table.clone()], located.layout.rules()),
            layout: located.layout,
            token: 0,
            stacks: Memory::default(),
            spawn_sites: Memory::default(),
            starts: Memory::default(),
            reasons: Memory::default(),
            leaves: Memory::default(),
        }
    }

    /// To be called before a series of lookups: ids of another interner mean something else.
    pub(super) fn belong_to(&mut self, names: &Interner) {
        if self.token != names.token() {
            self.token = names.token();
            self.stacks.clear();
            self.spawn_sites.clear();
            self.starts.clear();
            self.reasons.clear();
        }
    }

    /// A stack. Frames that were left out or not found show as one [`FrameId::UNKNOWN`].
    pub(super) fn stack(&mut self, pcs: &StackPcs, names: &mut Interner) -> StackInfo {
        let whole = pcs.outer.is_empty() && pcs.reach == Reach::Whole;
        let id =
            if whole { self.symbolizer.stack(&pcs.inner, names) } else { self.parts(pcs, names) };
        if let Some(known) = self.stacks.get(&id) {
            return *known;
        }
        let info = describe(id, names);
        remember(&mut self.stacks, id, info)
    }

    fn parts(&mut self, pcs: &StackPcs, names: &mut Interner) -> StackId {
        let inner = self.symbolizer.stack(&pcs.inner, names);
        let mut frames = names.frames_of(inner).to_vec();
        if pcs.left_out > 0 {
            frames.push(FrameId::UNKNOWN);
        }
        if !pcs.outer.is_empty() {
            let outer = self.symbolizer.stack(&pcs.outer, names);
            frames.extend_from_slice(names.frames_of(outer));
        }
        if pcs.reach == Reach::Partial {
            frames.push(FrameId::UNKNOWN);
        }
        names.stack(&frames)
    }

    /// Where a goroutine was created.
    pub(super) fn spawn_site(&mut self, pc: u64, names: &mut Interner) -> FrameId {
        if let Some(&known) = self.spawn_sites.get(&pc) {
            return known;
        }
        let site = self.symbolizer.spawn_site(pc, names);
        remember(&mut self.spawn_sites, pc, site)
    }

    /// What a goroutine runs.
    pub(super) fn start(&mut self, pc: u64, names: &mut Interner) -> StartInfo {
        if let Some(&known) = self.starts.get(&pc) {
            return known;
        }
        let frame = self.symbolizer.start(pc, names);
        let is_system = reasons::is_system(&names.frame_of(frame).function);
        remember(&mut self.starts, pc, StartInfo { frame, is_system })
    }

    /// How a goroutine that does not wait last left the processor.
    pub(super) fn leave(&mut self, g: &Goroutine, names: &mut Interner) -> Leave {
        // A goroutine that has not run yet stands at its start.
        if g.status.is_waiting() || g.sched_pc == g.start {
            return Leave::Gave;
        }
        if let Some(&known) = self.leaves.get(&g.sched_pc) {
            return known;
        }
        let frame = self.symbolizer.start(g.sched_pc, names);
        let how = reasons::leave(&names.frame_of(frame).function);
        remember(&mut self.leaves, g.sched_pc, how)
    }

    /// The reason for a value of `g.waitreason`.
    pub(super) fn reason(&mut self, value: u8, names: &mut Interner) -> Reason {
        if let Some(&known) = self.reasons.get(&value) {
            return known;
        }
        let (class, word) = match reasons::Reason::of(self.layout, value) {
            Some(reason) => (reason.class, reason.word),
            None => (WaitClass::Other, ""),
        };
        let reason = Reason {
            id: if word.is_empty() { ReasonId::UNKNOWN } else { names.reason(class, word) },
            class,
            is_nil_channel: word.ends_with("(nil chan)"),
            is_mutex: class == WaitClass::Lock,
        };
        remember(&mut self.reasons, value, reason)
    }

    /// The class of a value of `g.waitreason`.
    pub(super) fn class(&self, value: u8) -> WaitClass {
        reasons::Reason::of(self.layout, value).map_or(WaitClass::Other, |reason| reason.class)
    }
}

fn remember<K: Eq + std::hash::Hash, V: Copy>(memory: &mut Memory<K, V>, key: K, value: V) -> V {
    if memory.len() >= MAX_REMEMBERED {
        memory.clear();
    }
    memory.insert(key, value);
    value
}

fn describe(id: StackId, names: &Interner) -> StackInfo {
    let frames = names.frames_of(id);
    let function = |frame: &FrameId| &*names.frame_of(*frame).function;
    let known = || frames.iter().filter(|&&frame| frame != FrameId::UNKNOWN);
    let wait_site = known().find(|&frame| !is_plumbing(function(frame)));
    StackInfo {
        id,
        wait_site: wait_site.copied().unwrap_or(FrameId::UNKNOWN),
        primitive: Primitive::of(known().map(function)),
        // Code outside of the function table is named by its number.
        runs_program_code: known()
            .map(function)
            .any(|name| !is_plumbing(name) && !name.starts_with("0x")),
    }
}
