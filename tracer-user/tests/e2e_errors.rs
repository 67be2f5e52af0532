//! Errors name what failed, why, and the remedy; the exit code tells the sort.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::loiter::{Loiter, run};
use common::{GoProc, NEWEST_GO, Variant, copy_program, go_build, need_bpf, need_root, or_skip};

/// Exit code and stderr.
fn fails(args: &[&str]) -> (i32, String) {
    let output = run(args);
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_process_that_is_not_there_cannot_be_traced() {
    for command in ["dump", "diagnose", "watch"] {
        let (code, message) = fails(&[command, "4194304"]);
        assert_eq!(code, 3, "{command}: {message}");
        assert!(message.contains("4194304"), "{message}");
    }
}

#[test]
fn of_a_program_that_is_not_go_nothing_is_told_as_if_it_were() {
    or_skip!(need_root());
    let mut sleep = std::process::Command::new("sleep").arg("1000").spawn().expect("sleep runs");
    let pid = sleep.id().to_string();
    let dump = common::loiter::run_json(&["dump", &pid, "--format", "json"]);
    let (code, message) = fails(&["dump", &pid, "--assume-go", "1.27"]);
    sleep.kill().expect("it can be killed");
    sleep.wait().expect("it can be waited for");
    let kinds: Vec<_> = dump["tasks"].as_array().unwrap().iter().map(|t| &t["kind"]).collect();
    assert_eq!(kinds, ["thread"], "{dump}");
    assert_eq!(code, 3, "{message}");
    assert!(message.contains("is not a Go program"), "{message}");
}

#[test]
fn a_kernel_thread_has_no_memory_to_read() {
    or_skip!(need_root());
    let (code, message) = fails(&["dump", "2"]);
    assert_eq!(code, 3, "{message}");
}

#[test]
fn words_that_make_no_sense_are_a_usage_error() {
    for args in [&["dump"][..], &["dump", "x"], &["watch", "1", "--events", "some"], &["nonsense"]]
    {
        let (code, message) = fails(args);
        assert_eq!(code, 2, "{args:?}: {message}");
    }
}

#[test]
fn missing_rights_are_named() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "pool", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &["-n", "10"]);
    let loiter = env!("CARGO_BIN_EXE_loiter");
    let copy = tempfile::tempdir().expect("a directory");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(copy.path(), open).expect("it is ours");
    let mine = copy.path().join("loiter");
    copy_program(std::path::Path::new(loiter), &mine);
    let output = std::process::Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
        ])
        .arg(&mine)
        .args(["watch", &target.pid().to_string(), "--events", "all", "--budget", "off"])
        .output()
        .expect("setpriv runs");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{message}");
    assert!(message.contains("CAP_"), "{message}");
    target.finish();
}

#[test]
fn a_target_that_exits_ends_the_watch_with_a_summary() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "pool", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &["-n", "10"]);
    let loiter = Loiter::watch(target.pid(), &["--events", "all"]);
    target.finish();
    let (code, summary, _) = loiter.end();
    assert_eq!(code, 0);
    assert!(summary["ended"].as_str().is_some_and(|why| why.contains("exited")), "{summary}");
}

#[test]
fn a_reader_that_goes_away_is_no_crash() {
    or_skip!(need_root());
    let exe = or_skip!(go_build(NEWEST_GO, "pool", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &["-n", "5000"]);
    let mut child = common::loiter::command(&["dump", &target.pid().to_string(), "--full"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("loiter starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!message.contains("panicked"), "{message}");
    target.finish();
}
