//! What a thread waits for, told by the system call in which it sleeps: x86-64 numbers to words,
//! classes, and which argument names the thing waited on. Used for events and for looks alike, so
//! that both say the same of one wait. May use: base.
//!
//! Sources: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/linux/futex.h.

use std::borrow::Cow;

use crate::base::WaitClass;

/// `orig_ax` of a thread that is in no system call (a page fault, for example).
pub const NO_SYSCALL: i64 = -1;

/// Numbers of the system calls that are told apart by more than their word.
pub mod number {
    /// `futex(uaddr, op, val, ...)`.
    pub const FUTEX: i64 = 202;
    /// `futex_waitv(waiters, count, ...)`.
    pub const FUTEX_WAITV: i64 = 449;
    /// `futex_wake(uaddr, ...)`.
    pub const FUTEX_WAKE: i64 = 454;
    /// `futex_wait(uaddr, ...)`.
    pub const FUTEX_WAIT: i64 = 455;
    /// `epoll_wait(epfd, ...)`.
    pub const EPOLL_WAIT: i64 = 232;
    /// `epoll_pwait(epfd, ...)`.
    pub const EPOLL_PWAIT: i64 = 281;
    /// `epoll_pwait2(epfd, ...)`.
    pub const EPOLL_PWAIT2: i64 = 441;
}

/// The operations of `futex` that sleep, without their flags.
pub mod futex {
    /// Flags beside the operation: private, real-time clock.
    pub const FLAGS: u64 = 128 | 256;
    /// Sleeps while the word has the value.
    pub const WAIT: u64 = 0;
    /// As [`WAIT`], with a mask for wakers.
    pub const WAIT_BITSET: u64 = 9;
    /// As [`WAIT`], to be moved to a lock with an owner.
    pub const WAIT_REQUEUE_PI: u64 = 11;
    /// Takes a lock whose word holds the owner's tid.
    pub const LOCK_PI: u64 = 6;
    /// As [`LOCK_PI`], by another clock.
    pub const LOCK_PI2: u64 = 13;
}

/// The word of a futex lock with an owner (`FUTEX_LOCK_PI`).
pub const FUTEX_LOCK: &str = "futex lock";
/// The word of all other futex waits.
pub const FUTEX_WAIT: &str = "futex wait";
/// The word of a thread that sleeps outside of any system call.
pub const PAGE_FAULT: &str = "page fault";

/// What the first argument of a system call names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Subject {
    /// Nothing one could wait on.
    None,
    /// The address of a futex word.
    Futex,
    /// The address of a list of futexes (`futex_waitv`).
    FutexList,
    /// An epoll descriptor.
    Epoll,
    /// Another descriptor.
    Fd,
    /// The address of the list of descriptors (poll) or how many there are (select).
    FdSet,
}

/// What a sleep in a system call means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyscallWait {
    /// The word told.
    pub word: Cow<'static, str>,
    /// Its class. A plain futex wait may be of a lock, a condition variable or anything else: what
    /// it is, only the looks can tell.
    pub class: WaitClass,
    /// What the first argument names.
    pub subject: Subject,
}

/// What the arguments of a blocked thread's system call say of its wait.
///
/// `number` is `orig_ax`, `arguments` are rdi, rsi, rdx, r10, r8, r9.
pub fn wait(number: i64, arguments: &[u64; 6]) -> SyscallWait {
    let [_, operation, ..] = *arguments;
    let known = |word, class, subject| SyscallWait { word: Cow::Borrowed(word), class, subject };
    if number == number::FUTEX {
        return match operation & !futex::FLAGS {
            futex::LOCK_PI | futex::LOCK_PI2 => known(FUTEX_LOCK, WaitClass::Lock, Subject::Futex),
            _ => known(FUTEX_WAIT, WaitClass::Other, Subject::Futex),
        };
    }
    if number < 0 {
        return known(PAGE_FAULT, WaitClass::Other, Subject::None);
    }
    let index = TABLE.binary_search_by_key(&number, |row| row.0).ok();
    match index.and_then(|index| TABLE.get(index)) {
        Some(&(_, word, class, subject)) => known(word, class, subject),
        None => SyscallWait {
            word: Cow::Owned(format!("syscall {number}")),
            class: WaitClass::Other,
            subject: Subject::None,
        },
    }
}

