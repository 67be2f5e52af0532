//! What the documentation shows of loiter is what loiter prints. Each block behind a line
//! `<!-- real: NAME -->` is the output of the run of that name; what differs from run to run
//! (numbers, times, addresses, ids) may differ, nothing else. `LOITER_BLESS=1 cargo test --test docs`
//! writes what is printed now.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::go::{go_tool, workspace};
use crate::common::loiter::{Loiter, command, run_json};
use crate::common::process::http_get;
use crate::common::{GoProc, NEWEST_GO, Variant, copy_program, go_build, need_bpf, or_skip};
use regex::Regex;

use crate::pages::documents;
use crate::picture;

/// A service that leaks, at a place of which nothing depends on this machine.
struct Shop {
    dir: tempfile::TempDir,
    service: GoProc,
}

impl Shop {
    fn open() -> Result<Shop, String> {
        need_bpf()?;
        let built = go_build(NEWEST_GO, "leaks", Variant::Deployed)?;
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let exe = dir.path().join("shop");
        copy_program(&built, &exe);
        let mut service = GoProc::start(&exe, &["send-full-buffer", "leak"]);
        service.wait_for("ready");
        Ok(Shop { dir, service })
    }

    fn pid(&self) -> String {
        self.service.pid().to_string()
    }

    /// Runs a command as it stands in the documentation; `PID` is the service's.
    fn run(&self, line: &str) -> String {
        let pid = self.pid();
        let words: Vec<&str> =
            line.split(' ').skip(1).map(|word| if word == "PID" { &pid } else { word }).collect();
        let output = command(&words).current_dir(self.dir.path()).output().unwrap();
        self.neutral(&String::from_utf8_lossy(&output.stdout))
    }

    /// As it looks in a terminal.
    fn run_in_terminal(&self, line: &str) -> String {
        let line =
            line.replacen("loiter", env!("CARGO_BIN_EXE_loiter"), 1).replace("PID", &self.pid());
        let output = std::process::Command::new("script")
            .args(["--quiet", "--command", &format!("{line} 2> /dev/null"), "/dev/null"])
            .envs([("COLUMNS", picture::COLUMNS), ("TERM", "xterm-256color")])
            .env_remove("NO_COLOR")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        self.neutral(&text)
    }

    fn neutral(&self, text: &str) -> String {
        text.replace(&*self.dir.path().to_string_lossy(), "/srv")
    }

    fn grow_to(&self, tasks: usize) {
        grow_to(self.service.pid(), tasks);
    }
}

/// Returns once a process has so many goroutines.
pub fn grow_to(pid: u32, tasks: usize) {
    let end = Instant::now() + Duration::from_secs(60);
    let dump = ["dump", &pid.to_string(), "--format", "json"];
    while run_json(&dump)["tasks"].as_array().is_none_or(|all| all.len() < tasks) {
        assert!(Instant::now() < end, "it has no more of them");
    }
}

/// The first finding: how often it is told again depends on the moment.
fn first(told: &str) -> &str {
    told.split_once("\n\n").map_or(told, |(first, _)| first)
}

/// Numbers, times, addresses and ids, however many stand in a row.
pub fn masked(text: &str) -> Vec<String> {
    let changing = Regex::new(concat!(
        r"0x[0-9a-f]+|(?-u:\b)[0-9a-f]{12,16}(?-u:\b)(, modified)?|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC",
        r"|\d[\d.]*( \d{3})*( (ns|µs|ms|s|min|h|KiB|MiB)(?-u:\b))?( [\d.]+ (ns|µs|ms|s)(?-u:\b))?"
    ))
    .unwrap();
    let row = Regex::new(r"#( to #|[ ,]+#)+").unwrap();
    let gaps = Regex::new(" {2,}").unwrap();
    text.lines()
        .map(|line| {
            let line = changing.replace_all(line.trim(), "#");
            let line = gaps.replace_all(&line, " ");
            row.replace_all(&line, "#").into_owned()
        })
        .filter(|line| !line.is_empty())
        .collect()
}

/// Compares, or writes, the block of this name in whichever documents have it.
fn check(name: &str, shown: &str) {
    let mark = format!("<!-- real: {name} -->\n\n");
    let mut found = false;
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        let Some(at) = text.find(&mark) else { continue };
        found = true;
        let start = at + mark.len();
        let rest = &text[start..];
        let end = rest
            .split_inclusive('\n')
            .take_while(|line| line.starts_with("    ") || line.trim().is_empty())
            .map(str::len)
            .sum::<usize>();
        let kept: String = rest[..end].lines().map(|l| format!("{}\n", l.trim())).collect();
        // What differs in nothing but numbers stays as it is.
        if std::env::var_os("LOITER_BLESS").is_some() && masked(&kept) != masked(shown) {
            write(&path, &text[..start], shown, &rest[end..]);
            continue;
        }
        assert_eq!(
            masked(&kept),
            masked(shown),
            "{}: `{name}` is not what loiter prints; LOITER_BLESS=1 writes it\n{shown}",
            path.display()
        );
    }
    assert!(found, "no document shows {name}");
}

fn write(path: &Path, before: &str, shown: &str, after: &str) {
    let block: String = shown
        .trim_end()
        .lines()
        .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") })
        .collect();
    fs::write(path, format!("{before}{block}\n{after}")).unwrap();
}

