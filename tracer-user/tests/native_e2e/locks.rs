//! Programs made to get stuck.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::busy::stolen;
use crate::common::loiter::Loiter;
use crate::common::native::{c_program, rust_program};
use crate::common::process::GoProc;
use crate::common::{need_bpf, need_root, or_skip};
use crate::programs::until;

/// From the start of a watch to a circle told, where other tests run beside it: four times what is
/// promised, since what a machine does meanwhile is not taken off.
pub const CIRCLE_WITHIN: Duration = Duration::from_secs(20);
/// From the start of a watch to a circle told, as far as the machine lets the watch run.
const PROMISED: Duration = Duration::from_secs(5);
/// How long a twin is watched for nothing to be found: beyond [`STUCK_AFTER`], not for a leak.
pub const TWIN_WATCHED: &str = "12s";
/// How often, at most, until it was looked at often enough.
const TIMES_WATCHED: usize = 5;
/// Thresholds of these tests.
pub const STUCK_AFTER: [&str; 2] = ["--stuck-after", "2s"];

/// Arguments of a watch that tells a leak before long.
const LEAK_TOLD_SOON: [&str; 8] = [
    "--interval",
    "1s",
    "--growth-after",
    "20s",
    "--leak-after",
    "5s",
    STUCK_AFTER[0],
    STUCK_AFTER[1],
];
/// How much longer than its leak a twin is watched.
const LONGER_THAN_ITS_LEAK: Duration = Duration::from_secs(5);
/// How long a twin is watched with all events: beyond its thresholds.
const WATCHED_WITH_EVENTS: Duration = Duration::from_secs(8);
/// So many twins are watched with all events at once: more are slow on a small machine.
const AT_ONCE: usize = 3;

/// A program that stands in what it was made for, and what it says of its circle.
struct Stuck {
    process: GoProc,
    /// Thread and lock it waits for.
    waits: BTreeSet<(u64, String)>,
}

fn start(exe: &Path, name: &str) -> Stuck {
    let (process, _) = GoProc::start_ready(exe, &[name]);
    let waits = process.seen().iter().filter_map(|line| {
        let (tid, lock) = line.strip_prefix("waits ")?.split_once(' ')?;
        Some((tid.parse().unwrap(), lock.to_owned()))
    });
    let waits = waits.collect();
    Stuck { process, waits }
}

/// Waits for a finding of this kind.
fn finding(stuck: &Stuck, kind: &str) -> Value {
    let args = ["--events", "none", "--interval", "1s", STUCK_AFTER[0], STUCK_AFTER[1]];
    let mut watch = Loiter::watch(stuck.process.pid(), &args);
    watch.wait_line(kind, |line| line["kind"] == kind && line["change"] != "resolved")
}

fn circle_of(exe: &Path, name: &str, confidence: &str) {
    let stuck = start(exe, name);
    let began = Instant::now();
    let found = finding(&stuck, "deadlock");
    let took = began.elapsed();
    eprintln!("| {name} | deadlock | {confidence} | {} ms |", took.as_millis());
    assert!(took < CIRCLE_WITHIN, "{name}: after {took:?}");
    assert_eq!(found["confidence"], confidence, "{name}: {found}");
    assert_eq!(found["task_kind"], "thread");
    assert_eq!(circle_in(&found), stuck.waits, "{name}: {found}");
}

/// The threads of a circle with what each waits for; each waits for the next, the last for the first.
fn circle_in(found: &Value) -> BTreeSet<(u64, String)> {
    let steps = found["evidence"]["cycle"].as_array().unwrap();
    for (step, next) in steps.iter().zip(steps.iter().cycle().skip(1)) {
        assert_eq!(step["waits_on"]["holder"], next["id"], "{found}");
    }
    steps
        .iter()
        .map(|step| {
            let on = &step["waits_on"];
            let lock = match on["futex"].as_str() {
                Some("join") => "(join)",
                _ => on["address"].as_str().unwrap(),
            };
            (step["id"].as_u64().unwrap(), lock.to_owned())
        })
        .collect()
}

