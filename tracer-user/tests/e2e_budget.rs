//! A watch keeps its budget on real programs: probes come off when they cost too much and come back when it is
//! quiet, it says so, and neither a record nor the truth is lost over it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::{Duration, Instant};

use common::loiter::Loiter;
use common::{GoProc, NEWEST_GO, Variant, go_build, need_bpf, or_skip};
use serde_json::Value;

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a number: {value}"))
}

fn changes(lines: &[Value]) -> Vec<(String, String)> {
    let changes = lines.iter().filter(|line| line["schema"] == "loiter.mode/1");
    let words = |line: &Value, key: &str| line[key].as_str().expect("a word").to_owned();
    changes.map(|line| (words(line, "mode"), words(line, "why"))).collect()
}

fn wait_for_mode(loiter: &mut Loiter, seen: usize, mode: &str) -> Value {
    let what = format!("events {mode}");
    // Moments that come again and again are no change that stays.
    let stays = |l: &Value| l["schema"] == "loiter.mode/1" && l["sampled"].is_null();
    loiter.wait_line_after(seen, &what, |l| stays(l) && l["mode"] == mode)
}

/// What the promise is on an idle machine with uprobe_multi, and what is asked for where the
/// tests of others run beside.
const IN_TIME: Duration = Duration::from_secs(1);
/// The same with perf-event uprobes.
const IN_TIME_BY_EVENTS: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_burst_takes_the_probes_off_and_quiet_brings_them_back_without_loss_or_false_finding() {
    or_skip!(need_bpf());
    burst("uprobe-multi", IN_TIME);
}

#[test]
fn with_perf_events_a_burst_takes_the_probes_off_as_well() {
    or_skip!(need_bpf());
    burst("perf-events", IN_TIME_BY_EVENTS);
}

fn burst(attach: &str, in_time: Duration) {
    let exe = go_build(NEWEST_GO, "million", Variant::Stripped).expect("a Go toolchain");
    let (mut target, _) = GoProc::start_ready(&exe, &["-park", "-procs", "1"]);
    target.ask("run 1000", "done");
    // What this costs unoptimised, on a machine that does other things, is not what it costs.
    let args = ["--events", "all", "--budget", "5%", "--interval", "1s", "--ring-size", "64MiB"];
    let args = [&args[..], &["--attach", attach]].concat();
    let mut loiter = Loiter::watch(target.pid(), &args);
    let seen = loiter.lines.len();
    let began = Instant::now();
    target.tell("run 5000000");
    let down = wait_for_mode(&mut loiter, seen, "none");
    let took = began.elapsed();
    println!("a burst, {attach}: {} after {took:?}: {}", down["mode"], down["why"]);
    assert!(took < PATIENCE, "{took:?}");
    let slow = if took > in_time { " (late: a busy machine?)" } else { "" };
    target.wait_for("done");
    let seen = loiter.lines.len();
    let quiet = Instant::now();
    wait_for_mode(&mut loiter, seen, "all");
    println!("quiet: events all again after {:?}{slow}", quiet.elapsed());
    // The probes that came back are of use.
    target.ask("run 2000", "done");
    let (code, summary, lines) = loiter.interrupt();
    println!("{:?}\n{}", changes(&lines), summary["cost"]);
    let findings: Vec<_> = lines.iter().filter(|l| l["schema"] == "loiter.finding/1").collect();
    assert_eq!((code, findings.len()), (0, 0), "{findings:?}");
    let lost: u64 = summary["lost"].as_object().unwrap().values().map(number).sum();
    let (births, deaths) = (number(&summary["births"]), number(&summary["deaths"]));
    assert!(births < 5_000_000, "the probes were off for most of the burst: {births}");
    if took <= in_time {
        assert_eq!(lost, 0, "{summary}");
    }
    assert!(births >= 2_000 && deaths >= 2_000, "{summary}");
    for mode in ["none", "all"] {
        assert!(number(&summary["modes"][mode]) > 0, "{summary}");
    }
    let cost = &summary["cost"];
    assert!(number(&cost["hits"]) > 0 && number(&cost["changes"]) >= 2, "{summary}");
    target.assert_alive();
    target.finish();
}

#[test]
fn what_is_asked_for_is_a_ceiling_and_without_a_budget_it_is_what_is_done() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "million", Variant::Stripped));
    let (mut target, _) = GoProc::start_ready(&exe, &["-park"]);
    let mut ceiling = Loiter::watch(target.pid(), &["--events", "lifecycle", "--budget", "50%"]);
    let mut free = Loiter::watch(target.pid(), &["--events", "all", "--budget", "off"]);
    let mut open = Loiter::watch(target.pid(), &["--budget", "50%"]);
    wait_for_mode(&mut open, 0, "all");
    target.ask("run 300000", "done");
    // A look after that shows that all of it was eaten.
    for loiter in [&mut ceiling, &mut free] {
        assert!(!loiter.more_lines(1_000, Instant::now() + Duration::from_secs(2)));
    }
    for (loiter, mode) in [(ceiling, "lifecycle"), (free, "all")] {
        let (_, summary, lines) = loiter.interrupt();
        assert!(changes(&lines).iter().all(|(to, _)| to != "all"), "{lines:?}");
        assert_eq!(summary["mode"], mode, "{summary}");
    }
    target.finish();
}

#[test]
fn the_cost_that_is_told_is_a_part_of_what_the_kernel_accounts_for() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "pingpong", Variant::Stripped));
    let (mut target, _) = GoProc::start_ready(&exe, &["-procs", "1"]);
    let args = ["--events", "all", "--budget", "100%", "--for", "4s"];
    let (_, summary, _) = Loiter::watch(target.pid(), &args).end();
    let cost = &summary["cost"];
    println!("{cost}");
    let (hits, probes) = (number(&cost["hits"]), number(&cost["probes_ns"]));
    assert!(hits > 0 && probes / hits >= 300, "{cost}");
    assert!(probes <= number(&cost["target_ns"]), "{cost}");
    target.assert_alive();
    target.finish();
}

#[test]
fn what_costs_too_much_for_long_is_followed_for_moments_and_that_is_told_once() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "pingpong", Variant::Stripped));
    let (mut target, _) = GoProc::start_ready(&exe, &["-procs", "1"]);
    // What is asked for at first costs several times that: it is known then what moments cost.
    let args = ["--events", "all", "--budget", "10%"];
    let mut loiter = Loiter::watch(target.pid(), &args);
    let told = loiter.wait_line_after(0, "moments", |l| {
        l["schema"] == "loiter.mode/1" && l["sampled"].is_object()
    });
    println!("{told}");
    let (moment, every) =
        (number(&told["sampled"]["for_ns"]), number(&told["sampled"]["every_ns"]));
    assert!(moment == 200_000_000 && every >= 10_000_000_000, "{told}");
    // Two moments more.
    let enough = Instant::now() + 2 * Duration::from_nanos(every);
    while Instant::now() < enough {
        loiter.more_lines(usize::MAX, enough);
    }
    let (code, summary, lines) = loiter.interrupt();
    println!("{}\n{}", summary["modes"], summary["cost"]);
    let told = lines.iter().filter(|l| l["sampled"].is_object()).count();
    let stayed = number(&summary["cost"]["changes"]);
    assert!(told as u64 <= stayed + 1, "told once after each change: {told}, {stayed}");
    assert_eq!(code, 0, "{summary}");
    target.assert_alive();
    target.finish();
}
