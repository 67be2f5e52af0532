//! Programs made to get stuck.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::loiter::Loiter;
use crate::common::native::{c_program, rust_program};
use crate::common::process::GoProc;
use crate::common::{need_bpf, need_root, or_skip};

/// From the start of a watch to a circle told; twice as long as promised, since a machine that
/// builds meanwhile is slow.
pub const CIRCLE_WITHIN: Duration = Duration::from_secs(20);
/// How long a twin is watched for nothing to be found: beyond all thresholds used here.
pub const TWIN_WATCHED: &str = "8s";
/// Thresholds of these tests.
pub const STUCK_AFTER: [&str; 2] = ["--stuck-after", "2s"];

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
    let steps = found["evidence"]["cycle"].as_array().unwrap();
    let told: BTreeSet<(u64, String)> = steps
        .iter()
        .map(|step| {
            let on = &step["waits_on"];
            let lock = match on["futex"].as_str() {
                Some("join") => "(join)",
                _ => on["address"].as_str().unwrap(),
            };
            (step["id"].as_u64().unwrap(), lock.to_owned())
        })
        .collect();
    assert_eq!(told, stuck.waits, "{name}: {found}");
    // Each waits for the next, the last for the first.
    for (step, next) in steps.iter().zip(steps.iter().cycle().skip(1)) {
        assert_eq!(step["waits_on"]["holder"], next["id"], "{name}: {found}");
    }
}

fn nothing_of(exe: &Path, name: &str) {
    let stuck = start(exe, name);
    let mut args = vec!["--events", "none", "--interval", "1s", "--for", TWIN_WATCHED];
    args.extend(STUCK_AFTER);
    let (code, summary, lines) = Loiter::watch(stuck.process.pid(), &args).end();
    let findings: Vec<_> = lines.iter().filter(|line| line["kind"].is_string()).collect();
    assert!(code == 0 && findings.is_empty(), "{name}: {findings:?}");
    assert!(summary["looks"].as_u64().unwrap() >= 3, "{name}: {summary}");
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
    for name in ["std-abba2", "std-abba3", "std-rw", "std-join", "lot-abba2", "lot-abba3", "lot-rw"] {
        circle_of(&exe, name, "likely");
    }
}

#[test]
fn a_held_lock_names_its_holder_and_what_that_does() {
    or_skip!(need_root());
    for exe in [or_skip!(c_program("locks")), or_skip!(rust_program())] {
        let found = finding(&start(&exe, "held"), "lock-held");
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
    let lost = finding(&start(&exe, "lost"), "lost-wakeup");
    let on = &lost["evidence"]["objects"][0]["object"];
    assert_eq!((&on["expected"], &on["word"]), (&0.into(), &1.into()), "{lost}");
    let rust = or_skip!(rust_program());
    let parked = finding(&start(&rust, "parked"), "blocked-for-ever");
    let cond = finding(&start(&rust, "cond"), "blocked-for-ever");
    assert_eq!(
        (&cond["wait_reason"], &cond["count"]),
        (&"condition variable".into(), &4.into()),
        "{cond}"
    );
    assert_eq!((&parked["wait_reason"], &parked["count"]), (&"park".into(), &4.into()), "{parked}");
}

#[test]
fn threads_that_never_end_are_found_as_they_get_more() {
    or_skip!(need_root());
    or_skip!(need_bpf());
    let (c, rust) = (or_skip!(c_program("locks")), or_skip!(rust_program()));
    for (exe, reason, site) in
        [(c, "condition variable", "spawner"), (rust, "park", "rustlocks::spawn_and_forget")]
    {
        let stuck = start(&exe, "leak");
        let args = ["--interval", "1s", "--growth-after", "20s", "--leak-after", "5s"];
        let args: Vec<&str> = args.into_iter().chain(STUCK_AFTER).collect();
        let mut watch = Loiter::watch(stuck.process.pid(), &args);
        let found = watch.wait_line("a leak", |line| {
            ["growth", "leak"].iter().any(|kind| line["kind"] == *kind)
                && line["spawn_site"]["function"].is_string()
        });
        eprintln!("{site}: {} {} of {}", found["confidence"], found["kind"], found["count"]);
        assert_eq!(
            (&found["task_kind"], &found["wait_reason"]),
            (&"thread".into(), &reason.into()),
            "{found}"
        );
        assert_eq!(found["spawn_site"]["function"], site, "{found}");
    }
}

#[test]
fn nothing_is_found_of_the_twins() {
    or_skip!(need_root());
    let exe = or_skip!(c_program("locks"));
    for name in ["abba2", "abba3", "self", "rw", "held", "pool", "cond", "join", "lost", "leak"] {
        nothing_of(&exe, &format!("{name}-fixed"));
    }
}

#[test]
fn nothing_is_found_of_the_twins_in_rust() {
    or_skip!(need_root());
    let exe = or_skip!(rust_program());
    for name in [
        "std-abba2",
        "std-abba3",
        "std-rw",
        "std-join",
        "lot-abba2",
        "lot-abba3",
        "lot-rw",
        "held",
        "parked",
        "cond",
        "leak",
    ] {
        nothing_of(&exe, &format!("{name}-fixed"));
    }
}
