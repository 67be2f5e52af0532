//! What the real binary says and leaves behind when it cannot do what is asked.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

use std::fs;
use std::io::Read as _;
use std::process::{Command, Output, Stdio};

fn loiter(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loiter")).args(args).stdin(Stdio::null()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The largest PID there can be is not in use on any machine that does not try to.
const NO_PROCESS: &str = "4194303";

#[test]
fn a_pid_that_is_nobodys_is_named_with_a_remedy() {
    for command in ["dump", "diagnose", "watch", "doctor"] {
        let output = loiter(&[command, NO_PROCESS]);
        assert_eq!(output.status.code(), Some(3), "{command}: {}", stderr(&output));
        let said = stderr(&output);
        assert!(said.starts_with("error: ") && said.contains(NO_PROCESS), "{said}");
        assert!(said.contains("remedy: ") && said.contains("loiter ps"), "{said}");
    }
}

#[test]
fn a_kernel_thread_is_named_as_such() {
    // PID 2 is kthreadd, where loiter's PID namespace is the host's.
    if fs::read_to_string("/proc/2/comm").is_ok_and(|name| name == "kthreadd\n") {
        let output = loiter(&["dump", "2"]);
        assert_eq!(output.status.code(), Some(3));
        assert!(stderr(&output).contains("kernel thread"), "{}", stderr(&output));
    }
}

#[test]
fn a_failure_loses_nothing_that_was_in_the_output_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.json");
    fs::write(&path, "yesterday's").unwrap();
    for command in ["dump", "diagnose", "watch"] {
        let output = loiter(&[command, NO_PROCESS, "-o", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(fs::read_to_string(&path).unwrap(), "yesterday's", "{command}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_reader_that_stops_early_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_loiter"))
        .args(["ps", "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
    assert!(!said.contains("panicked") && !said.contains("error"), "{said}");
}

#[test]
fn a_full_disk_is_told() {
    let output = loiter(&["ps", "-o", "/dev/full", "--format", "json"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("/dev/full"), "{}", stderr(&output));
}

#[test]
fn quiet_keeps_stderr_empty_where_nothing_fails() {
    let output = loiter(&["ps", "-q"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "");
}
