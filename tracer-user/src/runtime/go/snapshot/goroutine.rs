//! One g, decoded. Source of states: `src/runtime/runtime2.go` (`_Gidle` …), 1.19 to 1.27.

use crate::base::{RunSeq, TaskState};
use crate::runtime::go::bytes::{u8_at, u32_at, u64_at};
use crate::runtime::go::layout::Layout;
use crate::stream::RunMark;

/// `_Gscan`: set in the state while the collector scans the stack.
const SCAN: u32 = 0x1000;

/// `g.atomicstatus` without the scan bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Status {
    /// `_Gidle`: allocated, never used.
    Idle,
    Runnable,
    Running,
    Syscall,
    Waiting,
    /// `_Gmoribund_unused`, `_Genqueue_unused`.
    Unused,
    Dead,
    /// `_Gcopystack`: its stack is being moved.
    CopyStack,
    Preempted,
    /// `_Gleaked` (1.26): waits, and the runtime's leak detector has flagged it.
    Leaked,
    /// `_Gdeadextra` (1.26): belongs to a thread that C made and that is not in Go.
    DeadExtra,
}

impl Status {
    fn from_raw(raw: u32) -> Option<Self> {
        Some(match raw & !SCAN {
            0 => Status::Idle,
            1 => Status::Runnable,
            2 => Status::Running,
            3 => Status::Syscall,
            4 => Status::Waiting,
            5 | 7 => Status::Unused,
            6 => Status::Dead,
            8 => Status::CopyStack,
            9 => Status::Preempted,
            10 => Status::Leaked,
            11 => Status::DeadExtra,
            _ => return None,
        })
    }

    /// Whether there is a goroutine at all.
    pub(super) const fn is_alive(self) -> bool {
        !matches!(self, Status::Idle | Status::Dead | Status::DeadExtra)
    }

    pub(super) const fn is_waiting(self) -> bool {
        matches!(self, Status::Waiting | Status::Leaked)
    }

    pub(super) const fn task_state(self) -> TaskState {
        match self {
            Status::Runnable => TaskState::Runnable,
            Status::Running => TaskState::Running,
            Status::Syscall => TaskState::Syscall,
            Status::Waiting | Status::Leaked => TaskState::Waiting,
            Status::CopyStack | Status::Preempted => TaskState::Preempted,
            Status::Idle | Status::Unused | Status::Dead | Status::DeadExtra => TaskState::Unknown,
        }
    }
}

/// What of a g does not change while it stands still.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Still {
    pub(super) id: u64,
    pub(super) status: Status,
    reason: u8,
    mark: RunMark,
    stack: (u64, u64),
    syscall: (u64, u64),
}

impl Still {
    /// Bytes at the start of a g that hold all of it.
    pub(super) fn bytes(layout: &Layout) -> usize {
        let o = &layout.g;
        let ends = [
            o.stack.saturating_add(16),
            o.sched.saturating_add(layout.gobuf.size),
            o.syscallpc.saturating_add(8),
            o.syscallsp.saturating_add(8),
            o.atomicstatus.saturating_add(4),
            o.goid.saturating_add(8),
            o.waitreason.saturating_add(1),
            o.tracking_seq.saturating_add(1),
        ];
        usize::from(ends.into_iter().max().unwrap_or(o.size))
    }

    /// From the start of a g; None if the bytes are too few or the state is none that Go has.
    pub(super) fn decode(layout: &Layout, bytes: &[u8]) -> Option<Self> {
        let o = &layout.g;
        let word = |offset: u16| u64_at(bytes, usize::from(offset));
        let sched = |offset: u16| word(o.sched.checked_add(offset)?);
        let seq = RunSeq(u8_at(bytes, usize::from(o.tracking_seq))?);
        Some(Self {
            id: word(o.goid)?,
            status: Status::from_raw(u32_at(bytes, usize::from(o.atomicstatus))?)?,
            reason: u8_at(bytes, usize::from(o.waitreason))?,
            mark: RunMark { seq, pc: sched(layout.gobuf.pc)?, sp: sched(layout.gobuf.sp)? },
            stack: (word(o.stack)?, word(o.stack.checked_add(8)?)?),
            syscall: (word(o.syscallpc)?, word(o.syscallsp)?),
        })
    }
}

