//! What `watch` says of the state of goroutines in real programs: blocked for ever, waiting for
//! locks and groups, running without a stop, ready and not let - and of a program that is stopped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::{Duration, Instant};

use common::loiter::Loiter;
use common::{
    Cgroup, Controller, GoProc, NEWEST_GO, OLDEST_GO, Variant, go_build, need_bpf, need_root,
    or_skip,
};
use serde_json::Value;

const MODES: [&str; 3] = ["none", "lifecycle", "all"];

fn oldest_and_newest() -> [&'static str; 2] {
    [OLDEST_GO, NEWEST_GO]
}

fn watch(pid: u32, mode: &str, more: &[&str]) -> Loiter {
    let mut args = vec!["--events", mode, "--stuck-after", "3s", "--interval", "250ms"];
    args.extend(more);
    Loiter::watch(pid, &args)
}

/// The function of a site of a finding; empty if it is not known.
fn function<'a>(finding: &'a Value, site: &str) -> &'a str {
    finding[site]["function"].as_str().unwrap_or("")
}

/// Whether a finding is of this kind at this function, with at least this confidence.
fn is(finding: &Value, kind: &str, at: &str, least: &[&str]) -> bool {
    let sure = finding["confidence"].as_str().unwrap_or("");
    finding["schema"] == "loiter.finding/1"
        && finding["kind"] == kind
        && function(finding, "wait_site") == at
        && least.contains(&sure)
}

fn says(finding: &Value, words: &str) -> bool {
    let reasons = finding["evidence"]["reasons"].as_array();
    reasons.is_some_and(|all| all.iter().any(|r| r.as_str().is_some_and(|r| r.contains(words))))
}

/// Collects what is told until `end`.
fn listen(loiter: &mut Loiter, length: Duration) {
    let end = Instant::now() + length;
    while loiter.more_lines(loiter.lines.len(), end) {}
}

fn findings(loiter: &Loiter) -> Vec<&Value> {
    loiter.lines.iter().filter(|l| l["schema"] == "loiter.finding/1").collect()
}

fn waits_for_locks(version: &str, mode: &str) {
    let exe = or_skip!(go_build(version, "locks", Variant::Stripped));
    let (mut target, _) = GoProc::start_ready(&exe, &[]);
    // Without events it is met late, with all of them waiting.
    let early = (mode != "none").then(|| watch(target.pid(), mode, &[]));
    let began = Instant::now();
    let waiting = target.ask("go", "waiting");
    let lock = waiting.split_whitespace().last().unwrap().to_owned();
    let mut loiter = early.unwrap_or_else(|| watch(target.pid(), mode, &[]));
    let mut expected = vec![
        ("blocked-for-ever", "main.selectsNothing", &["certain"][..]),
        ("stuck", "main.deposit", &["likely"]),
        ("stuck", "main.withdraw", &["likely"]),
        ("stuck", "main.report", &["likely"]),
        ("stuck", "main.write", &["likely"]),
        ("stuck", "main.read", &["likely"]),
    ];
    if mode != "none" {
        expected.push(("stuck", "main.forgetsDone", &["likely"]));
    }
    for (kind, at, least) in expected {
        let found = loiter.wait_line(at, |l| is(l, kind, at, least));
        let took = began.elapsed().as_secs_f64();
        let object = &found["evidence"]["objects"][0]["object"];
        println!(
            "go {version} {mode}: {kind} at {at}, {}, {took:.1} s, {object}",
            found["confidence"]
        );
        if ["main.deposit", "main.withdraw", "main.report"].contains(&at) {
            assert_eq!(object["lock"], "mutex");
            assert_eq!((&object["address"], &object["held"]), (&lock.clone().into(), &1.into()));
            assert!(says(&found, "has 7 waiters at 3 sites"), "{found}");
        }
    }
    listen(&mut loiter, Duration::from_secs(3));
    for right in ["main.supervise", "main.closeAfter", "main.pipeline", "main.ticks", "main.begin"]
    {
        let told = findings(&loiter);
        let wrong =
            told.iter().find(|f| function(f, "wait_site") == right && f["confidence"] != "suspect");
        assert!(wrong.is_none(), "go {version} {mode}: {wrong:?}");
        if right == "main.supervise" {
            let any = told.iter().find(|f| function(f, "wait_site") == right);
            assert!(any.is_none(), "go {version} {mode}: {any:?}");
        }
    }
    loiter.interrupt();
}

