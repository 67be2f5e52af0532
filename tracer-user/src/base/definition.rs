//! What an interned id stands for, told once, before its first use.

use super::{Frame, FrameId, ReasonId, StackId, WaitClass};

/// An id gets its meaning.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Definition {
    /// A frame.
    Frame {
        /// The id.
        id: FrameId,
        /// The frame.
        frame: Frame,
    },
    /// A stack; its frames are defined.
    Stack {
        /// The id.
        id: StackId,
        /// Innermost first.
        frames: Box<[FrameId]>,
    },
    /// A wait reason.
    Reason {
        /// The id.
        id: ReasonId,
        /// Its class.
        class: WaitClass,
        /// The runtime's own word.
        word: Box<str>,
    },
}
