//! System calls with arguments and results (`--syscalls`).

use std::ffi::CStr;
use std::process::Command;
use std::time::Duration;

use loiter::base::{Nanos, Pid};
use loiter::kernel::{AttachTarget, Kernel, KernelError, LoadSettings};
use loiter::record::{Item, Recording};
use loiter::stream::{Calls, Input, Mode};
use tracer_common::call::{CallTotals, Outcome, ThreadCall};

use crate::common::loiter::Loiter;
use crate::common::{GoProc, or_skip};
use crate::support::{Tally, Tracer, alone, build, lost, values};

const POLL: i32 = 7;
const FUTEX: i32 = 202;
const EPOLL_WAIT: i32 = 232;
/// Operations of `futex`.
const WAIT: u8 = 0;
const WAKE: u8 = 1;

const TRACING: &CStr = c"/sys/kernel/tracing";

/// What this test mounts from now on is its own: its thread, and what it starts, have mounts of their
/// own.
fn own_mounts() {
    let private = libc::MS_REC | libc::MS_PRIVATE;
    let none = std::ptr::null();
    // SAFETY: the strings end with a zero byte; a null pointer is what these calls take for nothing.
    let done = unsafe {
        libc::unshare(libc::CLONE_NEWNS)
            | libc::mount(none, c"/".as_ptr(), none, private, none.cast())
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

fn mount(kind: &CStr, at: &CStr) {
    // SAFETY: the strings end with a zero byte.
    let done =
        unsafe { libc::mount(kind.as_ptr(), at.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) };
    assert_eq!(done, 0, "{kind:?} at {at:?}: {}", std::io::Error::last_os_error());
}

fn with_tracefs() {
    own_mounts();
    mount(c"tracefs", TRACING);
}

fn without_tracefs() {
    own_mounts();
    mount(c"tmpfs", TRACING);
    if std::fs::exists("/sys/kernel/debug/tracing").unwrap() {
        mount(c"tmpfs", c"/sys/kernel/debug");
    }
}

fn follow(process: &GoProc, min_wait: Duration) -> Tracer {
    let settings = LoadSettings { calls: Calls::Followed, ..LoadSettings::default() };
    let mut tracer = Tracer::follow_with(&settings, process, Mode::All, min_wait);
    tracer.kernel.follow_calls(tracer.slot).unwrap_or_else(|e| panic!("{e}"));
    tracer
}

fn start() -> (GoProc, u64) {
    let (process, word) = GoProc::start_ready(&build("calls").unwrap(), &[]);
    let word = u64::from_str_radix(word.trim().trim_start_matches("0x"), 16).unwrap();
    (process, word)
}

/// The totals of one call, operation and subject.
fn totals(tracer: &Tracer, number: i32, operation: u8, subject: u64) -> CallTotals {
    let all = tracer.kernel.call_totals(tracer.slot).unwrap();
    let is = |key: &tracer_common::thread::WaitKey| {
        (key.number, key.operation, key.subject) == (number, operation, subject)
    };
    all.iter().find(|total| is(&total.key)).map(|total| total.totals).unwrap_or_default()
}

fn ended(totals: &CallTotals, outcome: Outcome) -> u64 {
    totals.outcomes[outcome as usize]
}

fn calls_of(tally: &Tally, tid: i64, number: i32) -> Vec<ThreadCall> {
    let of = |call: &&ThreadCall| i64::from(call.tid) == tid && call.number == number;
    tally.calls.iter().filter(of).copied().collect()
}

#[test]
fn each_call_is_counted_and_told_with_its_result() {
    let _alone = alone();
    or_skip!(crate::common::need_bpf());
    or_skip!(build("calls"));
    with_tracefs();
    let (mut process, word) = start();
    let mut tracer = follow(&process, Duration::ZERO);
    let mut tally = Tally::default();
    let mut done = |what: &str| values(&process.ask(what, "did"));
    let timeouts = done("timeouts 5");
    let changed = done("changed 7");
    let interrupted = done("interrupted 3");
    let polls = done("polls 100");
    let epolls = done("epolls 4");
    done("woken 20");
    let counters = tracer.end(&mut tally);
    assert_eq!((lost(&counters), counters.waits_untotalled), (0, 0));

    let waits = totals(&tracer, FUTEX, WAIT, word);
    assert_eq!(waits.count, 5 + 7 + 3 + 1, "{waits:?}");
    let how = [Outcome::Done, Outcome::TimedOut, Outcome::Interrupted, Outcome::Changed];
    assert_eq!(how.map(|outcome| ended(&waits, outcome)), [1, 5, 3, 7]);
    assert!(waits.slept >= 3 && waits.slept <= 9, "those for another value never sleep: {waits:?}");
    assert_eq!(totals(&tracer, FUTEX, WAKE, word).woken, 1);
    let polled = totals(&tracer, POLL, 0, 0);
    assert_eq!((polled.count, polled.slept, ended(&polled, Outcome::TimedOut)), (100, 0, 100));
    let epoll = totals(&tracer, EPOLL_WAIT, 0, epolls["epoll"] as u64);
    assert_eq!((epoll.count, ended(&epoll, Outcome::TimedOut)), (4, 4));

    let results = |said: &std::collections::HashMap<String, i64>| -> Vec<i64> {
        let own = calls_of(&tally, said["tid"], FUTEX);
        own.iter().filter(|call| call.arguments[0] == word).map(|call| call.result).collect()
    };
    assert_eq!(results(&timeouts), [-110; 5]);
    assert_eq!(results(&changed), [-11; 7]);
    // What becomes of it, an error or another try, is decided when the signal is handled.
    assert_eq!(results(&interrupted), [-512; 3]);
    let polls = calls_of(&tally, polls["tid"], POLL);
    assert_eq!(polls.len(), 100);
    assert!(polls.iter().all(|call| (call.result, call.slept) == (0, 0)));
    let asked = calls_of(&tally, changed["tid"], FUTEX)[0].arguments;
    assert_eq!((asked[1] & 127, asked[2], asked[3]), (0, 1, 0), "value 1, no time-out");
    process.finish();
}

#[test]
fn the_call_that_ends_a_long_wait_is_told_however_short_it_is() {
    let _alone = alone();
    or_skip!(crate::common::need_bpf());
    or_skip!(build("calls"));
    with_tracefs();
    let (mut process, word) = start();
    let mut tracer = follow(&process, Duration::from_millis(30));
    let mut tally = Tally::default();
    let said = values(&process.ask("woken 90", "did"));
    tracer.end(&mut tally);
    let own = |call: &&ThreadCall| call.arguments[0] == word;
    let waited = calls_of(&tally, said["tid"], FUTEX);
    let waited = waited.iter().find(own).unwrap();
    assert_eq!((waited.result, waited.slept), (0, 1));
    let woke = calls_of(&tally, said["waker"], FUTEX);
    let woke = woke.iter().find(own).unwrap();
    assert_eq!((woke.arguments[1] & 127, woke.result), (u64::from(WAKE), 1));
    let wait = tally
        .waits
        .iter()
        .find(|wait| i64::from(wait.tid) == said["tid"] && wait.asleep.arguments[0] == word);
    let wait = wait.unwrap();
    assert_eq!(i64::from(wait.waker), said["waker"]);
    assert!((woke.began_ns..=woke.header.time_ns).contains(&wait.ready_ns), "{wait:?} {woke:?}");
    assert!(waited.began_ns <= wait.parked_ns && wait.header.time_ns <= waited.header.time_ns);
    process.finish();
}

#[test]
fn calls_of_others_and_calls_not_asked_for_leave_nothing() {
    let _alone = alone();
    or_skip!(crate::common::need_bpf());
    or_skip!(build("calls"));
    with_tracefs();
    let (process, _) = start();
    let (mut other, _) = start();
    let mut tracer = follow(&process, Duration::ZERO);
    let mut tally = Tally::default();
    other.ask("timeouts 50", "did");
    other.ask("polls 1000", "did");
    let counters = tracer.end(&mut tally);
    assert_eq!((tally.records, counters.thread_hits), (0, 0), "{counters:?}");
    assert_eq!(tracer.kernel.call_totals(tracer.slot).unwrap(), []);

    let mut tracer = Tracer::follow(&other, Mode::All, Duration::ZERO);
    other.ask("polls 1000", "did");
    tracer.end(&mut tally);
    assert_eq!(tally.calls, []);
    assert_eq!(tracer.kernel.call_totals(tracer.slot).unwrap(), []);
    other.finish();
    process.finish();
}

#[test]
fn without_tracefs_it_is_refused_with_the_remedy() {
    let _alone = alone();
    or_skip!(crate::common::need_bpf());
    or_skip!(build("calls"));
    without_tracefs();
    let (process, _) = start();
    let settings = LoadSettings { calls: Calls::Followed, ..LoadSettings::default() };
    let mut kernel = Kernel::load(&settings).unwrap();
    let target = AttachTarget::executable(Pid(process.pid()));
    let slot = kernel.attach_threads(&target, Mode::All, Nanos(0)).unwrap().slot;
    let refused = kernel.follow_calls(slot).unwrap_err();
    assert!(matches!(refused, KernelError::Calls { .. }), "{refused}");
    assert!(refused.to_string().contains("mount -t tracefs"), "{refused}");
    drop(kernel);
    let pid = process.pid().to_string();
    let watch = Command::new(env!("CARGO_BIN_EXE_loiter"))
        .args(["watch", &pid, "--events", "all", "--syscalls", "--for", "1s"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&watch.stderr);
    assert_eq!(watch.status.code(), Some(3), "{said}");
    assert!(said.contains("mount -t tracefs"), "{said}");
    let alone = Command::new(env!("CARGO_BIN_EXE_loiter"))
        .args(["watch", &pid, "--syscalls", "--for", "1s"])
        .output()
        .unwrap();
    assert_eq!(alone.status.code(), Some(2), "{}", String::from_utf8_lossy(&alone.stderr));
    process.finish();
}

#[test]
fn a_watch_tells_calls_in_its_summary_and_a_recording_keeps_each() {
    let _alone = alone();
    or_skip!(crate::common::need_bpf());
    or_skip!(build("calls"));
    with_tracefs();
    let (mut process, word) = start();
    let arguments = ["--events", "all", "--syscalls", "--budget", "off"];
    let loiter = Loiter::watch(process.pid(), &arguments);
    process.ask("timeouts 6", "did");
    process.ask("changed 2", "did");
    let (code, summary, _) = loiter.interrupt();
    assert_eq!(code, 0, "{summary}");
    let own = |calls: &&serde_json::Value| {
        calls["operation"] == "wait" && calls["subject"]["value"] == format!("{word:#x}")
    };
    let calls = summary["thread_calls"].as_array().unwrap().iter().find(own).unwrap();
    assert_eq!((&calls["call"], &calls["count"]), (&"futex".into(), &8.into()), "{calls}");
    assert_eq!(calls["outcomes"]["timed-out"], 6, "{calls}");
    assert_eq!(calls["outcomes"]["changed"], 2, "{calls}");

    let file = tempfile::tempdir().unwrap();
    let path = file.path().join("calls.loiter");
    let pid = process.pid().to_string();
    let mut record = vec!["record", pid.as_str(), "-o", path.to_str().unwrap()];
    record.extend(arguments);
    record.extend(["--format", "jsonl"]);
    let mut recorder = Loiter::start(&record);
    recorder.wait_message("watching");
    let said = values(&process.ask("timeouts 3", "did"));
    recorder.signal(libc::SIGINT);
    recorder.wait_message("recorded");
    let mut kept = Vec::new();
    let mut items = Recording::open(&path).unwrap().items();
    while let Some(item) = items.next_item().unwrap() {
        let Item::Inputs(inputs) = item else { panic!("a gap") };
        kept.extend(inputs.into_iter().filter_map(|input| match input {
            Input::Call(call) if call.arguments[0] == word => Some(*call),
            _ => None,
        }));
    }
    let of_thread = kept.iter().filter(|call| i64::try_from(call.task.number) == Ok(said["tid"]));
    let results: Vec<i64> = of_thread.map(|call| call.result).collect();
    assert_eq!(results, [-110; 3]);
    process.finish();
}
