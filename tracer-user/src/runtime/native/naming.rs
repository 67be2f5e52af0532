//! From a thread's stack to the places that are told of it: where it waits and which function it
//! runs, both in the program's own code where there is any.

use std::sync::Arc;

use crate::base::{FrameId, StackId};
use crate::symbolize::native::{GO, NativeSymbolizer, Resolved};
use crate::symbolize::{Interner, StackPc};

/// Files of code that are the C library or part of it.
const LIBRARIES: [&str; 8] = [
    "libc.so",
    "libpthread.so",
    "ld-linux",
    "ld-musl",
    "libc-",
    "libstdc++.so",
    "libc++.so",
    "[vdso]",
];
/// Functions, by how their names begin, that are the way to a wait and not the place of it: those
/// of the C library where it is linked into the program, and of languages' own libraries.
const PLUMBING: [&str; 26] = [
    "pthread_",
    "sem_",
    "futex_",
    "lll_",
    "epoll_",
    "syscall",
    "internal_syscall",
    "new_sem_",
    "clock_nanosleep",
    "libc_start",
    "std::sys",
    "std::sync",
    "std::thread",
    "std::rt",
    "std::panic",
    "std::condition_variable",
    "std::mutex",
    "std::unique_lock",
    "std::lock_guard",
    "std::this_thread",
    "std::shared_",
    "std::__",
    "glibcxx_",
    "core::",
    "parking_lot",
    "lock_api::",
];
/// As [`PLUMBING`], by their whole names: a program's own functions begin with these words, too.
const PLUMBING_WHOLE: [&str; 11] = [
    "nanosleep",
    "poll",
    "ppoll",
    "select",
    "pselect",
    "start_thread",
    "thread_start",
    "clone",
    "clone3",
    "start",
    "start_c",
];
/// As [`PLUMBING`], in Rust and C++ names that begin with a type or with underscores.
const PLUMBING_TYPES: [&str; 8] = [
    "__rust_",
    "<std::",
    "<core::",
    "<alloc::",
    "<lock_api::",
    "<parking_lot",
    "alloc::boxed",
    "std::_State_impl",
];

/// What a stack says.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// The stack.
    pub(super) stack: StackId,
    /// Where it waits.
    pub(super) wait_site: FrameId,
    /// The function it runs.
    pub(super) start: FrameId,
    /// The file of code of the function it runs; empty where that is not known.
    pub(super) module: Arc<str>,
    /// Whether the thread is at the Go runtime's own business: all code it is in is the runtime's.
    pub(super) is_runtime: bool,
    /// All frames, innermost first.
    pub(super) frames: Vec<Resolved>,
    /// Which of the program counters is the first in the program's own code.
    pub(super) own: Option<usize>,
}

/// Names a stack.
pub(super) fn told(symbols: &mut NativeSymbolizer, pcs: &[StackPc], names: &mut Interner) -> Told {
    let mut frames: Vec<Resolved> = Vec::new();
    let mut first_own = None;
    for (nth, &pc) in pcs.iter().enumerate() {
        let here = symbols.resolve(pc, names);
        if first_own.is_none() && !here.iter().all(is_plumbing) {
            first_own = Some(nth);
        }
        frames.extend(here.iter().cloned());
    }
    let ids: Vec<FrameId> = frames.iter().map(|frame| frame.id).collect();
    let own = |frame: &&Resolved| !is_plumbing(frame);
    let site = frames.iter().find(own).or(frames.first());
    let start = frames.iter().rev().find(own);
    Told {
        stack: names.stack(&ids),
        wait_site: site.map_or(FrameId::UNKNOWN, |frame| frame.id),
        is_runtime: is_runtime(&frames),
        module: start.map_or_else(Arc::default, |frame| Arc::clone(&frame.module)),
        start: start.map_or(FrameId::UNKNOWN, |frame| function_of(frame, names)),
        frames,
        own: first_own,
    }
}

/// The place that asked for a thread, of its creator's frames, innermost first; unknown where none
/// is the program's own.
pub(super) fn spawn_site(frames: &[Resolved]) -> FrameId {
    let own = |frame: &&Resolved| !is_plumbing(frame) && !is_thread_library(frame);
    frames.iter().find(own).map_or(FrameId::UNKNOWN, |frame| frame.id)
}

