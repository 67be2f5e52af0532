//! The target from outside: `/proc`, namespaces, cgroups, and its memory behind one trait.
//!
//! Everything read here is hostile input: names, paths, tables of mappings and memory belong to a
//! tenant, while the reader is root. Reads are bounded, paths are opened without following links
//! out of the target's root. May use: base.

mod container;
mod error;
mod exit;
mod fds;
mod file;
mod fixture;
pub mod gate;
mod live;
mod maps;
pub mod memory;
mod oom;
mod pidfd;
mod process;
mod procfs;
mod tasks;
mod threads;
mod usage;
mod vitals;

pub use container::{
    CgroupPlace, ContainerId, ContainerRuntime, KubeletFiles, Locator, OwnPod, Pod, PodNames,
    PodPlace, PodUid, Whereabouts, cgroups_of, fuzz_container,
};
pub use error::TargetError;
pub use exit::exit_status;
pub use fds::{FdLink, SocketInfo, Sockets, epoll_fds, fd_link, fuzz_fds};
pub use file::{FileAt, FileId};
pub use fixture::{FixtureMem, RecordingMem};
pub use live::LiveMem;
pub use maps::{FileKey, Mapping, Maps, Perms, fuzz_maps};
pub use memory::{Piece, ReadError, ReadMem};
pub use oom::OomGauge;
pub use pidfd::PidFd;
pub use process::{
    ExeLink, ProcessInfo, ProcessStat, describe, exe_link, fuzz_stat, list, monotonic_offset, stat,
};
pub use tasks::{Doing, MAX_THREADS, ThreadNow, Threads, fuzz_syscall};
pub use threads::{ThreadIds, is_thread_of, perf_map};
pub use usage::{MemoryGauge, MemoryUse, fuzz_limits};
pub use vitals::{ProcessVitals, VitalsReader};