use Subject::{Epoll, Fd, FdSet, Futex, FutexList, None as Nothing};
use WaitClass::{Io, Other, Sleep};

/// The system calls in which threads sleep, by number.
const TABLE: &[(i64, &str, WaitClass, Subject)] = &[
    (0, "read", Io, Fd),
    (1, "write", Io, Fd),
    (2, "open", Io, Nothing),
    (3, "close", Io, Fd),
    (7, "poll", Io, FdSet),
    (16, "ioctl", Io, Fd),
    (17, "read", Io, Fd),
    (18, "write", Io, Fd),
    (19, "read", Io, Fd),
    (20, "write", Io, Fd),
    (23, "select", Io, FdSet),
    (24, "yield", Other, Nothing),
    (34, "pause", Other, Nothing),
    (35, "sleep", Sleep, Nothing),
    (40, "write", Io, Fd),
    (42, "connect", Io, Fd),
    (43, "accept", Io, Fd),
    (44, "send", Io, Fd),
    (45, "recv", Io, Fd),
    (46, "send", Io, Fd),
    (47, "recv", Io, Fd),
    // CLONE_VFORK: until the child has called exec or is gone.
    (56, "clone", Other, Nothing),
    (58, "vfork", Other, Nothing),
    (61, "wait child", Other, Nothing),
    (65, "semaphore", Other, Nothing),
    (69, "send", Other, Nothing),
    (70, "recv", Other, Nothing),
    (72, "file lock", Other, Fd),
    (73, "file lock", Other, Fd),
    (74, "sync", Io, Fd),
    (75, "sync", Io, Fd),
    (128, "wait signal", Other, Nothing),
    (130, "wait signal", Other, Nothing),
    (162, "sync", Io, Nothing),
    (number::FUTEX, FUTEX_WAIT, Other, Futex),
    (208, "aio wait", Io, Nothing),
    (219, "restart", Other, Nothing),
    (220, "semaphore", Other, Nothing),
    (230, "sleep", Sleep, Nothing),
    (number::EPOLL_WAIT, "epoll wait", Io, Epoll),
    (242, "send", Other, Fd),
    (243, "recv", Other, Fd),
    (247, "wait child", Other, Nothing),
    (257, "open", Io, Nothing),
    (270, "select", Io, FdSet),
    (271, "poll", Io, FdSet),
    (275, "splice", Io, Fd),
    (276, "splice", Io, Fd),
    (277, "sync", Io, Fd),
    (278, "splice", Io, Fd),
    (number::EPOLL_PWAIT, "epoll wait", Io, Epoll),
    (288, "accept", Io, Fd),
    (295, "read", Io, Fd),
    (296, "write", Io, Fd),
    (299, "recv", Io, Fd),
    (306, "sync", Io, Fd),
    (307, "send", Io, Fd),
    (327, "read", Io, Fd),
    (328, "write", Io, Fd),
    (333, "aio wait", Io, Nothing),
    (426, "io_uring wait", Io, Fd),
    (435, "clone", Other, Nothing),
    (number::EPOLL_PWAIT2, "epoll wait", Io, Epoll),
    (number::FUTEX_WAITV, FUTEX_WAIT, Other, FutexList),
    (number::FUTEX_WAIT, FUTEX_WAIT, Other, Futex),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_its_number() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
        for (number, word, class, subject) in TABLE {
            let found = wait(*number, &[0; 6]);
            assert_eq!((&*found.word, found.class, found.subject), (*word, *class, *subject));
        }
    }

    #[test]
    fn a_lock_with_an_owner_is_told_from_other_futexes() {
        let word = |operation| wait(number::FUTEX, &[0x1000, operation, 0, 0, 0, 0]).word;
        assert_eq!(word(futex::LOCK_PI | 128), FUTEX_LOCK);
        assert_eq!(word(futex::LOCK_PI2), FUTEX_LOCK);
        assert_eq!(word(futex::WAIT | 128), FUTEX_WAIT);
        assert_eq!(word(futex::WAIT_BITSET | 256), FUTEX_WAIT);
    }

    #[test]
    fn what_is_unknown_is_told_by_its_number() {
        assert_eq!(wait(9_999, &[0; 6]).word, "syscall 9999");
        assert_eq!(wait(NO_SYSCALL, &[0; 6]).word, PAGE_FAULT);
    }
}
