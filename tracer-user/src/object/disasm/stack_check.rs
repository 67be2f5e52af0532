//! The check at the start of a Go function that there is stack left. If there is not, the function calls
//! `morestack` and starts anew from its entry: what stands before the end of the check may
//! run twice in one call.
//!
//! Source: src/cmd/internal/obj/x86/obj6.go, `stacksplit` of Go 1.19 and 1.21 to 1.27:
//! small frames `cmp rsp, [r14+16]; jbe`, large ones `lea r12, [rsp-x]; cmp r12, [r14+16]; jbe`, huge
//! ones `mov r12, rsp; sub r12, x; jb; cmp r12, [r14+16]; jbe`; +24 (`stackguard1`) in functions
//! that run on the system stack alone.

use iced_x86::{Code, FlowControl, Instruction, OpKind, Register};

use super::listing::{Listing, branch_target, is_call};

/// `g.stackguard0` and `g.stackguard1`: the same in all versions, since assembly relies on it.
const STACK_GUARDS: [u64; 2] = [0x10, 0x18];
/// Instructions of the block that calls `morestack` at most: it saves and restores up to nine
/// integer and fifteen float registers.
const MAX_GROW_BLOCK: usize = 64;

/// What the start of a function looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StackCheck {
    /// No check: the function starts once.
    Absent,
    /// A check; the function proper begins at this instruction.
    Before(usize),
}

/// Why the start of a function is not understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OddStart {
    /// The jump out of the stack check does not lead to a call that grows the stack and a jump
    /// back to the entry.
    #[error("the stack check jumps to {0:#x}, which does not grow the stack and start anew")]
    Block(u64),
    /// Something else jumps to where only the stack check may.
    #[error("the jump at {0:#x} leads into the stack check")]
    Jump(u64),
}

/// Looks for the check.
pub(super) fn stack_check(listing: &Listing<'_>) -> Result<StackCheck, OddStart> {
    let Some((body, check)) = compare(listing) else {
        // Nothing may lead back to the entry then.
        return match listing.jumps_to(0).first() {
            None => Ok(StackCheck::Absent),
            Some(jump) => Err(OddStart::Jump(listing.address(jump.from))),
        };
    };
    let grow = check.grow.ok_or(OddStart::Block(check.target))?;
    let back = grow_block(listing, grow).ok_or(OddStart::Block(check.target))?;
    let may_jump = |to: usize, from: usize| match to {
        0 => from == back,
        to if to == grow => from < body,
        _ => false,
    };
    // The entry, the check, and the block may be reached in no other way.
    let guarded = (0..body).chain(grow..=back);
    let mut jumps = guarded.flat_map(|to| listing.jumps_to(to));
    match jumps.find(|jump| !may_jump(jump.to, jump.from)) {
        Some(jump) => Err(OddStart::Jump(listing.address(jump.from))),
        None => Ok(StackCheck::Before(body)),
    }
}

struct Check {
    target: u64,
    grow: Option<usize>,
}

/// Recognises the compare and its jumps; gives the index of the instruction behind them.
fn compare(listing: &Listing<'_>) -> Option<(usize, Check)> {
    let step = |index: usize| listing.step(index);
    let first = step(0)?;
    let (jump, underflow) = if is_guard_compare(first, Register::RSP) {
        (1, None)
    } else if is_guard_compare(step(1)?, Register::R12) && is_lea_below_rsp(first) {
        (2, None)
    } else if is_guard_compare(step(3)?, Register::R12) && is_sub_from_rsp(first, step(1)?) {
        (4, Some(branch_of(step(2)?, [Code::Jb_rel8_64, Code::Jb_rel32_64])?))
    } else {
        return None;
    };
    let target = branch_of(step(jump)?, [Code::Jbe_rel8_64, Code::Jbe_rel32_64])?;
    let one_target = underflow.is_none_or(|other| other == target);
    let grow = listing.index_of(target).filter(|&grow| grow > jump && one_target);
    Some((jump + 1, Check { target, grow }))
}

fn branch_of(step: &Instruction, codes: [Code; 2]) -> Option<u64> {
    codes.contains(&step.code()).then(|| branch_target(step))?
}

/// `cmp register, [r14+16]` or `[r14+24]`.
fn is_guard_compare(step: &Instruction, register: Register) -> bool {
    step.code() == Code::Cmp_r64_rm64
        && step.op0_register() == register
        && step.op1_kind() == OpKind::Memory
        && step.memory_base() == Register::R14
        && step.memory_index() == Register::None
        && step.segment_prefix() == Register::None
        && STACK_GUARDS.contains(&step.memory_displacement64())
}

fn is_lea_below_rsp(step: &Instruction) -> bool {
    step.code() == Code::Lea_r64_m
        && step.op0_register() == Register::R12
        && step.memory_base() == Register::RSP
        && step.memory_index() == Register::None
}

fn is_sub_from_rsp(mov: &Instruction, sub: &Instruction) -> bool {
    let copies = matches!(mov.code(), Code::Mov_r64_rm64 | Code::Mov_rm64_r64)
        && mov.op0_kind() == OpKind::Register
        && mov.op1_kind() == OpKind::Register
        && mov.op0_register() == Register::R12
        && mov.op1_register() == Register::RSP;
    let subtracts = matches!(sub.code(), Code::Sub_rm64_imm32 | Code::Sub_rm64_imm8)
        && sub.op0_kind() == OpKind::Register
        && sub.op0_register() == Register::R12;
    copies && subtracts
}

/// Index of the jump back to the entry, if the block is one call between plain instructions
/// that ends with it.
fn grow_block(listing: &Listing<'_>, grow: usize) -> Option<usize> {
    let mut calls = 0usize;
    for index in (grow..).take(MAX_GROW_BLOCK) {
        let step = listing.step(index)?;
        match step.flow_control() {
            FlowControl::Next => {}
            FlowControl::Call if is_call(step) => calls += 1,
            FlowControl::UnconditionalBranch => {
                let again = branch_target(step) == Some(listing.start());
                return (again && calls == 1).then_some(index);
            }
            _ => return None,
        }
    }
    None
}
