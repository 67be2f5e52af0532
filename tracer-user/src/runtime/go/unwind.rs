//! From a saved context to the program counters of a stack, by the frame sizes of the `pcsp`
//! tables; as `src/runtime/traceback.go` (`unwinder`) does it, 1.19 to 1.27.
//!
//! The stack comes in windows: most stacks end in the first, a deep one asks for more.

use std::collections::VecDeque;

use super::bytes::u64_at;
use crate::symbolize::{PcKind, StackPc};

/// Program counters kept from the inner end of a stack.
pub(super) const MAX_INNER: usize = 256;
/// Program counters kept from the outer end.
pub(super) const MAX_OUTER: usize = 256;
/// Frames walked at most: more than a stack of Go's default limit (1 GB) holds in practice.
const MAX_WALKED: u64 = 1 << 22;

/// What the tables say of the frame that a program counter is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FrameShape {
    /// Bytes from the stack pointer to the return address; None where the tables do not say.
    pub(super) size: Option<u32>,
    /// The outermost function of a stack (`TOPFRAME`).
    pub(super) is_top: bool,
    /// It changes the stack pointer in ways the tables do not tell (`SPWRITE`).
    pub(super) writes_sp: bool,
    /// It was not called but put there by the runtime (`sigpanic`, `asyncPreempt`,
    /// `debugCallV2`): its caller stopped at its program counter, not behind a call.
    pub(super) is_injected: bool,
}

/// How a walk went on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// It is at its end.
    Ended,
    /// It goes on with the stack from this address.
    Needs(u64),
}

/// How complete a stack is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Reach {
    /// Not ended yet, or broken off: frames further out are not known.
    Partial,
    /// Down to the function the goroutine started with.
    Whole,
}

/// A part of a stack, as read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window<'a> {
    /// Address of the first byte.
    pub(super) start: u64,
    /// The bytes.
    pub(super) bytes: &'a [u8],
}

impl Window<'_> {
    /// The word at an address; None if it is not wholly inside.
    fn word(&self, address: u64) -> Option<u64> {
        u64_at(self.bytes, usize::try_from(address.checked_sub(self.start)?).ok()?)
    }
}

/// A walk over one stack.
#[derive(Debug)]
pub(super) struct Walk {
    pc: u64,
    sp: u64,
    /// End of the stack: the walk does not leave it.
    high: u64,
    kind: PcKind,
    walked: u64,
    inner: Vec<StackPc>,
    outer: VecDeque<StackPc>,
    reach: Reach,
}

impl Walk {
    /// Starts at a saved context; `high` is the end of the stack.
    pub(super) const fn new(pc: u64, sp: u64, high: u64) -> Self {
        Self {
            pc,
            sp,
            high,
            kind: PcKind::ReturnAddress,
            walked: 0,
            inner: Vec::new(),
            outer: VecDeque::new(),
            reach: Reach::Partial,
        }
    }

    /// Goes on as far as the window reaches.
    pub(super) fn advance(
        &mut self,
        window: Window<'_>,
        mut shape: impl FnMut(u64) -> Option<FrameShape>,
    ) -> Progress {
        // A call of a nil function: the caller's address is on top of the stack.
        if self.walked == 0 && self.pc == 0 {
            match window.word(self.sp) {
                Some(pc) if pc != 0 => {
                    self.pc = pc;
                    self.sp = self.sp.saturating_add(8);
                }
                _ => return Progress::Ended,
            }
        }
        while self.walked < MAX_WALKED {
            let Some(frame) = shape(self.pc) else {
                return Progress::Ended;
            };
            let innermost = self.walked == 0;
            if frame.is_top || frame.size.is_none() || (frame.writes_sp && !innermost) {
                self.keep();
                self.reach = if frame.is_top { Reach::Whole } else { Reach::Partial };
                return Progress::Ended;
            }
            let size = u64::from(frame.size.unwrap_or(0));
            let Some(slot) =
                self.sp.checked_add(size).filter(|&slot| slot.saturating_add(8) <= self.high)
            else {
                self.keep();
                return Progress::Ended;
            };
            let Some(caller) = window.word(slot) else {
                return Progress::Needs(slot);
            };
            self.keep();
            self.pc = caller;
            self.sp = slot.saturating_add(8);
            self.kind = if frame.is_injected { PcKind::Exact } else { PcKind::ReturnAddress };
        }
        Progress::Ended
    }

    fn keep(&mut self) {
        let pc = StackPc { pc: self.pc, kind: self.kind };
        self.walked = self.walked.saturating_add(1);
        if self.inner.len() < MAX_INNER {
            self.inner.push(pc);
            return;
        }
        if self.outer.len() >= MAX_OUTER {
            self.outer.pop_front();
        }
        self.outer.push_back(pc);
    }

