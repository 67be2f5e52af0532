//! Locks of CPython, 3.8 to 3.13: the interpreter's own lock (Python/ceval_gil.c), `threading.Lock`
//! and `RLock` (Modules/_threadmodule.c). An `RLock` names its owner; a `Lock` has none, as any
//! thread may release it.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::base::Tid;
use crate::stream::{FutexKind, FutexOf, FutexState, Holder};
use crate::symbolize::native::Modules;
use crate::target::Piece;

use super::{Sleeper, int_at, is_text, long, long_at};

/// What holds all of the interpreter's state, and is exported.
const RUNTIME: &str = "_PyRuntime";
/// `ob_type` of an object, `tp_name` of a type (Include/cpython/object.h).
const OB_TYPE: u64 = 8;
const TP_NAME: u64 = 24;
/// `lock_lock` of `lockobject`, `rlock_lock` of `rlockobject`: what the thread sleeps in.
const INNER: u64 = 16;
/// `rlock_owner`, `rlock_count`
const OWNER: u64 = 24;
const COUNT: u64 = 32;
/// From the condition variable that is waited on back to `last_holder` of `_gil_runtime_state`.
const LAST_HOLDER: u64 = 24;
/// Bytes of a `PyThreadState` in which its `thread_id` lies in all these versions.
const THREAD_STATE: u64 = 512;
/// `header.self` and `tid` of glibc's `struct pthread`, x86-64 (nptl/descr.h).
const PTHREAD_SELF: u64 = 0x10;
const PTHREAD_TID: u64 = 0x2d0;

/// A Python interpreter in a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Python {
    runtime: Range<u64>,
}

impl Python {
    pub(super) fn of(modules: &Modules) -> Option<Self> {
        let named = |name: &str| name.starts_with("python") || name.starts_with("libpython");
        let runtime = modules.iter().filter(|m| named(m.binary.name())).find_map(|module| {
            let linked = module.binary.data(RUNTIME)?;
            let at = |address: u64| address.wrapping_add(module.bias);
            Some(at(linked.start)..at(linked.end))
        });
        Some(Self { runtime: runtime? })
    }

    pub(super) fn refine(&self, sleeper: &Sleeper<'_>, futex: &mut FutexState) {
        match (futex.of, futex.kind) {
            (FutexOf::Python, FutexKind::Semaphore) => lock(sleeper, futex),
            // No other condition variable lies there on which a thread waits for a time.
            (FutexOf::Pthread, FutexKind::Cond)
                if futex.timed && self.runtime.contains(&futex.object) =>
            {
                futex.kind = FutexKind::Mutex;
                futex.of = FutexOf::PythonGil;
                // What it sleeps for is a bell, which rings for others, too.
                futex.expected = None;
                futex.holder = gil_holder(sleeper, futex.object);
            }
            _ => {}
        }
    }
}

/// The object that a thread waits for is in the registers or on the stack of who calls its method.
fn lock(sleeper: &Sleeper<'_>, futex: &mut FutexState) {
    let inner = futex.object;
    let tried: BTreeSet<u64> = sleeper.words.iter().copied().collect();
    let has_inner = |object: &u64| Some(Piece { address: object.checked_add(INNER)?, len: 8 });
    let pieces: Vec<Piece> = tried.iter().filter_map(has_inner).collect();
    let mut found = Vec::new();
    let Ok(read) = sleeper.mem.read_many(&pieces, &mut found) else { return };
    let fits = pieces.iter().zip(found.as_chunks::<8>().0).zip(read);
    let fits = fits.filter(|((_, word), read)| *read && u64::from_le_bytes(**word) == inner);
    for object in fits.map(|((piece, _), _)| piece.address.wrapping_sub(INNER)) {
        let at = |offset| long_at(sleeper.mem, object, offset);
        let name = at(OB_TYPE).and_then(|kind| long_at(sleeper.mem, kind, TP_NAME));
        let Some(name) = name else { continue };
        if is_text(sleeper.mem, name, "_thread.RLock") {
            futex.object = object;
            futex.kind = FutexKind::Mutex;
            let held = at(COUNT).is_some_and(|count| count > 0);
            let owner = at(OWNER).filter(|_| held).and_then(|owner| thread(sleeper, owner));
            futex.holder = owner.map_or(Holder::Unknown, Holder::Written);
            return;
        }
        if is_text(sleeper.mem, name, "_thread.lock") {
            futex.object = object;
            return;
        }
    }
}

/// The thread that a `pthread_t` stands for: the address of glibc's own structure, which holds its
/// own address and the tid.
fn thread(sleeper: &Sleeper<'_>, pthread: u64) -> Option<Tid> {
    let itself = long_at(sleeper.mem, pthread, PTHREAD_SELF)?;
    let tid = int_at(sleeper.mem, pthread, PTHREAD_TID)?;
    (itself == pthread && pthread != 0).then(|| (sleeper.thread)(tid)).flatten()
}

