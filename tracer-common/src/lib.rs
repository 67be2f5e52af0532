//! The types that cross the border between the kernel part and the user part.
//!
//! Everything here is plain data: `repr(C)`, explicit padding, integers only. The kernel part
//! writes these bytes into a ring buffer or map and the user part reads them, so a layout is a
//! contract: sizes and offsets are asserted at compile time, and there is no `bool` or `enum`
//! in a record (any bit pattern that arrives must be a valid value). May use: nothing.
#![no_std]

pub mod call;
pub mod config;
pub mod event;
pub mod ids;
pub mod thread;
