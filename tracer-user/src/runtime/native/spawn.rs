//! Where threads are created: from the creator's registers and a copy of its stack, which came with
//! the record of the birth, to the place in the program's own code that asked for a thread.
//!
//! Which code lies where is read when names are asked for first, and anew, no more than once a
//! second of the process's time, when a stack leads to code that was not there. A stack that leads
//! to no code of the program says nothing: the place stays unknown.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::base::{FrameId, KTime, Nanos, Pid};
use crate::runtime::link::SpawnStack;
use crate::symbolize::SharedInterner;
use crate::symbolize::native::{NativeSymbolizer, Resolved};
use crate::target::{Maps, ReadMem};

use super::naming;
use super::unwind::{StackCopy, StackWalker};

/// Most stacks remembered.
const MAX_REMEMBERED: usize = 1 << 14;
/// Between two readings of which code lies where.
const REFRESH: Nanos = Nanos::from_secs(1);

/// Names the places that create the threads of one process.
pub struct SpawnSites {
    pid: Pid,
    mem: Box<dyn ReadMem + Send>,
    symbols: NativeSymbolizer,
    walker: StackWalker,
    refreshed: Option<KTime>,
    known: HashMap<Box<[u64]>, FrameId, RandomState>,
}

impl SpawnSites {
    /// For process `pid`, whose memory is `mem`.
    pub fn new(pid: Pid, mem: Box<dyn ReadMem + Send>, symbols: NativeSymbolizer) -> Self {
        let walker = StackWalker::default();
        let mut sites =
            Self { pid, mem, symbols, walker, refreshed: None, known: HashMap::default() };
        sites.refresh();
        sites
    }

    fn refresh(&mut self) {
        let Ok(maps) = Maps::of(self.pid) else { return };
        if self.symbols.refresh(self.pid, &maps, self.mem.as_ref()) {
            self.walker = StackWalker::new(self.symbols.modules());
            self.known.clear();
        }
    }

    /// The place that asked for a thread.
    pub fn site(&mut self, creator: &SpawnStack<'_>, names: &SharedInterner) -> FrameId {
        let site = self.look_up(creator, names);
        let is_due = self.refreshed.is_none_or(|at| creator.at.since(at) >= REFRESH);
        if site != FrameId::UNKNOWN || !is_due {
            return site;
        }
        self.refreshed = Some(creator.at);
        self.refresh();
        self.look_up(creator, names)
    }

    fn look_up(&mut self, creator: &SpawnStack<'_>, names: &SharedInterner) -> FrameId {
        let modules = self.symbols.modules();
        let is_code = |address: u64| modules.find(address).is_some();
        let mut stack = StackCopy::of(creator.registers.sp, creator.bytes);
        let pcs = self.walker.walk_from_call(&creator.registers, &is_code, &mut stack).pcs;
        let key: Box<[u64]> = pcs.iter().map(|at| at.pc).collect();
        if let Some(&known) = self.known.get(&key) {
            return known;
        }
        let site = names.with(|names| {
            let mut frames: Vec<Resolved> = Vec::new();
            for &pc in &pcs {
                frames.extend(self.symbols.resolve(pc, names).iter().cloned());
            }
            naming::spawn_site(&frames)
        });
        if self.known.len() >= MAX_REMEMBERED {
            self.known.clear();
        }
        self.known.insert(key, site);
        site
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Registers;
    use crate::target::LiveMem;

    /// Of this process: registers and stacks that want to do harm.
    #[test]
    fn whatever_lies_on_a_stack_leads_to_a_place_or_to_none() {
        let pid = Pid(std::process::id());
        let mem = Box::new(LiveMem::open(pid).unwrap());
        let mut sites = SpawnSites::new(pid, mem, NativeSymbolizer::default());
        let names = SharedInterner::default();
        let code = whatever_lies_on_a_stack_leads_to_a_place_or_to_none as fn() as usize as u64;
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for round in 0..2000_u64 {
            let sp = if round % 3 == 0 { u64::MAX - next() % 64 } else { next() & !7 };
            let mut word = || match next() % 3 {
                0 => code.wrapping_add(next() % 65536),
                1 => sp.wrapping_add(next() % 4096),
                _ => next(),
            };
            let bytes: Vec<u8> = (0..64).flat_map(|_| word().to_ne_bytes()).collect();
            let len = (word() as usize) % (bytes.len() + 1);
            let registers =
                Registers { pc: word(), sp, bp: word(), bx: word(), r12_to_r15: [word(); 4] };
            let bytes = &bytes[..len];
            let _whatever = sites.site(&SpawnStack { at: KTime(round), registers, bytes }, &names);
        }
    }
}
