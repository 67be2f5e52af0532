//! The other side of the filter: who wants to end, and the word that lets it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::ioctl::{Updater, ioctl, opcode};

use crate::base::Tid;

/// Of include/uapi/linux/seccomp.h.
const RECEIVE: rustix::ioctl::Opcode = opcode::read_write::<libc::seccomp_notif>(b'!', 0);
const SEND: rustix::ioctl::Opcode = opcode::read_write::<libc::seccomp_notif_resp>(b'!', 1);

/// Somebody who waits at the entry of `exit_group`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ending {
    id: u64,
    /// The thread that made the call, in loiter's PID namespace.
    pub thread: Tid,
    /// The code the process will end with.
    pub code: u8,
}

/// Tells who wants to end.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl Listener {
    pub(super) const fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// The next that wants to end; None if there is none now (any more).
    ///
    /// # Errors
    /// The kernel's.
    pub fn next(&self) -> io::Result<Option<Ending>> {
        if !self.has(PollFlags::IN)? {
            return Ok(None);
        }
        // The kernel refuses a buffer that is not zero.
        let mut asked = libc::seccomp_notif {
            id: 0,
            pid: 0,
            flags: 0,
            data: libc::seccomp_data { nr: 0, arch: 0, instruction_pointer: 0, args: [0; 6] },
        };
        // SAFETY: the opcode is RECV's, and `seccomp_notif` is what it fills in.
        let received = unsafe { ioctl(&self.0, Updater::<RECEIVE, _>::new(&mut asked)) };
        match received {
            // Only the low byte of a code ever reaches a parent.
            Ok(()) => Ok(Some(Ending {
                id: asked.id,
                thread: Tid(asked.pid),
                code: (asked.data.args[0] & 0xff) as u8,
            })),
            // It was killed meanwhile, or a signal came.
            Err(Errno::NOENT | Errno::INTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Lets it end. Nothing is left to be done for one that is gone.
    ///
    /// # Errors
    /// The kernel's.
    pub fn let_go(&self, ending: Ending) -> io::Result<()> {
        let mut answer = libc::seccomp_notif_resp {
            id: ending.id,
            val: 0,
            error: 0,
            flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        };
        loop {
            // SAFETY: the opcode is SEND's, and `seccomp_notif_resp` is what it reads.
            let sent = unsafe { ioctl(&self.0, Updater::<SEND, _>::new(&mut answer)) };
            match sent {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Whether nobody is left behind the filter.
    pub(super) fn is_deserted(&self) -> io::Result<bool> {
        self.has(PollFlags::HUP)
    }

    fn has(&self, what: PollFlags) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        match poll(&mut fds, Some(&now)) {
            Ok(_) => Ok(fds[0].revents().contains(what)),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
