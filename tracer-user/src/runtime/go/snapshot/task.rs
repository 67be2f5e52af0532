//! From what was read of a goroutine to what the model is told of it.

use crate::base::{FrameId, KTime, ReasonId, StackId, TaskId, TaskState, Tid, WaitClass};
use crate::stream::{Carries, ChannelState, LastLeave, TaskLook, WaitsOn};
use crate::target::ThreadIds;

use super::channels::{BEFORE_WORD, Object};
use super::details::Details;
use super::goroutine::Goroutine;
use super::naming::{Reason, StackInfo, StartInfo};

/// All that is known of one goroutine.
pub(super) struct Known<'a> {
    pub(super) goroutine: &'a Goroutine,
    /// None if it did not stand still: then only what the g itself says is told.
    pub(super) details: Option<&'a Details>,
    pub(super) stack: Option<StackInfo>,
    pub(super) reason: Reason,
    pub(super) start: StartInfo,
    pub(super) spawn_site: FrameId,
    pub(super) left: Option<LastLeave>,
    /// When the reads happened.
    pub(super) interval: (KTime, KTime),
    /// Added to the target's CLOCK_MONOTONIC to have ours, nanoseconds.
    pub(super) monotonic_offset: i64,
}

impl Known<'_> {
    pub(super) fn into_look(self, threads: &ThreadIds) -> TaskLook {
        let g = self.goroutine;
        let state = g.status.task_state();
        let settled = self.details.is_some();
        TaskLook {
            task: TaskId::goroutine(g.id),
            t0: self.interval.0,
            t1: self.interval.1,
            state,
            reason: if state == TaskState::Waiting { self.reason.id } else { ReasonId::UNKNOWN },
            parent: (g.parent != 0).then(|| TaskId::goroutine(g.parent)),
            spawn_site: self.spawn_site,
            start: self.start.frame,
            stack: self.stack.map_or(StackId::EMPTY, |stack| stack.id),
            wait_site: self.stack.map_or(FrameId::UNKNOWN, |stack| stack.wait_site),
            mark: has_mark(state).then(|| g.mark()).filter(|_| settled),
            left: self.left.filter(|_| is_busy(state)),
            waits_on: self.waits_on(),
            waits_since: self.waits_since(),
            stack_bytes: g.stack_bytes(),
            thread: self.thread(threads),
            locked_to_thread: g.locked_m != 0,
            // The runtime's own goroutines that run finalizers and cleanups are the program's
            // while they are in its code.
            system: self.start.is_system
                && !self.stack.is_some_and(|stack| stack.runs_program_code),
            labels: self.details.map(|details| details.labels(g)).unwrap_or_default(),
        }
    }

    fn waits_on(&self) -> WaitsOn {
        let (Some(details), true) = (self.details, self.goroutine.status.is_waiting()) else {
            return WaitsOn::Unknown;
        };
        match (details.object(self.goroutine), self.reason.class) {
            (
                Some(Object::Channels(channels)),
                WaitClass::ChanSend | WaitClass::ChanReceive | WaitClass::Select,
            ) => WaitsOn::Channels(channels.clone()),
            (Some(Object::Address { word, around }), WaitClass::Lock | WaitClass::Group) => {
                let around = around.as_ref().map_or(&[][..], |bytes| bytes);
                let primitive = self.stack.map(|stack| stack.primitive);
                primitive.map_or(WaitsOn::Unknown, |p| p.waits_on(*word, BEFORE_WORD, around))
            }
            (None, WaitClass::Never) if self.reason.is_nil_channel => {
                WaitsOn::Channels(Box::new([NIL_CHANNEL]))
            }
            // A select parks with all its channels in this list, and leaves nil ones out
            // (`selectgo` in `src/runtime/select.go`).
            (None, WaitClass::Select) if self.goroutine.waiting == 0 => {
                WaitsOn::Channels(Box::default())
            }
            (None, WaitClass::Sleep) => self.timer(details),
            _ => WaitsOn::Unknown,
        }
    }

    fn timer(&self, details: &Details) -> WaitsOn {
        let until = details.timer(self.goroutine).and_then(|when| self.our_time(when));
        until.map_or(WaitsOn::Unknown, |until| WaitsOn::Timer { until })
    }

    /// The runtime stamps the start of every eighth wait for a mutex (`casgstatus` in
    /// `src/runtime/proc.go`, from 1.20 on).
    fn waits_since(&self) -> Option<KTime> {
        let stamped =
            self.details.is_some() && self.goroutine.status.is_waiting() && self.reason.is_mutex;
        let stamp = self.goroutine.tracking_stamp.filter(|_| stamped)?;
        self.our_time(stamp).filter(|since| *since <= self.interval.1)
    }

    fn our_time(&self, theirs: u64) -> Option<KTime> {
        theirs.checked_add_signed(self.monotonic_offset).map(KTime)
    }

    fn thread(&self, threads: &ThreadIds) -> Option<Tid> {
        let m = if self.goroutine.m != 0 { self.goroutine.m } else { self.goroutine.locked_m };
        threads.ours(self.details?.thread(m)?)
    }
}

/// What a goroutine waits on that receives from or sends to a nil channel.
const NIL_CHANNEL: ChannelState =
    ChannelState { address: 0, capacity: 0, length: 0, closed: false, carries: Carries::Unknown };

/// Whether a goroutine in this state runs or would.
const fn is_busy(state: TaskState) -> bool {
    matches!(state, TaskState::Running | TaskState::Runnable | TaskState::Preempted)
}

/// Whether the saved context of this state stays as it is until the goroutine runs.
const fn has_mark(state: TaskState) -> bool {
    matches!(
        state,
        TaskState::Waiting | TaskState::Runnable | TaskState::Syscall | TaskState::Preempted
    )
}
