//! A handle to one incarnation of a process: stays with it when the PID is reused.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open};

use crate::base::Pid;

use super::TargetError;

/// A pidfd, see pidfd_open(2). The descriptor becomes readable when the process exits.
#[derive(Debug)]
pub struct PidFd {
    fd: OwnedFd,
}

impl PidFd {
    /// Opens it.
    ///
    /// # Errors
    /// If there is no such process, or the PID is that of a thread that leads none.
    pub fn open(pid: Pid) -> Result<Self, TargetError> {
        const WHAT: &str = "a handle";
        let raw = i32::try_from(pid.0).ok().and_then(rustix::process::Pid::from_raw);
        let raw = raw.ok_or(TargetError::NoSuchProcess { pid })?;
        let fd = pidfd_open(raw, PidfdFlags::empty()).map_err(|errno| match errno {
            // From Linux 6.9 on ENOENT, before EINVAL: a thread that does not lead its group.
            rustix::io::Errno::INVAL => TargetError::NoSuchProcess { pid },
            other => TargetError::from_io(pid, WHAT, &other.into()),
        })?;
        Ok(Self { fd })
    }

    /// Whether the process has exited, told without waiting.
    pub fn has_exited(&self) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut fds, Some(&now)), Ok(ready) if ready > 0)
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_of_a_process_is_seen_also_before_it_is_reaped() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let handle = PidFd::open(Pid(child.id())).unwrap();
        assert!(!handle.has_exited());
        child.kill().unwrap();
        let mut fds = [PollFd::new(&handle.fd, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 10, tv_nsec: 0 })).unwrap();
        assert!(handle.has_exited());
        child.wait().unwrap();
        assert!(handle.has_exited());
    }

    #[test]
    fn an_unused_pid_has_no_handle() {
        let pid = Pid(0x3fff_ffff);
        assert!(matches!(PidFd::open(pid), Err(TargetError::NoSuchProcess { .. })));
        assert!(matches!(PidFd::open(Pid(0)), Err(TargetError::NoSuchProcess { .. })));
    }
}