#[test]
fn locks_groups_and_what_is_blocked_for_ever_are_told_apart() {
    or_skip!(need_bpf());
    for version in oldest_and_newest() {
        for mode in MODES {
            waits_for_locks(version, mode);
        }
    }
}

/// Waits for a finding of this kind.
fn find(loiter: &mut Loiter, kind: &str) -> Value {
    loiter.wait_line(kind, |l| l["schema"] == "loiter.finding/1" && l["kind"] == kind)
}

#[test]
fn a_loop_without_end_is_a_suspect_hog() {
    or_skip!(need_bpf());
    for version in oldest_and_newest() {
        let exe = or_skip!(go_build(version, "hog", Variant::Stripped));
        for mode in MODES {
            for processors in ["1", "2"] {
                let env = [("GOMAXPROCS", processors)];
                let mut target = GoProc::start_with(&exe, &[], &env);
                target.wait_for("ready");
                let mut loiter = watch(target.pid(), mode, &[]);
                let began = Instant::now();
                let hog = find(&mut loiter, "hog");
                println!(
                    "go {version} {mode} GOMAXPROCS={processors}: {} in {:.1} s: {}",
                    hog["confidence"],
                    began.elapsed().as_secs_f64(),
                    hog["evidence"]["reasons"]
                );
                assert_eq!((&hog["confidence"], &hog["count"]), (&"suspect".into(), &1.into()));
                assert_eq!(function(&hog, "spawn_site"), "main.main");
                let others = findings(&loiter).iter().filter(|f| f["kind"] != "hog").count();
                assert_eq!(others, 0, "{:?}", findings(&loiter));
                loiter.interrupt();
            }
        }
    }
}

#[test]
fn a_busy_server_has_neither_hogs_nor_starves() {
    or_skip!(need_bpf());
    for (version, mode) in oldest_and_newest().into_iter().zip(["none", "all"]) {
        let exe = or_skip!(go_build(version, "hog", Variant::Stripped));
        let env = [("GOMAXPROCS", "2")];
        let mut target = GoProc::start_with(&exe, &["-healthy", "-n", "2"], &env);
        target.wait_for("ready");
        let mut loiter = watch(target.pid(), mode, &["--for", "15s"]);
        listen(&mut loiter, Duration::from_secs(14));
        assert!(findings(&loiter).is_empty(), "go {version} {mode}: {:?}", findings(&loiter));
        loiter.end();
    }
}

#[test]
fn who_is_not_let_while_a_loop_that_cannot_be_put_off_runs_starves() {
    or_skip!(need_bpf());
    for version in oldest_and_newest() {
        let exe = or_skip!(go_build(version, "hog", Variant::Stripped));
        for mode in MODES {
            let env = [("GOMAXPROCS", "1"), ("GODEBUG", "asyncpreemptoff=1")];
            let mut target = GoProc::start_with(&exe, &["-ready", "20"], &env);
            target.wait_for("ready");
            let mut loiter = watch(target.pid(), mode, &[]);
            let began = Instant::now();
            let starved = loiter.wait_line("who starves", |l| {
                l["kind"] == "starved" && l["confidence"] == "likely"
            });
            println!(
                "go {version} {mode}: {} starved, {} in {:.1} s: {}",
                starved["count"],
                starved["confidence"],
                began.elapsed().as_secs_f64(),
                starved["evidence"]["reasons"]
            );
            assert_eq!(starved["count"], 20);
            assert_eq!(function(&starved, "spawn_site"), "main.main");
            let hog =
                loiter.wait_line("the hog", |l| l["kind"] == "hog" && l["confidence"] == "likely");
            assert!(says(&hog, "20 others may run and are not let"), "{hog}");
            loiter.interrupt();
            drop(target);
        }
    }
}

