//! `watch --metrics` on real programs, read by the real Prometheus; its alert rules, tested by its promtool.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::generated::many_sites;
use common::go::{real_dir, versions};
use common::loiter::{Loiter, run_json};
use common::process::http_get;
use common::{GoProc, NEWEST_GO, Variant, go_build, need_bpf, or_skip, real_program};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a watch that tells metrics at a free port; gives its address once it is ready.
fn watch(pid: u32, args: &[&str]) -> (Loiter, String) {
    let mut all = vec!["--metrics=127.0.0.1:0", "--interval", "500ms"];
    all.extend(args);
    let mut loiter = Loiter::watch(pid, &all);
    let said = loiter.wait_message("metrics at");
    let address =
        said.split("http://").nth(1).unwrap().split("/metrics").next().unwrap().to_owned();
    assert_eq!(http_get(&address, "/healthz").unwrap(), "ok\n");
    assert_eq!(http_get(&address, "/readyz").unwrap(), "ready\n");
    (loiter, address)
}

/// Sum of a family's samples whose labels contain all of these.
fn sum(text: &str, name: &str, labels: &[&str]) -> f64 {
    let samples = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    let fitting = samples.filter(|line| labels.iter().all(|label| line.contains(label)));
    fitting.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// Tasks by state and by what they wait for, as a dump shows them at the same moment.
fn dumped(pid: u32) -> BTreeMap<(String, String), u64> {
    let dump = run_json(&["dump", &pid.to_string(), "--format", "json"]);
    let mut all = BTreeMap::new();
    for task in dump["tasks"].as_array().unwrap() {
        let word = |key: &str| task[key].as_str().unwrap_or_default().to_owned();
        *all.entry((word("state"), word("wait_reason"))).or_default() += 1;
    }
    all
}

#[test]
fn counts_equal_the_dump_of_the_same_moment() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "many", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &["-n", "3000"]);
    let (loiter, address) = watch(target.pid(), &["--events", "lifecycle"]);
    let text = http_get(&address, "/metrics").unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let dumped = dumped(target.pid());
    assert!(dumped.values().sum::<u64>() >= 3_000, "{dumped:?}");
    for ((state, reason), count) in &dumped {
        let labels = [format!(r#"state="{state}""#), format!(r#"reason="{reason}""#)];
        let labels = labels.each_ref().map(String::as_str);
        let told = sum(&text, "loiter_tasks", &labels) as u64;
        assert_eq!(told, *count, "{state} {reason}: {text}");
    }
    assert_eq!(sum(&text, "loiter_tasks", &[]) as u64, dumped.values().sum::<u64>(), "{text}");
    let checked = promtool().map(|tool| check(&tool, &text));
    or_skip!(checked);
    assert!(http_get(&address, "/").unwrap_err().contains("404"));
    let (_, summary, _) = loiter.interrupt();
    assert_eq!(sum(&text, "loiter_tasks", &[]) as u64, summary["alive"].as_u64().unwrap());
    assert!(http_get(&address, "/metrics").is_err(), "it ends with the watch");
    target.finish();
}

/// Promtool's own opinion of a page; it reads the older form, in which a page has no end.
fn check(tool: &Path, text: &str) {
    let mut promtool = Command::new(tool)
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let page = text.trim_end().trim_end_matches("# EOF");
    std::io::Write::write_all(&mut promtool.stdin.take().unwrap(), page.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    // What it says of style (exit code 3) is of the older form: counters whose family has no `_total`.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{said}: {text}");
    assert!(!said.contains("error while linting"), "{said}: {text}");
}

#[test]
fn the_scheduler_is_told_as_the_kernel_and_the_program_know_it() {
    or_skip!(need_bpf());
    for version in versions() {
        let exe = or_skip!(go_build(version, "many", Variant::Stripped));
        let (target, _) = GoProc::start_ready(&exe, &["-n", "300"]);
        let (loiter, address) = watch(target.pid(), &["--events", "none"]);
        let cpus = std::thread::available_parallelism().unwrap().get();
        let end = Instant::now() + PATIENCE;
        loop {
            let text = http_get(&address, "/metrics").unwrap();
            let tasks = std::fs::read_dir(format!("/proc/{}/task", target.pid())).unwrap().count();
            let told = |name: &str| sum(&text, name, &[]) as usize;
            let idle = sum(&text, "loiter_scheduler_processors", &[r#"state="idle""#]) as usize;
            let queued = told("loiter_scheduler_run_queue");
            assert_eq!(told("loiter_scheduler_processors"), cpus, "go {version}: {text}");
            // It comes to rest: all processors are idle, and so are threads, but not the monitor.
            let (threads, waiting) =
                (told("loiter_scheduler_threads"), told("loiter_scheduler_threads_idle"));
            if threads == tasks && idle == cpus && queued == 0 && (1..threads).contains(&waiting) {
                break;
            }
            let seen = (threads, tasks, idle, queued, waiting);
            assert!(Instant::now() < end, "go {version}: {seen:?}: {text}");
            std::thread::sleep(Duration::from_millis(100));
        }
        drop(loiter);
        target.finish();
    }
}

#[test]
fn births_findings_and_the_budget_are_told() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "million", Variant::Stripped));
    let (mut target, _) = GoProc::start_ready(&exe, &[]);
    let args = ["--events", "lifecycle", "--budget", "100%"];
    let (loiter, address) = watch(target.pid(), &args);
    target.ask("run 20000", "done");
    let end = Instant::now() + PATIENCE;
    let text = loop {
        let text = http_get(&address, "/metrics").unwrap();
        let told = sum(&text, "loiter_tasks_born_total", &[]);
        if told >= 20_000.0 && sum(&text, "loiter_probe_hits_total", &[]) >= 40_000.0 {
            break text;
        }
        assert!(Instant::now() < end, "{text}");
    };
    let waits = http_get(&address, "/metrics").unwrap();
    assert!(!waits.contains("loiter_wait_seconds"), "no event tells of waits: {waits}");
    assert!(
        sum(&text, "loiter_site_tasks_born_total", &[r#"site="main.run "#]) >= 20_000.0,
        "{text}"
    );
    assert_eq!(sum(&text, "loiter_mode", &[r#"mode="lifecycle""#]), 1.0, "{text}");
    assert_eq!(sum(&text, "loiter_budget_ratio", &[]), 1.0, "{text}");
    assert!(sum(&text, "loiter_probe_seconds_total", &[]) > 0.0, "{text}");
    assert!(text.contains(&format!(r#"runtime_version="go{}"#, NEWEST_GO)), "{text}");
    drop(loiter);
    target.finish();
}

/// Beside the program, as the package has it.
fn promtool() -> Result<PathBuf, String> {
    let tool = real_dir().join("prometheus/package/usr/bin/promtool");
    let missing = || "promtool is not there: `cargo xtask setup --real` fetches it".to_owned();
    tool.is_file().then_some(tool).ok_or_else(missing)
}

#[test]
fn prometheus_reads_all_of_it() {
    or_skip!(need_bpf());
    let server = or_skip!(real_program("prometheus"));
    let exe = or_skip!(go_build(NEWEST_GO, "many", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &["-n", "500"]);
    let (loiter, address) = watch(target.pid(), &["--budget", "100%"]);
    let home = tempfile::tempdir().unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: loiter, static_configs: [{{targets: ['{address}']}}]}}]\n"
    );
    std::fs::write(home.path().join("prometheus.yml"), config).unwrap();
    let port = free_port();
    let mut prometheus = Command::new(server)
        .current_dir(home.path())
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
        .arg(format!("--web.listen-address={port}"))
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + PATIENCE;
    let tasks = loop {
        let answer = http_get(&port, "/api/v1/query?query=sum(loiter_tasks)").unwrap_or_default();
        let value: Value = serde_json::from_str(&answer).unwrap_or_default();
        if let Some(n) = value["data"]["result"][0]["value"][1].as_str() {
            break n.to_owned();
        }
        assert!(Instant::now() < end, "prometheus has no tasks: {answer}");
        std::thread::sleep(Duration::from_millis(200));
    };
    let up = http_get(&port, "/api/v1/query?query=up").unwrap();
    let types = http_get(&port, "/api/v1/targets/metadata").unwrap();
    let silent = silent_panels(&port, end);
    prometheus.kill().unwrap();
    prometheus.wait().unwrap();
    assert!(tasks.parse::<u64>().unwrap() >= 500, "{tasks}");
    assert!(silent.is_empty(), "the dashboard shows nothing for {silent:#?}");
    assert!(up.contains(r#","1"]"#), "{up}");
    assert!(!types.contains("unknown"), "every family has its type: {types}");
    drop(loiter);
    target.finish();
}

/// Queries of the dashboard that Prometheus has no answer to, though there is something to be shown.
fn silent_panels(port: &str, end: Instant) -> Vec<String> {
    let text = std::fs::read_to_string(deploy("grafana/loiter.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries = targets.map(|target| target["expr"].as_str().unwrap().to_owned());
    let mut left: Vec<String> = queries.collect();
    assert!(left.len() > 20, "{left:?}");
    // Nothing is found, nothing is sent, nothing bounds the memory; what is there at all the other test tells.
    let may_be_empty = ["loiter_findings{", "loiter_deliveries_total", "memory_limit_bytes"];
    loop {
        left.retain(|query| {
            let result = ask(port, query);
            let may = may_be_empty.iter().any(|name| query.contains(name));
            result.is_empty() && !may
        });
        if left.is_empty() || Instant::now() > end {
            return left;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// What Prometheus answers to a query of the dashboard; one that it does not understand is an error.
fn ask(port: &str, query: &str) -> Vec<Value> {
    let query = query.replace("$__rate_interval", "1m");
    let query = query.replace("$process", ".*").replace("$instance", ".*");
    assert!(!query.contains('$'), "{query}");
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let answer = http_get(port, &format!("/api/v1/query?query={encoded}"));
    let answer = answer.unwrap_or_else(|why| panic!("{why}: {query}"));
    let value: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(value["status"], "success", "{query}: {answer}");
    value["data"]["result"].as_array().unwrap().clone()
}

#[test]
fn a_real_program_with_ten_thousand_spawn_sites_has_no_more_series_than_the_bound() {
    or_skip!(need_bpf());
    const SITES: usize = 10_000;
    /// As docs/metrics.md has it: some 40, the wait reasons, and twice the sites that are told.
    const BOUND: usize = 40 + 64 + 2 * 21;
    let exe = or_skip!(many_sites(NEWEST_GO, SITES));
    let (mut target, _) = GoProc::start_ready(&exe, &[]);
    let (loiter, address) = watch(target.pid(), &["--events", "lifecycle", "--budget", "100%"]);
    target.ask("again", "spawned");
    let end = Instant::now() + PATIENCE;
    let (text, took) = loop {
        let began = Instant::now();
        // While so much is begun at once, a loop that is starved may not answer in time.
        let text = http_get(&address, "/metrics").unwrap_or_default();
        let took = began.elapsed();
        if sum(&text, "loiter_tasks_born_total", &[]) as usize >= SITES
            && sum(&text, "loiter_site_tasks", &[]) as usize >= 2 * SITES
        {
            break (text, took);
        }
        assert!(Instant::now() < end, "{text}");
        std::thread::sleep(Duration::from_millis(200));
    };
    // The first one came while much was begun: the quickest of some is what it costs.
    let took = (0..5).fold(took, |least, _| {
        let began = Instant::now();
        let read = http_get(&address, "/metrics");
        if read.is_ok() { least.min(began.elapsed()) } else { least }
    });
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    let (size, spawned) = (text.len(), SITES * 2);
    println!("{SITES} spawn sites, {spawned} goroutines: {series} series, {size} bytes, {took:?}");
    assert!(series <= BOUND, "{series}: {text}");
    let sites = sum(&text, "loiter_sites", &[]) as usize;
    assert!((SITES..SITES + 50).contains(&sites), "{sites}: {text}");
    let told = text.lines().filter(|line| line.starts_with("loiter_site_tasks{")).count();
    assert_eq!(told, 21, "{text}");
    let other = sum(&text, "loiter_site_tasks", &[r#"site="other""#]) as usize;
    assert!(other >= 2 * (SITES - 20), "{other}: {text}");
    let most = if cfg!(debug_assertions) { 10 } else { 1 };
    assert!(took < Duration::from_secs(most), "{took:?}");
    drop(loiter);
    target.finish();
}

fn free_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

#[test]
fn alert_rules_fire_when_they_should() {
    let tool = or_skip!(promtool());
    let checked = Command::new(&tool)
        .current_dir(deploy("prometheus"))
        .args(["check", "rules", "--lint=all", "--lint-fatal", "loiter.rules.yml"])
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let tested = Command::new(tool)
        .current_dir(deploy("prometheus"))
        .args(["test", "rules", "loiter.rules.test.yml"])
        .output()
        .unwrap();
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stdout));
}

#[test]
fn an_address_that_is_taken_is_said_with_the_remedy() {
    or_skip!(need_bpf());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let exe = or_skip!(go_build(NEWEST_GO, "million", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &[]);
    let metrics = format!("--metrics={}", taken.local_addr().unwrap());
    let output = common::loiter::run(&["watch", &target.pid().to_string(), &metrics]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("cannot tell metrics") && said.contains("--metrics="), "{said}");
    target.finish();
}