/// A g as it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Goroutine {
    pub(super) address: u64,
    pub(super) id: u64,
    pub(super) status: Status,
    /// `g.waitreason`; of a goroutine that does not wait it is stale.
    pub(super) reason: u8,
    pub(super) run_seq: u8,
    pub(super) stack_low: u64,
    pub(super) stack_high: u64,
    pub(super) sched_pc: u64,
    pub(super) sched_sp: u64,
    pub(super) syscall_pc: u64,
    pub(super) syscall_sp: u64,
    pub(super) parent: u64,
    pub(super) created_at: u64,
    pub(super) start: u64,
    pub(super) waiting: u64,
    pub(super) labels: u64,
    pub(super) m: u64,
    pub(super) locked_m: u64,
    /// `g.sleepWhen` (1.23 on).
    pub(super) sleep_when: Option<u64>,
    /// `g.timer` (before 1.23).
    pub(super) timer: Option<u64>,
    /// `g.trackingStamp` while `g.tracking`: when a wait for a mutex began.
    pub(super) tracking_stamp: Option<u64>,
}

impl Goroutine {
    /// From the bytes of a g; None if they are too few or the state is none that Go has.
    pub(super) fn decode(layout: &Layout, address: u64, bytes: &[u8]) -> Option<Self> {
        let o = &layout.g;
        let word = |offset: u16| u64_at(bytes, usize::from(offset));
        let byte = |offset: u16| u8_at(bytes, usize::from(offset));
        let sched = |offset: u16| word(o.sched.checked_add(offset)?);
        Some(Self {
            address,
            id: word(o.goid)?,
            status: Status::from_raw(u32_at(bytes, usize::from(o.atomicstatus))?)?,
            reason: byte(o.waitreason)?,
            run_seq: byte(o.tracking_seq)?,
            stack_low: word(o.stack)?,
            stack_high: word(o.stack.checked_add(8)?)?,
            sched_pc: sched(layout.gobuf.pc)?,
            sched_sp: sched(layout.gobuf.sp)?,
            syscall_pc: word(o.syscallpc)?,
            syscall_sp: word(o.syscallsp)?,
            parent: o.parent_goid.and_then(word).unwrap_or(0),
            created_at: word(o.gopc)?,
            start: word(o.startpc)?,
            waiting: word(o.waiting)?,
            labels: word(o.labels)?,
            m: word(o.m)?,
            locked_m: word(o.lockedm)?,
            sleep_when: o.sleep_when.and_then(word),
            timer: o.timer.and_then(word),
            tracking_stamp: (byte(o.tracking)? == 1)
                .then(|| o.tracking_stamp.and_then(word))
                .flatten()
                .filter(|&stamp| stamp != 0),
        })
    }

    /// What has to be equal, read before and after everything else that belongs to it, for all of
    /// that to be of the same standstill.
    pub(super) const fn still(&self) -> Still {
        Still {
            id: self.id,
            status: self.status,
            reason: self.reason,
            mark: self.mark(),
            stack: (self.stack_low, self.stack_high),
            syscall: (self.syscall_pc, self.syscall_sp),
        }
    }

    /// What tells whether it ran in between.
    pub(super) const fn mark(&self) -> RunMark {
        RunMark { seq: RunSeq(self.run_seq), pc: self.sched_pc, sp: self.sched_sp }
    }

    /// Where its stack begins to be read: saved program counter and stack pointer. None if it
    /// runs (its registers are on a processor) or the stack pointer is outside of its stack.
    pub(super) fn context(&self) -> Option<(u64, u64)> {
        let (pc, sp) = match self.status {
            Status::Running | Status::Unused => return None,
            Status::Syscall if self.syscall_sp != 0 => (self.syscall_pc, self.syscall_sp),
            _ => (self.sched_pc, self.sched_sp),
        };
        (sp >= self.stack_low && sp < self.stack_high).then_some((pc, sp))
    }

    /// Bytes of stack it holds.
    pub(super) const fn stack_bytes(&self) -> u64 {
        self.stack_high.saturating_sub(self.stack_low)
    }
}
