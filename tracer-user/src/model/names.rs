//! What the ids stand for.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::base::{Frame, FrameId, ReasonId, StackId, WaitClass};

/// Most frames and most stacks kept; ingest has bounds of its own, this one is against a
/// recording that lies.
const MAX_NAMES: usize = 1 << 21;

/// A wait reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reason {
    /// Its class.
    pub class: WaitClass,
    /// The runtime's own word.
    pub word: Arc<str>,
}

/// The names defined so far.
#[derive(Debug, Default)]
pub struct Names {
    frames: HashMap<FrameId, Arc<Frame>, RandomState>,
    stacks: HashMap<StackId, Arc<[FrameId]>, RandomState>,
    reasons: HashMap<ReasonId, Reason, RandomState>,
}

impl Names {
    pub(super) fn define_frame(&mut self, id: FrameId, frame: Frame) {
        if self.frames.len() < MAX_NAMES {
            self.frames.insert(id, Arc::new(frame));
        }
    }

    pub(super) fn define_stack(&mut self, id: StackId, frames: Box<[FrameId]>) {
        if self.stacks.len() < MAX_NAMES {
            self.stacks.insert(id, frames.into());
        }
    }

    pub(super) fn define_reason(&mut self, id: ReasonId, class: WaitClass, word: &str) {
        self.reasons.insert(id, Reason { class, word: word.into() });
    }

    /// A frame; None for [`FrameId::UNKNOWN`] and for ids never defined.
    pub fn frame(&self, id: FrameId) -> Option<&Arc<Frame>> {
        self.frames.get(&id).filter(|_| id != FrameId::UNKNOWN)
    }

    /// The function of a frame; empty if not known.
    pub fn function(&self, id: FrameId) -> &str {
        self.frame(id).map_or("", |f| &f.function)
    }

    /// The frames of a stack, innermost first; empty if not known.
    pub fn stack(&self, id: StackId) -> &[FrameId] {
        self.stacks.get(&id).map_or(&[], |s| s)
    }

    /// A wait reason; None for [`ReasonId::UNKNOWN`] and for ids never defined.
    pub fn reason(&self, id: ReasonId) -> Option<&Reason> {
        self.reasons.get(&id).filter(|_| id != ReasonId::UNKNOWN)
    }

    /// The class of a wait reason.
    pub fn class(&self, id: ReasonId) -> Option<WaitClass> {
        self.reason(id).map(|r| r.class)
    }
}