#[test]
fn a_stopped_program_is_said_to_be_stopped_and_nothing_in_it_is_called_wrong() {
    or_skip!(need_root());
    let exe = or_skip!(go_build(oldest_and_newest()[1], "hog", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &["-n", "2"]);
    target.signal(libc::SIGSTOP);
    let mut loiter = watch(target.pid(), "none", &[]);
    loiter.wait_message("stopped by a signal");
    listen(&mut loiter, Duration::from_secs(8));
    assert!(findings(&loiter).is_empty(), "{:?}", findings(&loiter));
    target.signal(libc::SIGCONT);
    let resumed = Instant::now();
    loiter.wait_message("goes on");
    let hog = find(&mut loiter, "hog");
    assert!(resumed.elapsed() >= Duration::from_secs(3), "{hog}");
    loiter.interrupt();
}

#[test]
fn a_frozen_program_is_said_to_be_frozen_and_nothing_in_it_is_called_wrong() {
    let cgroup = or_skip!(Cgroup::new(Controller::Freezer));
    let exe = or_skip!(go_build(oldest_and_newest()[1], "hog", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &["-n", "2"]);
    cgroup.add(target.pid());
    cgroup.freeze();
    let mut loiter = watch(target.pid(), "none", &[]);
    loiter.wait_message("frozen with its cgroup");
    listen(&mut loiter, Duration::from_secs(8));
    assert!(findings(&loiter).is_empty(), "{:?}", findings(&loiter));
    cgroup.thaw();
    loiter.wait_message("goes on");
    find(&mut loiter, "hog");
    loiter.interrupt();
}

#[test]
fn a_program_whose_quota_is_used_up_is_no_more_than_suspect_until_it_runs_again() {
    let cgroup = or_skip!(Cgroup::new(Controller::Cpu));
    let exe = or_skip!(go_build(oldest_and_newest()[1], "locks", Variant::Stripped));
    let hog = or_skip!(go_build(oldest_and_newest()[1], "hog", Variant::Stripped));
    let (mut target, _) = GoProc::start_ready(&exe, &[]);
    target.ask("go", "waiting");
    let (spender, _) = GoProc::start_ready(&hog, &["-n", "2"]);
    cgroup.set_quota(1_000);
    cgroup.add(spender.pid());
    cgroup.add(target.pid());
    let mut loiter = watch(target.pid(), "none", &[]);
    let at = |l: &Value| is(l, "stuck", "main.deposit", &["suspect", "likely"]);
    let found = loiter.wait_line("main.deposit", at);
    assert_eq!(found["confidence"], "suspect", "{found}");
    assert!(says(&found, "the process itself was kept from running"), "{found}");
    drop(spender);
    cgroup.lift_quota();
    loiter.wait_line("main.deposit", |l| is(l, "stuck", "main.deposit", &["likely"]));
    loiter.interrupt();
}

#[test]
fn a_ring_too_small_calls_nothing_wrong_that_is_right() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(oldest_and_newest()[1], "hog", Variant::Stripped));
    let env = [("GOMAXPROCS", "2")];
    let mut target = GoProc::start_with(&exe, &["-healthy", "-n", "50"], &env);
    target.wait_for("ready");
    let mut loiter = watch(target.pid(), "all", &["--ring-size", "4KiB", "--for", "15s"]);
    listen(&mut loiter, Duration::from_secs(14));
    let wrong: Vec<&Value> =
        findings(&loiter).into_iter().filter(|f| f["confidence"] != "suspect").collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    loiter.end();
}
