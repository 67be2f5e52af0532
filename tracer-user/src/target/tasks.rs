//! The threads of a process from `/proc/PID/task`: what each does now, without stopping any.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;

use rustix::fs::{Dir, Mode, OFlags, openat};

use crate::base::{Pid, Tid};

use super::TargetError;
use super::procfs;

/// Most threads of a process that are looked at: the kernel's own default bound for a whole host
/// is lower (`kernel.threads-max`).
pub const MAX_THREADS: usize = 1 << 16;
/// Most bytes read of one of a thread's files; `status` has about 1500, more with long lists of
/// processors and memory nodes.
const MAX_TEXT: usize = 8 << 10;
/// Most bytes kept of a name; the kernel has 15.
const MAX_NAME: usize = 64;

/// What a thread does, as `/proc/PID/task/TID/syscall` tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doing {
    /// On a processor, or about to be.
    Runs,
    /// Asleep in a system call.
    InSyscall {
        /// `orig_ax`; -1 if it sleeps outside of any call, in a page fault for example.
        number: i64,
        /// rdi, rsi, rdx, r10, r8, r9; zero outside of any call.
        arguments: [u64; 6],
        /// Stack pointer in user mode.
        sp: u64,
        /// Program counter in user mode.
        pc: u64,
    },
    /// Not readable.
    Unknown,
}

impl Doing {
    /// Parses the line of the file (proc_pid_syscall(5)).
    fn parse(line: &str) -> Self {
        let mut words = line.split_ascii_whitespace();
        let first = words.next().unwrap_or_default();
        if first == "running" {
            return Doing::Runs;
        }
        let Ok(number) = first.parse::<i64>() else { return Doing::Unknown };
        let mut next = || {
            let digits = words.next()?.strip_prefix("0x")?;
            u64::from_str_radix(digits, 16).ok()
        };
        let mut arguments = [0; 6];
        if number != -1 {
            for argument in &mut arguments {
                let Some(value) = next() else { return Doing::Unknown };
                *argument = value;
            }
        }
        match (next(), next()) {
            (Some(sp), Some(pc)) => Doing::InSyscall { number, arguments, sp, pc },
            _ => Doing::Unknown,
        }
    }
}

/// A thread at a moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ThreadNow {
    /// Its id, as loiter's PID namespace shows it.
    pub tid: Tid,
    /// Its name; control characters replaced.
    pub name: Box<str>,
    /// State letter, such as `S`.
    pub state: char,
    /// What it does.
    pub doing: Doing,
    /// How often it came onto a processor so far; None where the kernel does not count.
    pub runs: Option<u64>,
    /// How often it went to sleep so far.
    pub sleeps: u64,
    /// The kernel function it sleeps in, where `doing` is not known.
    pub sleeps_in: Option<Box<str>>,
}

/// Reads the threads of one process.
#[derive(Debug)]
pub struct Threads {
    pid: Pid,
    dir: OwnedFd,
}