/// Whether it is of what languages wrap around the creation of threads, besides [`is_plumbing`].
fn is_thread_library(frame: &Resolved) -> bool {
    const WRAPPERS: [&str; 5] =
        ["std::", "__gnu_cxx::", "create_thread", "allocate_stack", "thrd_create"];
    WRAPPERS.iter().any(|start| frame.function.starts_with(start))
}

/// The function of a frame as a place of its own: a thread that goes from line to line still runs
/// the same function.
fn function_of(frame: &Resolved, names: &mut Interner) -> FrameId {
    let mut whole = names.frame_of(frame.id).clone();
    whole.line = 0;
    // What has no name has its offset, which is not the function's.
    if !frame.named {
        return FrameId::UNKNOWN;
    }
    names.frame(&whole)
}

/// Whether a thread of a Go program waits for goroutines to run, or does what the runtime does.
fn is_runtime(frames: &[Resolved]) -> bool {
    let go = || frames.iter().filter(|frame| &*frame.module == GO);
    let own = |frame: &Resolved| {
        frame.function.starts_with("runtime.") || frame.function.starts_with("internal/runtime/")
    };
    // A call into C goes out through the runtime's own code.
    let calls_out = |frame: &Resolved| frame.function.starts_with("runtime.asmcgocall");
    go().next().is_some() && go().all(own) && !frames.iter().any(calls_out)
}

/// What a database waits for in a function that it has for that alone, whichever way the thread
/// sleeps: PostgreSQL's src/backend/storage/lmgr/proc.c (a lock that another session holds on a
/// row or table) and lwlock.c (a lock within the server).
pub(super) fn database_lock(frames: &[Resolved]) -> Option<&'static str> {
    const LOCKS: [(&str, &str); 3] = [
        ("ProcSleep", "PostgreSQL lock"),
        ("LWLockAcquire", "PostgreSQL LWLock"),
        ("LWLockAcquireOrWait", "PostgreSQL LWLock"),
    ];
    let lock = |frame: &Resolved| LOCKS.iter().find(|(function, _)| *frame.function == **function);
    frames.iter().find_map(lock).map(|(_, word)| *word)
}

fn is_plumbing(frame: &Resolved) -> bool {
    if LIBRARIES.iter().any(|library| frame.module.starts_with(library)) {
        return true;
    }
    let name = frame.function.trim_start_matches('_');
    frame.of_language
        || PLUMBING_WHOLE.contains(&name)
        || PLUMBING.iter().any(|start| name.starts_with(start))
        || PLUMBING_TYPES.iter().any(|start| frame.function.starts_with(start))
        || (frame.module.is_empty() && frame.function.starts_with("0x"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(module: &str, function: &str) -> Resolved {
        let id = FrameId::UNKNOWN;
        Resolved {
            id,
            function: Arc::from(function),
            module: Arc::from(module),
            named: true,
            of_language: false,
        }
    }

    #[test]
    fn a_thread_is_created_where_the_program_asks_for_it() {
        let frame = |module, function, id| Resolved { id: FrameId(id), ..frame(module, function) };
        let frames = [
            frame("libc.so.6", "pthread_create", 1),
            frame("a.out", "std::sys::thread::unix::Thread::new", 2),
            frame("a.out", "std::thread::Builder::spawn_unchecked_", 3),
            frame("a.out", "std::thread::spawn", 4),
            frame("a.out", "std::allocator_traits<std::allocator<void> >::construct", 4),
            frame("a.out", "server::start_workers", 5),
            frame("a.out", "server::main", 6),
        ];
        assert_eq!(spawn_site(&frames), FrameId(5));
        assert_eq!(spawn_site(&frames[..5]), FrameId::UNKNOWN);
    }

    #[test]
    fn libraries_are_the_way_to_a_wait_and_not_its_place() {
        for (module, function) in [
            ("libc.so.6", "anything"),
            ("a.out", "__lll_lock_wait"),
            ("a.out", "std::sys::sync::mutex::futex::Mutex::lock_contended"),
            ("a.out", "<std::sync::Mutex<T>>::lock"),
            ("", "0x7f0000001000"),
        ] {
            assert!(is_plumbing(&frame(module, function)), "{function}");
        }
        let inlined = Resolved { of_language: true, ..frame("a.out", "lock") };
        assert!(is_plumbing(&inlined));
        for function in ["worker", "abba::main::{{closure}}", "start_workers", "select_best"] {
            assert!(!is_plumbing(&frame("a.out", function)), "{function}");
        }
    }
}
