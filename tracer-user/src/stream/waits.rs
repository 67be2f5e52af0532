//! What a thread waits on: the word of a futex with the lock around it, or open files.

use crate::base::Tid;

/// Most files told of one wait; the rest is counted.
pub const MAX_FILES: usize = 64;
/// Most threads told as possible holders of a lock.
pub const MAX_HOLDERS: usize = 8;

/// What a futex word is part of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FutexKind {
    /// Not recognised.
    Unknown,
    /// A lock that one thread holds.
    Mutex,
    /// A read-write lock, to read.
    RwRead,
    /// A read-write lock, to write.
    RwWrite,
    /// A condition variable.
    Cond,
    /// The end of a thread.
    Join,
    /// A semaphore.
    Semaphore,
    /// A barrier: waits for the others.
    Barrier,
    /// A one-time initialisation that another thread is at.
    Once,
    /// A thread has put itself to sleep until another wakes it by name.
    Park,
}

impl FutexKind {
    /// All kinds.
    pub const ALL: [FutexKind; 10] = [
        FutexKind::Unknown,
        FutexKind::Mutex,
        FutexKind::RwRead,
        FutexKind::RwWrite,
        FutexKind::Cond,
        FutexKind::Join,
        FutexKind::Semaphore,
        FutexKind::Barrier,
        FutexKind::Once,
        FutexKind::Park,
    ];

    /// The word used in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            FutexKind::Unknown => "unknown",
            FutexKind::Mutex => "mutex",
            FutexKind::RwRead => "rwlock-read",
            FutexKind::RwWrite => "rwlock-write",
            FutexKind::Cond => "cond",
            FutexKind::Join => "join",
            FutexKind::Semaphore => "semaphore",
            FutexKind::Barrier => "barrier",
            FutexKind::Once => "once",
            FutexKind::Park => "park",
        }
    }

    /// Whether threads hold it, so that a wait for it is a wait for a thread.
    pub const fn has_holder(self) -> bool {
        matches!(
            self,
            FutexKind::Mutex
                | FutexKind::RwRead
                | FutexKind::RwWrite
                | FutexKind::Join
                | FutexKind::Once
        )
    }
}

/// Whose primitive it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FutexOf {
    /// Not recognised.
    Unknown,
    /// The C library's `pthread_*`, `sem_*`.
    Pthread,
    /// Rust's standard library.
    RustStd,
    /// The crate `parking_lot`.
    ParkingLot,
    /// The Go runtime.
    Go,
    /// The Java virtual machine.
    Java,
    /// The Python interpreter.
    Python,
    /// A futex lock of the kernel's own (`FUTEX_LOCK_PI`).
    Kernel,
    /// The lock of a whole Python interpreter.
    PythonGil,
}

impl FutexOf {
    /// All of them.
    pub const ALL: [FutexOf; 9] = [
        FutexOf::Unknown,
        FutexOf::Pthread,
        FutexOf::RustStd,
        FutexOf::ParkingLot,
        FutexOf::Go,
        FutexOf::Java,
        FutexOf::Python,
        FutexOf::Kernel,
        FutexOf::PythonGil,
    ];

    /// The word used in JSON and text.
    pub const fn word(self) -> &'static str {
        match self {
            FutexOf::Unknown => "unknown",
            FutexOf::Pthread => "pthread",
            FutexOf::RustStd => "rust-std",
            FutexOf::ParkingLot => "parking_lot",
            FutexOf::Go => "go",
            FutexOf::Java => "java",
            FutexOf::Python => "python",
            FutexOf::Kernel => "kernel",
            FutexOf::PythonGil => "python-gil",
        }
    }
}

/// Who holds a lock, or is waited for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Holder {
    /// Not known.
    Unknown,
    /// The primitive itself names this thread.
    Written(Tid),
    /// The primitive names nobody; of all threads this one alone has its address on its stack.
    Inferred(Tid),
    /// Several threads have its address on their stacks: one of them, or none.
    Candidates(Box<[Tid]>),
}

