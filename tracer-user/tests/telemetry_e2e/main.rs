//! What `watch` tells others, told to others: an OTLP collector that reads with OpenTelemetry's own schema, a webhook,
//! a journal, and readers of metrics with and without a token, over TLS too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod guarded;
mod journal;
mod last;
mod receiver;
mod stubborn;
mod tls;

use std::path::Path;
use std::process::Command;

use common::loiter::Loiter;
use common::readers::opentelemetry_schema;
use common::{GoProc, NEWEST_GO, Variant, go_build, need_bpf, or_skip};
use receiver::{Collector, Request};
use serde_json::Value;

/// What makes a crowd a finding at once.
const SOON: [&str; 4] = ["--interval", "500ms", "--events", "none"];

fn watch(target: &GoProc, args: &[&str]) -> Loiter {
    let mut all = SOON.to_vec();
    all.extend(args);
    Loiter::watch(target.pid(), &all)
}

fn read(schema: &Path, requests: &[Request]) -> Vec<Value> {
    let home = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/telemetry_e2e/read_otlp.py");
    let mut command = Command::new("python3");
    command.arg(script).env("PYTHONPATH", schema).env("PYTHONDONTWRITEBYTECODE", "1");
    for (n, request) in requests.iter().enumerate() {
        let file = home.path().join(n.to_string());
        std::fs::write(&file, &request.body).unwrap();
        command.arg(&request.path).arg(file);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The value of an attribute, as text.
fn attribute(of: &Value, key: &str) -> String {
    let all = of["attributes"].as_array().unwrap();
    let found = all.iter().find(|a| a["key"] == key);
    let value = &found.unwrap_or_else(|| panic!("no {key}: {of}"))["value"];
    let text = value["stringValue"].as_str().or(value["intValue"].as_str());
    text.unwrap().to_owned()
}

#[test]
fn a_collector_gets_the_metrics_and_the_findings() {
    or_skip!(need_bpf());
    let schema = or_skip!(opentelemetry_schema());
    let exe = or_skip!(go_build(NEWEST_GO, "mutexcrowd", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &["-n", "300"]);
    let collector = Collector::start(&["503 Busy", "503 Busy"]);
    let url = format!("http://{}/otlp/", collector.address);
    let mut loiter = watch(&target, &["--otlp", &url, "--otlp-every", "300ms"]);
    let log = collector.wait("log", |request| request.path == "/otlp/v1/logs");
    // The first ones may be from before the first look.
    let counted =
        |request: &Request| request.path == "/otlp/v1/metrics" && tasks_in(&schema, request) >= 300;
    let metrics = collector.wait("metrics", counted);
    assert_eq!(metrics.header("content-type"), "application/x-protobuf");
    let finding = loiter.wait_line("a finding", |line| line["schema"] == "loiter.finding/1");
    let (_, summary, _) = loiter.interrupt();

    let [log] = &read(&schema, &[at_root(&log)])[..] else { panic!() };
    let whose = &log["resourceLogs"][0]["resource"];
    assert!(!attribute(whose, "service.name").is_empty());
    assert_eq!(attribute(whose, "process.pid"), target.pid().to_string());
    let record = &log["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
    assert_eq!(attribute(record, "loiter.finding"), finding["finding_id"].as_str().unwrap());
    assert_eq!(attribute(record, "loiter.kind"), finding["kind"].as_str().unwrap());
    assert_eq!(attribute(record, "loiter.change"), "opened");
    assert_eq!(attribute(record, "loiter.tasks"), finding["count"].to_string());
    assert!(record["severityNumber"].is_string(), "{record}");
    assert!(record["body"]["stringValue"].as_str().unwrap().contains("created at"), "{record}");

    let looks = read_metrics(&schema, &metrics, "loiter_looks");
    assert_eq!(looks[0]["sum"]["isMonotonic"], true, "{looks:?}");
    assert!(looks[0]["sum"]["dataPoints"][0]["startTimeUnixNano"].is_string(), "{looks:?}");
    for to in ["otlp-logs", "otlp-metrics"] {
        let all = summary["deliveries"].as_array().unwrap();
        let of = all.iter().find(|d| d["to"] == to).unwrap();
        assert!(of["sent"].as_u64().unwrap() > 0 && of["failed"] == 0, "{of}");
    }
    assert_eq!(collector.answers_left(), 0, "what was refused for now was sent again");
    target.finish();
}

/// Tasks of the program, all states together.
fn tasks_in(schema: &Path, request: &Request) -> u64 {
    let tasks = read_metrics(schema, request, "loiter_tasks");
    let points = tasks.iter().filter_map(|m| m["gauge"]["dataPoints"].as_array()).flatten();
    points.map(|p| p["asInt"].as_str().unwrap().parse::<u64>().unwrap()).sum()
}

/// As if it had been sent to the root.
fn at_root(request: &Request) -> Request {
    Request { path: request.path.trim_start_matches("/otlp").to_owned(), ..request.clone() }
}

/// The metrics of this name, of all resources.
pub fn read_metrics(schema: &Path, request: &Request, name: &str) -> Vec<Value> {
    let [read] = &read(schema, &[at_root(request)])[..] else { panic!() };
    let resources = read["resourceMetrics"].as_array().unwrap();
    let scopes = resources.iter().filter_map(|r| r["scopeMetrics"][0]["metrics"].as_array());
    scopes.flatten().filter(|m| m["name"] == name).cloned().collect()
}

#[test]
fn a_webhook_gets_the_lines_of_jsonl_with_its_token_and_is_asked_again_until_it_takes_them() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "mutexcrowd", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &["-n", "300"]);
    let home = tempfile::tempdir().unwrap();
    let token = home.path().join("token");
    std::fs::write(&token, "hook-secret\n").unwrap();
    let collector = Collector::start(&["429 Slowly\r\nretry-after: 1", "502 Bad"]);
    let url = format!("http://{}/hook?x=1", collector.address);
    let args = ["--webhook", &url, "--webhook-token-file", token.to_str().unwrap()];
    let mut loiter = watch(&target, &args);
    let line = loiter.wait_line("a finding", |line| line["schema"] == "loiter.finding/1");
    for attempt in 1..=3 {
        let request = collector.wait(&format!("attempt {attempt}"), |_| true);
        assert_eq!(request.path, "/hook?x=1");
        assert_eq!(request.header("authorization"), "Bearer hook-secret");
        assert_eq!(request.header("content-type"), "application/json");
        assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), line);
    }
    let (_, summary, _) = loiter.interrupt();
    assert_eq!(summary["deliveries"][0]["to"], "webhook");
    assert_eq!(summary["deliveries"][0]["failed"], 0, "{summary}");
    target.finish();
}

#[test]
fn a_webhook_that_sends_elsewhere_or_is_not_there_costs_nothing_but_the_message() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "mutexcrowd", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &["-n", "300"]);
    let other = Collector::start(&[]);
    let moved = format!("307 Moved\r\nlocation: http://{}/", other.address);
    let collector = Collector::start(&[moved.as_str(); 64]);
    let url = format!("http://{}/", collector.address);
    let mut loiter = watch(&target, &["--webhook", &url]);
    collector.wait("request", |_| true);
    let said = loiter.wait_message("not delivered");
    assert!(said.contains("redirects are not followed"), "{said}");
    let (_, summary, _) = loiter.interrupt();
    assert!(summary["deliveries"][0]["failed"].as_u64().unwrap() > 0, "{summary}");
    assert!(other.rest().is_empty(), "nobody else is told");

    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut loiter = watch(&target, &["--webhook", &format!("http://{gone}/")]);
    loiter.wait_line("a finding", |line| line["schema"] == "loiter.finding/1");
    let (_, summary, _) = loiter.interrupt();
    assert_eq!(summary["deliveries"][0]["sent"], 0, "{summary}");
    assert!(summary["deliveries"][0]["dropped"].as_u64().unwrap() > 0, "{summary}");
    target.finish();
}
