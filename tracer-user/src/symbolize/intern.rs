//! Ids for frames, stacks and wait reasons. Every id is defined once, before its first use.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::base::{
    Definition, Frame, FrameId, FrameKind, ReasonId, StackId, Visibility, WaitClass,
};

/// Frames given ids at most. A large program has some hundred thousand call sites.
pub const MAX_FRAMES: usize = 2 << 20;
/// Stacks given ids at most.
pub const MAX_STACKS: usize = 2 << 20;
/// Frames in all stacks together at most (4 bytes each).
pub const MAX_STACK_FRAMES: usize = 32 << 20;
/// Bytes of names kept at most: a target that makes up long names cannot fill the memory.
pub const MAX_NAME_BYTES: usize = 512 << 20;
/// Wait reasons given ids at most. A runtime has about fifty.
pub const MAX_REASONS: usize = 1 << 10;

type Map<K, V> = HashMap<K, V, RandomState>;

/// Gives out ids; one for all processes of a run or recording.
///
/// Beyond its bounds it gives the ids that mean "not known" and counts.
#[derive(Debug)]
pub struct Interner {
    token: u64,
    frames: Vec<Frame>,
    frame_ids: Map<Frame, FrameId>,
    stacks: Vec<Box<[FrameId]>>,
    stack_ids: Map<Box<[FrameId]>, StackId>,
    reason_ids: Map<(WaitClass, Box<str>), ReasonId>,
    name_bytes: usize,
    stack_frames: usize,
    refused: u64,
    fresh: Vec<Definition>,
}

/// An interner that several threads use: looks and records name the same things. Held for one
/// name or stack at a time, so that nobody waits for a whole look.
#[derive(Clone, Default, Debug)]
pub struct SharedInterner(Arc<Mutex<Interner>>);

