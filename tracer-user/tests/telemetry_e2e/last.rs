//! What is sent at the end.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::loiter::Loiter;
use crate::common::readers::opentelemetry_schema;
use crate::common::{GoProc, NEWEST_GO, Variant, copy_program, go_build, need_bpf, or_skip};
use crate::receiver::{Collector, Request};
use crate::{read_metrics, watch};

/// The value of the only point of a sum.
fn born(schema: &std::path::Path, request: &Request) -> u64 {
    let found = read_metrics(schema, request, "loiter_tasks_born");
    let point = found.first().map(|metric| &metric["sum"]["dataPoints"][0]["asInt"]);
    point.and_then(Value::as_str).map_or(0, |text| text.parse().unwrap())
}

fn metrics(request: &Request) -> bool {
    request.path == "/v1/metrics"
}

#[test]
fn the_last_numbers_are_sent_when_a_watch_is_told_to_end_and_when_its_process_does() {
    or_skip!(need_bpf());
    let schema = or_skip!(opentelemetry_schema());
    let exe = or_skip!(go_build(NEWEST_GO, "million", Variant::Stripped));
    for by_signal in [true, false] {
        let (mut target, _) = GoProc::start_ready(&exe, &[]);
        let collector = Collector::start(&[]);
        let url = format!("http://{}", collector.address);
        let args = ["--otlp", &url, "--otlp-every", "1h", "--events", "lifecycle"];
        let loiter = Loiter::watch(target.pid(), &args);
        let first = collector.wait("first metrics", metrics);
        assert_eq!(born(&schema, &first), 0);
        target.ask("run 2000", "done");
        let (_, summary, _) = if by_signal {
            loiter.signal(libc::SIGTERM);
            let ended = loiter.end();
            target.finish();
            ended
        } else {
            target.finish();
            loiter.end()
        };
        let last = collector.wait("last metrics", metrics);
        assert!(born(&schema, &last) >= 2_000);
        if by_signal {
            assert_eq!(born(&schema, &last), summary["births"].as_u64().unwrap(), "{summary}");
        }
        let all = summary["deliveries"].as_array().unwrap();
        let of = all.iter().find(|d| d["to"] == "otlp-metrics").unwrap();
        assert_eq!((&of["sent"], &of["dropped"]), (&2.into(), &0.into()), "{of}");
    }
}

#[test]
fn a_daemon_sends_the_last_numbers_of_all_its_processes() {
    or_skip!(need_bpf());
    let schema = or_skip!(opentelemetry_schema());
    let exe = or_skip!(go_build(NEWEST_GO, "million", Variant::Stripped));
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("last-numbers");
    copy_program(&exe, &own);
    let targets = [GoProc::start_ready(&own, &[]).0, GoProc::start_ready(&own, &[]).0];
    let collector = Collector::start(&[]);
    let url = format!("http://{}", collector.address);
    let filter = ["watch", "--all", "--name", "last-numbers", "--settle", "50ms"];
    let args = ["--format", "jsonl", "--otlp", &url, "--otlp-every", "1h"];
    let mut loiter = Loiter::start(&[&filter[..], &args].concat());
    for target in &targets {
        let pid = target.pid();
        loiter.wait_line("it is watched", |line| {
            line["schema"] == "loiter.watching/1" && line["process"]["pid"] == pid
        });
    }
    collector.wait("first metrics", metrics);
    loiter.signal(libc::SIGTERM);
    let last = collector.wait("last metrics", metrics);
    assert_eq!(read_metrics(&schema, &last, "loiter_tasks_born").len(), 2, "one for each");
    let (code, _, _) = loiter.end();
    assert_eq!(code, 0);
    for target in targets {
        target.finish();
    }
}

#[test]
fn a_finding_whose_receiver_asked_for_a_long_pause_is_sent_before_the_end() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "mutexcrowd", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &["-n", "300"]);
    let collector = Collector::start(&["503 Busy\r\nretry-after: 60"]);
    let url = format!("http://{}/", collector.address);
    let mut loiter = watch(&target, &["--webhook", &url]);
    let finding = loiter.wait_line("a finding", |line| line["schema"] == "loiter.finding/1");
    collector.wait("first attempt", |_| true);
    loiter.wait_message("trying again");
    let told = Instant::now();
    loiter.signal(libc::SIGTERM);
    let again = collector.wait("attempt at the end", |_| true);
    assert_eq!(serde_json::from_slice::<Value>(&again.body).unwrap(), finding);
    let (_, summary, _) = loiter.end();
    assert!(told.elapsed() < Duration::from_secs(30), "{:?}", told.elapsed());
    let of = &summary["deliveries"][0];
    assert!(of["sent"].as_u64().unwrap() > 0, "{summary}");
    assert_eq!((&of["failed"], &of["dropped"]), (&0.into(), &0.into()), "{summary}");
    target.finish();
}
