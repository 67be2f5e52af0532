//! Names for the numbers in records about OS threads: the words of waits, and spawn sites.

use std::borrow::Cow;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tracer_common::ids::sleep;
use tracer_common::thread::Asleep;

use crate::base::{FrameId, ReasonId, WaitClass};
use crate::runtime::link::{SpawnStack, ThreadNames};
use crate::symbolize::{SharedInterner, Symbolizer};

use super::spawn::SpawnSites;
use super::syscalls::{self, SyscallWait};

/// Most spawn stacks remembered.
const MAX_REMEMBERED: usize = 1 << 16;

/// The word of a thread that is stopped.
pub const STOPPED: &str = "stopped";
/// The word of a thread that the kernel runs on behalf of the process.
pub const KERNEL_WORK: &str = "kernel work";

/// Names for the threads of one process. Remembers what it resolved.
pub struct NativeNames {
    code: CreatorCode,
    names: SharedInterner,
    sites: HashMap<Box<[u64]>, FrameId, RandomState>,
    reasons: HashMap<(u8, i32, u64), ReasonId, RandomState>,
}

/// How the code that creates threads is named.
pub enum CreatorCode {
    /// By a runtime's own tables: it has frame pointers.
    Runtime(Box<dyn Symbolizer + Send>),
    /// By its stack as it lies in memory.
    Native(Box<SpawnSites>),
    /// Not at all.
    Unknown,
}

impl NativeNames {
    /// Names for threads that this code creates.
    pub fn new(names: SharedInterner, code: CreatorCode) -> Self {
        Self { code, names, sites: HashMap::default(), reasons: HashMap::default() }
    }
}

impl ThreadNames for NativeNames {
    fn spawn_site(&mut self, stack: &[u64]) -> FrameId {
        if let Some(&known) = self.sites.get(stack) {
            return known;
        }
        // The innermost address is in the C library's way into the kernel, the next one in what
        // called it.
        let (CreatorCode::Runtime(symbolizer), Some(&pc)) =
            (&mut self.code, stack.get(1).or(stack.first()))
        else {
            return FrameId::UNKNOWN;
        };
        let id = self.names.with(|names| symbolizer.spawn_site(pc, names));
        if self.sites.len() < MAX_REMEMBERED {
            self.sites.insert(stack.into(), id);
        }
        id
    }

    fn unwound_site(&mut self, creator: &SpawnStack<'_>) -> FrameId {
        match &mut self.code {
            CreatorCode::Native(sites) => sites.site(creator, &self.names),
            CreatorCode::Runtime(_) | CreatorCode::Unknown => FrameId::UNKNOWN,
        }
    }

    fn reason(&mut self, asleep: &Asleep) -> ReasonId {
        let [_, operation, _] = asleep.arguments;
        let is_futex = i64::from(asleep.number) == syscalls::number::FUTEX;
        let operation = if is_futex { operation & !syscalls::futex::FLAGS } else { 0 };
        let key = (asleep.sleep, asleep.number, operation);
        if let Some(&known) = self.reasons.get(&key) {
            return known;
        }
        let SyscallWait { word, class, .. } = wait(asleep);
        let id = self.names.with(|names| names.reason(class, &word));
        // A program can make up numbers and operations without end.
        if self.reasons.len() < MAX_REMEMBERED {
            self.reasons.insert(key, id);
        }
        id
    }
}

/// In what a thread sleeps, in words.
pub fn wait(asleep: &Asleep) -> SyscallWait {
    let [first, second, third] = asleep.arguments;
    let number = i64::from(asleep.number);
    let other =
        |word| SyscallWait { word, class: WaitClass::Other, subject: syscalls::Subject::None };
    match asleep.sleep {
        sleep::SYSCALL => syscalls::wait(number, &[first, second, third, 0, 0, 0]),
        sleep::STOPPED => other(Cow::Borrowed(STOPPED)),
        sleep::WORKER => other(Cow::Borrowed(KERNEL_WORK)),
        sleep::COMPAT => other(Cow::Owned(format!("32-bit syscall {number}"))),
        _ => syscalls::wait(syscalls::NO_SYSCALL, &[0; 6]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_outside_a_system_call_is_not_told_as_one() {
        let word = |sleep| wait(&Asleep { sleep, number: 202, ..Asleep::default() }).word;
        assert_eq!(word(sleep::SYSCALL), "futex wait");
        assert_eq!(word(sleep::NO_SYSCALL), "page fault");
        assert_eq!(word(sleep::STOPPED), "stopped");
        assert_eq!(word(sleep::WORKER), "kernel work");
        assert_eq!(word(sleep::COMPAT), "32-bit syscall 202");
    }

    #[test]
    fn a_word_has_one_id() {
        let mut names = NativeNames::new(SharedInterner::default(), CreatorCode::Unknown);
        let mut reason = |operation| {
            let arguments = [0x1000, operation, 0];
            names.reason(&Asleep { number: 202, arguments, ..Asleep::default() })
        };
        assert_eq!(reason(0), reason(128));
        assert_eq!(reason(0), reason(9));
        assert_ne!(reason(0), reason(6));
    }
}