/// One after another: many watches at once are slow on a small machine.
fn nothing_of_all(exe: &Path, names: &[&str]) {
    for name in names {
        nothing_of(exe, &format!("{name}-fixed"));
    }
}

fn nothing_of(exe: &Path, name: &str) {
    let stuck = start(exe, name);
    let mut args = vec!["--events", "none", "--interval", "1s", "--for", TWIN_WATCHED];
    args.extend(STUCK_AFTER);
    // A watch that the machine hardly let run has looked at little: then it is watched for longer.
    for _ in 0..TIMES_WATCHED {
        let summary = without_findings(Loiter::watch(stuck.process.pid(), &args).end(), name);
        if summary["looks"].as_u64().unwrap() >= 3 {
            return;
        }
    }
    panic!("{name}: never looked at three times in {TWIN_WATCHED}");
}

/// The summary of a watch that must have told nothing.
fn without_findings(ended: (i32, Value, Vec<Value>), name: &str) -> Value {
    let (code, summary, lines) = ended;
    let findings: Vec<_> = lines.iter().filter(|line| line["kind"].is_string()).collect();
    assert!(code == 0 && findings.is_empty(), "{name}: {findings:?}");
    summary
}

fn nothing_of_these_with_all_events(exe: &Path, names: &[&str]) {
    let twins: Vec<Stuck> = names.iter().map(|name| start(exe, &format!("{name}-fixed"))).collect();
    let args = ["--events", "all", "--interval", "1s", STUCK_AFTER[0], STUCK_AFTER[1]];
    for _ in 0..TIMES_WATCHED {
        let watches: Vec<Loiter> =
            twins.iter().map(|twin| Loiter::watch(twin.process.pid(), &args)).collect();
        let end = Instant::now() + WATCHED_WITH_EVENTS;
        let mut fewest = u64::MAX;
        for (name, watch) in names.iter().zip(watches) {
            let summary = without_findings(until(watch, end), name);
            fewest = fewest.min(summary["looks"].as_u64().unwrap());
            let waits = summary["thread_waits"].as_array();
            assert!(waits.is_some_and(|waits| !waits.is_empty()), "{name}: {summary}");
        }
        if fewest >= 2 {
            return;
        }
    }
    panic!("{names:?}: never each looked at twice in {WATCHED_WITH_EVENTS:?}");
}

/// For how long the threads of a process, taken together, were ready and not let run: the second
/// field of schedstat.
fn not_let_run(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let of = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    Duration::from_nanos(of.sum())
}

#[test]
fn circles_of_pthread_locks_are_certain() {
    or_skip!(need_root());
    let exe = or_skip!(c_program("locks"));
    for name in ["abba2", "abba3", "self", "rw", "join"] {
        circle_of(&exe, name, "certain");
    }
}

#[test]
fn two_circles_at_one_place_are_told_each_with_its_own_threads_and_locks() {
    or_skip!(need_root());
    let exe = or_skip!(c_program("locks"));
    let stuck = start(&exe, "abba2x2");
    let mut watch = Loiter::watch(stuck.process.pid(), &["--events", "none", "--interval", "1s"]);
    let is_one = |line: &Value| line["kind"] == "deadlock" && line["change"] != "resolved";
    let first = watch.wait_line("a deadlock", is_one);
    let another = |line: &Value| is_one(line) && line["finding_id"] != first["finding_id"];
    let second = watch.wait_line("another deadlock", another);
    let (one, other) = (circle_in(&first), circle_in(&second));
    assert!(one.is_disjoint(&other), "{first} {second}");
    assert_eq!(&one | &other, stuck.waits, "{first} {second}");
    for found in [&first, &second] {
        assert_eq!((&found["confidence"], &found["count"]), (&"certain".into(), &2.into()));
    }
}

