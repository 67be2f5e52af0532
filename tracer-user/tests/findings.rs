//! From a running program to a finding, through the binary: what is told, how sure it is, and what is not told.

mod common;

use std::time::Duration;

use common::cli::{Run, loiter};
use common::{GoProc, Variant, go_build, need_bpf, need_root, or_skip};
use serde_json::Value;

const GO: &str = "1.27.3";

fn diagnose(process: &GoProc) -> Run {
    loiter(&["diagnose", &process.pid().to_string(), "--format", "jsonl"])
}

fn function(site: &Value) -> &str {
    site["function"].as_str().unwrap_or_default()
}

#[test]
fn a_crowd_at_one_lock_is_named_within_ten_seconds_of_a_late_attach() {
    or_skip!(need_root());
    for version in ["1.19", GO] {
        let exe = or_skip!(go_build(version, "mutexcrowd", Variant::Stripped));
        let (process, ready) = GoProc::start_ready(&exe, &["-n", "23000"]);
        let run = diagnose(&process);
        run.assert_code(1);
        assert!(run.took < Duration::from_secs(10), "{run}");
        let findings = run.findings();
        assert_eq!(findings.len(), 1, "{run}");
        let finding = &findings[0];
        assert_eq!(finding["kind"], "crowd", "{run}");
        assert_eq!(finding["count"], 23_000, "{run}");
        assert_eq!(function(&finding["spawn_site"]), "main.main", "{run}");
        assert!(function(&finding["wait_site"]).contains("(*ledger).add"), "{run}");
        // From Go 1.26 on the goroutine says which lock it waits for.
        if version == GO {
            let lock = ready.split(' ').nth(1).unwrap();
            assert!(finding.to_string().contains(lock), "lock {lock}: {run}");
        }
        println!("go{version}: 23 000 goroutines at one lock named in {:?}", run.took);
        process.finish();
    }
}

#[test]
fn an_idle_pool_is_at_most_suspect() {
    or_skip!(need_root());
    for on in ["chan", "select", "cond"] {
        let exe = or_skip!(go_build(GO, "pool", Variant::Stripped));
        let (process, _) = GoProc::start_ready(&exe, &["-n", "1000", "-on", on]);
        let run = diagnose(&process);
        for finding in run.findings() {
            assert_eq!(finding["confidence"], "suspect", "{on}: {run}");
        }
        process.finish();
    }
}

#[test]
fn a_leak_is_told_while_it_grows_and_its_fix_is_not() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(GO, "orders", Variant::Stripped));
    for fixed in [false, true] {
        let mode: &[&str] = if fixed { &["-fixed"] } else { &[] };
        let (service, address) = GoProc::start_ready(&exe, mode);
        let (customers, _) = GoProc::start_ready(&exe, &["-drive", &address, "-rate", "200"]);
        let pid = service.pid().to_string();
        let run =
            loiter(&["watch", &pid, "--for", "15s", "--stuck-after", "5s", "--format", "jsonl"]);
        let findings = run.findings();
        if fixed {
            assert!(findings.is_empty(), "{run}");
            run.assert_code(0);
        } else {
            run.assert_code(1);
            let leak = findings.iter().find(|finding| {
                function(&finding["spawn_site"]).ends_with("placeOrder")
                    && function(&finding["wait_site"]).ends_with("recordOrder")
            });
            let leak = leak.unwrap_or_else(|| panic!("the leak is not told: {run}"));
            assert_eq!(leak["wait_reason"], "chan send", "{run}");
        }
        let summary = run.of_schema("loiter.summary/1");
        assert_eq!(summary.len(), 1, "{run}");
        customers.finish();
        service.finish();
    }
}
