//! Signals that are meant for the program and reach loiter, which stands in its place: they are
//! taken from a descriptor and passed on. Those that the kernel sends, as for Ctrl-C, go to
//! everybody in the foreground: the program has had them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

/// What others send to end a program or to talk to it.
const PASSED_ON: [Signal; 6] =
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::USR2];
/// `struct signalfd_siginfo` of include/uapi/linux/signalfd.h.
const INFO: usize = 128;
/// `si_code` of a signal that the kernel sent.
const SI_KERNEL: i32 = 0x80;

/// A signal that came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signalled {
    /// Which.
    pub signal: Signal,
    /// Whether the program has not had it already.
    pub to_pass_on: bool,
}

/// The signals that are passed on; blocked in the whole process, which has one thread when this is
/// made.
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
    before: Mask,
}

/// A signal mask.
#[derive(Clone, Copy)]
pub(super) struct Mask(libc::sigset_t);

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask")
    }
}

impl Mask {
    fn of(signals: &[Signal]) -> Self {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset fills the whole set, sigaddset is given a filled one, and all
        // numbers are those of signals.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in signals {
                libc::sigaddset(set.as_mut_ptr(), signal.as_raw());
            }
            Self(set.assume_init())
        }
    }

    fn all() -> Self {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigfillset fills the whole set.
        unsafe {
            libc::sigfillset(set.as_mut_ptr());
            Self(set.assume_init())
        }
    }

    /// Makes it the mask of this thread. Async-signal-safe.
    pub(super) fn set(&self) {
        // SAFETY: reads a filled set; the old one is not wanted.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut())
        };
    }
}

/// Blocks all signals in this thread. Async-signal-safe.
pub(super) fn block_all() {
    Mask::all().set();
}

impl Signals {
    /// Takes them over.
    ///
    /// # Errors
    /// If there can be no more descriptors.
    pub fn take() -> io::Result<Self> {
        let mask = Mask::of(&PASSED_ON);
        let mut before = Mask::of(&[]);
        // SAFETY: reads a filled set and fills `before`.
        unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const mask.0, &raw mut before.0);
        }
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: reads a filled set and makes a new descriptor.
        let fd = unsafe { libc::signalfd(-1, &raw const mask.0, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call gave this new descriptor to us alone.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, before })
    }

    /// The mask as it was.
    pub(super) const fn before(&self) -> &Mask {
        &self.before
    }

    /// The next that came; None if there is none now.
    ///
    /// # Errors
    /// The kernel's.
    pub fn next(&self) -> io::Result<Option<Signalled>> {
        let mut info = [0; INFO];
        match rustix::io::read(&self.fd, &mut info) {
            Ok(INFO) => Ok(parse(&info)),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn parse(info: &[u8; INFO]) -> Option<Signalled> {
    let word = |at: usize| Some(i32::from_ne_bytes(*info.get(at..)?.first_chunk()?));
    let signal = Signal::from_named_raw(word(0)?)?;
    Some(Signalled { signal, to_pass_on: word(8)? != SI_KERNEL })
}

/// Ends this process by a signal, as the program ended, so that whoever waits sees the same. Comes
/// back if the signal does not end it.
pub fn end_by(signal: i32) {
    let Some(named) = Signal::from_named_raw(signal) else { return };
    // One core file is enough: the program's.
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let _only_a_file_more = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    // SAFETY: the default action takes no handler.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    Mask::of(&[]).set();
    if let Some(me) = Pid::from_raw(std::process::id().cast_signed()) {
        let _comes_back = kill_process(me, named);
    }
}
