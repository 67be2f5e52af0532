//! The Go runtime, 1.19 and 1.21 to 1.27 on amd64.

pub mod idle;

mod bytes;
mod operands;
mod unwind;
