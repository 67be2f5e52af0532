//! The Go runtime, 1.19 and 1.21 to 1.27 on amd64.

pub mod build;
pub mod idle;
pub mod layout;
pub mod patterns;
pub mod plan;
pub mod reasons;
mod scheduler;
pub mod snapshot;
pub mod testing;

mod bytes;
mod detect;
mod gc;
mod layouts;
mod locate;
mod operands;
mod source;
mod tables;
mod unwind;
mod version;
mod waits_on;

use crate::base::TaskId;

/// The goroutine whose end is the program's.
pub const MAIN_TASK: TaskId = TaskId::goroutine(MAIN_GOROUTINE);
/// The runtime numbers them from 1, and the main one is the first.
const MAIN_GOROUTINE: u64 = 1;

pub use detect::{DetectError, Detector, GoProgram, HostedAs};
pub use locate::{Allgs, LocateError, Located, Module, locate, locate_known};
