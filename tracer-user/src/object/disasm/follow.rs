//! Where one value is, from instruction to instruction along a straight line: it starts in a
//! register, is copied to others and into stack slots, and is gone from where something else is
//! written. What is not understood counts as written.

use iced_x86::{Code, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind};
use iced_x86::{Register as Reg, UsedMemory};
use smallvec::SmallVec;

/// A general register, in x86-64 encoding order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Register {
    Rax,
    Rcx,
    Rdx,
    Rbx,
    Rsp,
    Rbp,
    Rsi,
    Rdi,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
}

impl Register {
    /// All, by number.
    pub const ALL: [Register; 16] = [
        Register::Rax,
        Register::Rcx,
        Register::Rdx,
        Register::Rbx,
        Register::Rsp,
        Register::Rbp,
        Register::Rsi,
        Register::Rdi,
        Register::R8,
        Register::R9,
        Register::R10,
        Register::R11,
        Register::R12,
        Register::R13,
        Register::R14,
        Register::R15,
    ];

    const fn bit(self) -> u16 {
        1 << self as u8
    }

    /// The whole register that this one is, or is a part of.
    fn of(register: Reg) -> Option<Self> {
        if !register.is_gpr() {
            return None;
        }
        Self::ALL.get(register.full_register().number()).copied()
    }
}

/// Stack slots farther from `rsp` than this many words are of no use: the number must fit into
/// seven bits of a probe's cookie.
pub const MAX_STACK_WORDS: u8 = 128;

/// Where a value is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Place {
    /// In a register.
    Register(Register),
    /// At `[rsp + 8 * words]`.
    Stack {
        /// Below [`MAX_STACK_WORDS`].
        words: u8,
    },
}

/// Slots that hold the value at once, at most; further ones are not remembered.
const MAX_SLOTS: usize = 4;
const WORD: i64 = 8;

/// Follows one value of 64 bits.
pub(super) struct Follower {
    /// One bit for each register that holds the value.
    registers: u16,
    /// Slots that hold the value, by their distance from where `rsp` was at the start.
    slots: SmallVec<[i64; MAX_SLOTS]>,
    /// How far `rsp` is from where it was; None when that is not known.
    rsp: Option<i64>,
    info: InstructionInfoFactory,
}

impl Follower {
    pub(super) fn new(holder: Register) -> Self {
        Self {
            registers: holder.bit(),
            slots: SmallVec::new(),
            rsp: Some(0),
            info: InstructionInfoFactory::new(),
        }
    }

    pub(super) fn is_known(&self) -> bool {
        self.registers != 0 || !self.slots.is_empty()
    }

    /// Where to read it: a register if one holds it, else the nearest slot in reach.
    pub(super) fn place(&self) -> Option<Place> {
        let register = Register::ALL.into_iter().find(|r| self.registers & r.bit() != 0);
        if let Some(register) = register {
            return Some(Place::Register(register));
        }
        let rsp = self.rsp?;
        let distances = self.slots.iter().filter_map(|slot| slot.checked_sub(rsp));
        let nearest = distances.filter(|d| *d >= 0 && d % WORD == 0).min()?;
        let words = u8::try_from(nearest / WORD).ok().filter(|&words| words < MAX_STACK_WORDS)?;
        Some(Place::Stack { words })
    }

    /// Goes past one instruction that leads to the next.
    pub(super) fn step(&mut self, step: &Instruction) {
        let copy = self.copy_made_by(step);
        let rsp_after = self.rsp_after(step);
        self.forget_what_is_written(step);
        if rsp_after.is_none() {
            self.slots.clear();
        }
        self.rsp = rsp_after;
        match copy {
            Some(Copy::Register(register)) => self.registers |= register.bit(),
            Some(Copy::Slot(slot)) if self.slots.len() < MAX_SLOTS => self.slots.push(slot),
            _ => {}
        }
        // `rsp` itself is no place to find a task in; what lies below it belongs to nobody.
        self.registers &= !Register::Rsp.bit();
        match self.rsp {
            Some(rsp) => self.slots.retain(|slot| *slot >= rsp),
            None => self.slots.clear(),
        }
    }

