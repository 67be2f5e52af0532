//! The Go runtime, 1.19 and 1.21 to 1.27 on amd64.

pub mod idle;

mod bytes;
pub mod layout;
mod layouts;
mod locate;
mod operands;
pub mod reasons;
pub mod snapshot;
mod source;
mod tables;
mod unwind;
mod version;
mod waits_on;

pub use locate::{Allgs, LocateError, Located, Module, locate};