    /// The stack as far as it was walked.
    pub(super) fn finish(self) -> StackPcs {
        let kept = self.inner.len().saturating_add(self.outer.len());
        let left_out = self.walked.saturating_sub(kept as u64);
        StackPcs { inner: self.inner, outer: self.outer.into(), left_out, reach: self.reach }
    }
}

/// The program counters of a stack, innermost first.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct StackPcs {
    /// From the inner end.
    pub(super) inner: Vec<StackPc>,
    /// From the outer end, where there are more than fit.
    pub(super) outer: Vec<StackPc>,
    /// Frames left out between the two.
    pub(super) left_out: u64,
    /// Whether the outer end is that of the stack.
    pub(super) reach: Reach,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: u64 = 0xff;

    /// Frames of 16 bytes; the function at [`TOP`] is the outermost.
    fn shape(pc: u64) -> Option<FrameShape> {
        (pc != 0 && pc < 0x100).then_some(FrameShape {
            size: Some(16),
            is_top: pc == TOP,
            writes_sp: pc == 0x66,
            is_injected: pc == 0x77,
        })
    }

    fn stack(callers: &[u64]) -> Vec<u8> {
        callers.iter().flat_map(|&pc| [[0; 8], [0; 8], pc.to_le_bytes()].concat()).collect()
    }

    fn walk(pc: u64, bytes: &[u8]) -> StackPcs {
        let mut walk = Walk::new(pc, 0x1000, 0x1000 + bytes.len() as u64);
        assert_eq!(walk.advance(Window { start: 0x1000, bytes }, shape), Progress::Ended);
        walk.finish()
    }

    #[test]
    fn a_stack_is_walked_to_the_function_it_started_with() {
        let pcs = walk(1, &stack(&[2, 3, TOP]));
        assert_eq!(pcs.inner.iter().map(|f| f.pc).collect::<Vec<_>>(), [1, 2, 3, TOP]);
        assert_eq!((pcs.reach, pcs.left_out), (Reach::Whole, 0));
    }

    #[test]
    fn the_frame_that_a_signal_stopped_is_looked_up_at_its_own_address() {
        let pcs = walk(1, &stack(&[0x77, 3, 4, TOP]));
        let exact: Vec<u64> =
            pcs.inner.iter().filter(|f| f.kind == PcKind::Exact).map(|f| f.pc).collect();
        assert_eq!(exact, [3]);
    }

    #[test]
    fn a_function_that_writes_the_stack_pointer_ends_the_walk_unless_it_is_innermost() {
        assert_eq!(walk(0x66, &stack(&[2, TOP])).reach, Reach::Whole);
        let broken = walk(1, &stack(&[0x66, 2, TOP]));
        assert_eq!((broken.inner.len(), broken.reach), (2, Reach::Partial));
    }

    #[test]
    fn a_window_that_ends_early_is_asked_to_go_on_and_gives_the_same_stack() {
        let bytes = stack(&[2, 3, 4, 5, TOP]);
        let high = 0x1000 + bytes.len() as u64;
        let mut walk_in_parts = Walk::new(1, 0x1000, high);
        let mut start = 0x1000_u64;
        let mut asked = 0;
        loop {
            let from = (start - 0x1000) as usize;
            let part = &bytes[from..bytes.len().min(from + 30)];
            match walk_in_parts.advance(Window { start, bytes: part }, shape) {
                Progress::Needs(address) => start = address,
                Progress::Ended => break,
            }
            asked += 1;
            assert!(asked < 10);
        }
        assert_eq!(walk_in_parts.finish(), walk(1, &bytes));
        assert!(asked > 1);
    }

    #[test]
    fn of_a_deep_stack_both_ends_are_kept_and_the_rest_is_counted() {
        let mut callers = vec![5; 2_000];
        callers.push(TOP);
        let pcs = walk(1, &stack(&callers));
        assert_eq!((pcs.inner.len(), pcs.outer.len()), (MAX_INNER, MAX_OUTER));
        assert_eq!(pcs.left_out, 2_002 - 512);
        assert_eq!((pcs.reach, pcs.outer.last().unwrap().pc), (Reach::Whole, TOP));
    }

    #[test]
    fn a_stack_full_of_garbage_ends() {
        let mut state = 99_u64;
        for _ in 0..2_000 {
            let bytes: Vec<u8> = (0..512)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    ((state >> 60) & 7) as u8
                })
                .collect();
            let mut walk = Walk::new(state >> 56, 0x1000, 0x1200);
            let _ = walk.advance(Window { start: 0x1000, bytes: &bytes }, shape);
            assert!(walk.finish().inner.len() <= 64);
        }
        let mut outside = Walk::new(1, u64::MAX - 3, u64::MAX);
        assert_eq!(outside.advance(Window { start: 0, bytes: &[] }, shape), Progress::Ended);
    }
}
