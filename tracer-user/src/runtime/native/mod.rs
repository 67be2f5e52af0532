//! OS threads, of any program: what they wait for, in the words of the kernel's interface.

pub mod futex;
pub mod names;
pub mod idle;
pub mod snapshot;
pub mod syscalls;
pub mod unwind;
