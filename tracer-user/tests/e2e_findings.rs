//! What `diagnose` and `watch` say of programs that are stuck, and of those that only look like it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::time::Instant;

use common::busy::Busy;
use common::loiter::{Loiter, run};
use common::{GoProc, NEWEST_GO, Variant, go_build, need_bpf, need_root, or_skip};
use serde_json::Value;

fn diagnose(pid: u32) -> (i32, Vec<Value>) {
    let pid = pid.to_string();
    let output = run(&["diagnose", &pid, "--format", "jsonl"]);
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let lines = text.lines().map(|l| serde_json::from_str(l).expect("a JSON line")).collect();
    let code = output.status.code().unwrap_or(-1);
    assert!(code == 0 || code == 1, "{code}: {}", String::from_utf8_lossy(&output.stderr));
    (code, lines)
}

fn findings(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|l| l["schema"] == "loiter.finding/1").collect()
}

#[test]
fn a_crowd_on_one_mutex_is_named_with_its_lock_and_site_within_ten_seconds() {
    or_skip!(need_root());
    for version in ["1.19", NEWEST_GO] {
        let exe = or_skip!(go_build(version, "mutexcrowd", Variant::Stripped));
        let (target, ready) = GoProc::start_ready(&exe, &["-n", "23000"]);
        let lock = ready.split_whitespace().nth(1).expect("the lock's address").to_owned();
        let (busy, began) = (Busy::now(), Instant::now());
        let (code, lines) = diagnose(target.pid());
        // What a machine that does other things did not let run is not its delay.
        let took = began.elapsed().saturating_sub(busy.since());
        let found = findings(&lines);
        let crowd = found
            .iter()
            .find(|f| f["kind"] == "crowd")
            .unwrap_or_else(|| panic!("no crowd: {lines:?}"));
        println!(
            "go {version}: {} tasks, {}, at {}, in {:.1} s",
            crowd["count"],
            crowd["confidence"],
            crowd["wait_site"]["function"],
            took.as_secs_f64()
        );
        assert!(took.as_secs() < 10, "it took {took:?}");
        assert_eq!(code, 1);
        assert_eq!(crowd["count"], 23_000);
        assert_eq!(crowd["confidence"], "likely");
        assert_eq!(crowd["wait_site"]["function"], "main.(*ledger).add");
        assert_eq!(crowd["spawn_site"]["function"], "main.main");
        assert_eq!(crowd["advice"]["pattern"], "mutex-never-unlocked");
        let object = &crowd["evidence"]["objects"][0];
        assert_eq!(object["object"]["lock"], "mutex", "{object}");
        assert_eq!(object["object"]["address"], Value::String(lock), "{object}");
        assert_eq!(object["waiters"], 23_000);
        drop(target);
    }
}

#[test]
fn idle_pool_workers_are_at_most_suspect() {
    or_skip!(need_root());
    for on in ["chan", "select", "cond"] {
        let exe = or_skip!(go_build(NEWEST_GO, "pool", Variant::Stripped));
        let (target, _) = GoProc::start_ready(&exe, &["-n", "1000", "-on", on]);
        let (_, lines) = diagnose(target.pid());
        for finding in findings(&lines) {
            println!("pool on {on}: {} {}", finding["kind"], finding["confidence"]);
            assert_eq!(finding["confidence"], "suspect", "pool on {on}: {finding}");
        }
        target.finish();
    }
}

#[test]
fn a_leaking_service_is_found_while_it_leaks_and_its_fixed_twin_is_not() {
    or_skip!(need_root());
    let exe = or_skip!(go_build(NEWEST_GO, "orders", Variant::Stripped));
    for (twin, args) in
        [("leaky", &["-quota", "50"][..]), ("fixed", &["-quota", "50", "-fixed"][..])]
    {
        let (service, address) = GoProc::start_ready(&exe, args);
        let (customers, _) = GoProc::start_ready(&exe, &["-drive", &address, "-rate", "100"]);
        let watch = ["--events", "lifecycle", "--stuck-after", "3s", "--for", "15s"];
        let mut loiter = Loiter::watch(service.pid(), &watch);
        if twin == "leaky" {
            let finding = loiter.wait_line("the leak", |l| {
                l["schema"] == "loiter.finding/1" && l["confidence"] != "suspect"
            });
            println!(
                "{twin}: {} {} at {}",
                finding["kind"], finding["count"], finding["wait_site"]
            );
            assert_eq!(finding["wait_reason"], "chan send");
            assert_eq!(finding["advice"]["pattern"], "send-full-buffer");
            assert_eq!(finding["advice"]["frame"], finding["wait_site"]);
            assert!(finding["spawn_site"]["file"].as_str().is_some_and(|f| f.ends_with("main.go")));
            let (code, _, _) = loiter.interrupt();
            assert_eq!(code, 1);
        } else {
            let (code, summary, lines) = loiter.end();
            assert_eq!((code, findings(&lines).len()), (0, 0), "{lines:?}");
            assert_eq!(summary["findings"], 0);
        }
        drop(customers);
        drop(service);
    }
}

#[test]
fn a_finding_has_the_same_id_in_every_run() {
    or_skip!(need_root());
    let exe = or_skip!(go_build(NEWEST_GO, "mutexcrowd", Variant::Stripped));
    let ids: Vec<String> = (0..2)
        .map(|_| {
            let (target, _) = GoProc::start_ready(&exe, &["-n", "500"]);
            let (_, lines) = diagnose(target.pid());
            let found = findings(&lines);
            found.first().expect("a finding")["finding_id"].as_str().expect("an id").to_owned()
        })
        .collect();
    assert_eq!(ids[0], ids[1]);
}

/// Spawn site and wait site of each finding, with its id. Not its kind: which detector speaks of a place
/// first depends on when the watch began.
fn ids(lines: &[Value]) -> BTreeMap<String, String> {
    let what = |f: &Value| format!("{} {}", f["spawn_site"], f["wait_site"]);
    findings(lines)
        .into_iter()
        .map(|f| (what(f), f["finding_id"].as_str().expect("an id").to_owned()))
        .collect()
}

#[test]
fn a_finding_keeps_its_id_when_the_tracer_or_the_program_starts_anew() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "leaks", Variant::Stripped));
    let args = ["--events", "lifecycle", "--stuck-after", "3s", "--for", "15s"];
    for pattern in ["send-full-buffer", "nil-channel", "range-never-closed"] {
        let (first, _) = GoProc::start_ready(&exe, &[pattern, "leak"]);
        let (again, _) = GoProc::start_ready(&exe, &[pattern, "leak"]);
        let both = [Loiter::watch(first.pid(), &args), Loiter::watch(again.pid(), &args)];
        let [of_first, of_again] = both.map(|watch| ids(&watch.end().2));
        let restarted = ids(&Loiter::watch(first.pid(), &args).end().2);
        assert!(!of_first.is_empty(), "{pattern} is not found");
        for (other, when) in [(&of_again, "a second run"), (&restarted, "a second watch")] {
            let mut common = 0;
            for (what, id) in other {
                if let Some(same) = of_first.get(what) {
                    assert_eq!(id, same, "{pattern}: {what} in {when}");
                    common += 1;
                }
            }
            println!("{pattern}: {common} findings of {when} have the ids of the first");
            assert!(common > 0, "{pattern}: {when} tells nothing that the first told: {other:?}");
        }
    }
}
