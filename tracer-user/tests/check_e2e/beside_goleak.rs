//! The same leaks as go.uber.org/goleak finds, and the tests they belong to, which it cannot tell.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::go::real_dir;
use crate::common::{or_skip, skipped};
use crate::support::{Told, VERSIONS, build, check, sources};

/// A copy of the package in a module that knows goleak.
fn with_goleak(dir: &Path, goleak: &Path) -> PathBuf {
    let package = dir.join("checked");
    fs::create_dir(&package).unwrap();
    for entry in fs::read_dir(sources()).unwrap() {
        let file = entry.unwrap();
        fs::copy(file.path(), package.join(file.file_name())).unwrap();
    }
    let module = format!(
        "module loiter/workloads\n\ngo 1.20\n\nrequire go.uber.org/goleak v1.2.0\n\nreplace go.uber.org/goleak => {}\n",
        goleak.display()
    );
    fs::write(dir.join("go.mod"), module).unwrap();
    package
}

/// Runs all tests that end well; who created what goleak and loiter each found.
fn both(exe: &Path) -> (BTreeSet<String>, BTreeSet<String>) {
    let exe = exe.to_str().unwrap();
    let tests = "^Test(Clean|Leak.*|Parallel.*|SlowWorker)$";
    let mut check = check(&["--format", "json"], &[exe, "-test.run", tests]);
    let told = Told::new(&check.env("CHECKED_GOLEAK", "1").output().unwrap());
    assert_eq!(told.code, Some(66), "{told:?}");
    let theirs = told.out.lines().filter_map(|line| line.strip_prefix("goleak "));
    let theirs = theirs.map(|line| line.split('(').next().unwrap_or(line).trim().to_owned());
    let lines = told
        .err
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let ours = lines.filter(|line| line["schema"] == "loiter.finding/1");
    let ours = ours.map(|line| line["spawn_site"]["function"].as_str().unwrap().to_owned());
    (theirs.collect(), ours.collect())
}

#[test]
fn the_leaks_are_those_that_a_list_of_stacks_shows() {
    for version in VERSIONS {
        let exe = or_skip!(crate::support::test_binary(version));
        let (theirs, ours) = both(&exe);
        assert!(theirs.len() >= 6, "{theirs:?}");
        assert_eq!(theirs, ours, "{version}");
    }
}

#[test]
fn the_leaks_are_those_that_goleak_finds() {
    let goleak = real_dir().join("goleak/goleak");
    if !goleak.is_dir() {
        return skipped(
            "the_leaks_are_those_that_goleak_finds",
            "goleak is not there: `cargo xtask setup --real` fetches it",
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let package = with_goleak(dir.path(), &goleak);
    let exe = or_skip!(build("1.27.3", &package, &["-tags", "goleak"]));
    let (theirs, ours) = both(&exe);
    assert!(theirs.len() >= 6, "{theirs:?}");
    assert_eq!(theirs, ours);
}
