//! Births, deaths, waits and losses, told by the real `loiter` about real programs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::loiter::{Loiter, run_json};
use common::{GoProc, NEWEST_GO, Variant, go_build, need_bpf, or_skip};
use serde_json::Value;

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a number: {value}"))
}

fn lost(summary: &Value) -> u64 {
    summary["lost"].as_object().expect("lost is an object").values().map(number).sum()
}

/// All births and deaths told: also deaths of goroutines whose birth was lost, which belong to no spawn site.
fn births_and_deaths(summary: &Value) -> (u64, u64) {
    (number(&summary["births"]), number(&summary["deaths"]))
}

/// The program, with the runtime's own workers born: from then on every birth is one of the million.
fn start_million(exe: &std::path::Path) -> GoProc {
    let (mut target, _) = GoProc::start_ready(exe, &["-n", "1000000"]);
    target.ask("run 200000", "done");
    target
}

#[test]
fn a_million_goroutines_are_born_and_die_or_are_counted_as_lost() {
    or_skip!(need_bpf());
    for version in ["1.19", NEWEST_GO] {
        let exe = or_skip!(go_build(version, "million", Variant::Stripped));
        let mut target = start_million(&exe);
        let loiter = Loiter::watch(target.pid(), &["--events", "lifecycle"]);
        target.ask("run", "done");
        let (_, summary, _) = loiter.interrupt();
        let (births, deaths) = births_and_deaths(&summary);
        let lost = lost(&summary);
        let site = &summary["spawn_sites"][0];
        assert_eq!(site["function"], "main.run", "{summary}");
        assert_eq!(site["births"], births, "{summary}");
        println!("go {version}: births {births}, deaths {deaths}, lost {lost}");
        assert!(births <= 1_000_000 && deaths <= 1_000_000, "{summary}");
        assert_eq!(2_000_000 - births - deaths, lost, "{summary}");
        target.finish();
    }
}

#[test]
fn with_a_ring_of_one_page_every_loss_is_counted_and_a_look_heals_the_model() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "million", Variant::Stripped));
    let mut target = start_million(&exe);
    let args = ["--events", "lifecycle", "--ring-size", "4KiB", "--interval", "1s"];
    let mut loiter = Loiter::watch(target.pid(), &args);
    target.ask("run", "done");
    // A look that begins after the load heals: what it finds is what the model must then hold.
    let said = loiter.messages_so_far();
    loiter.wait_message_after(said, "made good");
    let (code, summary, lines) = loiter.interrupt();
    let (births, deaths) = births_and_deaths(&summary);
    let lost = lost(&summary);
    println!("births {births}, deaths {deaths}, lost {lost}");
    assert!(lost > 0, "a page should be too small: {summary}");
    assert_eq!(2_000_000 - births - deaths, lost, "{summary}");
    let pid = target.pid().to_string();
    let dump = run_json(&["dump", &pid, "--format", "json"]);
    let alive = dump["tasks"].as_array().map_or(0, Vec::len);
    assert_eq!(number(&summary["alive"]), alive as u64, "{summary}");
    let findings = lines.iter().filter(|l| l["schema"] == "loiter.finding/1").count();
    assert_eq!((code, findings), (0, 0), "no finding may come from lost events: {lines:?}");
    target.finish();
}

/// One wait as the workload tells it: goid, kind, start.
struct Told {
    goid: u64,
    kind: String,
    start: i64,
}

fn told(lines: &[String]) -> Vec<Told> {
    let blocking = lines.iter().filter_map(|line| line.strip_prefix("blocking "));
    blocking
        .map(|rest| {
            let words: Vec<&str> = rest.split_whitespace().collect();
            Told {
                goid: words[0].parse().expect("a goid"),
                kind: words[1].to_owned(),
                start: words[3].parse().expect("ns"),
            }
        })
        .collect()
}

/// Start of a task's wait on CLOCK_MONOTONIC and whether it is exact, from the findings.
fn wait_of(lines: &[Value], goid: u64) -> Option<(i64, bool)> {
    let findings = lines.iter().filter(|l| l["schema"] == "loiter.finding/1");
    let mut waits =
        findings.flat_map(|l| l["evidence"]["waits"].as_array().cloned().unwrap_or_default());
    let last = waits.rfind(|w| w["id"] == goid)?;
    Some((last["since_monotonic_ns"].as_i64()?, last["exact"].as_bool()?))
}

const KINDS: [&str; 7] =
    ["chan-receive", "chan-send", "select", "mutex", "rwmutex", "waitgroup", "cond"];

/// What the project promises for exact waits.
const PRECISION_NS: i64 = 2_000_000;

fn waits_are_exact_or_at_least(mode: &[&str]) {
    let exe = or_skip!(go_build(NEWEST_GO, "waits", Variant::Stripped));
    let (mut target, _) = GoProc::start_ready(&exe, &["-old", "4"]);
    let mut args = vec!["--events", "all", "--stuck-after", "1s", "--interval", "500ms"];
    args.extend(mode);
    let mut loiter = Loiter::watch(target.pid(), &args);
    let watched_from = common::process::monotonic();
    for kind in KINDS {
        target.ask(&format!("block {kind} 4"), "blocked");
    }
    let all = told(target.seen());
    let wanted: Vec<&Told> = all.iter().filter(|t| t.kind != "sleep").collect();
    // A finding that grows a little is not told again before the end; so wait until nothing new comes.
    let told = |lines: &[Value]| wanted.iter().all(|t| wait_of(lines, t.goid).is_some());
    let quiet = std::time::Duration::from_secs(4);
    while !told(&loiter.lines) {
        let seen = loiter.lines.len();
        if !loiter.more_lines(seen, std::time::Instant::now() + quiet) {
            break;
        }
    }
    let (_, _, lines) = loiter.interrupt();
    let missing = wanted.iter().filter(|t| wait_of(&lines, t.goid).is_none());
    let missing: Vec<_> = missing.map(|t| (t.goid, &t.kind)).collect();
    assert!(missing.is_empty(), "these waits are not told: {missing:?} {lines:?}");
    let mut worst = 0;
    for t in &wanted {
        let (since, exact) = wait_of(&lines, t.goid).expect("just checked");
        let off = since - t.start;
        if t.start > watched_from {
            assert!(exact, "goroutine {} ({}) was seen to park", t.goid, t.kind);
            assert!(off.abs() <= PRECISION_NS, "goroutine {} ({}): {off} ns off", t.goid, t.kind);
            worst = worst.max(off.abs());
        } else if exact {
            // Of one in eight waits for a mutex the runtime itself writes down when it began.
            assert!(off.abs() <= PRECISION_NS, "goroutine {} ({}): {off} ns off", t.goid, t.kind);
        } else {
            assert!(off >= 0, "at least means no more than the truth: {off} ns");
        }
    }
    println!("{} waits, exact ones at most {} µs off", wanted.len(), worst / 1000);
    target.ask("release", "released");
    target.finish();
}

#[test]
fn waits_that_began_before_the_watch_are_at_least_and_later_ones_are_exact() {
    or_skip!(need_bpf());
    waits_are_exact_or_at_least(&[]);
}

#[test]
fn with_a_min_wait_in_the_kernel_waits_that_go_on_are_exact_all_the_same() {
    or_skip!(need_bpf());
    waits_are_exact_or_at_least(&["--min-wait", "100ms"]);
}
