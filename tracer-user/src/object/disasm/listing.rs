//! A whole function, instruction by instruction, with all jumps in it.

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Formatter as _, Instruction};
use iced_x86::{IntelFormatter, OpKind};

use super::{Emulated, emulated};

/// Bytes of one function at most. The largest of Go's scheduler has about 6 KB, and a closure
/// that makes a goroutine under 1 KB; what is larger is not what it seems.
pub const MAX_CODE: usize = 256 << 10;

/// Why code could not be understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DisasmError {
    /// Nothing there, or more than a function has.
    #[error("{0} bytes of code; a function has 1 to {MAX_CODE}")]
    Size(usize),
    /// Bytes that are no instruction.
    #[error("the bytes at {0:#x} are no instruction")]
    NotCode(u64),
    /// A jump that does not lead to the beginning of an instruction.
    #[error("the jump at {from:#x} leads into the middle of an instruction, to {to:#x}")]
    IntoInstruction {
        /// The jump.
        from: u64,
        /// Where it leads.
        to: u64,
    },
}

/// A jump within the function.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Jump {
    /// Index of the instruction it leads to.
    pub to: usize,
    /// Index of the jump.
    pub from: usize,
}

/// A function's instructions in order of their addresses.
#[derive(Clone, Debug)]
pub struct Listing<'c> {
    code: &'c [u8],
    start: u64,
    steps: Vec<Instruction>,
    jumps: Vec<Jump>,
    indirect: Option<u64>,
}

impl<'c> Listing<'c> {
    /// Disassembles a function from its first byte to its last. Padding behind its end may be
    /// part of it.
    ///
    /// # Errors
    /// If not all of it is code, or a jump in it leads into the middle of an instruction: then
    /// no boundary in it can be trusted.
    pub fn decode(code: &'c [u8], start: u64) -> Result<Self, DisasmError> {
        if code.is_empty() || code.len() > MAX_CODE || start.checked_add(MAX_CODE as u64).is_none()
        {
            return Err(DisasmError::Size(code.len()));
        }
        let mut listing =
            Listing { code, start, steps: Vec::new(), jumps: Vec::new(), indirect: None };
        let mut decoder = Decoder::with_ip(64, code, start, DecoderOptions::NONE);
        let mut step = Instruction::default();
        while decoder.can_decode() {
            let at = decoder.position();
            decoder.decode_out(&mut step);
            if !step.is_invalid() {
                listing.steps.push(step);
            } else if listing.only_padding_from(at) {
                break;
            } else {
                return Err(DisasmError::NotCode(step.ip()));
            }
        }
        listing.find_jumps()?;
        Ok(listing)
    }

    /// Linkers fill up with zeros (two make an instruction, a single one does not) or int3.
    fn only_padding_from(&self, at: usize) -> bool {
        let ends = self.steps.last().is_some_and(|last| !falls_through(last) || is_padding(last));
        let rest = self.code.get(at..).unwrap_or_default();
        ends && rest.iter().all(|&byte| byte == 0 || byte == 0xcc)
    }

    fn find_jumps(&mut self) -> Result<(), DisasmError> {
        let end = self.end();
        for (from, step) in self.steps.iter().enumerate() {
            if step.flow_control() == FlowControl::IndirectBranch {
                self.indirect.get_or_insert(step.ip());
            }
            let Some(target) = branch_target(step) else { continue };
            // A call of the function's own entry begins another run of it, it is no jump.
            let is_recursion = is_call(step) && target == self.start;
            if target < self.start || target >= end || is_recursion {
                continue;
            }
            match self.index_of(target) {
                Some(to) => self.jumps.push(Jump { to, from }),
                None => {
                    return Err(DisasmError::IntoInstruction { from: step.ip(), to: target });
                }
            }
        }
        self.jumps.sort_unstable();
        Ok(())
    }

    /// Address of the first instruction.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Address behind the last instruction.
    pub fn end(&self) -> u64 {
        self.start.wrapping_add(self.code.len() as u64)
    }

