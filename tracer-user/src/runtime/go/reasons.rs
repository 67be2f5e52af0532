//! What the runtime's own words for a wait mean, which functions are only the way into a wait,
//! and which goroutines are the runtime's own.

use crate::base::WaitClass;
use crate::stream::Leave;

use super::layout::Layout;

/// The runtime's words and their classes. Source: src/runtime/runtime2.go, `waitReasonStrings`,
/// 1.19 and 1.21 to 1.27; `every_word_of_every_version_has_a_class` checks that none is missing.
const WORDS: &[(&str, WaitClass)] = &[
    ("", WaitClass::Other),
    ("GC assist marking", WaitClass::Runtime),
    ("IO wait", WaitClass::Io),
    ("chan receive (nil chan)", WaitClass::Never),
    ("chan send (nil chan)", WaitClass::Never),
    ("dumping heap", WaitClass::Runtime),
    ("garbage collection", WaitClass::Runtime),
    ("garbage collection scan", WaitClass::Runtime),
    ("panicwait", WaitClass::Runtime),
    ("select", WaitClass::Select),
    ("select (no cases)", WaitClass::Never),
    ("GC assist wait", WaitClass::Runtime),
    ("GC sweep wait", WaitClass::Runtime),
    ("GC scavenge wait", WaitClass::Runtime),
    ("chan receive", WaitClass::ChanReceive),
    ("chan send", WaitClass::ChanSend),
    ("finalizer wait", WaitClass::Runtime),
    ("force gc (idle)", WaitClass::Runtime),
    // Up to 1.20 of Mutex and RWMutex as well, up to 1.23 of WaitGroup: the stack tells.
    ("semacquire", WaitClass::Group),
    ("sleep", WaitClass::Sleep),
    ("sync.Cond.Wait", WaitClass::Group),
    ("sync.Mutex.Lock", WaitClass::Lock),
    ("sync.RWMutex.RLock", WaitClass::Lock),
    ("sync.RWMutex.Lock", WaitClass::Lock),
    ("sync.WaitGroup.Wait", WaitClass::Group),
    ("timer goroutine (idle)", WaitClass::Runtime),
    ("trace reader (blocked)", WaitClass::Runtime),
    ("wait for GC cycle", WaitClass::Runtime),
    ("GC worker (idle)", WaitClass::Runtime),
    ("GC worker (active)", WaitClass::Runtime),
    ("preempted", WaitClass::Runtime),
    ("debug call", WaitClass::Runtime),
    ("GC mark termination", WaitClass::Runtime),
    ("stopping the world", WaitClass::Runtime),
    ("flushing proc caches", WaitClass::Runtime),
    ("trace goroutine status", WaitClass::Runtime),
    ("trace proc status", WaitClass::Runtime),
    ("page trace flush", WaitClass::Runtime),
    ("coroutine", WaitClass::Coroutine),
    ("GC weak to strong wait", WaitClass::Runtime),
    ("synctest.Run", WaitClass::Group),
    ("synctest.Wait", WaitClass::Group),
    ("chan receive (synctest)", WaitClass::ChanReceive),
    ("chan send (synctest)", WaitClass::ChanSend),
    ("select (synctest)", WaitClass::Select),
    ("GOMAXPROCS updater (idle)", WaitClass::Runtime),
    ("chan receive (durable)", WaitClass::ChanReceive),
    ("chan send (durable)", WaitClass::ChanSend),
    ("select (durable)", WaitClass::Select),
    ("sync.WaitGroup.Wait (durable)", WaitClass::Group),
    ("cleanup wait", WaitClass::Runtime),
];

/// A wait reason of the runtime.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reason {
    /// Its class.
    pub class: WaitClass,
    /// The runtime's own word, as its dump prints it.
    pub word: &'static str,
}

impl Reason {
    /// The reason for a value of `g.waitreason`; None for a value that the version does not
    /// have. Patch releases of 1.23 added one value at the end of the list; apart from that, the
    /// list is the same within a minor version.
    pub fn of(layout: &Layout, value: u8) -> Option<Reason> {
        let word = *layout.wait_reasons.get(usize::from(value))?;
        Some(Reason { class: class_of(word), word })
    }
}

/// The class of a word; [`WaitClass::Other`] for one that is not known.
pub fn class_of(word: &str) -> WaitClass {
    WORDS.iter().find(|(known, _)| *known == word).map_or(WaitClass::Other, |(_, class)| *class)
}

/// Packages, types and functions that are on the way into a wait, by the start of the name.
const PLUMBING: &[&str] = &[
    "runtime.",
    "runtime/",
    "sync.",
    "sync/atomic.",
    // internal/poll, internal/sync (since 1.24), internal/synctest, internal/syscall
    "internal/",
    "syscall.",
    "golang.org/x/sys/unix.",
    // Package iter waits for the other side of a Pull; its frames say nothing of whose.
    "iter.",
];

