//! The Go runtime, 1.19 and 1.21 to 1.27 on amd64.

pub mod build;
pub mod idle;
pub mod layout;
pub mod patterns;
pub mod plan;
pub mod reasons;
pub mod snapshot;

mod bytes;
mod detect;
mod layouts;
mod locate;
mod operands;
mod source;
mod tables;
mod unwind;
mod version;
mod waits_on;

pub use detect::{DetectError, Detector, GoProgram, HostedAs};
pub use locate::{Allgs, LocateError, Located, Module, locate};
