//! Which lock or group a stack stands in, told from the names of its frames.
//!
//! The runtime parks all of them at a semaphore: a word inside of the primitive. The frames say
//! which primitive it is, and so how far into it the word lies. Offsets are equal from Go 1.19 to
//! 1.27 (`src/sync/mutex.go`, `rwmutex.go`, `waitgroup.go`, `cond.go`, from 1.24 on also
//! `src/internal/sync/mutex.go`), and so are those of the words that say who holds it.

use crate::stream::{LockKind, WaitsOn};

use super::bytes::u32_at;

/// A primitive, and where in it the runtime's waiting word lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Primitive {
    kind: LockKind,
    word_at: u64,
}

/// `sync.Mutex`: `state`, and its lowest bit, `mutexLocked`.
const MUTEX_STATE: usize = 0;
/// See [`MUTEX_STATE`].
const MUTEX_LOCKED: u32 = 1;
/// `sync.RWMutex`: `readerCount`, negative while a writer has it or waits for it ...
const READER_COUNT: usize = 16;
/// ... and `readerWait`, the readers that this writer still waits for.
const READER_WAIT: usize = 20;
/// The sign of a 32-bit number.
const SIGN: u32 = 31;
/// `sync.WaitGroup`: the upper half of `state`, the counter.
const GROUP_COUNTER: usize = 4;

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
    /// `around` are the bytes from `before` bytes before the word on.
    pub(super) fn waits_on(self, word: u64, before: u64, around: &[u8]) -> WaitsOn {
        match word.checked_sub(self.word_at) {
            Some(address) if address != 0 => {
                let held = before
                    .checked_sub(self.word_at)
                    .and_then(|at| self.held(around.get(usize::try_from(at).ok()?..)?));
                WaitsOn::Lock { kind: self.kind, address, held }
            }
            _ => WaitsOn::Unknown,
        }
    }

    /// How many hold it, from its own bytes.
    fn held(self, primitive: &[u8]) -> Option<u32> {
        match self.kind {
            LockKind::Mutex => Some(u32_at(primitive, MUTEX_STATE)? & MUTEX_LOCKED),
            LockKind::RwRead => Some(u32_at(primitive, READER_COUNT)? >> SIGN),
            LockKind::RwWrite => Some(u32_at(primitive, READER_WAIT)?).filter(|&n| n >> SIGN == 0),
            LockKind::WaitGroup => Some(u32_at(primitive, GROUP_COUNTER)?),
            LockKind::Cond | LockKind::Semaphore => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> WaitsOn {
        Primitive::of(names.iter().copied()).waits_on(0x1000, 0, &[])
    }

    #[test]
    fn the_innermost_method_names_the_lock_and_its_address() {
        let inner =
            ["runtime.gopark", "runtime.semacquire1", "internal/sync.runtime_SemacquireMutex"];
        let mutex =
            [&inner[..], &["internal/sync.(*Mutex).lockSlow", "sync.(*Mutex).Lock", "main.f"]]
                .concat();
        assert_eq!(of(&mutex), WaitsOn::Lock { kind: LockKind::Mutex, address: 0xffc, held: None });
        let read = [
            "runtime.gopark",
            "sync.runtime_SemacquireRWMutexR",
            "sync.(*RWMutex).RLock",
            "main.f",
        ];
        assert_eq!(of(&read), WaitsOn::Lock { kind: LockKind::RwRead, address: 0xff4, held: None });
        let second_writer =
            [&inner[..], &["sync.(*Mutex).lockSlow", "sync.(*RWMutex).Lock"]].concat();
        assert_eq!(
            of(&second_writer),
            WaitsOn::Lock { kind: LockKind::Mutex, address: 0xffc, held: None }
        );
    }

    #[test]
    fn a_locks_own_words_say_how_many_hold_it() {
        let mut around = [0_u8; 40];
        // Each word tells its place: the byte at n is n.
        (0..40).for_each(|n: u8| around[usize::from(n)] = n);
        let held = |name| match Primitive::of([name].into_iter()).waits_on(0x1000, 16, &around) {
            WaitsOn::Lock { held, .. } => held,
            other => panic!("{other:?}"),
        };
        assert_eq!(held("sync.(*Mutex).Lock"), Some(12 & 1));
        assert_eq!(held("sync.(*RWMutex).RLock"), Some(0));
        assert_eq!(held("sync.(*RWMutex).Lock"), Some(u32::from_le_bytes([28, 29, 30, 31])));
        assert_eq!(held("sync.(*WaitGroup).Wait"), Some(u32::from_le_bytes([12, 13, 14, 15])));
        assert_eq!(held("sync.(*Cond).Wait"), None);
        around[20..24].copy_from_slice(&(-3_i32).to_le_bytes());
        let reader = Primitive::of(["sync.(*RWMutex).RLock"].into_iter());
        let expected = WaitsOn::Lock { kind: LockKind::RwRead, address: 0xff4, held: Some(1) };
        assert_eq!(reader.waits_on(0x1000, 16, &around), expected);
        for end in 0..40 {
            let _ = reader.waits_on(0x1000, 16, &around[..end]);
        }
    }

    #[test]
    fn a_semaphore_of_another_package_is_a_plain_one() {
        let names = ["runtime.gopark", "internal/poll.runtime_Semacquire", "sync.(*Mutex).Lock"];
        assert_eq!(
            of(&names),
            WaitsOn::Lock { kind: LockKind::Semaphore, address: 0x1000, held: None }
        );
        assert_eq!(
            of(&[]),
            WaitsOn::Lock { kind: LockKind::Semaphore, address: 0x1000, held: None }
        );
        assert_eq!(
            Primitive::of(["sync.(*Cond).Wait"].into_iter()).waits_on(3, 0, &[]),
            WaitsOn::Unknown
        );
    }
}
