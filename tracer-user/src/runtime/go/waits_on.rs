//! Which lock or group a stack stands in, told from the names of its frames.
//!
//! The runtime parks all of them at a semaphore: a word inside of the primitive. The frames say
//! which primitive it is, and so how far into it the word lies. Offsets are equal from Go 1.19 to
//! 1.27 (`src/sync/mutex.go`, `rwmutex.go`, `waitgroup.go`, `cond.go`, from 1.24 on also
//! `src/internal/sync/mutex.go`).

use crate::stream::{LockKind, WaitsOn};

/// A primitive, and where in it the runtime's waiting word lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Primitive {
    kind: LockKind,
    word_at: u64,
}

/// A semaphore of which no more is known.
const PLAIN: Primitive = Primitive { kind: LockKind::Semaphore, word_at: 0 };

/// Methods that wait. `sync.RWMutex.Lock` first takes the inner mutex, which is at its start.
const METHODS: [(&str, LockKind, u64); 8] = [
    ("sync.(*Mutex).lockSlow", LockKind::Mutex, 4),
    ("sync.(*Mutex).Lock", LockKind::Mutex, 4),
    ("internal/sync.(*Mutex).lockSlow", LockKind::Mutex, 4),
    ("internal/sync.(*Mutex).Lock", LockKind::Mutex, 4),
    ("sync.(*RWMutex).Lock", LockKind::RwWrite, 8),
    ("sync.(*RWMutex).RLock", LockKind::RwRead, 12),
    ("sync.(*WaitGroup).Wait", LockKind::WaitGroup, 8),
    ("sync.(*Cond).Wait", LockKind::Cond, 16),
];

/// Packages whose frames may stand between the wait and the method.
const BELOW: [&str; 3] = ["runtime.", "sync.", "internal/sync."];

impl Primitive {
    /// From the functions of a stack, innermost first.
    pub(super) fn of<'a>(functions: impl Iterator<Item = &'a str>) -> Self {
        functions
            .take_while(|name| BELOW.iter().any(|package| name.starts_with(package)))
            .find_map(|name| METHODS.iter().find(|(method, ..)| *method == name))
            .map_or(PLAIN, |&(_, kind, word_at)| Primitive { kind, word_at })
    }

    /// What a goroutine at this primitive waits on, if the runtime's waiting word is at `word`.
    pub(super) fn waits_on(self, word: u64) -> WaitsOn {
        match word.checked_sub(self.word_at) {
            Some(address) if address != 0 => WaitsOn::Lock { kind: self.kind, address },
            _ => WaitsOn::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> WaitsOn {
        Primitive::of(names.iter().copied()).waits_on(0x1000)
    }

    #[test]
    fn the_innermost_method_names_the_lock_and_its_address() {
        let inner =
            ["runtime.gopark", "runtime.semacquire1", "internal/sync.runtime_SemacquireMutex"];
        let mutex =
            [&inner[..], &["internal/sync.(*Mutex).lockSlow", "sync.(*Mutex).Lock", "main.f"]]
                .concat();
        assert_eq!(of(&mutex), WaitsOn::Lock { kind: LockKind::Mutex, address: 0xffc });
        let read = [
            "runtime.gopark",
            "sync.runtime_SemacquireRWMutexR",
            "sync.(*RWMutex).RLock",
            "main.f",
        ];
        assert_eq!(of(&read), WaitsOn::Lock { kind: LockKind::RwRead, address: 0xff4 });
        let second_writer =
            [&inner[..], &["sync.(*Mutex).lockSlow", "sync.(*RWMutex).Lock"]].concat();
        assert_eq!(of(&second_writer), WaitsOn::Lock { kind: LockKind::Mutex, address: 0xffc });
    }

    #[test]
    fn a_semaphore_of_another_package_is_a_plain_one() {
        let names = ["runtime.gopark", "internal/poll.runtime_Semacquire", "sync.(*Mutex).Lock"];
        assert_eq!(of(&names), WaitsOn::Lock { kind: LockKind::Semaphore, address: 0x1000 });
        assert_eq!(of(&[]), WaitsOn::Lock { kind: LockKind::Semaphore, address: 0x1000 });
        assert_eq!(Primitive::of(["sync.(*Cond).Wait"].into_iter()).waits_on(3), WaitsOn::Unknown);
    }
}
