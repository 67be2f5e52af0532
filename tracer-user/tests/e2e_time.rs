//! Leaks and growth in real programs, and what is not one of them.
//!
//! The programs of a test run side by side, each with a loiter of its own; thresholds are a fraction of the
//! defaults, so that a test ends within a minute.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Instant;

use common::loiter::Loiter;
use common::{GoProc, NEWEST_GO, Variant, go_build, need_bpf, or_skip};
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
    let version = NEWEST_GO;
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

/// A cgroup of the test's own; removed when dropped.
struct Cgroup(std::path::PathBuf);

impl Cgroup {
    fn with_limit(limit: &str) -> Result<Self, String> {
        for (root, file) in [("memory", "memory.limit_in_bytes"), ("", "memory.max")] {
            let name = format!("loiter-test-{}", std::process::id());
            let dir = std::path::Path::new("/sys/fs/cgroup").join(root).join(name);
            if std::fs::create_dir(&dir).is_ok() {
                let own = Self(dir);
                if std::fs::write(own.0.join(file), limit).is_ok() {
                    return Ok(own);
                }
            }
        }
        Err("needs a cgroup hierarchy in which limits of memory can be set".to_owned())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn the_limit_of_a_processs_cgroup_is_read() {
    use loiter::base::Pid;
    use loiter::target::MemoryGauge;

    or_skip!(common::need_root());
    let cgroup = or_skip!(Cgroup::with_limit("268435456"));
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().expect("sleep");
    std::fs::write(cgroup.0.join("cgroup.procs"), child.id().to_string()).expect("can be moved");
    let read = MemoryGauge::of(Pid(child.id())).read();
    child.kill().expect("killed");
    child.wait().expect("waited for");
    let read = read.expect("memory");
    assert_eq!(read.limit_bytes, Some(256 << 20));
    assert!(read.rss_bytes > 0 && read.rss_bytes < 256 << 20);
}

#[test]
fn a_pool_is_neither_leak_nor_growth() {
    or_skip!(need_bpf());
    let version = NEWEST_GO;
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