impl Threads {
    /// Opens the list. It stays that of this process, also if the PID is used again.
    ///
    /// # Errors
    /// If there is no such process, or it may not be read.
    pub fn of(pid: Pid) -> Result<Self, TargetError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(procfs::path(pid, "task"), flags, Mode::empty())
            .map_err(|e| TargetError::from_io(pid, "the list of threads", &e.into()))?;
        Ok(Self { pid, dir })
    }

    /// The threads there are now, in rising order, and how many were left out.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn list(&self) -> Result<(Vec<Tid>, u64), TargetError> {
        let failed =
            |e: rustix::io::Errno| TargetError::from_io(self.pid, "the list of threads", &e.into());
        let mut tids = Vec::new();
        let mut left_out = 0_u64;
        for entry in Dir::read_from(&self.dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Some(tid) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok())
            else {
                continue;
            };
            if tids.len() < MAX_THREADS {
                tids.push(Tid(tid));
            } else {
                left_out = left_out.saturating_add(1);
            }
        }
        tids.sort_unstable();
        Ok((tids, left_out))
    }

    /// What a thread does now; None if it has ended.
    pub fn now(&self, tid: Tid) -> Option<ThreadNow> {
        let runs = self.runs(tid);
        let (doing, denied) = match self.text(tid, "syscall") {
            Ok(line) => (Doing::parse(&line), false),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => (Doing::Unknown, true),
            Err(_) => (Doing::Unknown, false),
        };
        let status = self.text(tid, "status").ok()?;
        let state = field(&status, "State")?.chars().next()?;
        if matches!(state, 'Z' | 'X' | 'x') {
            return None;
        }
        let name = field(&status, "Name").unwrap_or_default();
        let sleeps = field(&status, "voluntary_ctxt_switches").and_then(|n| n.parse().ok());
        let sleeps_in = denied.then(|| self.text(tid, "wchan").ok()).flatten();
        let sleeps_in = sleeps_in.filter(|name| name != "0" && !name.is_empty());
        Some(ThreadNow {
            tid,
            name: procfs::display_text(name.as_bytes(), MAX_NAME),
            state,
            doing,
            runs,
            sleeps: sleeps.unwrap_or(0),
            sleeps_in: sleeps_in.map(Into::into),
        })
    }

    /// How often a thread came onto a processor so far (the third number of `schedstat`,
    /// Documentation/scheduler/sched-stats.rst); None if it ended, or the kernel does not count.
    pub fn runs(&self, tid: Tid) -> Option<u64> {
        let line = self.text(tid, "schedstat").ok()?;
        line.split_ascii_whitespace().nth(2)?.parse().ok()
    }

    fn text(&self, tid: Tid, name: &str) -> io::Result<String> {
        let path = format!("{tid}/{name}");
        let fd = openat(&self.dir, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut bytes = [0; MAX_TEXT];
        let read = File::from(fd).read(&mut bytes)?;
        let text = bytes.get(..read).unwrap_or_default();
        Ok(String::from_utf8_lossy(text).trim_end().to_owned())
    }
}

/// A line of a status file.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

/// Entry for fuzzing: no line may cause a panic.
pub fn fuzz_syscall(bytes: &[u8]) {
    let _ = Doing::parse(&String::from_utf8_lossy(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "202 0x7ffd10 0x80 0x2 0x0 0x0 0x0 0x7ffd00 0x7f5e01";

    #[test]
    fn a_line_is_read_and_every_prefix_is_survived() {
        let arguments = [0x7f_fd10, 0x80, 2, 0, 0, 0];
        assert_eq!(
            Doing::parse(LINE),
            Doing::InSyscall { number: 202, arguments, sp: 0x7f_fd00, pc: 0x7f_5e01 }
        );
        assert_eq!(Doing::parse("running\n"), Doing::Runs);
        assert_eq!(
            Doing::parse("-1 0x10 0x20"),
            Doing::InSyscall { number: -1, arguments: [0; 6], sp: 0x10, pc: 0x20 }
        );
        for end in 0..LINE.len() {
            fuzz_syscall(&LINE.as_bytes()[..end]);
        }
    }

    #[test]
    fn a_sleeping_thread_is_seen_in_its_call_and_an_ended_one_is_none() {
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            // SAFETY: no pointers.
            tell.send(Tid(unsafe { libc::gettid() } as u32)).unwrap();
            let _ = ended.recv();
        });
        let tid = told.recv().unwrap();
        let threads = Threads::of(Pid(std::process::id())).unwrap();
        assert!(threads.list().unwrap().0.contains(&tid));
        loop {
            let now = threads.now(tid).unwrap();
            if matches!(now.doing, Doing::InSyscall { number: 202, .. }) {
                break;
            }
            std::thread::yield_now();
        }
        drop(end);
        thread.join().unwrap();
        while threads.now(tid).is_some() {
            std::thread::yield_now();
        }
    }
}