#[test]
fn what_is_shown_of_a_leak_is_what_is_printed() {
    let shop = or_skip!(Shop::open());
    shop.grow_to(40);
    for (name, line) in
        [("ps", "loiter ps PID"), ("dump", "loiter dump PID --match main.sendFullBuffer")]
    {
        check(name, &format!("$ {line}\n{}", shop.run(line)));
    }
    let line = "loiter diagnose PID";
    check("diagnose", &format!("$ {line}\n{}", first(&shop.run(line))));
}

#[test]
fn the_picture_is_what_a_terminal_shows() {
    let shop = or_skip!(Shop::open());
    shop.grow_to(40);
    let line = "loiter diagnose PID";
    picture::check(&format!("$ {line}\n{}", first(&shop.run_in_terminal(line))));
}

#[test]
fn what_is_shown_of_a_baseline_is_what_is_written() {
    let shop = or_skip!(Shop::open());
    shop.grow_to(40);
    shop.run("loiter diagnose PID --write-baseline known.toml --owner payments --until 2099-01-31");
    let kept = fs::read_to_string(shop.dir.path().join("known.toml")).unwrap();
    check("baseline", kept.find("[[finding]]").map_or("", |at| &kept[at..]));
}

/// The order service of `cargo xtask demo`, and its customers.
#[test]
fn what_is_shown_of_a_watch_is_what_is_printed() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "orders", Variant::Deployed));
    let (orders, address) = GoProc::start_ready(&exe, &[]);
    let pid = orders.pid().to_string();
    // A first suspicion depends on how busy this machine is, and so does what a budget allows.
    let settled = ["--events", "lifecycle", "--budget", "off", "--min-confidence", "likely"];
    let args = [&["watch", &pid][..], &settled].concat();
    let mut watch = command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut messages = BufReader::new(watch.stderr.take().unwrap()).lines();
    assert!(messages.any(|line| line.unwrap().contains("watching")), "it watches");
    std::thread::spawn(move || messages.count());
    let (customers, _) = GoProc::start_ready(&exe, &["-drive", &address, "-rate", "200"]);
    let told = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    let told: Vec<String> = told.take_while(|line| !line.is_empty()).collect();
    watch.kill().unwrap();
    watch.wait().unwrap();
    let line = args.join(" ").replace(&pid, "PID");
    check("watch", &format!("$ loiter {line}\n{}", told.join("\n")));
    customers.finish();
    orders.finish();
}

#[test]
fn what_is_shown_of_a_recording_is_what_is_printed() {
    let shop = or_skip!(Shop::open());
    let file = shop.dir.path().join("night.loiter");
    let mut recorder = Loiter::start(&[
        "record",
        &shop.pid(),
        "-o",
        &file.to_string_lossy(),
        "--events",
        "lifecycle",
        "--budget",
        "off",
        "--leak-after",
        "10s",
        "--format",
        "jsonl",
    ]);
    recorder.wait_line("a finding", |line| line["confidence"] == "likely");
    recorder.interrupt();
    let line = "loiter report night.loiter --overview";
    check("overview", &format!("$ {line}\n{}", shop.run(line)));
    let line = "loiter report night.loiter --min-confidence likely";
    check("report", &format!("$ {line}\n{}", first(&shop.run(line))));
}

#[test]
fn what_is_shown_of_a_test_that_leaks_is_what_is_printed() {
    let go = or_skip!(go_tool(NEWEST_GO));
    let line = "go test -trimpath -run '^TestLeak$' -exec 'loiter check --' .";
    let loiter = Path::new(env!("CARGO_BIN_EXE_loiter")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{}:{path}", go.parent().unwrap().display(), loiter.display());
    let output = std::process::Command::new("sh")
        .args(["-c", line])
        .current_dir(workspace().join("workloads/go/checked"))
        .envs([("GOTOOLCHAIN", "local"), ("GOPROXY", "off"), ("GOFLAGS", "-mod=mod")])
        .envs([("GOWORK", "off"), ("CGO_ENABLED", "0"), ("PATH", &path)])
        .env_remove("GOROOT")
        .output()
        .unwrap();
    check("check", &format!("$ {line}\n{}", String::from_utf8_lossy(&output.stdout)));
}

#[test]
fn what_is_shown_of_metrics_is_what_is_told() {
    let shop = or_skip!(Shop::open());
    shop.grow_to(40);
    let pid = shop.service.pid();
    let mut watch = Loiter::watch(pid, &["--metrics=127.0.0.1:0", "--stuck-after", "5s"]);
    let said = watch.wait_message("metrics at");
    let address = said.split("http://").nth(1).unwrap().split("/metrics").next().unwrap();
    watch.wait_line("a finding", |line| line["confidence"] == "likely");
    let text = http_get(address, "/metrics").unwrap();
    let wanted = "^loiter_tasks.*chan send|^loiter_findings[{].* [1-9]";
    let shown = Regex::new(wanted).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| shown.is_match(line)).collect();
    let asked = format!("$ curl -s http://127.0.0.1:9464/metrics | grep -E '{wanted}'");
    check("metrics", &format!("{asked}\n{}\n", lines.join("\n")));
    watch.interrupt();
}

#[test]
fn masks_hide_what_changes_and_nothing_else() {
    assert_eq!(
        masked(
            "ids   45 46 and 2 more\nwaiting  for at least 5.0 s to 1 min 2 s at main.f go.go:12"
        ),
        ["ids # and # more", "waiting for at least # at main.f go.go:#"]
    );
    assert_eq!(masked("at 2026-11-21 19:44:16 UTC 0x24a8 f3898eded53f4031\n\n"), ["at #"]);
}
