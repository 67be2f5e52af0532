//! Starts a program behind the filter. The child talks over a socket that closes with the exec:
//! first the listener comes over it, then nothing - or why there was no exec.

use std::ffi::{CString, OsStr, OsString};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

use super::filter;
use super::listener::Listener;
use super::signals::Signals;
use crate::base::Pid;

/// A program that was started behind the filter.
#[derive(Debug)]
pub struct Launched {
    /// Its PID.
    pub pid: Pid,
    /// Tells of its end, and of that of everything it starts.
    pub listener: Listener,
}

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// There is no such program.
    #[error("there is no program {program}: neither a file of this name nor one in PATH")]
    NotFound {
        /// As it was given.
        program: String,
    },
    /// There is one, and it cannot be executed.
    #[error("{program} cannot be executed: {why}")]
    NotExecutable {
        /// As it was given.
        program: String,
        /// The kernel's reason.
        why: Errno,
    },
    /// A filter with a listener is in place already, and the kernel allows one.
    #[error(
        "the end of {program} cannot be held: another seccomp listener is in place, such as that of another `loiter check` around this one or of a container runtime; run one inside the other no more"
    )]
    Taken {
        /// As it was given.
        program: String,
    },
    /// Something else.
    #[error("cannot {what} for {program}: {why}")]
    Os {
        /// What failed.
        what: &'static str,
        /// As it was given.
        program: String,
        /// The kernel's reason.
        why: Errno,
    },
}

/// What the child was about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Tie,
    Filter,
    Hand,
    Exec,
}

impl Step {
    const ALL: [Step; 4] = [Step::Tie, Step::Filter, Step::Hand, Step::Exec];

    fn error(self, program: String, why: Errno) -> LaunchError {
        match (self, why) {
            (Step::Exec, Errno::NOENT) => LaunchError::NotFound { program },
            (Step::Exec, why) => LaunchError::NotExecutable { program, why },
            (Step::Filter, Errno::BUSY) => LaunchError::Taken { program },
            (Step::Filter, why) => {
                LaunchError::Os { what: "install a seccomp filter with a listener", program, why }
            }
            (Step::Tie, why) => LaunchError::Os { what: "prepare a process", program, why },
            (Step::Hand, why) => LaunchError::Os { what: "hand over the listener", program, why },
        }
    }
}

/// The words of a command line, in the form that exec wants.
struct Words {
    pointers: Vec<*const libc::c_char>,
    _strings: Vec<CString>,
}

impl Words {
    fn new(command: &[OsString]) -> Result<Self, io::Error> {
        let strings: Result<Vec<CString>, _> =
            command.iter().map(|word| CString::new(word.as_bytes())).collect();
        let strings = strings?;
        let mut pointers: Vec<_> = strings.iter().map(|s| s.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Ok(Self { pointers, _strings: strings })
    }
}

/// Starts `command`, found as a shell finds it, with loiter's own standard streams, environment and
/// process group. It dies with the thread that calls this. To be called while the process has one
/// thread.
///
/// # Errors
/// If it cannot be started, or its end could not be held.
pub fn launch(command: &[OsString], signals: &Signals) -> Result<Launched, LaunchError> {
    let program = || {
        command
            .first()
            .map_or_else(String::new, |p: &OsString| OsStr::to_string_lossy(p).into_owned())
    };
    let os = |what, why| LaunchError::Os { what, program: program(), why };
    let words = Words::new(command).map_err(|_| os("use a name with a NUL byte", Errno::INVAL))?;
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|why| os("make a socket", why))?;
    let me = getpid();
    // SAFETY: the process has one thread; the child calls nothing that is not async-signal-safe
    // and never comes back from `become_program`.
    let pid = match unsafe { libc::fork() } {
        -1 => {
            let why = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EAGAIN);
            return Err(os("start a process", Errno::from_raw_os_error(why)));
        }
        0 => become_program(&words, signals, me, theirs.as_fd()),
        pid => Pid(pid.cast_unsigned()),
    };
    drop(theirs);
    receive(&ours).map(|listener| Launched { pid, listener }).map_err(|(step, why)| {
        reap(pid);
        step.error(program(), why)
    })
}

/// Waits for the child that could not become the program.
fn reap(pid: Pid) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid.0.cast_signed()) {
        let none = rustix::process::WaitOptions::empty();
        while let Err(Errno::INTR) = rustix::process::waitpid(Some(pid), none) {}
    }
}

/// The listener, once the program runs.
fn receive(socket: &OwnedFd) -> Result<Listener, (Step, Errno)> {
    let mut listener = None;
    loop {
        let mut bytes = [0; 5];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let got = match recvmsg(socket, &mut into, &mut control, flags) {
            Ok(message) => message.bytes,
            Err(Errno::INTR) => continue,
            Err(why) => return Err((Step::Hand, why)),
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                listener = fds.last().or(listener);
            }
        }
        match (got, bytes) {
            // The socket closed: with the exec, or because the child was killed.
            (0, _) => return listener.map(Listener::new).ok_or((Step::Hand, Errno::CHILD)),
            (5, [step, why @ ..]) => {
                let step = Step::ALL.get(usize::from(step)).copied().unwrap_or(Step::Hand);
                return Err((step, Errno::from_raw_os_error(i32::from_ne_bytes(why))));
            }
            _ => {}
        }
    }
}

/// The child's side. Async-signal-safe calls only.
fn become_program(
    words: &Words,
    signals: &Signals,
    parent: rustix::process::Pid,
    socket: BorrowedFd<'_>,
) -> ! {
    let (step, why) = try_to_become(words, signals, parent, socket);
    let [a, b, c, d] = why.raw_os_error().to_ne_bytes();
    let message = [step as u8, a, b, c, d];
    let mut control = SendAncillaryBuffer::default();
    let _nobody_listens =
        sendmsg(socket, &[IoSlice::new(&message)], &mut control, SendFlags::NOSIGNAL);
    loop {
        // SAFETY: ends this thread, the only one. Not by exit_group: nobody would let that go.
        unsafe { libc::syscall(libc::SYS_exit, 127) };
    }
}

/// Comes back only if it failed.
fn try_to_become(
    words: &Words,
    signals: &Signals,
    parent: rustix::process::Pid,
    socket: BorrowedFd<'_>,
) -> (Step, Errno) {
    if let Err(why) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return (Step::Tie, why);
    }
    if getppid() != Some(parent) {
        return (Step::Tie, Errno::SRCH);
    }
    // SAFETY: takes no handler. Rust ignores this signal in its own programs.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    signals.before().set();
    let listener = match filter::install() {
        Ok(listener) => listener,
        Err(why) => return (Step::Filter, why),
    };
    let fds = [listener.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    if let Err(why) = sendmsg(socket, &[IoSlice::new(b"L")], &mut control, SendFlags::NOSIGNAL) {
        return (Step::Hand, why);
    }
    let Some(&program) = words.pointers.first() else { return (Step::Exec, Errno::NOENT) };
    // SAFETY: the words are NUL-terminated, the list ends with a null pointer, both live on.
    unsafe { libc::execvp(program, words.pointers.as_ptr()) };
    // SAFETY: reads this thread's errno.
    (Step::Exec, Errno::from_raw_os_error(unsafe { *libc::__errno_location() }))
}