impl Holder {
    /// The thread, where one can be named.
    pub const fn thread(&self) -> Option<Tid> {
        match self {
            Holder::Written(tid) | Holder::Inferred(tid) => Some(*tid),
            Holder::Unknown | Holder::Candidates(_) => None,
        }
    }
}

/// A futex that a thread waits on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FutexState {
    /// What it is part of.
    pub kind: FutexKind,
    /// Whose.
    pub of: FutexOf,
    /// Address of the word.
    pub word_address: u64,
    /// Address of the primitive: what the program calls the lock. That of the word where it is not
    /// recognised.
    pub object: u64,
    /// The thread sleeps as long as the word has this value. None = the call has no such value, or
    /// it was not read.
    pub expected: Option<u32>,
    /// The word when it was looked at; None = could not be read.
    pub word: Option<u32>,
    /// Who holds it.
    pub holder: Holder,
    /// Whether the wait ends by itself after a time.
    pub timed: bool,
    /// Whether other processes may end the wait: the word is in shared memory.
    pub shared: bool,
}

impl FutexState {
    /// Whether the thread wakes now and then to look whether the lock is free, and sleeps again: that
    /// it ran does not say that it went on.
    pub fn looks_again(&self) -> bool {
        (self.of, self.kind) == (FutexOf::Java, FutexKind::Mutex)
    }

    /// Whether the word no longer has the value for which the thread sleeps.
    pub fn word_moved(&self) -> bool {
        matches!((self.expected, self.word), (Some(expected), Some(word)) if expected != word)
    }
}

/// What an open file is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FileKind {
    /// A socket that waits for connections.
    Listener,
    /// A connection, or a socket bound to nothing.
    Socket,
    /// A pipe or FIFO.
    Pipe,
    /// An event counter.
    EventFd,
    /// A timer.
    TimerFd,
    /// Signals.
    SignalFd,
    /// Changes of files.
    Inotify,
    /// Another epoll.
    Epoll,
    /// The end of a process.
    PidFd,
    /// A terminal, device or regular file.
    File,
    /// Anything else.
    Other,
}

impl FileKind {
    /// All kinds.
    pub const ALL: [FileKind; 11] = [
        FileKind::Listener,
        FileKind::Socket,
        FileKind::Pipe,
        FileKind::EventFd,
        FileKind::TimerFd,
        FileKind::SignalFd,
        FileKind::Inotify,
        FileKind::Epoll,
        FileKind::PidFd,
        FileKind::File,
        FileKind::Other,
    ];

    /// The word used in JSON and text.
    pub const fn word(self) -> &'static str {
        match self {
            FileKind::Listener => "listener",
            FileKind::Socket => "socket",
            FileKind::Pipe => "pipe",
            FileKind::EventFd => "eventfd",
            FileKind::TimerFd => "timerfd",
            FileKind::SignalFd => "signalfd",
            FileKind::Inotify => "inotify",
            FileKind::Epoll => "epoll",
            FileKind::PidFd => "pidfd",
            FileKind::File => "file",
            FileKind::Other => "other",
        }
    }
}

/// An open file that is waited on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FileState {
    /// Its number in the process.
    pub fd: u32,
    /// What it is.
    pub kind: FileKind,
    /// Addresses of a socket, path of a file; empty where it has no name.
    pub name: Box<str>,
}

impl FileState {
    /// Whether it is a socket with a known other side.
    pub fn is_connected(&self) -> bool {
        self.name.contains(CONNECTED)
    }
}

/// Open files that a thread waits on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FileSet {
    /// The epoll that watches them; None = the call names them itself.
    pub epoll: Option<u32>,
    /// At most [`MAX_FILES`], by number.
    pub files: Box<[FileState]>,
    /// How many more there are.
    pub more: u32,
}

