//! A line of a stack, resolved.

/// Whether the frame has a stack frame of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FrameKind {
    /// A call.
    Call,
    /// Inlined into the frame after it.
    Inlined,
}

/// Whether the runtime's own dump shows the frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Visibility {
    /// Shown.
    Shown,
    /// Left out by the runtime's dump: its internals, compiler-made wrappers.
    Hidden,
}

/// One logical frame. Interned: compare by [`super::FrameId`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Frame {
    /// Function, named as the runtime's own dump does; `0x…` where it is not known.
    pub function: Box<str>,
    /// Source file as the binary has it; empty where it is not known.
    pub file: Box<str>,
    /// Line, from 1; 0 where it is not known.
    pub line: u32,
    /// Called or inlined.
    pub kind: FrameKind,
    /// Shown or hidden by the runtime's own dump.
    pub visibility: Visibility,
}
