//! Rust threads that get stuck, with the locks of the standard library and of parking_lot, each way
//! beside a twin that does the same right. `rustlocks NAME` or `rustlocks NAME-fixed`; `ready` on
//! stdout once all of it stands; of a circle a line for each thread: `waits TID ADDRESS`. Ends when
//! its stdin does.

use std::io::Read as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

const STEP: Duration = Duration::from_micros(500);

static STD: [std::sync::Mutex<u64>; 3] =
    [std::sync::Mutex::new(0), std::sync::Mutex::new(0), std::sync::Mutex::new(0)];
static STD_RW: std::sync::RwLock<u64> = std::sync::RwLock::new(0);
static LOT: [parking_lot::Mutex<u64>; 3] =
    [parking_lot::const_mutex(0), parking_lot::const_mutex(0), parking_lot::const_mutex(0)];
static LOT_RW: parking_lot::RwLock<u64> = parking_lot::const_rwlock(0);

fn tid() -> u32 {
    let link = std::fs::read_link("/proc/thread-self").expect("/proc is mounted");
    link.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse().ok()).expect("a tid")
}

fn waits<T>(lock: &T) {
    println!("waits {} {lock:p}", tid());
}

macro_rules! circle {
    ($locks:ident, $lock:expr, $threads:expr, $fixed:expr) => {{
        let (threads, fixed): (usize, bool) = ($threads, $fixed);
        static HOLD: std::sync::OnceLock<Barrier> = std::sync::OnceLock::new();
        let barrier = HOLD.get_or_init(|| Barrier::new(threads + 1));
        for mine in 0..threads {
            thread::spawn(move || {
                let next = (mine + 1) % threads;
                if fixed {
                    let (first, second) = (mine.min(next), mine.max(next));
                    loop {
                        let a = $lock(&$locks[first]);
                        let mut b = $lock(&$locks[second]);
                        *b += *a;
                        thread::sleep(STEP);
                        drop((a, b));
                        thread::sleep(STEP);
                    }
                }
                let mut held = $lock(&$locks[mine]);
                waits(&$locks[next]);
                barrier.wait();
                *held += *$lock(&$locks[next]);
            });
        }
        if !fixed {
            barrier.wait();
        }
    }};
}

macro_rules! reader_writer {
    ($mutex:expr, $lock:expr, $rw:expr, $read:expr, $write:expr, $fixed:expr) => {{
        let fixed: bool = $fixed;
        static HOLD: std::sync::LazyLock<Barrier> = std::sync::LazyLock::new(|| Barrier::new(3));
        let (a, b) = (&HOLD, &HOLD);
        thread::spawn(move || loop {
            let mut written = $write(&$rw);
            if !fixed {
                waits(&$mutex);
                a.wait();
            }
            *written += *$lock(&$mutex);
            drop(written);
            thread::sleep(STEP);
        });
        thread::spawn(move || loop {
            if fixed {
                let read = $read(&$rw);
                *$lock(&$mutex) += *read;
                drop(read);
                thread::sleep(STEP);
                continue;
            }
            let mut held = $lock(&$mutex);
            waits(&$rw);
            b.wait();
            *held += *$read(&$rw);
        });
        if !fixed {
            HOLD.wait();
        }
    }};
}

/// A lock of the standard library, poisoned or not.
fn std_lock(lock: &std::sync::Mutex<u64>) -> std::sync::MutexGuard<'_, u64> {
    lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn std_read(lock: &std::sync::RwLock<u64>) -> std::sync::RwLockReadGuard<'_, u64> {
    lock.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn std_write(lock: &std::sync::RwLock<u64>) -> std::sync::RwLockWriteGuard<'_, u64> {
    lock.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}

macro_rules! held {
    ($lock:expr, $locks:ident, $fixed:expr) => {{
        let fixed: bool = $fixed;
        let (tell, told) = std::sync::mpsc::channel();
        thread::spawn(move || loop {
            let guard = $lock(&$locks[0]);
            let _ = tell.send(());
            thread::sleep(if fixed { STEP } else { Duration::from_secs(100_000) });
            drop(guard);
            thread::sleep(STEP);
        });
        let _ = told.recv();
        thread::spawn(move || {
            let _listens = told;
            loop {
                drop($lock(&$locks[0]));
                thread::sleep(STEP);
            }
        });
    }};
}

/// One that wants what it has; others go on beside it.
macro_rules! own {
    ($lock:expr, $locks:ident, $fixed:expr) => {{
        let fixed: bool = $fixed;
        let (tell, told) = std::sync::mpsc::channel();
        thread::spawn(move || loop {
            let mut held = $lock(&$locks[0]);
            if !fixed {
                waits(&$locks[0]);
                let _ = tell.send(());
                *held += *$lock(&$locks[0]);
            }
            drop(held);
            let _ = tell.send(());
            *$lock(&$locks[0]) += 1;
            thread::sleep(STEP);
        });
        let _ = told.recv();
        thread::spawn(move || {
            let _listens = told;
            loop {
                *$lock(&$locks[1]) += 1;
                thread::sleep(STEP);
            }
        });
    }};
}

