//! Recordings of programs that have nothing but threads, and what is made of them.

use std::path::Path;

use crate::common::loiter::{run, run_json};
use crate::common::native::c_program;
use crate::common::process::GoProc;
use crate::common::{need_bpf, or_skip};

/// What a command says, which must go well.
fn said(args: &[&str]) -> String {
    let output = run(args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    text
}

fn exported(from: &str, dir: &Path, format: &str) -> Vec<u8> {
    let to = dir.join(format!("out.{format}"));
    said(&["export", from, "--format", format, "-o", to.to_str().unwrap()]);
    std::fs::read(to).unwrap()
}

#[test]
fn a_recording_of_threads_is_reported_compared_and_exported_in_their_words() {
    or_skip!(need_bpf());
    let exe = or_skip!(c_program("locks"));
    let (process, _) = GoProc::start_ready(&exe, &["leak"]);
    let pid = process.pid().to_string();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("night.loiter");
    let file = file.to_str().unwrap();
    let before = dir.path().join("before.json");
    std::fs::write(&before, said(&["dump", &pid, "--format", "json"])).unwrap();
    let args = ["record", &pid, "-o", file, "--events", "all", "--min-wait", "1ms"];
    run(&[&args[..], &["--interval", "1s", "--for", "10s"]].concat());

    let lines = run(&["report", file, "--format", "jsonl"]);
    let text = String::from_utf8_lossy(&lines.stdout);
    assert!(text.contains("\"native\"") && text.contains("spawner"), "{text}");
    let report = run(&["report", file]);
    let report = String::from_utf8_lossy(&report.stdout).into_owned();
    assert!(report.contains("threads alive") && !report.contains("goroutine"), "{report}");

    let text = |format| String::from_utf8_lossy(&exported(file, dir.path(), format)).into_owned();
    let folded = text("folded");
    assert!(folded.contains("wants_signal;pthread_cond_wait"), "{folded}");
    assert!(folded.contains("[condition variable]"), "{folded}");
    let html = text("html");
    assert!(html.contains("Threads at the end") && !html.contains(">Goroutine"), "no page");
    assert!(text("svg").contains("wants_signal"));
    assert!(text("jsonl").contains("\"runtime\":\"native\""));
    assert!(text("perfetto").contains("thread "));
    assert!(!exported(file, dir.path(), "pprof").is_empty());

    let after = dir.path().join("after.json");
    std::fs::write(&after, said(&["dump", &pid, "--format", "json"])).unwrap();
    let diff = run(&["diff", before.to_str().unwrap(), after.to_str().unwrap()]);
    let diff = String::from_utf8_lossy(&diff.stdout).into_owned();
    assert!(diff.contains("wants_signal"), "{diff}");
}

#[test]
fn a_list_of_processes_and_the_doctor_know_programs_without_a_runtime() {
    or_skip!(need_bpf());
    let exe = or_skip!(c_program("locks"));
    let (process, _) = GoProc::start_ready(&exe, &["cond"]);
    let pid = process.pid();
    let list = run_json(&["ps", &pid.to_string(), "--format", "json"]);
    let text = serde_json::to_string(&list).unwrap();
    assert!(text.contains("native") && text.contains(&pid.to_string()), "{text}");
    let doctor = run(&["doctor", &pid.to_string()]);
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    let line = |words: &[&str]| doctor.lines().any(|line| words.iter().all(|w| line.contains(w)));
    let head = format!("pid {pid}  native");
    assert!(line(&[head.as_str()]), "{doctor}");
    assert!(line(&["tasks ", " 5 threads;"]), "{doctor}");
    assert!(line(&["sleeps ", " a second, counted over "]), "{doctor}");
}
