//! `loiter check` of programs that have nothing but threads.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::native::{c_program, rust_program};
use crate::common::{need_root, or_skip};

struct Told {
    code: Option<i32>,
    out: String,
    err: String,
}

fn check(args: &[&str], exe: &Path, name: &str) -> Told {
    let mut loiter = Command::new(env!("CARGO_BIN_EXE_loiter"));
    loiter.arg("check").args(args).arg("--").arg(exe).arg(name).stdin(Stdio::null());
    let output = loiter.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Told { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

#[test]
fn threads_that_were_not_joined_are_told_with_what_they_wait_for() {
    or_skip!(need_root());
    for exe in [or_skip!(c_program("locks")), or_skip!(rust_program())] {
        let told = check(&[], &exe, "left");
        assert_eq!(told.code, Some(66), "{} {}", exe.display(), told.err);
        assert!(told.out.contains("ready"), "{}", told.out);
        assert!(told.err.contains("3 threads"), "{}", told.err);
        assert!(told.err.contains("condition variable"), "{}", told.err);
    }
}

#[test]
fn nothing_is_said_of_a_program_that_joins_its_threads() {
    or_skip!(need_root());
    for exe in [or_skip!(c_program("locks")), or_skip!(rust_program())] {
        let told = check(&[], &exe, "left-fixed");
        assert_eq!((told.code, &*told.err), (Some(0), ""), "{}", exe.display());
    }
}

#[test]
fn a_circle_that_is_left_behind_fails_the_run_and_is_in_the_report() {
    or_skip!(need_root());
    let exe = or_skip!(c_program("locks"));
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report.xml");
    let args = ["--format", "junit", "--output", report.to_str().unwrap()];
    let told = check(&args, &exe, "abba2");
    assert_eq!(told.code, Some(66), "{}", told.err);
    let report = std::fs::read_to_string(report).unwrap();
    assert!(report.contains("<failure") && report.contains("mutex"), "{report}");
}
