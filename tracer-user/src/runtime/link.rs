//! What the pipeline needs of any runtime, so that it wires Go and the next one alike.
//! May use: stream, base, tracer-common.

use tracer_common::thread::Asleep;

use crate::base::{FrameId, KTime, ReasonId, Registers};
use crate::stream::{Input, LookOutcome, LookSeq};

/// Takes looks at all tasks of one process.
pub trait Looks: Send {
    /// Takes one look. `clock` tells CLOCK_MONOTONIC; `sink` takes the look's inputs: what
    /// the runtime notes of itself, then from `SnapshotBegin` to `SnapshotEnd`.
    ///
    /// # Errors
    /// If the process is gone or not the same any more, or its structures make no sense.
    fn look(
        &mut self,
        seq: LookSeq,
        clock: &dyn Fn() -> KTime,
        sink: &mut dyn FnMut(Input),
    ) -> Result<LookOutcome, LookError>;
}

/// Turns the numbers in a process's records into ids of names.
pub trait RecordNames: Send {
    /// The place of a `go` statement, from the return address the runtime keeps.
    fn spawn_site(&mut self, pc: u64) -> FrameId;
    /// The function that begins at this address.
    fn start(&mut self, pc: u64) -> FrameId;
    /// The runtime's number of a wait reason.
    fn reason(&mut self, number: u8) -> ReasonId;
}

/// Turns the numbers in a process's records about OS threads into ids of names.
pub trait ThreadNames: Send {
    /// The place that created a thread, from its creator's return addresses, innermost first.
    fn spawn_site(&mut self, stack: &[u64]) -> FrameId;
    /// The same from its creator's stack as it lies in memory.
    fn unwound_site(&mut self, creator: &SpawnStack<'_>) -> FrameId;
    /// In what a thread sleeps.
    fn reason(&mut self, asleep: &Asleep) -> ReasonId;
}

/// The stack of a thread that creates another one.
#[derive(Clone, Copy, Debug)]
pub struct SpawnStack<'a> {
    /// When.
    pub at: KTime,
    /// Its registers as it entered the kernel.
    pub registers: Registers,
    /// What lies on its stack from the stack pointer on, as far as it was copied.
    pub bytes: &'a [u8],
}

/// Why a look failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LookError {
    /// The process exited.
    #[error("the target exited meanwhile")]
    Gone,
    /// The process has another image than the one that was examined: it called exec.
    #[error("the target replaced its image (exec)")]
    OtherImage,
    /// Anything else; may pass.
    #[error("{0}")]
    Failed(String),
}