/// The same, by the whole name. Sources: src/time/sleep.go; src/reflect/value.go, which reaches
/// channels through these.
const PLUMBING_FUNCTIONS: &[&str] = &[
    "time.Sleep",
    "panic",
    "reflect.Select",
    "reflect.rselect",
    "reflect.chanrecv",
    "reflect.chansend",
    "reflect.chansend0",
    "reflect.Value.Recv",
    "reflect.Value.recv",
    "reflect.Value.Send",
    "reflect.Value.send",
];

/// Whether a frame is only the way into a wait: the wait site is the innermost that is not.
/// Takes the name as the runtime's dump writes it.
pub fn is_plumbing(function: &str) -> bool {
    PLUMBING.iter().any(|prefix| function.starts_with(prefix))
        || PLUMBING_FUNCTIONS.contains(&function)
}

/// Functions of package runtime that goroutines of the program start with: main, coroutines, and
/// the event handler of js/wasm.
const PROGRAM_STARTS: &[&str] = &["runtime.main", "runtime.corostart", "runtime.handleAsyncEvent"];

/// Whether a goroutine that starts with this function belongs to the runtime. Source:
/// src/runtime/traceback.go, `isSystemGoroutine`, 1.19 and 1.21 to 1.27. There the goroutines that
/// run finalizers and cleanups count as the program's while they are in the program's code, which
/// the start function cannot tell.
pub fn is_system(start_function: &str) -> bool {
    start_function.starts_with("runtime.") && !PROGRAM_STARTS.contains(&start_function)
}

/// How a goroutine left the processor whose context was saved in this function. The context of one
/// that runs stays as it was saved, until its next switch of stacks (`systemstack`), its stack's
/// next growth, or its next system call. Source: src/runtime/proc.go (`gopark`, `goschedImpl`,
/// `asyncPreempt2`, `reentersyscall`), 1.19 to 1.27.
pub fn leave(saved_in: &str) -> Leave {
    match saved_in {
        "runtime.asyncPreempt2"
        | "runtime.asyncPreempt"
        | "runtime.Gosched"
        | "runtime.goschedguarded"
        | "runtime.gopreempt_m" => Leave::PutOff,
        "runtime.gopark"
        | "runtime.goparkunlock"
        | "runtime.cgocall"
        | "runtime.exitsyscall"
        | "runtime.notetsleepg"
        | "runtime.coroswitch"
        | "runtime.goyield" => Leave::Gave,
        name if name.starts_with("syscall.") || name.starts_with("internal/runtime/syscall.") => {
            Leave::Gave
        }
        _ => Leave::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_every_version_has_a_class() {
        for layout in Layout::all() {
            for word in layout.wait_reasons {
                let known = WORDS.iter().any(|(known, _)| known == word);
                assert!(known, "1.{}: {word:?}", layout.minor);
            }
        }
    }

    #[test]
    fn the_same_value_means_another_reason_in_another_version() {
        let word = |minor, value| {
            Reason::of(Layout::for_minor(minor).unwrap(), value).map(|reason| reason.word)
        };
        assert_eq!(word(19, 21), Some("timer goroutine (idle)"));
        assert_eq!(word(21, 21), Some("sync.Mutex.Lock"));
        assert_eq!(word(23, 24), Some("trace reader (blocked)"));
        assert_eq!(word(24, 24), Some("sync.WaitGroup.Wait"));
        assert_eq!(word(19, 200), None);
    }

    #[test]
    fn a_wait_for_ever_is_known_as_such() {
        assert_eq!(class_of("chan receive (nil chan)"), WaitClass::Never);
        assert_eq!(class_of("select (no cases)"), WaitClass::Never);
        assert_eq!(class_of("some new word"), WaitClass::Other);
    }

    #[test]
    fn the_way_into_a_wait_is_skipped_and_the_program_is_not() {
        for function in [
            "runtime.gopark",
            "sync.(*Mutex).Lock",
            "sync.runtime_SemacquireMutex",
            "internal/poll.(*FD).Read",
            "internal/sync.(*Mutex).lockSlow",
            "syscall.Syscall",
            "time.Sleep",
            "reflect.Select",
            "iter.Pull[...].func1.1",
        ] {
            assert!(is_plumbing(function), "{function}");
        }
        for function in [
            "main.main",
            "net.(*netFD).Read",
            "time.(*Ticker).run",
            "example.com/internal/queue.(*Queue).Take",
            "golang.org/x/sync/errgroup.(*Group).Wait",
            "reflect.Value.Call",
            "synchro.Wait",
        ] {
            assert!(!is_plumbing(function), "{function}");
        }
    }

    #[test]
    fn the_main_goroutine_and_coroutines_are_the_programs() {
        assert!(is_system("runtime.bgsweep"));
        assert!(is_system("runtime.gcBgMarkWorker"));
        assert!(!is_system("runtime.main"));
        assert!(!is_system("runtime.corostart"));
        assert!(!is_system("main.worker"));
    }
}
