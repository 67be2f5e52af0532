//! Leaks and growth in real programs, and what is not one of them.
//!
//! The programs of a test run side by side, each with a loiter of its own; thresholds are a fraction of the
//! defaults, so that a test ends within a minute.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Instant;

use common::loiter::Loiter;
use common::{GO_VERSIONS, GoProc, Variant, go_build, need_bpf, or_skip};
use serde_json::Value;

const MODES: [&str; 3] = ["none", "lifecycle", "all"];

fn watch(pid: u32, mode: &str, more: &[&str]) -> Loiter {
    let mut all = vec!["--events", mode, "--stuck-after", "8s", "--leak-after", "20s"];
    all.extend(["--growth-after", "30s"]);
    all.extend(more);
    Loiter::watch(pid, &all)
}

fn findings(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|l| l["schema"] == "loiter.finding/1").collect()
}

/// A service with its customers, watched in one mode.
struct Watched {
    mode: &'static str,
    loiter: Loiter,
    began: Instant,
    _service: GoProc,
    _customers: GoProc,
}

fn service(mode: &'static str, arguments: &[&str], more: &[&str]) -> Result<Watched, String> {
    let version = GO_VERSIONS[GO_VERSIONS.len() - 1];
    let exe = go_build(version, "orders", Variant::Stripped)?;
    let (service, address) = GoProc::start_ready(&exe, arguments);
    let loiter = watch(service.pid(), mode, more);
    let (customers, _) = GoProc::start_ready(&exe, &["-drive", &address, "-rate", "20"]);
    Ok(Watched { mode, loiter, began: Instant::now(), _service: service, _customers: customers })
}

#[test]
fn a_leak_is_named_by_its_siblings_where_they_are_told_and_by_its_growth_where_not() {
    or_skip!(need_bpf());
    for mut one in or_skip!(
        MODES
            .into_iter()
            .map(|mode| service(mode, &["-quota", "40"], &[]))
            .collect::<Result<Vec<_>, _>>()
    ) {
        let kind = if one.mode == "none" { "growth" } else { "leak" };
        let found =
            one.loiter.wait_line("the leak", |l| l["kind"] == kind && l["confidence"] == "likely");
        let took = one.began.elapsed();
        println!(
            "{}: {kind} of {} after {took:.1?}: {}",
            one.mode, found["count"], found["evidence"]["reasons"]
        );
        assert_eq!(found["wait_reason"], "chan send");
        let evidence = &found["evidence"];
        if kind == "leak" {
            assert!(evidence["site"]["deaths"].as_u64() >= Some(40), "{evidence}");
            assert!(evidence["site"]["median_life_at_most_ns"].as_u64() < Some(1_000_000_000));
            assert!(evidence["ancestors"][0]["id"].as_u64() > Some(1), "{evidence}");
        } else {
            let rate = evidence["growth"]["tasks_per_minute"].as_f64().expect("a rate");
            assert!((300.0..1_500.0).contains(&rate), "20 a second: {rate}");
        }
        let (code, _, lines) = one.loiter.interrupt();
        assert_eq!(code, 1);
        let at_this_place: Vec<&Value> = findings(&lines)
            .into_iter()
            .filter(|f| f["finding_id"] == found["finding_id"] && f["change"] == "opened")
            .collect();
        assert_eq!(at_this_place.len(), 1, "one finding, whatever it is called");
    }
}

#[test]
fn the_fixed_twin_of_a_leak_is_not_told() {
    or_skip!(need_bpf());
    let all: Result<Vec<_>, _> = MODES
        .into_iter()
        .map(|mode| service(mode, &["-quota", "40", "-fixed"], &["--for", "45s"]))
        .collect();
    for one in or_skip!(all) {
        let (code, _, lines) = one.loiter.end();
        assert_eq!((code, findings(&lines).len()), (0, 0), "{}: {lines:?}", one.mode);
    }
}

#[test]
fn a_pool_is_neither_leak_nor_growth() {
    or_skip!(need_bpf());
    let version = GO_VERSIONS[GO_VERSIONS.len() - 1];
    let exe = or_skip!(go_build(version, "pool", Variant::Stripped));
    let watched: Vec<_> = MODES
        .into_iter()
        .map(|mode| {
            let (pool, _) = GoProc::start_ready(&exe, &["-n", "200"]);
            let loiter = watch(pool.pid(), mode, &["--for", "45s"]);
            (mode, pool, loiter)
        })
        .collect();
    for (mode, pool, loiter) in watched {
        let (_, _, lines) = loiter.end();
        for f in findings(&lines) {
            println!("{mode}: {} {} {}", f["kind"], f["confidence"], f["evidence"]["reasons"]);
            assert_eq!(f["confidence"], "suspect", "{mode}: {f}");
            assert!(f["kind"] != "leak" && f["kind"] != "growth", "{mode}: {f}");
        }
        pool.finish();
    }
}