/// The word changes, and nobody is woken.
fn lost(fixed: bool) {
    static WORD: AtomicU32 = AtomicU32::new(0);
    // SAFETY: the word lives as long as the program; the other arguments are not used by these calls.
    let futex = |operation: libc::c_int, value: u32| unsafe {
        let (none, word) = (std::ptr::null::<libc::timespec>(), WORD.as_ptr());
        libc::syscall(libc::SYS_futex, word, operation | libc::FUTEX_PRIVATE_FLAG, value, none)
    };
    thread::spawn(move || loop {
        while WORD.load(Ordering::SeqCst) == 0 {
            futex(libc::FUTEX_WAIT, 0);
        }
        WORD.store(0, Ordering::SeqCst);
    });
    thread::spawn(move || loop {
        thread::sleep(Duration::from_millis(200));
        WORD.store(1, Ordering::SeqCst);
        if fixed {
            futex(libc::FUTEX_WAKE, 1);
        }
        while !fixed {
            thread::park();
        }
    });
}

/// Nobody wakes them, and nobody is left who could.
fn parked(fixed: bool) {
    let threads: Vec<_> = (0..4).map(|_| thread::spawn(|| loop {
        thread::park();
    })).collect();
    if fixed {
        let list: Vec<thread::Thread> = threads.iter().map(|t| t.thread().clone()).collect();
        thread::spawn(move || loop {
            list.iter().for_each(thread::Thread::unpark);
            thread::sleep(Duration::from_millis(20));
        });
    }
    println!("ready");
    for thread in threads {
        let _ = thread.join();
    }
}

/// One of four stays for ever.
fn spawn_and_forget(number: u64, fixed: bool) {
    thread::spawn(move || {
        while !fixed && number % 4 == 0 {
            thread::park();
        }
        thread::sleep(Duration::from_millis(20));
    });
}

fn leak(fixed: bool) {
    thread::spawn(move || {
        for number in 0..100_000 {
            spawn_and_forget(number, fixed);
            thread::sleep(Duration::from_millis(20));
        }
    });
}

/// The one that holds the lock waits for the end of the one that wants it.
fn join(fixed: bool) {
    let guard = std_lock(&STD[0]);
    let (tell, told) = std::sync::mpsc::channel();
    let wants = thread::spawn(move || {
        if !fixed {
            waits(&STD[0]);
        }
        let _ = tell.send(());
        *std_lock(&STD[0]) += 1;
        while fixed {
            thread::sleep(STEP);
        }
    });
    let _ = told.recv();
    if fixed {
        drop(guard);
        println!("ready");
        let _ = wants.join();
        return;
    }
    println!("waits {} (join)", tid());
    println!("ready");
    let _ = wants.join();
    drop(guard);
}

/// Nobody signals, and nobody is left who could.
fn cond(fixed: bool) {
    let workers: Vec<_> = (0..4).map(|_| thread::spawn(worker)).collect();
    if fixed {
        thread::spawn(|| loop {
            OVER.1.notify_all();
            thread::sleep(Duration::from_millis(20));
        });
    }
    println!("ready");
    for worker in workers {
        let _ = worker.join();
    }
}

static OVER: (std::sync::Mutex<bool>, std::sync::Condvar) =
    (std::sync::Mutex::new(false), std::sync::Condvar::new());

fn worker() {
    let mut over = OVER.0.lock().expect("nobody panics");
    while !*over {
        over = OVER.1.wait(over).expect("nobody panics");
    }
}

/// Workers that nobody tells that it is over, and nobody joins.
fn left(fixed: bool) {
    let workers: Vec<_> = (0..3).map(|_| thread::spawn(worker)).collect();
    if fixed {
        *OVER.0.lock().expect("nobody panics") = true;
        OVER.1.notify_all();
        for worker in workers {
            let _ = worker.join();
        }
    }
}

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    let (name, fixed) = match name.strip_suffix("-fixed") {
        Some(name) => (name.to_owned(), true),
        None => (name, false),
    };
    match name.as_str() {
        "std-abba2" => circle!(STD, std_lock, 2, fixed),
        "std-abba3" => circle!(STD, std_lock, 3, fixed),
        "std-rw" => reader_writer!(STD[0], std_lock, STD_RW, std_read, std_write, fixed),
        "lot-abba2" => circle!(LOT, parking_lot::Mutex::lock, 2, fixed),
        "lot-abba3" => circle!(LOT, parking_lot::Mutex::lock, 3, fixed),
        "lot-rw" => reader_writer!(
            LOT[0],
            parking_lot::Mutex::lock,
            LOT_RW,
            parking_lot::RwLock::read,
            parking_lot::RwLock::write,
            fixed
        ),
        "std-self" => own!(std_lock, STD, fixed),
        "lot-self" => own!(parking_lot::Mutex::lock, LOT, fixed),
        "held" => held!(std_lock, STD, fixed),
        "lot-held" => held!(parking_lot::Mutex::lock, LOT, fixed),
        "lost" => lost(fixed),
        "parked" => parked(fixed),
        "leak" => leak(fixed),
        "std-join" => join(fixed),
        "cond" => cond(fixed),
        "left" => left(fixed),
        other => {
            eprintln!("rustlocks: no such scenario: {other}");
            std::process::exit(2);
        }
    }
    println!("ready");
    let mut rest = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut rest);
}