/// Where the `thread_id` lies differs from version to version; it is the one word that is a
/// `pthread_t`.
fn gil_holder(sleeper: &Sleeper<'_>, cond: u64) -> Holder {
    let state = cond.checked_sub(LAST_HOLDER).and_then(|at| long(sleeper.mem, at));
    let Some(state) = state.filter(|&state| state != 0 && state % 8 == 0) else {
        return Holder::Unknown;
    };
    let words = (0..THREAD_STATE / 8).filter_map(|i| long_at(sleeper.mem, state, i * 8));
    let found: BTreeSet<Tid> = words
        .filter(|&word| word > 4096 && word % 8 == 0)
        .filter_map(|word| thread(sleeper, word))
        .collect();
    match found.first() {
        Some(&tid) if found.len() == 1 => Holder::Candidates([tid].into()),
        _ => Holder::Unknown,
    }
}

/// For the tests: a thread's own structure.
#[cfg(test)]
fn put_thread(memory: &mut super::fake::Memory, pthread: u64, tid: u32) {
    memory.long(pthread + PTHREAD_SELF, pthread);
    memory.put(pthread + PTHREAD_TID, &tid.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::fake::Memory;
    use super::*;

    const LOCK: u64 = 0x5000;
    const INNER_AT: u64 = 0x9000;
    const THREAD: u64 = 0x8000;

    fn futex(kind: FutexKind, of: FutexOf, object: u64) -> FutexState {
        FutexState {
            kind,
            of,
            word_address: object,
            object,
            expected: Some(0),
            word: Some(0),
            holder: Holder::Unknown,
            timed: false,
            shared: false,
        }
    }

    fn object(kind: &str) -> Memory {
        let mut memory = Memory::default();
        for (offset, value) in [(OB_TYPE, 0x6000), (INNER, INNER_AT), (OWNER, THREAD), (COUNT, 1)] {
            memory.long(LOCK + offset, value);
        }
        memory.long(0x6000 + TP_NAME, 0x7000);
        memory.put(0x7000, kind.as_bytes());
        memory.put(0x7000 + kind.len() as u64, &[0, 0, 0, 0]);
        put_thread(&mut memory, THREAD, 11);
        memory
    }

    fn seen(memory: &Memory) -> FutexState {
        let python = Python { runtime: 0x1000..0x2000 };
        let mut futex = futex(FutexKind::Semaphore, FutexOf::Python, INNER_AT);
        let thread = |tid| (tid == 11).then_some(Tid(11));
        let words = [1, 0x123, 0x4000, LOCK];
        python.refine(&Sleeper { words: &words, mem: memory, thread: &thread }, &mut futex);
        futex
    }

    #[test]
    fn a_lock_that_has_an_owner_names_it_and_another_does_not() {
        let owned = seen(&object("_thread.RLock"));
        assert_eq!(
            (owned.kind, owned.object, owned.holder),
            (FutexKind::Mutex, LOCK, Holder::Written(Tid(11)))
        );
        let plain = seen(&object("_thread.lock"));
        assert_eq!(
            (plain.kind, plain.object, plain.holder),
            (FutexKind::Semaphore, LOCK, Holder::Unknown)
        );
        let other = seen(&object("mine.Lock"));
        assert_eq!((other.object, other.holder), (INNER_AT, Holder::Unknown));
    }

    #[test]
    fn memory_that_is_missing_anywhere_says_nothing_and_does_no_harm() {
        let whole = object("_thread.RLock");
        let addresses: Vec<u64> = whole.0.keys().copied().collect();
        for missing in addresses {
            let mut memory = Memory(whole.0.clone());
            memory.0.remove(&missing);
            let found = seen(&memory);
            assert!(matches!(found.holder, Holder::Unknown | Holder::Written(Tid(11))));
        }
    }

    #[test]
    fn a_thread_that_is_none_of_the_process_holds_nothing() {
        let mut memory = object("_thread.RLock");
        memory.put(THREAD + PTHREAD_TID, &12u32.to_le_bytes());
        assert_eq!(seen(&memory).holder, Holder::Unknown);
    }

    #[test]
    fn the_interpreters_lock_is_known_by_where_it_lies() {
        let python = Python { runtime: 0x1000..0x2000 };
        let mut memory = Memory::default();
        memory.long(0x1100 - LAST_HOLDER, 0xa000);
        memory.long(0xa000 + 8, THREAD);
        put_thread(&mut memory, THREAD, 11);
        let mut waits = futex(FutexKind::Cond, FutexOf::Pthread, 0x1100);
        waits.timed = true;
        let thread = |tid| (tid == 11).then_some(Tid(11));
        python.refine(&Sleeper { words: &[], mem: &memory, thread: &thread }, &mut waits);
        assert_eq!((waits.of, waits.kind), (FutexOf::PythonGil, FutexKind::Mutex));
    }
}
