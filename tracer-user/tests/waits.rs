//! How long a wait is said to last, against what the program itself knows: exact where its start was seen, and
//! never too long where it was not.

mod common;

use std::collections::HashMap;

use common::cli::Watching;
use common::{GoProc, Variant, go_build, need_bpf, or_skip};
use serde_json::Value;

/// How far a wait's start may be off, ns.
const TOLERANCE: i128 = 2_000_000;
const GO: &str = "1.27.3";
/// Kinds of waits that a program can be stuck in.
const KINDS: [&str; 7] =
    ["chan-receive", "chan-send", "select", "mutex", "rwmutex", "waitgroup", "cond"];

/// `blocking GOID KIND BORN START`: kind and start by goroutine.
fn starts(lines: &[String]) -> HashMap<u64, (String, i128)> {
    let blocking = lines.iter().filter_map(|line| line.strip_prefix("blocking "));
    let parse = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        (words[0].parse().unwrap(), (words[1].to_owned(), words[3].parse().unwrap()))
    };
    blocking.map(parse).collect()
}

/// ns between the wall clock and CLOCK_MONOTONIC.
fn wall_minus_monotonic() -> i128 {
    let clock = |id| {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: writes one timespec.
        assert_eq!(unsafe { libc::clock_gettime(id, &mut time) }, 0);
        i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
    };
    clock(libc::CLOCK_REALTIME) - clock(libc::CLOCK_MONOTONIC)
}

/// The start of a finding's oldest wait on CLOCK_MONOTONIC, and whether it is exact.
fn told_start(finding: &Value) -> (i128, bool) {
    let at: jiff::Timestamp = finding["at"].as_str().unwrap().parse().unwrap();
    let waited = i128::from(finding["oldest_wait_ns"].as_u64().unwrap());
    let exact = finding["evidence"]["oldest_wait_exact"].as_bool().unwrap();
    (at.as_nanosecond() - wall_minus_monotonic() - waited, exact)
}

#[test]
fn waits_that_begin_under_watch_are_exact_and_older_ones_are_at_least() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(GO, "waits", Variant::Stripped));
    let (mut process, _) = GoProc::start_ready(&exe, &["-old", "1"]);
    let old = starts(process.seen());
    let args = ["--events", "all", "--stuck-after", "1s", "--interval", "500ms"];
    let mut watch = Watching::start(process.pid(), &args);
    for kind in KINDS {
        process.ask(&format!("block {kind} 1"), "blocked 1");
    }
    let all = starts(process.seen());
    let mut told: HashMap<u64, (i128, bool)> = HashMap::new();
    let stuck = |id: &u64| all[id].0 != "sleep";
    while !all.keys().filter(|id| stuck(id)).all(|id| told.contains_key(id)) {
        let finding = watch.next_finding();
        // Old and new ones wait at one place: the oldest stands first.
        if let Some(id) = finding["tasks"][0].as_u64() {
            told.insert(id, told_start(&finding));
        }
        for id in finding["tasks"].as_array().unwrap().iter().skip(1) {
            told.entry(id.as_u64().unwrap()).or_insert((i128::MAX, false));
        }
    }
    for (id, (kind, start)) in &all {
        let Some((told, exact)) = told.get(id).filter(|(told, _)| *told != i128::MAX) else {
            continue;
        };
        let off = told - start;
        println!("{kind} {id}: start off by {off} ns, exact: {exact}");
        if old.contains_key(id) {
            assert!(!exact, "{kind}: nobody saw it begin");
            assert!(off >= -TOLERANCE, "{kind}: told longer than it is, by {off} ns");
        } else {
            assert!(exact, "{kind}: its begin was seen");
            assert!(off.abs() <= TOLERANCE, "{kind}: off by {off} ns");
        }
    }
    watch.interrupt();
    process.ask("release", "released");
    process.finish();
}
