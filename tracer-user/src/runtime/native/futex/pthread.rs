//! Primitives of glibc, whose layouts are part of its ABI, x86-64:
//! sysdeps/nptl/bits/struct_mutex.h, sysdeps/x86/nptl/bits/struct_rwlock.h,
//! sysdeps/nptl/bits/thread-shared-types.h (condition variables), sysdeps/nptl/internaltypes.h
//! (semaphores, barriers), nptl/pthread_join_common.c; glibc 2.31 to 2.41.

use crate::base::Tid;
use crate::stream::{FutexKind, FutexOf, Holder};
use crate::symbolize::native::Resolved;

use super::{Recognised, Waiter};

/// `__owner` and `__kind` behind `__lock`.
const MUTEX_OWNER: u64 = 8;
const MUTEX_USERS: u64 = 12;
const MUTEX_KIND: u64 = 16;
/// All bits that `__kind` can have (nptl/pthreadP.h): type, robust, two protocols, shared, elision.
const MUTEX_KINDS: u32 = 0x3ff;
/// `PTHREAD_MUTEX_ROBUST_NORMAL_NP`: the word itself holds the owner's tid.
const MUTEX_ROBUST: u32 = 16;
/// `FUTEX_TID_MASK`
const TID: u32 = 0x3fff_ffff;

/// `_m_lock` behind `_m_type` of musl.
const MUSL_LOCK: u64 = 4;

/// `__wrphase_futex`, `__writers_futex`, `__pad3`, `__cur_writer`, `__shared`.
const RW_PHASE: u64 = 8;
const RW_WRITERS: u64 = 12;
const RW_PADS: [u64; 2] = [16, 20];
const RW_WRITER: u64 = 24;
const RW_SHARED: u64 = 28;

/// `__g_signals[2]`, of which one is waited on: up to 2.40, and since (four words came out before
/// it with the counts of references).
const COND_SIGNALS: [u64; 4] = [40, 44, 32, 36];
/// `current_round`
const BARRIER_ROUND: u64 = 4;

/// A primitive of which a function's name says the kind.
pub(super) fn recognise(waiter: &Waiter<'_>, kind: FutexKind) -> Recognised {
    let word = waiter.call.address;
    if is_musl(waiter) {
        return musl(waiter, kind);
    }
    let (object, holder) = match kind {
        FutexKind::Mutex => (word, mutex_owner(waiter)),
        FutexKind::RwRead | FutexKind::RwWrite => rwlock(waiter, kind),
        FutexKind::Cond => (cond(waiter), Holder::Unknown),
        FutexKind::Join => (word, joined(waiter)),
        FutexKind::Barrier => (word.wrapping_sub(BARRIER_ROUND), Holder::Unknown),
        _ => (word, Holder::Unknown),
    };
    Recognised { kind, of: FutexOf::Pthread, object, holder }
}

/// Whether the thread waits in musl's library, which has other layouts: by its file, whose name is
/// not glibc's, or where it is linked into the program by functions that glibc has not
/// (src/thread/__timedwait.c, pthread_cancel.c).
fn is_musl(waiter: &Waiter<'_>) -> bool {
    /// Frames between the system call and the function that waits.
    const INNERMOST: usize = 6;
    let is_its = |frame: &Resolved| {
        frame.module.starts_with("ld-musl")
            || &*frame.module == "libc.so"
            || matches!(&*frame.function, "__timedwait" | "__timedwait_cp" | "__futexwait")
    };
    waiter.frames.iter().take(INNERMOST).any(is_its)
}

/// A mutex of musl where no function is known, since its library says nothing of its stacks: who
/// waits has set a bit of the word, and the type before it fits what the word says.
fn musl_by_words(waiter: &Waiter<'_>) -> Option<Recognised> {
    /// The bit of who waits, and the word of a plain mutex that is locked (`EBUSY`).
    const WAITS: u32 = 1 << 31;
    const LOCKED: u32 = 16;
    let word = waiter.call.address;
    let expected = waiter.call.expected.filter(|value| value & WAITS != 0)?;
    let kind = waiter.around.word(word.checked_sub(MUSL_LOCK)?)?;
    let waiters = waiter.around.word(word.checked_add(4)?)?;
    let found = musl(waiter, FutexKind::Mutex);
    let fits = match kind {
        0 => expected == WAITS | LOCKED,
        1 | 2 => matches!(found.holder, Holder::Written(_)),
        _ => false,
    };
    (fits && (1..=u32::from(u16::MAX)).contains(&waiters)).then_some(found)
}

