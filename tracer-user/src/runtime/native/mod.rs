//! OS threads, of any program: what they wait for, in the words of the kernel's interface.

pub mod names;
pub mod syscalls;