    /// Addresses of all instructions.
    pub fn boundaries(&self) -> impl Iterator<Item = u64> {
        self.steps.iter().map(Instruction::ip)
    }

    /// Whether an instruction begins there.
    pub fn is_boundary(&self, address: u64) -> bool {
        self.index_of(address).is_some()
    }

    /// Where the relative call that begins there leads to; None if none begins there.
    pub fn call_at(&self, address: u64) -> Option<u64> {
        let step = self.step(self.index_of(address)?)?;
        is_call(step).then(|| branch_target(step))?
    }

    /// Where the relative jump or call that begins there leads to; None if none begins there.
    pub fn target_at(&self, address: u64) -> Option<u64> {
        branch_target(self.step(self.index_of(address)?)?)
    }

    /// The first jump to a place that only a register or memory tells.
    pub fn indirect_jump(&self) -> Option<u64> {
        self.indirect
    }

    /// The instruction that begins there, as a disassembler prints it; empty if none does.
    pub fn text(&self, address: u64) -> String {
        let mut text = String::new();
        if let Some(step) = self.index_of(address).and_then(|index| self.step(index)) {
            let mut formatter = IntelFormatter::new();
            let options = formatter.options_mut();
            options.set_hex_prefix("0x");
            options.set_hex_suffix("");
            options.set_uppercase_hex(false);
            options.set_branch_leading_zeros(false);
            options.set_space_after_operand_separator(true);
            options.set_show_branch_size(false);
            formatter.format(step, &mut text);
        }
        text
    }

    /// The bytes of the instruction that begins there; empty if none does.
    pub fn bytes(&self, address: u64) -> &'c [u8] {
        self.index_of(address).and_then(|index| self.bytes_of(index)).unwrap_or_default()
    }

    fn bytes_of(&self, index: usize) -> Option<&'c [u8]> {
        let step = self.step(index)?;
        let at = usize::try_from(step.ip().checked_sub(self.start)?).ok()?;
        self.code.get(at..at.checked_add(step.len())?)
    }

    pub(super) fn index_of(&self, address: u64) -> Option<usize> {
        self.steps.binary_search_by_key(&address, Instruction::ip).ok()
    }

    pub(super) fn step(&self, index: usize) -> Option<&Instruction> {
        self.steps.get(index)
    }

    pub(super) fn address(&self, index: usize) -> u64 {
        self.step(index).map_or(self.end(), Instruction::ip)
    }

    /// All jumps that lead to an instruction.
    pub(super) fn jumps_to(&self, index: usize) -> &[Jump] {
        let first = self.jumps.partition_point(|jump| jump.to < index);
        let behind = self.jumps.partition_point(|jump| jump.to <= index);
        self.jumps.get(first..behind).unwrap_or_default()
    }

    /// Whether the kernel emulates an instruction.
    pub(super) fn emulated(&self, index: usize) -> Option<Emulated> {
        emulated(self.bytes_of(index)?)
    }
}

fn is_padding(step: &Instruction) -> bool {
    // Two zero bytes are `add [rax], al`.
    matches!(step.code(), Code::Int3 | Code::Add_rm8_r8)
}

pub(super) fn is_call(step: &Instruction) -> bool {
    step.flow_control() == FlowControl::Call
}

/// Whether the next instruction may be the one behind it.
pub(super) fn falls_through(step: &Instruction) -> bool {
    !matches!(
        step.flow_control(),
        FlowControl::UnconditionalBranch
            | FlowControl::IndirectBranch
            | FlowControl::Return
            | FlowControl::Exception
    )
}

/// Where a relative jump, conditional or not, or a relative call leads to.
pub(super) fn branch_target(step: &Instruction) -> Option<u64> {
    let is_near = matches!(
        step.op0_kind(),
        OpKind::NearBranch64 | OpKind::NearBranch32 | OpKind::NearBranch16
    );
    is_near.then(|| step.near_branch_target())
}