    /// Where the instruction copies the value to, if it does.
    fn copy_made_by(&self, step: &Instruction) -> Option<Copy> {
        match step.code() {
            Code::Mov_r64_rm64 | Code::Mov_rm64_r64 => {
                let holds = match step.op1_kind() {
                    OpKind::Register => self.holds(step.op1_register()),
                    OpKind::Memory => {
                        self.slot_of(step).is_some_and(|slot| self.slots.contains(&slot))
                    }
                    _ => false,
                };
                match step.op0_kind() {
                    OpKind::Register if holds => {
                        Register::of(step.op0_register()).map(Copy::Register)
                    }
                    OpKind::Memory if holds => self.slot_of(step).map(Copy::Slot),
                    _ => None,
                }
            }
            Code::Push_r64 if self.holds(step.op0_register()) => {
                Some(Copy::Slot(self.rsp?.checked_sub(WORD)?))
            }
            _ => None,
        }
    }

    fn holds(&self, register: Reg) -> bool {
        register.is_gpr64() && Register::of(register).is_some_and(|r| self.registers & r.bit() != 0)
    }

    /// The slot that a memory operand `[rsp+x]` names.
    fn slot_of(&self, step: &Instruction) -> Option<i64> {
        let plain = step.memory_base() == Reg::RSP
            && step.memory_index() == Reg::None
            && step.segment_prefix() == Reg::None;
        let displacement = step.memory_displacement64().cast_signed();
        plain.then(|| self.rsp?.checked_add(displacement))?
    }

    /// Where `rsp` is behind the instruction.
    fn rsp_after(&mut self, step: &Instruction) -> Option<i64> {
        let rsp = self.rsp?;
        let to_rsp = step.op_count() > 0
            && step.op0_kind() == OpKind::Register
            && step.op0_register() == Reg::RSP;
        let immediate =
            || matches!(step.op1_kind(), OpKind::Immediate8to64 | OpKind::Immediate32to64);
        match step.mnemonic() {
            Mnemonic::Push => rsp.checked_add(i64::from(step.stack_pointer_increment())),
            Mnemonic::Pop if !to_rsp => rsp.checked_add(i64::from(step.stack_pointer_increment())),
            Mnemonic::Sub if to_rsp && immediate() => {
                rsp.checked_sub(step.immediate(1).cast_signed())
            }
            Mnemonic::Add if to_rsp && immediate() => {
                rsp.checked_add(step.immediate(1).cast_signed())
            }
            Mnemonic::Lea if to_rsp => self.slot_of(step),
            _ => {
                let info = self.info.info(step);
                let written = info.used_registers().iter().any(|used| {
                    writes(used.access()) && used.register().full_register() == Reg::RSP
                });
                (!written).then_some(rsp)
            }
        }
    }

    fn forget_what_is_written(&mut self, step: &Instruction) {
        let rsp = self.rsp;
        let info = self.info.info(step);
        for used in info.used_registers().iter().filter(|used| writes(used.access())) {
            if let Some(register) = Register::of(used.register()) {
                self.registers &= !register.bit();
            }
        }
        for memory in info.used_memory().iter().filter(|memory| writes(memory.access())) {
            match written_slots(memory, rsp) {
                Some((from, end)) => {
                    self.slots.retain(|slot| slot.saturating_add(WORD) <= from || *slot >= end);
                }
                None => self.slots.clear(),
            }
        }
    }
}

/// What a copy leaves the value in.
enum Copy {
    Register(Register),
    Slot(i64),
}

fn writes(access: OpAccess) -> bool {
    !matches!(access, OpAccess::None | OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess)
}

/// The range of slots that a write through `rsp` covers; None for a write that may go anywhere.
fn written_slots(memory: &UsedMemory, rsp: Option<i64>) -> Option<(i64, i64)> {
    let size = i64::try_from(memory.memory_size().size()).ok().filter(|&size| size > 0)?;
    let on_stack = memory.base() == Reg::RSP
        && memory.index() == Reg::None
        && !matches!(memory.segment(), Reg::FS | Reg::GS);
    let from = on_stack.then(|| rsp?.checked_add(memory.displacement().cast_signed()))?;
    let from = from?;
    Some((from, from.checked_add(size)?))
}
