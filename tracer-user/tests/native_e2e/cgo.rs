//! Go programs with C code in them: goroutines are joined with the threads that run them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::common::go::{Variant, go_build, versions};
use crate::common::loiter::{Loiter, run, run_json};
use crate::common::process::GoProc;
use crate::common::{need_root, or_skip};
use crate::locks::{CIRCLE_WITHIN, STUCK_AFTER, TWIN_WATCHED};

fn build() -> Result<std::path::PathBuf, String> {
    go_build(versions().last().unwrap(), "cgolocks", Variant::Cgo)
}

/// Pairs of words that the program said after a word.
fn said(process: &GoProc, word: &str) -> BTreeSet<(u64, String)> {
    let after = process.seen().iter().filter_map(|line| {
        let (number, rest) = line.strip_prefix(word)?.trim().split_once(' ')?;
        Some((number.parse().unwrap(), rest.to_owned()))
    });
    after.collect()
}

#[test]
fn a_circle_through_c_code_names_threads_locks_and_goroutines() {
    or_skip!(need_root());
    let exe = or_skip!(build());
    let (process, _) = GoProc::start_ready(&exe, &[]);
    let (waits, runs) = (said(&process, "waits"), said(&process, "runs"));
    assert_eq!((waits.len(), runs.len()), (2, 2), "{waits:?} {runs:?}");
    let began = std::time::Instant::now();
    let args = ["--threads", "--events", "none", "--interval", "1s"];
    let args: Vec<&str> = args.into_iter().chain(STUCK_AFTER).collect();
    let mut watch = Loiter::watch(process.pid(), &args);
    let found = watch
        .wait_line("deadlock", |line| line["kind"] == "deadlock" && line["change"] != "resolved");
    eprintln!("found {:?} after the watch began", began.elapsed());
    assert!(began.elapsed() < CIRCLE_WITHIN, "{:?}", began.elapsed());
    assert_eq!(found["confidence"], "certain", "{found}");
    let steps = found["evidence"]["cycle"].as_array().unwrap();
    let number = |step: &Value| step["id"].as_u64().unwrap();
    let told =
        |step: &Value| (number(step), step["waits_on"]["address"].as_str().unwrap().to_owned());
    assert_eq!(steps.iter().map(told).collect::<BTreeSet<_>>(), waits, "{found}");
    let run_by = |step: &Value| (step["runs"].as_u64().unwrap(), number(step).to_string());
    assert_eq!(steps.iter().map(run_by).collect::<BTreeSet<_>>(), runs, "{found}");
}

#[test]
fn a_dump_joins_a_goroutine_with_its_thread_and_that_with_the_holder_of_its_lock() {
    or_skip!(need_root());
    let exe = or_skip!(build());
    let (process, _) = GoProc::start_ready(&exe, &[]);
    let runs = said(&process, "runs");
    let pid = process.pid().to_string();
    let dump = run_json(&["dump", &pid, "--threads", "--format", "json"]);
    let tasks = dump["tasks"].as_array().unwrap();
    let find =
        |kind: &str, id: u64| tasks.iter().find(|t| t["kind"] == kind && t["id"] == id).unwrap();
    let tids: BTreeSet<u64> = runs.iter().map(|(_, tid)| tid.parse().unwrap()).collect();
    for (goid, tid) in &runs {
        let goroutine = find("goroutine", *goid);
        let tid: u64 = tid.parse().unwrap();
        assert_eq!(goroutine["thread"], tid, "{goroutine}");
        let thread = find("thread", tid);
        assert_eq!(thread["wait_reason"], "mutex", "{thread}");
        assert_eq!(thread["wait_site"]["function"], "cross", "{thread}");
        let holder = thread["waits_on"]["holder"].as_u64().unwrap();
        assert!(holder != tid && tids.contains(&holder), "{thread}");
    }
    let output = run(&["dump", &pid, "--threads"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let beneath = text.lines().filter(|line| line.contains("on thread") && line.contains("mutex"));
    assert!(beneath.count() >= 1, "{text}");
}

#[test]
fn nothing_is_found_of_the_twin_that_locks_in_one_order() {
    or_skip!(need_root());
    let exe = or_skip!(build());
    let (process, _) = GoProc::start_ready(&exe, &["fixed"]);
    let args = ["--threads", "--events", "none", "--interval", "1s", "--for", TWIN_WATCHED];
    let args: Vec<&str> = args.into_iter().chain(STUCK_AFTER).collect();
    let (code, _, lines) = Loiter::watch(process.pid(), &args).end();
    let findings: Vec<_> = lines.iter().filter(|line| line["kind"].is_string()).collect();
    assert!(code == 0 && findings.is_empty(), "{findings:?}");
}
