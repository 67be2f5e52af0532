//! Words that every layer speaks: ids, times, wait classes, frames. May use: nothing of ours.

mod definition;
mod frame;
mod idle;
mod ids;
mod pattern;
mod registers;
mod time;
mod wait;

/// The label of a thread that a library has started: the name of the library's file.
pub const LIBRARY_LABEL: &str = "library";

pub use definition::Definition;
pub use frame::{Frame, FrameKind, Visibility};
pub use idle::{FunctionAt, IdlePattern, Numbers, Peers, Place};
pub use ids::{FrameId, Pid, ProcId, ReasonId, RunSeq, StackId, TaskId, TaskKind, Tid};
pub use pattern::{Pattern, Shape};
pub use registers::Registers;
pub use time::{KTime, Nanos};
pub use wait::{TaskState, WaitClass};