/// Primitives of musl 1.1.20 to 1.2.5 (src/internal/pthread_impl.h). A mutex has its type before the
/// word, and its owner in it unless it is a plain one, which says no more than that it is locked.
fn musl(waiter: &Waiter<'_>, kind: FutexKind) -> Recognised {
    /// The lowest two bits of `_m_type` are the type.
    const TYPE: u32 = 3;
    let word = waiter.call.address;
    let (object, holder) = match (kind, word.checked_sub(MUSL_LOCK)) {
        (FutexKind::Mutex, Some(object)) => {
            let plain = waiter.around.word(object).is_none_or(|kind| kind & TYPE == 0);
            let owner = waiter.around.word(word).map(|word| word & TID).filter(|_| !plain);
            (object, written(waiter, owner))
        }
        _ => (word, Holder::Unknown),
    };
    Recognised { kind, of: FutexOf::Pthread, object, holder }
}

/// What the words alone prove, where no function is known: a mutex whose every field makes sense,
/// and the end of a thread.
pub(super) fn by_words(waiter: &Waiter<'_>) -> Option<Recognised> {
    if is_musl(waiter) {
        return musl_by_words(waiter);
    }
    let word = waiter.call.address;
    let of = FutexOf::Pthread;
    let is_mutex = waiter.call.expected == Some(2)
        && waiter.around.word(word) == Some(2)
        && waiter.around.word(word.checked_add(MUTEX_KIND)?)? & !MUTEX_KINDS == 0
        && (1..=u32::from(u16::MAX)).contains(&waiter.around.word(word.checked_add(MUTEX_USERS)?)?);
    if is_mutex && let holder @ Holder::Written(_) = mutex_owner(waiter) {
        return Some(Recognised { kind: FutexKind::Mutex, of, object: word, holder });
    }
    // Since the kernel clears it, it is the one word of the library that is waited for as shared.
    let is_join = waiter.call.shared && waiter.call.expected.is_some_and(|tid| tid > 2);
    if is_join && let holder @ Holder::Written(_) = joined(waiter) {
        return Some(Recognised { kind: FutexKind::Join, of, object: word, holder });
    }
    None
}

fn mutex_owner(waiter: &Waiter<'_>) -> Holder {
    let at = |offset| waiter.around.word(waiter.call.address.checked_add(offset)?);
    let robust = at(MUTEX_KIND).is_some_and(|kind| kind & MUTEX_ROBUST != 0);
    let owner = if robust { at(0).map(|word| word & TID) } else { at(MUTEX_OWNER) };
    written(waiter, owner)
}

fn written(waiter: &Waiter<'_>, tid: Option<u32>) -> Holder {
    let thread: Option<Tid> = tid.filter(|&tid| tid != 0).and_then(|tid| (waiter.thread)(tid));
    thread.map_or(Holder::Unknown, Holder::Written)
}

/// The word is the tid; the kernel clears it when the thread is gone.
fn joined(waiter: &Waiter<'_>) -> Holder {
    let same = waiter.call.expected == waiter.around.word(waiter.call.address);
    written(waiter, waiter.call.expected.filter(|_| same))
}

/// Where the lock begins, by which of its words can be the one waited on.
fn rwlock(waiter: &Waiter<'_>, kind: FutexKind) -> (u64, Holder) {
    let word = waiter.call.address;
    let offsets = match kind {
        FutexKind::RwRead => [RW_PHASE, 0, RW_WRITERS],
        _ => [RW_WRITERS, RW_PHASE, 0],
    };
    let fits = |base: u64| {
        let at = |offset: u64| waiter.around.word(base.checked_add(offset)?);
        let pads = RW_PADS.iter().all(|&pad| at(pad) == Some(0));
        let writer = at(RW_WRITER)?;
        let known = writer == 0 || (waiter.thread)(writer).is_some();
        (pads && known && at(RW_SHARED)? <= 1).then_some((base, writer))
    };
    let found: Vec<(u64, u32)> =
        offsets.into_iter().filter_map(|offset| fits(word.checked_sub(offset)?)).collect();
    match found.iter().find(|(_, writer)| *writer != 0).or(found.first()) {
        Some(&(base, writer)) => (base, written(waiter, Some(writer))),
        None => (word, Holder::Unknown),
    }
}

/// Where the condition variable begins: its address is on the stack of who waits (the library
/// keeps it there for cancellation). Where none or several would fit, the word stands for it.
fn cond(waiter: &Waiter<'_>) -> u64 {
    let word = waiter.call.address;
    let bases = COND_SIGNALS.iter().filter_map(|&offset| word.checked_sub(offset));
    let mut found = bases.filter(|base| base % 8 == 0 && waiter.stack.contains(base));
    match (found.next(), found.next()) {
        (Some(base), None) => base,
        _ => word,
    }
}
