//! Which open files a thread waits on: those an epoll watches, those a call names.

use std::collections::{BTreeMap, HashSet};

use crate::base::Pid;
use crate::stream::{FileKind, FileSet, FileState, MAX_FILES, WaitsOn};
use crate::target::{FdLink, ReadMem, Sockets, epoll_fds, fd_link};

use super::super::syscalls::Subject;

/// Most entries of a list of `poll`, and descriptors of a set of `select`, that are read.
const MAX_POLLED: usize = 1024;

/// Where the files of a wait are named, until all waits of a look are known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// By an epoll.
    Epoll(u32),
    /// By the call.
    Fds(Vec<u32>),
}

/// What a call names.
pub(super) fn asked(
    subject: Subject,
    number: i64,
    arguments: &[u64; 6],
    mem: &dyn ReadMem,
) -> Option<Asked> {
    /// `poll` and `ppoll`; the others of the same subject are `select` and `pselect6`.
    const POLL: [i64; 2] = [7, 271];
    let fd = |n: u64| u32::try_from(n & 0xffff_ffff).ok().filter(|&fd| fd <= i32::MAX as u32);
    match subject {
        Subject::Epoll => Some(Asked::Epoll(fd(arguments[0])?)),
        Subject::Fd => Some(Asked::Fds(vec![fd(arguments[0])?])),
        Subject::FdSet if POLL.contains(&number) => {
            let count = usize::try_from(arguments[1]).unwrap_or(MAX_POLLED).min(MAX_POLLED);
            let mut bytes = vec![0; count.checked_mul(8)?];
            mem.read(arguments[0], &mut bytes).ok()?;
            // `struct pollfd`: a negative one is passed over by the kernel.
            let fds = bytes.as_chunks::<8>().0.iter().filter_map(|entry| {
                let [a, b, c, d, ..] = *entry;
                u32::try_from(i32::from_le_bytes([a, b, c, d])).ok()
            });
            Some(Asked::Fds(fds.collect()))
        }
        Subject::FdSet => {
            let count = usize::try_from(arguments[0]).unwrap_or(MAX_POLLED).min(MAX_POLLED);
            let mut fds = Vec::new();
            for &set in arguments.get(1..4)? {
                let mut bytes = vec![0; count.div_ceil(64).checked_mul(8)?];
                if set != 0 && mem.read(set, &mut bytes).is_ok() {
                    let is_set = |fd: &usize| {
                        bytes.get(fd / 8).is_some_and(|byte| byte >> (fd % 8) & 1 != 0)
                    };
                    fds.extend((0..count).filter(is_set).filter_map(|fd| u32::try_from(fd).ok()));
                }
            }
            fds.sort_unstable();
            fds.dedup();
            Some(Asked::Fds(fds))
        }
        Subject::None | Subject::Futex | Subject::FutexList => None,
    }
}

/// What the files of one look are: each is looked up once.
#[derive(Default)]
pub(super) struct Files {
    epolls: BTreeMap<u32, Vec<u32>>,
    links: BTreeMap<u32, FdLink>,
    sockets: Sockets,
}

impl Files {
    /// Looks up all that was asked for.
    pub(super) fn of(pid: Pid, asked: &[&Asked]) -> Self {
        let mut files = Self::default();
        for asked in asked {
            let fds = match asked {
                Asked::Epoll(epoll) => {
                    files.epolls.entry(*epoll).or_insert_with(|| epoll_fds(pid, *epoll)).clone()
                }
                Asked::Fds(fds) => fds.clone(),
            };
            for fd in fds.into_iter().take(MAX_FILES) {
                files.links.entry(fd).or_insert_with(|| fd_link(pid, fd));
            }
        }
        let inodes: HashSet<u64> = files
            .links
            .values()
            .filter_map(|link| match link {
                FdLink::Socket(inode) => Some(*inode),
                _ => None,
            })
            .collect();
        files.sockets = Sockets::of(pid, &inodes);
        files
    }

    /// What a wait that asked so waits on.
    pub(super) fn waits_on(&self, asked: &Asked) -> WaitsOn {
        let (epoll, fds) = match asked {
            Asked::Epoll(epoll) => {
                (Some(*epoll), self.epolls.get(epoll).map(Vec::as_slice).unwrap_or_default())
            }
            Asked::Fds(fds) => (None, fds.as_slice()),
        };
        let files = fds.iter().take(MAX_FILES).map(|&fd| self.file(fd)).collect();
        let more = u32::try_from(fds.len().saturating_sub(MAX_FILES)).unwrap_or(u32::MAX);
        WaitsOn::Files(Box::new(FileSet { epoll, files, more }))
    }

    fn file(&self, fd: u32) -> FileState {
        let (kind, name) = match self.links.get(&fd) {
            Some(FdLink::Socket(inode)) => match self.sockets.get(*inode) {
                Some(socket) if socket.listens => (FileKind::Listener, socket.name.clone()),
                Some(socket) => (FileKind::Socket, socket.name.clone()),
                None => (FileKind::Socket, Box::default()),
            },
            Some(FdLink::Pipe(_)) => (FileKind::Pipe, Box::default()),
            Some(FdLink::Anon(name)) => (anonymous(name), Box::default()),
            Some(FdLink::Path(path)) => (FileKind::File, path.clone()),
            Some(FdLink::Unknown) | None => (FileKind::Other, Box::default()),
        };
        FileState { fd, kind, name }
    }
}

/// The names that the kernel gives files without one.
fn anonymous(name: &str) -> FileKind {
    match name {
        "eventfd" => FileKind::EventFd,
        "timerfd" => FileKind::TimerFd,
        "signalfd" => FileKind::SignalFd,
        "inotify" => FileKind::Inotify,
        "eventpoll" => FileKind::Epoll,
        "pidfd" => FileKind::PidFd,
        _ => FileKind::Other,
    }
}