#[test]
fn a_circle_is_told_within_five_seconds_of_the_start_of_a_watch() {
    or_skip!(need_bpf());
    let exe = or_skip!(c_program("locks"));
    let stuck = start(&exe, "abba2");
    let (stolen_before, began) = (stolen(), Instant::now());
    // The budget that a watch has by itself; the tests' own watches have none.
    let mut watch = Loiter::watch(stuck.process.pid(), &["--budget", "1%"]);
    watch.wait_line("a deadlock", |line| line["kind"] == "deadlock");
    let took = began.elapsed();
    // On a machine that does other things, what it was not let run for is not its delay.
    let not_let_run = not_let_run(watch.pid()) + stolen().saturating_sub(stolen_before);
    println!("a circle was told after {took:?}, {not_let_run:?} not let run");
    assert!(took.saturating_sub(not_let_run) < PROMISED, "{took:?}, {not_let_run:?} not let run");
}

#[test]
fn who_waits_behind_a_circle_is_told_apart() {
    or_skip!(need_root());
    let exe = or_skip!(c_program("locks"));
    let stuck = start(&exe, "abba3");
    let found = finding(&stuck, "deadlock");
    let behind = &found["evidence"]["bystanders"];
    assert_eq!(behind["count"], 1, "{found}");
    let tid = behind["tasks"][0].as_u64().unwrap();
    assert!(stuck.waits.iter().all(|(in_circle, _)| *in_circle != tid), "{found}");
}

#[test]
fn circles_of_rust_locks_are_found_by_stacks() {
    or_skip!(need_root());
    let exe = or_skip!(rust_program());
    for name in ["std-abba2", "std-abba3", "std-rw", "std-join", "lot-abba2", "lot-abba3", "lot-rw"]
    {
        circle_of(&exe, name, "likely");
    }
}

/// No lock of Rust names its holder: the thread's own frames do.
#[test]
fn a_thread_that_waits_for_a_rust_lock_of_its_own_is_a_circle_by_itself() {
    or_skip!(need_root());
    let exe = or_skip!(rust_program());
    for name in ["std-self", "lot-self"] {
        let stuck = start(&exe, name);
        let mut watch =
            Loiter::watch(stuck.process.pid(), &["--events", "none", "--interval", "1s"]);
        let began = Instant::now();
        let found = watch.wait_line("a deadlock", |line| line["kind"] == "deadlock");
        let took = began.elapsed();
        println!("| {name} | deadlock | {} | {} ms |", found["confidence"], took.as_millis());
        assert!(took < CIRCLE_WITHIN, "{name}: after {took:?}");
        assert_eq!(circle_in(&found), stuck.waits, "{name}: {found}");
        assert_eq!(found["confidence"], "suspect", "{name}: {found}");
        let reasons = found["evidence"]["reasons"].to_string();
        assert!(reasons.contains("which it seems to hold itself"), "{reasons}");
    }
    for name in ["std-self", "lot-self"] {
        let stuck = start(&exe, name);
        let args = ["--events", "none", "--interval", "1s", STUCK_AFTER[0], STUCK_AFTER[1]];
        let mut watch = Loiter::watch(stuck.process.pid(), &args);
        watch.wait_line("a deadlock that lasts", |line| {
            line["kind"] == "deadlock" && line["confidence"] == "likely"
        });
    }
}

#[test]
fn a_held_lock_names_its_holder_and_what_that_does() {
    or_skip!(need_root());
    let (c, rust) = (or_skip!(c_program("locks")), or_skip!(rust_program()));
    for (exe, name) in [(&c, "held"), (&rust, "held"), (&rust, "lot-held")] {
        let found = finding(&start(exe, name), "lock-held");
        let on = &found["evidence"]["objects"][0]["object"];
        assert_eq!((&on["kind"], &on["futex"]), (&"futex".into(), &"mutex".into()), "{found}");
        assert!(on["holder"].as_u64().is_some(), "{found}");
        let reasons = found["evidence"]["reasons"].to_string();
        assert!(reasons.contains("itself waits in sleep"), "{reasons}");
    }
}

