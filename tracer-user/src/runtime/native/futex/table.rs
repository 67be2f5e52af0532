//! Functions that wait, and what for. The first row that fits one of the innermost frames counts.

use std::borrow::Cow;

use crate::stream::{FutexKind, FutexOf};
use crate::symbolize::native::Resolved;

use FutexKind::{Barrier, Cond, Join, Mutex, Once, Park, RwRead, RwWrite, Semaphore};
use FutexOf::{Go, Java, ParkingLot, Pthread, Python, RustStd};

/// How many of the innermost frames may name the primitive: the deepest of those below, Rust's
/// `Condvar::wait_timeout`, has its futex call five frames down.
const FRAMES: usize = 10;

/// A primitive, by the function that waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Primitive {
    /// What it is.
    pub kind: FutexKind,
    /// Whose.
    pub of: FutexOf,
}

/// How a row names functions.
enum Names {
    /// Exactly so, whatever leading underscores.
    Is(&'static str),
    /// Begins so.
    Begins(&'static str),
    /// Begins and ends so.
    Within(&'static str, &'static str),
}

use Names::{Begins, Is, Within};

/// Special before general.
///
/// glibc: nptl/*.c of 2.31 to 2.41. Rust: library/std/src/sys/sync of 1.70 to 1.95, before that
/// library/std/src/sys/unix/locks. parking_lot: 0.11 and 0.12, src/raw_mutex.rs, src/raw_rwlock.rs,
/// src/condvar.rs. Go: src/runtime/os_linux.go. Java: src/hotspot/os/posix/os_posix.cpp,
/// src/hotspot/share/runtime/objectMonitor.cpp. Python: Python/thread_pthread.h, Python/ceval_gil.c.
const TABLE: &[(Names, FutexKind, FutexOf)] = &[
    (Within("std::sys", "Mutex::lock_contended"), Mutex, RustStd),
    (Within("std::sys", "RwLock::read_contended"), RwRead, RustStd),
    (Within("std::sys", "RwLock::write_contended"), RwWrite, RustStd),
    (Within("std::sys", "Condvar::wait_optional_timeout"), Cond, RustStd),
    (Within("std::sys", "Condvar::wait"), Cond, RustStd),
    (Within("std::sys", "Condvar::wait_timeout"), Cond, RustStd),
    (Within("std::sys", "Parker::park"), Park, RustStd),
    (Within("std::sys", "Parker::park_timeout"), Park, RustStd),
    // Where the parker is inlined and its lines are not there.
    (Begins("std::thread::functions::park"), Park, RustStd),
    (Begins("std::thread::park"), Park, RustStd),
    (Within("std::sys", "Once::call"), Once, RustStd),
    (Within("std::sys", "Once::wait"), Once, RustStd),
    (Begins("parking_lot::raw_mutex::RawMutex::lock_slow"), Mutex, ParkingLot),
    (Begins("parking_lot::raw_rwlock::RawRwLock::lock_shared_slow"), RwRead, ParkingLot),
    (Begins("parking_lot::raw_rwlock::RawRwLock::lock_exclusive_slow"), RwWrite, ParkingLot),
    (Begins("parking_lot::raw_rwlock::RawRwLock::wait_for_readers"), RwWrite, ParkingLot),
    (Begins("parking_lot::condvar::Condvar::wait"), Cond, ParkingLot),
    (Begins("parking_lot::once::Once::call_once_slow"), Once, ParkingLot),
    (Is("runtime.futexsleep"), Park, Go),
    (Is("runtime.futex"), Park, Go),
    (Is("runtime.futex.abi0"), Park, Go),
    (Is("PyThread_acquire_lock_timed"), Semaphore, Python),
    (Is("PyThread_acquire_lock"), Semaphore, Python),
    (Is("take_gil"), Mutex, Python),
    (Begins("Parker::park"), Park, Java),
    (Begins("ObjectMonitor::enter"), Mutex, Java),
    (Begins("ObjectMonitor::EnterI"), Mutex, Java),
    (Begins("ObjectMonitor::wait"), Cond, Java),
    (Begins("Monitor::wait"), Cond, Java),
    (Begins("PlatformMonitor::wait"), Cond, Java),
    (Begins("os::PlatformMonitor::wait"), Cond, Java),
    (Is("pthread_mutex_lock"), Mutex, Pthread),
    (Begins("pthread_mutex_lock_full"), Mutex, Pthread),
    (Begins("pthread_mutex_timedlock"), Mutex, Pthread),
    (Begins("pthread_mutex_clocklock"), Mutex, Pthread),
    (Begins("pthread_mutex_cond_lock"), Mutex, Pthread),
    (Begins("pthread_rwlock_rdlock"), RwRead, Pthread),
    (Begins("pthread_rwlock_timedrdlock"), RwRead, Pthread),
    (Begins("pthread_rwlock_clockrdlock"), RwRead, Pthread),
    (Begins("pthread_rwlock_wrlock"), RwWrite, Pthread),
    (Begins("pthread_rwlock_timedwrlock"), RwWrite, Pthread),
    (Begins("pthread_rwlock_clockwrlock"), RwWrite, Pthread),
    (Begins("pthread_cond_wait"), Cond, Pthread),
    (Begins("pthread_cond_timedwait"), Cond, Pthread),
    (Begins("pthread_cond_clockwait"), Cond, Pthread),
    (Is("pthread_join"), Join, Pthread),
    (Begins("pthread_clockjoin"), Join, Pthread),
    (Begins("pthread_timedjoin"), Join, Pthread),
    (Begins("sem_wait"), Semaphore, Pthread),
    (Begins("sem_timedwait"), Semaphore, Pthread),
    (Begins("sem_clockwait"), Semaphore, Pthread),
    (Begins("new_sem_wait"), Semaphore, Pthread),
    (Begins("pthread_barrier_wait"), Barrier, Pthread),
    (Begins("pthread_once"), Once, Pthread),
];

/// A name without leading underscores, and in the older of Rust's two ways to write one: `a::B::c`
/// for `<a::B>::c`.
fn plain(function: &str) -> Cow<'_, str> {
    match function.strip_prefix('<').and_then(|rest| rest.split_once(">::")) {
        Some((of, name)) if !of.contains(['<', ' ']) => Cow::Owned(format!("{of}::{name}")),
        _ => Cow::Borrowed(function.trim_start_matches('_')),
    }
}

impl Names {
    fn name(&self, function: &str) -> bool {
        match self {
            Is(name) => function.trim_start_matches('_') == *name,
            Begins(start) => plain(function).starts_with(start),
            Within(start, end) => {
                let plain = plain(function);
                plain.starts_with(start) && plain.ends_with(end)
            }
        }
    }
}

/// The primitive that these frames wait in, innermost first.
///
/// A language's own primitive is built on the C library's: it stands further out, and says more.
pub fn find(frames: &[Resolved]) -> Option<Primitive> {
    let named = |frame: &Resolved| {
        let row = TABLE.iter().find(|(names, _, _)| names.name(&frame.function));
        row.map(|&(_, kind, of)| Primitive { kind, of })
    };
    let mut all = frames.iter().take(FRAMES).filter_map(named);
    let inner = all.next()?;
    if inner.of != Pthread || inner.kind == Mutex {
        return Some(inner);
    }
    Some(all.find(|outer| outer.of != Pthread).unwrap_or(inner))
}

/// Whose code these frames are, where that alone is known.
pub fn library(frames: &[Resolved]) -> FutexOf {
    let mut modules = frames.iter().map(|frame| &*frame.module);
    if modules.any(|module| module == "libjvm.so") { Java } else { FutexOf::Unknown }
}