/// Between the two addresses of a socket's name.
pub const CONNECTED: &str = " -> ";
/// Names told of one kind of file.
const NAMES_TOLD: usize = 3;

impl FutexState {
    /// What to tell a person: `mutex 0x55d0c0 (held by thread 4242)`.
    pub fn words(&self) -> String {
        let what = match self.kind {
            FutexKind::Mutex if self.of == FutexOf::PythonGil => "the interpreter lock (GIL)",
            FutexKind::Mutex if self.of == FutexOf::Python => "Python RLock",
            FutexKind::Semaphore if self.of == FutexOf::Python => "Python lock",
            FutexKind::Mutex if self.of == FutexOf::Java => "Java monitor",
            FutexKind::Unknown => "futex",
            FutexKind::Mutex => "mutex",
            FutexKind::RwRead => "read-write lock (to read)",
            FutexKind::RwWrite => "read-write lock (to write)",
            FutexKind::Cond => "condition variable",
            FutexKind::Join => "end of a thread",
            FutexKind::Semaphore => "semaphore",
            FutexKind::Barrier => "barrier",
            FutexKind::Once => "one-time initialisation",
            FutexKind::Park => "wake-up by another thread",
        };
        let mut notes: Vec<String> = Vec::new();
        match (&self.holder, self.kind) {
            (Holder::Unknown, _) => {}
            (Holder::Written(tid), FutexKind::Join) => notes.push(format!("thread {tid}")),
            (Holder::Written(tid), _) => notes.push(format!("held by thread {tid}")),
            (Holder::Inferred(tid), _) => {
                notes.push(format!("held by thread {tid}, to judge by its stack"));
            }
            (Holder::Candidates(tids), _) => {
                let tids: Vec<String> = tids.iter().map(ToString::to_string).collect();
                notes.push(format!("perhaps held by one of the threads {}", tids.join(", ")));
            }
        }
        if let (Some(expected), Some(word)) = (self.expected, self.word)
            && expected != word
        {
            notes.push(format!("its word is {word}, no longer {expected}"));
        }
        if self.timed {
            notes.push("until a time".to_owned());
        }
        let notes =
            if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
        format!("{what} {:#x}{notes}", self.object)
    }
}

impl FileSet {
    /// How many files there are.
    pub fn count(&self) -> u64 {
        (self.files.len() as u64).saturating_add(u64::from(self.more))
    }

    /// Whether nothing but connections can end the wait, each to one other side: no listener, and
    /// no way for another thread to wake it.
    pub fn is_peers_only(&self) -> bool {
        let connected = |file: &FileState| file.kind == FileKind::Socket && file.is_connected();
        self.more == 0 && !self.files.is_empty() && self.files.iter().all(connected)
    }

    /// What to tell a person: `epoll 5: 1 listener (tcp 0.0.0.0:80), 2 sockets`.
    pub fn words(&self) -> String {
        let mut kinds: Vec<String> = Vec::new();
        for kind in FileKind::ALL {
            let of_kind = || self.files.iter().filter(|f| f.kind == kind);
            let count = of_kind().count();
            if count == 0 {
                continue;
            }
            let mut names: Vec<&str> = Vec::new();
            for file in of_kind().filter(|f| !f.name.is_empty()) {
                if !names.contains(&&*file.name) && names.len() <= NAMES_TOLD {
                    names.push(&file.name);
                }
            }
            if names.len() > NAMES_TOLD {
                names.truncate(NAMES_TOLD);
                names.push("and others");
            }
            let names =
                if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
            let s = if count == 1 { "" } else { "s" };
            kinds.push(format!("{count} {}{s}{names}", kind.word()));
        }
        if self.more > 0 {
            kinds.push(format!("{} more", self.more));
        }
        if kinds.is_empty() {
            kinds.push("no files".to_owned());
        }
        match self.epoll {
            Some(fd) => format!("epoll {fd}: {}", kinds.join(", ")),
            None => kinds.join(", "),
        }
    }
}
