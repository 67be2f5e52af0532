//! Stacks of threads: by `.eh_frame` where a file has it, else by frame pointers, out of a copy of
//! the stack's memory. The walk ends where an address is not code, so that a register that was not
//! known leads to a short stack and not to a wrong one.

use std::sync::Arc;

use framehop::x86_64::{CacheX86_64, Reg, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, FrameAddress, Module, Unwinder as _};

use crate::base::Registers;
use crate::symbolize::StackPc;
use crate::symbolize::native::Modules;
use crate::target::{Maps, ReadMem};

/// Most frames of a stack.
pub const MAX_FRAMES: usize = 128;
/// Most bytes of a stack that are read: deeper frames are left out.
pub const MAX_STACK: u64 = 64 << 10;
/// Bytes read at once.
const STEP: u64 = 4 << 10;

/// A copy of a part of a stack, which grows upwards when more is asked for.
pub struct StackCopy<'a> {
    /// Where more can be read; None if this is all there is.
    mem: Option<&'a dyn ReadMem>,
    start: u64,
    /// What may be read ends here.
    limit: u64,
    bytes: Vec<u8>,
}

impl<'a> StackCopy<'a> {
    /// Of a stack whose innermost end is `sp`.
    pub fn new(mem: &'a dyn ReadMem, maps: &Maps, sp: u64) -> Self {
        let start = sp & !7;
        let end = maps.find(start).filter(|m| m.perms.read).map_or(start, |m| m.end);
        let limit = end.min(start.saturating_add(MAX_STACK));
        Self { mem: Some(mem), start, limit, bytes: Vec::new() }
    }

    /// A copy that is all there is, from `start` on.
    pub fn of(start: u64, bytes: &[u8]) -> Self {
        let limit = start.saturating_add(bytes.len() as u64);
        Self { mem: None, start, limit, bytes: bytes.to_vec() }
    }

    /// The word at an address.
    pub fn word(&mut self, address: u64) -> Option<u64> {
        let at = address.checked_sub(self.start)?;
        let end = at.checked_add(8)?;
        if self.start.checked_add(end)? > self.limit {
            return None;
        }
        while (self.bytes.len() as u64) < end {
            self.grow()?;
        }
        let at = usize::try_from(at).ok()?;
        Some(u64::from_le_bytes(self.bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
    }

    fn grow(&mut self) -> Option<()> {
        let mem = self.mem?;
        let have = self.bytes.len();
        let from = self.start.checked_add(have as u64)?;
        // To the end of a page: what lies behind may not be mapped.
        let to = (from / STEP).checked_add(1)?.checked_mul(STEP)?.min(self.limit);
        let more = usize::try_from(to.checked_sub(from)?).ok().filter(|&n| n > 0)?;
        self.bytes.resize(have.checked_add(more)?, 0);
        if mem.read(from, self.bytes.get_mut(have..)?).is_err() {
            self.bytes.truncate(have);
            self.limit = from;
            return None;
        }
        Some(())
    }

    /// All words up to a bound of bytes, as far as they can be read.
    pub fn words(&mut self, max: u64) -> impl Iterator<Item = u64> + '_ {
        let end = self.start.saturating_add(max).min(self.limit);
        while self.start.saturating_add(self.bytes.len() as u64) < end && self.grow().is_some() {}
        let most = usize::try_from(max).unwrap_or(usize::MAX).min(self.bytes.len());
        let bytes = self.bytes.get(..most).unwrap_or_default();
        bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word))
    }
}

/// A stack as it was walked, innermost frame first; at least the thread's own.
pub struct Walked {
    /// Where each frame is.
    pub pcs: Vec<StackPc>,
    /// The stack pointer of each: what lies from there on is its own or its callers'.
    pub sps: Vec<u64>,
}

/// Walks the stacks of one process.
pub struct StackWalker {
    unwinder: UnwinderX86_64<Arc<[u8]>>,
    cache: CacheX86_64,
}

