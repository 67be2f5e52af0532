//! The Go runtime, 1.19 and 1.21 to 1.27 on amd64.

mod bytes;
mod operands;
mod unwind;
pub mod idle;
