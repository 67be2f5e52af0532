//! What users say of their programs - idle functions, baselines - is taken as said, or refused with
//! file, line, cause and remedy before any work is done.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The largest PID there can be is not in use on any machine that does not try to.
const NO_PROCESS: &str = "4194303";

fn loiter(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loiter")).args(args).stdin(Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn file(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[track_caller]
fn refused(args: &[&str], words: &[&str]) {
    let output = loiter(args);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{args:?}: no {word:?} in: {said}");
    }
}

#[test]
fn a_file_that_cannot_be_used_is_refused_with_its_line_and_what_would_be_right() {
    let dir = tempfile::tempdir().unwrap();
    let idle = file(dir.path(), "idle.txt", "# pools\nmain.(*pool).worker\nworker\n");
    let baseline =
        file(dir.path(), "known.toml", "[[finding]]\nid = \"7\"\nowner = \"me\"\nuntil = 1\n");
    let missing = dir.path().join("missing").to_str().unwrap().to_owned();
    for command in ["diagnose", "watch"] {
        refused(&[command, NO_PROCESS, "--idle-file", &idle], &["idle.txt: line 3", "FUNCTION"]);
        refused(&[command, NO_PROCESS, "--baseline", &baseline], &["known.toml: line 2", "hex"]);
        refused(&[command, NO_PROCESS, "--idle-file", &missing], &["there is no idle list"]);
        refused(&[command, NO_PROCESS, "--baseline", &missing], &["--write-baseline"]);
        refused(&[command, NO_PROCESS, "--idle", "worker"], &["--idle", "main.(*pool).worker"]);
        refused(&[command, NO_PROCESS, "--fail-on", "maybe"], &["suspect, likely, certain"]);
    }
}

#[test]
fn files_and_flags_that_are_right_do_not_stand_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let idle = file(dir.path(), "idle.txt", "main.(*pool).worker = image pool # 64 of them\n");
    let baseline = file(dir.path(), "known.toml", "# nothing yet\n");
    let args = ["--idle-file", &idle, "--idle", "main.tail*=tail", "--baseline", &baseline];
    for command in ["diagnose", "watch"] {
        let args = [&[command, NO_PROCESS][..], &args, &["--min-confidence", "likely"]].concat();
        let output = loiter(&args);
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        assert!(said(&output).contains(NO_PROCESS), "{}", said(&output));
    }
}

#[test]
fn who_acknowledges_gives_a_name_and_a_day_to_come() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("known.toml").to_str().unwrap().to_owned();
    let write = ["diagnose", NO_PROCESS, "--write-baseline", &path];
    refused(&write, &["--owner"]);
    refused(&[&write[..], &["--owner", " "]].concat(), &["answer"]);
    refused(&[&write[..], &["--owner", "me", "--until", "tomorrow"]].concat(), &["YYYY-MM-DD"]);
    refused(&[&write[..], &["--owner", "me", "--until", "2020-01-01"]].concat(), &["passed"]);
    refused(&["diagnose", NO_PROCESS, "--owner", "me"], &["--write-baseline"]);
    assert!(!Path::new(&path).exists());
}

#[test]
fn a_file_that_is_no_baseline_is_not_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "config.toml", "listen = \":80\"\n");
    refused(
        &["diagnose", NO_PROCESS, "--write-baseline", &path, "--owner", "me"],
        &["config.toml: line 1", "listen"],
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "listen = \":80\"\n");
}
