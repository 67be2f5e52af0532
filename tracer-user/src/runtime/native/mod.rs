//! OS threads, of any program: what they wait for, in the words of the kernel's interface.

pub mod futex;
pub mod idle;
pub mod managed;
pub mod names;
mod naming;
pub mod snapshot;
pub mod spawn;
pub mod syscalls;
pub mod unwind;
