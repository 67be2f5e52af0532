//! What a user has said of a program is heeded, for a real one: idle functions and baselines.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;

use common::loiter::run;
use common::{GoProc, NEWEST_GO, Variant, go_build, need_root, or_skip};
use serde_json::Value;

/// So many wait for the lock.
const CROWD: &str = "300";

/// What `diagnose` found, its summary, and its exit code.
fn diagnose(target: &GoProc, args: &[&str]) -> (Vec<Value>, Value, i32) {
    let pid = target.pid().to_string();
    let output = run(&[&["diagnose", &pid, "--format", "jsonl"], args].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}")))
        .collect();
    let summary = lines.pop().unwrap_or_else(|| panic!("no summary: {said}"));
    assert_eq!(summary["schema"], "loiter.summary/1", "{said}");
    (lines, summary, output.status.code().unwrap())
}

#[test]
fn an_acknowledged_finding_is_silent_until_its_day_has_passed() {
    or_skip!(need_root());
    let exe = or_skip!(go_build(NEWEST_GO, "mutexcrowd", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &["-n", CROWD]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("known.toml");
    let file = path.to_str().unwrap();

    let write = ["--write-baseline", file, "--owner", "ledger team", "--until", "2199-12-31"];
    let (found, _, code) = diagnose(&target, &write);
    assert_eq!((found.len(), code), (1, 0), "{found:?}");
    let id = found[0]["finding_id"].as_str().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(id) && text.contains("main.(*ledger).add"), "{text}");

    let (found, summary, code) = diagnose(&target, &["--baseline", file]);
    assert_eq!((found.len(), code), (0, 0), "{found:?}");
    assert_eq!(summary["findings"], 0, "{summary}");
    assert!(summary["watched_ns"].as_u64().unwrap() > 4_000_000_000, "{summary}");
    let acknowledged = &summary["acknowledged"][0];
    assert_eq!(acknowledged["finding_id"], id);
    assert_eq!(acknowledged["owner"], "ledger team");
    assert_eq!(acknowledged["until"], "2199-12-31");

    // Written again, nothing changes, not even a comment.
    let noted = format!("# by hand\n{text}");
    fs::write(&path, &noted).unwrap();
    let (_, _, code) = diagnose(&target, &write);
    assert_eq!((fs::read_to_string(&path).unwrap(), code), (noted, 0));

    fs::write(&path, text.replace("2199-12-31", "2020-12-31")).unwrap();
    let (found, summary, code) = diagnose(&target, &["--baseline", file]);
    assert_eq!((found.len(), code), (1, 1), "{found:?}");
    assert_eq!(found[0]["expired"]["owner"], "ledger team");
    assert_eq!(summary["acknowledged"], Value::Array(vec![]));
}

#[test]
fn what_is_named_idle_is_listed_with_its_name_and_its_reason_and_not_flagged() {
    or_skip!(need_root());
    let exe = or_skip!(go_build(NEWEST_GO, "mutexcrowd", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &["-n", CROWD]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("idle.txt");
    fs::write(&path, "# known\nmain.(*ledger).add = booking queue\n").unwrap();
    let (found, summary, code) = diagnose(&target, &["--idle-file", path.to_str().unwrap()]);
    assert_eq!((found.len(), code), (0, 0), "{found:?}");
    let idle = summary["idle"].as_array().unwrap();
    let named = idle.iter().find(|i| i["name"] == "booking queue").unwrap();
    assert_eq!(named["count"].as_u64().unwrap().to_string(), CROWD);
    assert!(named["why"].as_str().unwrap().ends_with("idle.txt, line 2"), "{named}");
}

#[test]
fn how_sure_a_finding_must_be_to_fail_or_to_be_told_is_the_users() {
    or_skip!(need_root());
    let exe = or_skip!(go_build(NEWEST_GO, "pool", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &["-n", "300", "-on", "chan"]);
    let (found, summary, code) = diagnose(&target, &[]);
    assert!(!found.is_empty() && found.iter().all(|f| f["confidence"] == "suspect"), "{found:?}");
    assert_eq!((&summary["findings_by_confidence"]["likely"], code), (&Value::from(0), 0));
    assert_eq!(diagnose(&target, &["--fail-on", "suspect"]).2, 1);
    let (found, _, code) = diagnose(&target, &["--min-confidence", "likely"]);
    assert_eq!((found.len(), code), (0, 0), "{found:?}");
}