impl SharedInterner {
    /// Uses the interner.
    pub fn with<T>(&self, use_it: impl FnOnce(&mut Interner) -> T) -> T {
        // It is only ever added to, so a thread that panicked has left nothing half done.
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The definitions of ids given out since the last call, to be told before their first use.
    pub fn take_definitions(&self) -> Vec<Definition> {
        self.with(|names| names.take_definitions().collect())
    }
}

impl Default for Interner {
    fn default() -> Self {
        Self::new()
    }
}

impl Interner {
    /// With the ids that are always defined: [`FrameId::UNKNOWN`], [`StackId::EMPTY`],
    /// [`ReasonId::UNKNOWN`].
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            token: NEXT.fetch_add(1, Ordering::Relaxed),
            frames: vec![unknown()],
            frame_ids: Map::default(),
            stacks: vec![Box::default()],
            stack_ids: Map::default(),
            reason_ids: Map::default(),
            name_bytes: 0,
            stack_frames: 0,
            refused: 0,
            fresh: Vec::new(),
        }
    }

    /// Tells interners apart, so that a cache of ids notices when it meets another.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// The id of a frame.
    pub fn frame(&mut self, frame: &Frame) -> FrameId {
        if let Some(&id) = self.frame_ids.get(frame) {
            return id;
        }
        let bytes = frame.function.len().saturating_add(frame.file.len());
        let total = self.name_bytes.saturating_add(bytes);
        let id = u32::try_from(self.frames.len()).unwrap_or(u32::MAX);
        if self.frames.len() >= MAX_FRAMES || total > MAX_NAME_BYTES {
            self.refused = self.refused.saturating_add(1);
            return FrameId::UNKNOWN;
        }
        let id = FrameId(id);
        self.name_bytes = total;
        self.frames.push(frame.clone());
        self.frame_ids.insert(frame.clone(), id);
        self.fresh.push(Definition::Frame { id, frame: frame.clone() });
        id
    }

    /// The id of a stack; its frames have ids from here.
    pub fn stack(&mut self, frames: &[FrameId]) -> StackId {
        if frames.is_empty() {
            return StackId::EMPTY;
        }
        if let Some(&id) = self.stack_ids.get(frames) {
            return id;
        }
        let total = self.stack_frames.saturating_add(frames.len());
        let id = u32::try_from(self.stacks.len()).unwrap_or(u32::MAX);
        if self.stacks.len() >= MAX_STACKS || total > MAX_STACK_FRAMES {
            self.refused = self.refused.saturating_add(1);
            return StackId::EMPTY;
        }
        let id = StackId(id);
        let frames: Box<[FrameId]> = frames.into();
        self.stack_frames = total;
        self.stacks.push(frames.clone());
        self.stack_ids.insert(frames.clone(), id);
        self.fresh.push(Definition::Stack { id, frames });
        id
    }

    /// The id of a wait reason.
    pub fn reason(&mut self, class: WaitClass, word: &str) -> ReasonId {
        if let Some(&id) = self.reason_ids.get(&(class, Box::from(word))) {
            return id;
        }
        // Zero stands for "not known".
        let next = self.reason_ids.len().saturating_add(1);
        let Some(id) = u16::try_from(next).ok().filter(|_| next <= MAX_REASONS) else {
            self.refused = self.refused.saturating_add(1);
            return ReasonId::UNKNOWN;
        };
        let id = ReasonId(id);
        self.reason_ids.insert((class, word.into()), id);
        self.fresh.push(Definition::Reason { id, class, word: word.into() });
        id
    }

    /// What an id stands for; the unknown frame for an id that was not given out here.
    pub fn frame_of(&self, id: FrameId) -> &Frame {
        // The first is always there.
        static UNKNOWN: std::sync::LazyLock<Frame> = std::sync::LazyLock::new(unknown);
        self.frames.get(id.0 as usize).unwrap_or(&UNKNOWN)
    }

    /// The frames of a stack, innermost first; none for an id that was not given out here.
    pub fn frames_of(&self, id: StackId) -> &[FrameId] {
        self.stacks.get(id.0 as usize).map(|frames| &**frames).unwrap_or_default()
    }

    /// The definitions made since the last call, in order: each is given once, and must go out
    /// before anything that uses its id.
    pub fn take_definitions(&mut self) -> impl Iterator<Item = Definition> + use<> {
        std::mem::take(&mut self.fresh).into_iter()
    }

    /// Whether there are definitions to take.
    pub fn has_definitions(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// How many were not given an id because a bound was reached.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

/// What [`FrameId::UNKNOWN`] stands for.
fn unknown() -> Frame {
    Frame {
        function: "unknown".into(),
        file: "".into(),
        line: 0,
        kind: FrameKind::Call,
        visibility: Visibility::Shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str) -> Frame {
        Frame { function: function.into(), ..unknown() }
    }

    #[test]
    fn each_id_is_defined_once_and_before_the_stack_that_uses_it() {
        let mut names = Interner::new();
        let (a, b) = (names.frame(&frame("a")), names.frame(&frame("b")));
        let stack = names.stack(&[a, b]);
        assert_eq!((names.frame(&frame("a")), names.stack(&[a, b])), (a, stack));
        let told: Vec<Definition> = names.take_definitions().collect();
        assert_eq!(
            told,
            [
                Definition::Frame { id: a, frame: frame("a") },
                Definition::Frame { id: b, frame: frame("b") },
                Definition::Stack { id: stack, frames: Box::new([a, b]) },
            ]
        );
        names.frame(&frame("b"));
        assert_eq!(names.take_definitions().count(), 0);
    }

    #[test]
    fn frames_that_differ_only_in_visibility_have_ids_of_their_own() {
        let mut names = Interner::new();
        let hidden = Frame { visibility: Visibility::Hidden, ..frame("a") };
        assert_ne!(names.frame(&frame("a")), names.frame(&hidden));
    }

    #[test]
    fn the_ids_for_not_known_are_never_given_out() {
        let mut names = Interner::new();
        assert_ne!(names.frame(&frame("a")), FrameId::UNKNOWN);
        assert_eq!(names.stack(&[]), StackId::EMPTY);
        assert_ne!(names.stack(&[FrameId::UNKNOWN]), StackId::EMPTY);
        assert_ne!(names.reason(WaitClass::Other, ""), ReasonId::UNKNOWN);
    }

    #[test]
    fn a_made_up_flood_of_reasons_ends_at_the_bound() {
        let mut names = Interner::new();
        for i in 0..MAX_REASONS + 5 {
            names.reason(WaitClass::Other, &i.to_string());
        }
        assert_eq!(names.refused(), 5);
    }
}
