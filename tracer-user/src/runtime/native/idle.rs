//! Threads that wait by nature: event loops, workers without work, those that wait for the end of
//! others. Names of functions as symbols have them, read in the sources named beside them. What a
//! stripped program has is known by the library's functions alone, which stay.

use std::borrow::Cow;

use crate::base::{FunctionAt, IdlePattern, Numbers, Peers, Place, WaitClass};

use Place::{Stack, WaitSite};
use WaitClass::{Group, Io, Other};

/// Name, why it is normal, wait classes, functions that are all there.
type Row = (&'static str, &'static str, &'static [WaitClass], &'static [(Place, &'static str)]);

const LOOP: &str = "an event loop waits for the next event";
const WORKER: &str = "a worker waits for work";
const CLIENT: &str = "a server waits for what its client asks next";
const SIGNALS: &str = "waits for signals";

/// Special before general: the first that fits names the thread.
const TABLE: &[Row] = &[
    // src/ae.c of Redis and Valkey
    ("Redis event loop", LOOP, &[Io], &[(Stack, "aeProcessEvents")]),
    ("Redis event loop", LOOP, &[Io], &[(Stack, "aeMain")]),
    // src/os/unix/ngx_process_cycle.c, src/event/modules/ngx_epoll_module.c
    ("nginx event loop", LOOP, &[Io], &[(Stack, "ngx_process_events_and_timers")]),
    ("nginx event loop", LOOP, &[Io], &[(Stack, "ngx_epoll_process_events")]),
    ("Redis background worker", WORKER, &[Group], &[(Stack, "bioProcessBackgroundJobs")]),
    ("nginx master", SIGNALS, &[Other], &[(Stack, "ngx_master_process_cycle")]),
    // src/backend/storage/ipc/latch.c (waiteventset.c since 18)
    ("PostgreSQL backend", CLIENT, &[Io], &[(Stack, "WaitEventSetWait"), (Stack, "secure_read")]),
    ("PostgreSQL postmaster", LOOP, &[Io], &[(Stack, "PostmasterMain"), (Stack, "__select")]),
    ("PostgreSQL postmaster", LOOP, &[Io], &[(Stack, "PostmasterMain"), (Stack, "select")]),
    ("PostgreSQL wait loop", LOOP, &[Io], &[(Stack, "WaitEventSetWait")]),
    // Lib/selectors.py, Modules/_queuemodule.c
    (
        "Python event loop",
        LOOP,
        &[Io],
        &[(Stack, "epoll_wait"), (Stack, "_PyEval_EvalFrameDefault")],
    ),
    ("Python queue worker", WORKER, &[Group], &[(Stack, "_queue.cpython*")]),
    ("Python queue worker", WORKER, &[Group], &[(Stack, "_queue_SimpleQueue_get*")]),
    // deps/uv/src/unix/linux.c, deps/uv/src/threadpool.c
    // src/spawn_sync.cc of Node: its own loop, until the child ends.
    (
        "Node, held by a child",
        "JavaScript stands still until a child process ends (execSync, spawnSync)",
        &[Io],
        &[(Stack, "node::SyncProcessRunner::*")],
    ),
    ("libuv event loop", LOOP, &[Io], &[(Stack, "uv__io_poll")]),
    (
        "Node worker",
        WORKER,
        &[Group],
        &[(Stack, "node::(anonymous namespace)::PlatformWorkerThread")],
    ),
    ("libuv worker", WORKER, &[Group], &[(Stack, "uv_cond_wait")]),
    ("V8 worker", WORKER, &[Group], &[(Stack, "v8::base::ConditionVariable::Wait")]),
    ("Node worker", WORKER, &[Group], &[(Stack, "node::*")]),
    // tokio/src/runtime/io/driver.rs, through mio
    ("Tokio event loop", LOOP, &[Io], &[(Stack, "tokio::runtime::io::driver::*")]),
    ("Tokio event loop", LOOP, &[Io], &[(Stack, "<tokio::runtime::io::driver::*")]),
    // epoll.c of libevent, ev_epoll.c of libev
    ("libevent loop", LOOP, &[Io], &[(Stack, "event_base_loop")]),
    ("libev loop", LOOP, &[Io], &[(Stack, "ev_run")]),
    ("GLib main loop", LOOP, &[Io], &[(Stack, "g_main_loop_run")]),
    // The C library's functions, which stripped programs still call by name.
    ("event loop", LOOP, &[Io], &[(Stack, "epoll_wait")]),
    ("event loop", LOOP, &[Io], &[(Stack, "epoll_pwait*")]),
    ("event loop", LOOP, &[Io], &[(Stack, "poll")]),
    ("event loop", LOOP, &[Io], &[(Stack, "ppoll")]),
    ("event loop", LOOP, &[Io], &[(Stack, "__poll")]),
    ("event loop", LOOP, &[Io], &[(Stack, "select")]),
    ("event loop", LOOP, &[Io], &[(Stack, "__select")]),
    ("accept loop", "a listener waits for connections", &[Io], &[(Stack, "accept*")]),
    ("accept loop", "a listener waits for connections", &[Io], &[(Stack, "__libc_accept*")]),
    ("signal loop", SIGNALS, &[Other], &[(Stack, "sigwait*")]),
    ("signal loop", SIGNALS, &[Other], &[(Stack, "__sigwait*")]),
    ("signal loop", SIGNALS, &[Other], &[(Stack, "sigsuspend")]),
    ("signal loop", SIGNALS, &[Other], &[(Stack, "__sigsuspend")]),
    ("signal loop", SIGNALS, &[Other], &[(Stack, "pause")]),
];

/// Of these a few are normal: workers of libraries.
const FEW: &[Row] = &[
    // src/hotspot/os/posix/os_posix.cpp: java.util.concurrent parks what has nothing to do.
    ("parked Java thread", WORKER, &[Group], &[(Stack, "Unsafe_Park")]),
    ("parked Java thread", WORKER, &[Group], &[(Stack, "Parker::park")]),
    ("Java monitor wait", WORKER, &[Group], &[(Stack, "ObjectMonitor::wait")]),
    ("Java VM worker", WORKER, &[Group], &[(Stack, "Monitor::wait*")]),
    ("Java VM worker", WORKER, &[Group], &[(Stack, "PlatformMonitor::wait*")]),
    ("Java VM worker", WORKER, &[Group], &[(Stack, "os::PlatformMonitor::wait*")]),
    ("Java VM worker", WORKER, &[Group], &[(Stack, "PosixSemaphore::wait")]),
    // tokio/src/runtime/scheduler/multi_thread/park.rs, runtime/blocking/pool.rs
    // Where it waits itself: below what it runs for the program there are the same functions.
    ("Tokio worker", WORKER, &[Group], &[(WaitSite, "tokio::*")]),
    ("Tokio worker", WORKER, &[Group], &[(WaitSite, "<tokio::*")]),
];

/// As [`FEW`], by functions that a program calls itself.
const OWN: &[Row] = &[
    ("parked Rust thread", WORKER, &[Group], &[(Stack, "std::thread::park*")]),
    (
        "worker queue",
        "a worker waits for work at a condition variable",
        &[Group],
        &[(Stack, "pthread_cond_wait*")],
    ),
    (
        "worker queue",
        "a worker waits for work at a condition variable",
        &[Group],
        &[(Stack, "pthread_cond_timedwait*")],
    ),
    (
        "worker queue",
        "a worker waits for work at a condition variable",
        &[Group],
        &[(Stack, "pthread_cond_clockwait*")],
    ),
    (
        "worker queue",
        "a worker waits for work at a condition variable",
        &[Group],
        &[(Stack, "std::sys::sync::condvar::*")],
    ),
    (
        "waits for threads",
        "a thread waits for the end of those it started",
        &[Group],
        &[(Stack, "pthread_join")],
    ),
    (
        "waits for threads",
        "a thread waits for the end of those it started",
        &[Group],
        &[(Stack, "__pthread_clockjoin_ex")],
    ),
];

/// By the C library's functions alone: who asked one server something and waits for its answer calls
/// them, too.
const GENERIC: [&str; 2] = ["event loop", "Python event loop"];

/// The table, in its order.
pub fn patterns() -> Vec<IdlePattern> {
    let few = FEW.iter().chain(OWN).map(|row| pattern(row, Numbers::Few));
    TABLE.iter().map(|row| pattern(row, Numbers::Any)).chain(few).collect()
}

/// Whether a pattern is normal in a program that runs, and not in one that ends: nobody will bring
/// its own workers work any more.
pub fn is_own_worker(tested: &IdlePattern) -> bool {
    OWN.iter().any(|row| pattern(row, Numbers::Few) == *tested)
}

fn pattern(&(name, why, classes, functions): &Row, numbers: Numbers) -> IdlePattern {
    IdlePattern {
        name: Cow::Borrowed(name),
        why: Cow::Borrowed(why),
        classes: Cow::Borrowed(classes),
        functions: functions.iter().map(|&(place, name)| FunctionAt::new(place, name)).collect(),
        numbers,
        peers: if GENERIC.contains(&name) { Peers::Unclear } else { Peers::Normal },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pattern_makes_a_wait_for_a_lock_idle() {
        for p in patterns() {
            assert!(!p.name.is_empty() && !p.why.is_empty() && !p.functions.is_empty());
            assert!(!p.classes.is_empty() && !p.classes.contains(&WaitClass::Lock), "{}", p.name);
        }
    }
}
