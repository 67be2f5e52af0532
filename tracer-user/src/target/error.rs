//! What can go wrong when a process is looked at from outside.

use std::io;
use std::path::Path;

use crate::base::Pid;

/// What is read of a process, in the words of [`TargetError::Denied`].
pub(super) const EXECUTABLE: &str = "the executable";

/// Why something about a process could not be told.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TargetError {
    /// There is no such process.
    #[error(
        "no process {pid}: check the PID, and that loiter runs in a PID namespace that shows the process (in Kubernetes: shareProcessNamespace or hostPID)"
    )]
    NoSuchProcess {
        /// The PID asked for.
        pid: Pid,
    },
    /// Nothing is known of any process.
    #[error(
        "/proc is not mounted, and nothing can be known of process {pid} without it: mount it (`mount -t proc proc /proc`)"
    )]
    NoProc {
        /// The PID asked for.
        pid: Pid,
    },
    /// It was there, and is not any more.
    #[error("process {pid} exited meanwhile")]
    Gone {
        /// Its PID.
        pid: Pid,
    },
    /// It has no user memory.
    #[error("process {pid} is a kernel thread: it has no program and no memory of its own")]
    KernelThread {
        /// Its PID.
        pid: Pid,
    },
    /// The kernel does not allow it.
    #[error(
        "reading {what} of process {pid} is not permitted: run loiter as root or with CAP_SYS_PTRACE, in a user namespace above the process{}; `loiter doctor` tells what else stands in the way",
        besides(what)
    )]
    Denied {
        /// Its PID.
        pid: Pid,
        /// What was to be read.
        what: &'static str,
    },
    /// Another error of a system call.
    #[error("cannot read {what} of process {pid}: {}", io::Error::from_raw_os_error(*errno))]
    Os {
        /// Its PID.
        pid: Pid,
        /// What was to be read.
        what: &'static str,
        /// The error number.
        errno: i32,
    },
    /// It is not in the form that Linux documents, or too large.
    #[error("{what} of process {pid} makes no sense: {detail}")]
    Malformed {
        /// Its PID.
        pid: Pid,
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        detail: &'static str,
    },
}

impl TargetError {
    /// From an error of reading something under `/proc/PID`.
    pub(super) fn from_io(pid: Pid, what: &'static str, error: &io::Error) -> Self {
        match error.raw_os_error().unwrap_or(libc::EIO) {
            libc::ENOENT | libc::ESRCH if !Path::new("/proc/self").exists() => {
                TargetError::NoProc { pid }
            }
            libc::ENOENT | libc::ESRCH => TargetError::NoSuchProcess { pid },
            libc::EACCES | libc::EPERM => TargetError::Denied { pid, what },
            errno => TargetError::Os { pid, what, errno },
        }
    }

    /// The same, said of a process that had been there already.
    #[must_use]
    pub fn meanwhile(self) -> Self {
        match self {
            TargetError::NoSuchProcess { pid } => TargetError::Gone { pid },
            other => other,
        }
    }
}

/// What else it can take than the rights to trace.
fn besides(what: &str) -> &'static str {
    match what {
        EXECUTABLE => "; a file that only its owner may read takes CAP_DAC_READ_SEARCH besides",
        _ => "",
    }
}
