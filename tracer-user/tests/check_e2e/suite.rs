//! A Go test package with every sort of test: codes, names, silence.

use crate::common::{or_skip, skipped};
use crate::support::{Told, VERSIONS, go, run, sources, test_binary, text};

/// A test, the code, the name that a leak is told with.
const CASES: [(&str, i32, Told1); 9] = [
    ("^TestClean$", 0, Told1::Nothing),
    ("^TestLeak$", 66, Told1::Leak("TestLeak")),
    ("^TestLeakInHelper$", 66, Told1::Leak("checked.Fetch")),
    ("^TestLeakOfLoop$", 66, Told1::Leak("checked.StartPoller")),
    ("^TestSlowWorker$", 0, Told1::Nothing),
    ("^TestFails$", 1, Told1::Nothing),
    ("^TestFailsAndLeaks$", 1, Told1::Leak("TestFailsAndLeaks")),
    ("^TestPanics$", 2, Told1::Crash),
    ("^TestParallelOne$", 0, Told1::Nothing),
];

/// What is said of it.
enum Told1 {
    Nothing,
    Leak(&'static str),
    Crash,
}

#[test]
fn codes_names_and_silence_are_right() {
    for version in VERSIONS {
        let exe = match test_binary(version) {
            Ok(exe) => exe,
            Err(why) => {
                skipped("codes_names_and_silence_are_right", &why);
                continue;
            }
        };
        for (test, code, said) in &CASES {
            let told = run(&exe, &[], test);
            assert_eq!(told.code, Some(*code), "{version} {test}: {told:?}");
            match said {
                Told1::Nothing => assert_eq!(told.err, "", "{version} {test}"),
                Told1::Leak(name) => {
                    let is_told = told.err.contains("LEAK") && told.err.contains(name);
                    assert!(is_told, "{version} {test}: {told:?}");
                }
                Told1::Crash => {
                    let is_told = told.err.contains("panic: as it should")
                        && told.err.contains("code 2")
                        && !told.err.contains("LEAK");
                    assert!(is_told, "{version} {test}: {told:?}");
                }
            }
        }
    }
}

#[test]
fn leaks_of_parallel_tests_are_told_with_the_test_that_made_them() {
    for version in VERSIONS {
        let exe = or_skip!(test_binary(version));
        let told = run(&exe, &["--format", "json"], "^TestParallel");
        assert_eq!(told.code, Some(66), "{told:?}");
        let mut tests: Vec<(String, String)> = findings(&told)
            .iter()
            .map(|f| {
                (f["tests"][0].as_str().unwrap().into(), f["confidence"].as_str().unwrap().into())
            })
            .collect();
        tests.sort();
        let expected = [
            ("TestParallelThree", "certain"),
            ("TestParallelThree", "likely"),
            ("TestParallelTwo", "likely"),
        ];
        assert_eq!(tests, expected.map(|(t, c)| (t.to_owned(), c.to_owned())), "{version}");
    }
}

/// The lines that are findings.
fn findings(told: &Told) -> Vec<serde_json::Value> {
    let lines = told.err.lines().filter(|line| line.starts_with('{'));
    let values = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    values.filter(|value| value["schema"] == "loiter.finding/1").collect()
}

#[test]
fn the_id_of_a_leak_is_the_same_in_each_run() {
    let exe = or_skip!(test_binary("1.27.3"));
    let id = || findings(&run(&exe, &["--format", "json"], "^TestLeak$"))[0]["finding_id"].clone();
    assert_eq!(id(), id());
}

#[test]
fn go_test_runs_its_tests_under_it() {
    let exec = format!("{} check --", env!("CARGO_BIN_EXE_loiter"));
    for version in VERSIONS {
        let test = |name: &str| {
            let mut go = go(version, &sources())?;
            go.args(["test", "-count=1", "-exec", &exec, "-run", name, "."]);
            go.output().map_err(|e| e.to_string())
        };
        let clean = or_skip!(test("^TestClean$"));
        assert!(clean.status.success() && text(&clean.stdout).starts_with("ok"), "{clean:?}");
        let leak = or_skip!(test("^TestLeak$"));
        assert!(!leak.status.success() && text(&leak.stdout).contains("LEAK, likely"), "{leak:?}");
    }
}

#[test]
fn a_worker_that_gets_less_time_than_it_needs_is_left_behind() {
    let exe = or_skip!(test_binary("1.27.3"));
    let told = run(&exe, &["--settle", "50ms"], "^TestLateWorker$");
    assert_eq!(told.code, Some(66), "{told:?}");
}

#[test]
fn what_is_ignored_is_not_told() {
    let exe = or_skip!(test_binary("1.27.3"));
    let ignore = ["--ignore", "loiter/workloads/checked.TestLeak.func1"];
    let told = run(&exe, &ignore, "^TestLeak$");
    assert_eq!((told.code, &*told.err), (Some(0), ""));
    let told = run(&exe, &["--ignore", "loiter/workloads/checked.Fet*"], "^TestLeakInHelper$");
    assert_eq!((told.code, &*told.err), (Some(0), ""));
}

#[test]
fn with_one_processor_no_worker_is_called_left_behind_that_was_not_let_run() {
    let exe = or_skip!(test_binary("1.27.3"));
    let one = |test: &str| {
        let exe = exe.to_str().unwrap();
        let mut check = crate::support::check(&[], &[exe, "-test.run", test]);
        Told::new(&check.env("GOMAXPROCS", "1").output().unwrap())
    };
    let slow = one("^TestSlowWorker$");
    assert_eq!(slow.code, Some(0), "{slow:?}");
    assert!(slow.err.contains("degraded") && slow.err.contains("GOMAXPROCS=1"), "{slow:?}");
    // Its goroutine has come as far as it will, other than one that was made just before the end.
    let leak = one("^TestParallelTwo$");
    assert_eq!(leak.code, Some(66), "{leak:?}");
    assert_eq!(one("^TestClean$").err, "");
}
