//! The forms in which leaks are told, and where to.

use crate::common::or_skip;
use crate::support::{run, test_binary};

#[test]
fn json_has_a_line_for_each_finding_and_a_summary() {
    let exe = or_skip!(test_binary("1.27.3"));
    let told = run(&exe, &["--format", "json"], "^TestLeak$");
    let lines: Vec<serde_json::Value> =
        told.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{told:?}");
    assert_eq!(lines[0]["schema"], "loiter.finding/1");
    assert_eq!((&lines[0]["kind"], &lines[0]["tests"][0]), (&"leak".into(), &"TestLeak".into()));
    assert_eq!(
        (&lines[1]["schema"], &lines[1]["findings"]),
        (&"loiter.summary/1".into(), &1.into())
    );
    assert_eq!(lines[1]["ended"], "the program ended with code 0");
}

#[test]
fn junit_has_a_failed_case_for_the_test_and_a_passed_one_where_all_is_well() {
    let exe = or_skip!(test_binary("1.27.3"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("leaks.xml");
    let args = ["--format", "junit", "-o", file.to_str().unwrap()];
    let told = run(&exe, &args, "^TestLeak$");
    assert_eq!((told.code, &*told.err), (Some(66), ""));
    let xml = std::fs::read_to_string(&file).unwrap();
    assert!(xml.contains("<testsuites tests=\"1\" failures=\"1\" errors=\"0\">"), "{xml}");
    assert!(xml.contains("classname=\"loiter/workloads/checked\" name=\"TestLeak\">"), "{xml}");
    assert!(xml.contains("<failure type=\"leak\" message=\"1 goroutine of TestLeak"), "{xml}");
    let told = run(&exe, &args, "^TestClean$");
    assert_eq!(told.code, Some(0));
    let xml = std::fs::read_to_string(&file).unwrap();
    assert!(xml.contains("failures=\"0\"") && xml.contains("name=\"leaks\"/>"), "{xml}");
}

#[test]
fn what_an_earlier_run_has_written_does_not_stand_for_a_crash() {
    let exe = or_skip!(test_binary("1.27.3"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("leaks.xml");
    std::fs::write(&file, "old").unwrap();
    let told = run(&exe, &["--format", "junit", "-o", file.to_str().unwrap()], "^TestPanics$");
    assert_eq!(told.code, Some(2));
    let xml = std::fs::read_to_string(&file).unwrap();
    assert!(xml.contains("<skipped message=\"the program ended with code 2"), "{xml}");
}

#[test]
fn github_gets_an_annotation_at_the_line_that_made_the_goroutine() {
    let exe = or_skip!(test_binary("1.27.3"));
    let told = run(&exe, &["--format", "github"], "^TestLeak$");
    let line = told.err.lines().next().unwrap();
    assert!(line.starts_with("::error file=") && line.contains("checked_test.go,line="), "{line}");
    assert!(line.contains("::1 goroutine of TestLeak is left behind"), "{line}");
}

#[test]
fn the_code_of_leaks_can_be_chosen() {
    let exe = or_skip!(test_binary("1.27.3"));
    assert_eq!(run(&exe, &["--leak-exit-code", "7"], "^TestLeak$").code, Some(7));
    let told = run(&exe, &["--leak-exit-code", "0"], "^TestLeak$");
    assert!(told.code == Some(0) && told.err.contains("LEAK"), "{told:?}");
}

#[test]
fn a_leak_on_record_is_silent_and_a_new_one_is_told() {
    let exe = or_skip!(test_binary("1.27.3"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("known.toml");
    let file = file.to_str().unwrap();
    let told = run(&exe, &["--write-baseline", file, "--owner", "tests"], "^TestLeak$");
    assert!(told.code == Some(0) && told.err.contains("1 finding added"), "{told:?}");
    let told = run(&exe, &["--baseline", file], "^TestLeak$");
    assert_eq!((told.code, &*told.err), (Some(0), ""));
    let told = run(&exe, &["--baseline", file], "^TestLeak(InHelper)?$");
    assert!(told.code == Some(66) && told.err.contains("checked.Fetch"), "{told:?}");
    assert!(!told.err.contains("TestLeak\n"), "{told:?}");
}

#[test]
fn suspects_can_be_told_without_failing() {
    let exe = or_skip!(test_binary("1.27.3"));
    let told = run(&exe, &["--fail-on", "likely"], "^TestLeakOfLoop$");
    assert!(told.code == Some(0) && told.err.contains("LEAK, suspect"), "{told:?}");
    let told = run(&exe, &["--min-confidence", "likely"], "^TestLeakOfLoop$");
    assert_eq!((told.code, &*told.err), (Some(0), ""));
}

#[test]
fn a_leak_comes_with_what_usually_mends_it() {
    let exe = or_skip!(test_binary("1.27.3"));
    let told = run(&exe, &[], "^TestLeakInHelper$");
    assert!(told.err.contains("pattern send-unbuffered-no-receiver"), "{told:?}");
}
