//! The one language of the model: [`Input`] down, [`Command`] up; and the border where raw bytes
//! from the ring become checked records. No clock, no I/O. May use: base, tracer-common.

mod command;
pub mod decode;
mod event;
mod gc;
mod input;
mod look;
mod scheduler;
mod waits;

pub use command::{Command, SnapshotWhy};
pub use event::{Event, EventKind, Waker};
pub use gc::GcCycle;
pub use input::{BuildInfo, EndHow, Input, Loss, LossKind, Mode, PodInfo, ProcessDef};
pub use look::{
    Carries, ChannelState, LastLeave, Leave, LockKind, LookOutcome, LookSeq, RunMark, Stop,
    TaskLook, Vitals, WaitsOn,
};
pub use scheduler::{Processors, SchedulerState};
pub use waits::{
    FileKind, FileSet, FileState, FutexKind, FutexOf, FutexState, Holder, MAX_FILES, MAX_HOLDERS,
};
