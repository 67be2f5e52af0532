//! The border to the kernel: what it can do, loading and attaching the kernel part, reading its
//! ring and its counters. The only user of aya. May use: base, tracer-common, stream, and
//! runtime::plan.
//!
//! [`Kernel::load`] once, [`Kernel::attach`] for each process, [`Kernel::drain`] again and again;
//! everything is undone when the values are dropped, also by the kernel itself if loiter is killed.

mod attach;
mod binary;
mod btf;
mod calls;
mod confinement;
mod counters;
mod error;
mod features;
mod load;
mod log;
mod multi;
mod object;
pub mod privileges;
mod process;
mod registers;
mod ring;
mod selftest;
mod slot_map;
mod slots;
mod sys;
mod threads;

pub use attach::{AttachTarget, Attached, Detached, Kinds};
pub use btf::fuzz_btf;
pub use calls::{CallTotal, tracepoints as call_tracepoints};
pub use confinement::Confinement;
pub use counters::{Missed, ParkedTask};
pub use error::KernelError;
pub use features::{
    Capabilities, Features, KernelRelease, Limitation, Lockdown, MultiSupport, Obstacle, Refuser,
    Sandbox,
};
pub use load::{AttachMethod, Kernel, LoadSettings, Method};
pub use object::{ObjectInfo, info as object_info};
pub use process::HostLives;
pub use registers::ThreadRegisters;
pub use ring::{Drained, Fill};
pub use threads::{SleepingThread, WaitTotal};

/// Bytes of a page.
fn page_size() -> usize {
    // SAFETY: no pointers.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}