#[test]
fn a_pool_in_one_lock_a_missing_signal_and_a_lost_wake_up_have_their_names() {
    or_skip!(need_root());
    let exe = or_skip!(c_program("locks"));
    let pool = finding(&start(&exe, "pool"), "pool-blocked");
    assert_eq!((&pool["count"], &pool["confidence"]), (&6.into(), &"likely".into()), "{pool}");
    let cond = finding(&start(&exe, "cond"), "blocked-for-ever");
    assert_eq!(cond["wait_reason"], "condition variable", "{cond}");
    assert_eq!((&cond["count"], &cond["confidence"]), (&4.into(), &"likely".into()), "{cond}");
    let rust = or_skip!(rust_program());
    for exe in [&exe, &rust] {
        let lost = finding(&start(exe, "lost"), "lost-wakeup");
        let on = &lost["evidence"]["objects"][0]["object"];
        assert_eq!((&on["expected"], &on["word"]), (&0.into(), &1.into()), "{lost}");
    }
    let parked = finding(&start(&rust, "parked"), "blocked-for-ever");
    let cond = finding(&start(&rust, "cond"), "blocked-for-ever");
    assert_eq!(
        (&cond["wait_reason"], &cond["count"]),
        (&"condition variable".into(), &4.into()),
        "{cond}"
    );
    assert_eq!((&parked["wait_reason"], &parked["count"]), (&"park".into(), &4.into()), "{parked}");
}

/// Watches the twin beside the leak from its begin, and for longer.
#[test]
fn threads_that_never_end_are_found_as_they_get_more_and_nothing_of_those_that_end() {
    or_skip!(need_root());
    or_skip!(need_bpf());
    let (c, rust) = (or_skip!(c_program("locks")), or_skip!(rust_program()));
    for (exe, reason, site) in
        [(c, "condition variable", "spawner"), (rust, "park", "rustlocks::spawn_and_forget")]
    {
        let (stuck, twin) = (start(&exe, "leak"), start(&exe, "leak-fixed"));
        let mut watch = Loiter::watch(stuck.process.pid(), &LEAK_TOLD_SOON);
        let of_twin = Loiter::watch(twin.process.pid(), &LEAK_TOLD_SOON);
        let began = Instant::now();
        let found = watch.wait_line("a leak", |line| {
            ["growth", "leak"].iter().any(|kind| line["kind"] == *kind)
                && line["spawn_site"]["function"].is_string()
        });
        let took = began.elapsed();
        eprintln!(
            "{site}: {} {} of {} after {took:?}",
            found["confidence"], found["kind"], found["count"]
        );
        assert_eq!(
            (&found["task_kind"], &found["wait_reason"]),
            (&"thread".into(), &reason.into()),
            "{found}"
        );
        assert_eq!(found["spawn_site"]["function"], site, "{found}");
        let ended = until(of_twin, Instant::now() + LONGER_THAN_ITS_LEAK);
        let summary = without_findings(ended, "leak-fixed");
        // Threads were born there as they are in the leak.
        assert!(summary["births"].as_u64().is_some_and(|births| births > 100), "{summary}");
    }
}

/// In C, all but that of the leak, which is watched beside it.
const TWINS: [&str; 10] =
    ["abba2", "abba3", "abba2x2", "self", "rw", "held", "pool", "cond", "join", "lost"];

#[test]
fn nothing_is_found_of_the_twins() {
    or_skip!(need_root());
    let exe = or_skip!(c_program("locks"));
    nothing_of_all(&exe, &TWINS);
    nothing_of(&exe, "leak-fixed");
}

#[test]
fn nothing_is_found_of_the_twins_with_all_events() {
    or_skip!(need_bpf());
    let exe = or_skip!(c_program("locks"));
    for names in TWINS.chunks(AT_ONCE) {
        nothing_of_these_with_all_events(&exe, names);
    }
}

#[test]
fn nothing_is_found_of_the_twins_in_rust() {
    or_skip!(need_root());
    let exe = or_skip!(rust_program());
    let names = [
        "std-abba2",
        "std-abba3",
        "std-rw",
        "std-join",
        "lot-abba2",
        "lot-abba3",
        "lot-rw",
        "std-self",
        "lot-self",
        "held",
        "lot-held",
        "lost",
        "parked",
        "cond",
        "leak",
    ];
    nothing_of_all(&exe, &names);
}
