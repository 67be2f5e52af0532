//! The Go runtime, 1.19 and 1.21 to 1.27 on amd64.

pub mod build;
pub mod idle;
pub mod layout;
pub mod reasons;

mod bytes;
mod layouts;
mod operands;
mod unwind;
mod version;
