//! From addresses to names: which functions, files and lines a program counter stands for, and
//! ids for frames and stacks so that each is told once. A runtime brings its own [`Symbolizer`].
//! May use: base, object, target.

pub mod go;
mod intern;
pub mod native;

use crate::base::{FrameId, StackId};

pub use intern::{Interner, SharedInterner};

/// What a program counter on a stack points at.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PcKind {
    /// The instruction behind a call: the line is that of the call.
    ReturnAddress,
    /// The very instruction where the frame stopped: its caller was put on the stack by a signal.
    Exact,
}

/// A program counter of a stack.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StackPc {
    /// The program counter, as in the process.
    pub pc: u64,
    /// What it points at.
    pub kind: PcKind,
}

impl StackPc {
    /// A return address.
    pub const fn return_address(pc: u64) -> Self {
        Self { pc, kind: PcKind::ReturnAddress }
    }

    /// An instruction that was interrupted.
    pub const fn exact(pc: u64) -> Self {
        Self { pc, kind: PcKind::Exact }
    }
}

/// Names the code of one process. What is named goes through an [`Interner`]; a program counter
/// that belongs to nothing known becomes a frame named by its number (`0x…`): never a guess.
pub trait Symbolizer {
    /// A whole stack, innermost first. Which frames are shown depends on their neighbours, so a
    /// stack is resolved as one.
    fn stack(&mut self, pcs: &[StackPc], names: &mut Interner) -> StackId;

    /// The place that made a task, from the return address of the call that did.
    fn spawn_site(&mut self, pc: u64, names: &mut Interner) -> FrameId;

    /// The function that a task runs, from its entry.
    fn start(&mut self, pc: u64, names: &mut Interner) -> FrameId;
}
