//! A process that keeps the listener for the time after loiter: whatever still runs behind the
//! filter then ends as it likes. It holds nothing else: no output that a reader waits for, no
//! directory, and no place in a process group that is signalled as a whole.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::listener::Listener;
use super::signals::block_all;

/// Dropped, or gone with loiter, it sets the guardian to work; that ends once nobody is left.
#[derive(Debug)]
pub struct Guardian {
    _life: OwnedFd,
}

impl Guardian {
    /// Starts it. To be called while this process has one thread.
    ///
    /// # Errors
    /// If there can be no more processes or descriptors.
    pub fn start(listener: &Listener) -> io::Result<Self> {
        let (watch, life) = pipe_with(PipeFlags::CLOEXEC)?;
        // SAFETY: the process has one thread, so no lock is held that the child would need; the
        // child never comes back from `serve`.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop(life);
                serve(listener, &watch);
                // SAFETY: ends the process without anything of the parent's that runs at exit.
                unsafe { libc::_exit(0) }
            }
            _ => Ok(Self { _life: life }),
        }
    }
}

fn serve(listener: &Listener, life: &OwnedFd) {
    block_all();
    let _is_leader_already = rustix::process::setsid();
    let _stays_where_it_is = rustix::process::chdir("/");
    let _only_a_name = rustix::thread::set_name(c"loiter-guardian");
    keep_only(listener.as_fd().as_raw_fd(), life.as_raw_fd());
    // Nothing is ever written: the pipe becomes ready when loiter is gone.
    while wait(life, PollFlags::empty()).is_err() {}
    loop {
        match listener.next() {
            Ok(Some(ending)) => {
                let _gone = listener.let_go(ending);
            }
            Ok(None) if listener.is_deserted().unwrap_or(true) => return,
            Ok(None) => {
                let _interrupted = wait(listener, PollFlags::IN);
            }
            Err(_) => return,
        }
    }
}

fn wait(fd: &impl std::os::fd::AsFd, what: PollFlags) -> Result<(), Errno> {
    poll(&mut [PollFd::new(fd, what)], None).map(|_| ())
}

/// Closes every descriptor but these two.
fn keep_only(a: i32, b: i32) {
    let (low, high) = (a.min(b), a.max(b));
    for (first, last) in [(0, low - 1), (low + 1, high - 1), (high + 1, i32::MAX)] {
        if first <= last {
            // SAFETY: three integers; in this process nothing uses the descriptors any more.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    }
}