impl Default for StackWalker {
    fn default() -> Self {
        Self { unwinder: UnwinderX86_64::new(), cache: CacheX86_64::new() }
    }
}

impl StackWalker {
    /// Over the files of code that a process has.
    pub fn new(modules: &Modules) -> Self {
        let mut walker = Self::default();
        for module in modules.iter() {
            let section = |name| module.binary.unwind_section(name);
            let (frames, index) = (section(".eh_frame"), section(".eh_frame_hdr"));
            let end = |s: &crate::symbolize::native::UnwindSection| {
                s.address..s.address.saturating_add(s.bytes.len() as u64)
            };
            let info = ExplicitModuleSectionInfo {
                base_svma: 0,
                text_svma: module.binary.section_range(".text"),
                got_svma: module.binary.section_range(".got"),
                eh_frame_svma: frames.as_ref().map(end),
                eh_frame: frames.map(|s| s.bytes),
                eh_frame_hdr_svma: index.as_ref().map(end),
                eh_frame_hdr: index.map(|s| s.bytes),
                ..ExplicitModuleSectionInfo::default()
            };
            let range = module.start..module.end;
            let name = module.binary.name().to_owned();
            walker.unwinder.add_module(Module::new(name, range, module.bias, info));
        }
        walker
    }

    /// The frames of a stack.
    pub fn walk(
        &mut self,
        registers: &Registers,
        is_code: &dyn Fn(u64) -> bool,
        stack: &mut StackCopy<'_>,
    ) -> Walked {
        let at = FrameAddress::from_instruction_pointer(registers.pc);
        let mut walked =
            Walked { pcs: vec![StackPc::exact(registers.pc)], sps: vec![registers.sp] };
        self.go_on(at, registers, is_code, stack, &mut walked);
        walked
    }

    /// As [`StackWalker::walk`], of a thread that stands in a function that has put nothing on the
    /// stack: those of C libraries that create threads have not, and have no table for the place
    /// behind the call, where the new thread begins without a caller (clone3.S of glibc). Where the
    /// stack says otherwise it is walked as any other.
    pub fn walk_from_call(
        &mut self,
        registers: &Registers,
        is_code: &dyn Fn(u64) -> bool,
        stack: &mut StackCopy<'_>,
    ) -> Walked {
        let caller = stack.word(registers.sp).filter(|&pc| is_code(pc));
        let Some((pc, at)) =
            caller.and_then(|pc| Some((pc, FrameAddress::from_return_address(pc)?)))
        else {
            return self.walk(registers, is_code, stack);
        };
        let above = Registers { pc, sp: registers.sp.saturating_add(8), ..*registers };
        let mut walked = Walked {
            pcs: vec![StackPc::exact(registers.pc), StackPc::return_address(pc)],
            sps: vec![registers.sp, above.sp],
        };
        self.go_on(at, &above, is_code, stack, &mut walked);
        walked
    }

    /// Adds the frames above the one at `at`.
    fn go_on(
        &mut self,
        mut at: FrameAddress,
        registers: &Registers,
        is_code: &dyn Fn(u64) -> bool,
        stack: &mut StackCopy<'_>,
        walked: &mut Walked,
    ) {
        let mut regs = UnwindRegsX86_64::new(registers.pc, registers.sp, registers.bp);
        regs.set(Reg::RBX, registers.bx);
        let high = [Reg::R12, Reg::R13, Reg::R14, Reg::R15];
        for (reg, value) in high.into_iter().zip(registers.r12_to_r15) {
            regs.set(reg, value);
        }
        let mut read = |address| stack.word(address).ok_or(());
        while walked.pcs.len() < MAX_FRAMES
            && let Ok(Some(pc)) =
                self.unwinder.unwind_frame(at, &mut regs, &mut self.cache, &mut read)
            && is_code(pc)
            && let Some(next) = FrameAddress::from_return_address(pc)
        {
            walked.pcs.push(StackPc::return_address(pc));
            walked.sps.push(regs.sp());
            at = next;
        }
    }
}
