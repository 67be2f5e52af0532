//! The flight recorder on real programs: each trigger freezes a recording that shows what led to it, and
//! that every command opens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::loiter::{Loiter, command, run, run_json};
use common::{Cgroup, Controller, GoProc, NEWEST_GO, Variant, go_build, need_bpf, or_skip};
use serde_json::Value;

/// A watch with a flight recorder.
struct Flying {
    loiter: Loiter,
    dir: PathBuf,
    _home: tempfile::TempDir,
}

impl Flying {
    fn watch(pid: u32, args: &[&str]) -> Flying {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("recorder");
        let loiter = fly(pid, &dir, args);
        Flying { loiter, dir, _home: home }
    }

    /// What is frozen, the oldest first.
    fn frozen(&self) -> Vec<PathBuf> {
        frozen(&self.dir)
    }
}

fn fly(pid: u32, dir: &Path, args: &[&str]) -> Loiter {
    let recorder = ["--recorder", dir.to_str().unwrap()];
    Loiter::watch(pid, &[&recorder[..], args].concat())
}

fn frozen(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        fs::read_dir(dir.join("frozen")).unwrap().map(|e| e.unwrap().path()).collect();
    all.sort();
    all
}

fn ends_with(path: &Path, cause: &str) -> bool {
    path.file_name().unwrap().to_str().unwrap().ends_with(cause)
}

/// Opens it with every command; gives the summary of its report.
fn opens(path: &Path) -> Value {
    let file = path.to_str().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path), 0o700);
    for segment in fs::read_dir(path).unwrap() {
        assert_eq!(mode(&segment.unwrap().path()), 0o600);
    }
    let dump = run_json(&["dump", file, "--format", "json"]);
    assert!(!dump["tasks"].as_array().unwrap().is_empty());
    // There may be no more than the look with which the watch began, just before the end.
    let diff = run_json(&["diff", &format!("{file}@-0ms"), file, "--format", "json"]);
    assert!(diff["unchanged"].as_u64().is_some(), "{diff}");
    let overview = run_json(&["report", file, "--overview", "--format", "jsonl"]);
    assert_eq!(overview["damaged_bytes"], 0, "{overview}");
    let report = run(&["report", file, "--format", "jsonl"]);
    let told = String::from_utf8_lossy(&report.stderr).into_owned();
    assert!(!told.contains("missing in the recording"), "{told}");
    let out = String::from_utf8(report.stdout).unwrap();
    let summary = out.lines().last().unwrap_or_else(|| panic!("no summary: {told}"));
    serde_json::from_str(summary).unwrap()
}

fn ended(summary: &Value) -> &str {
    summary["ended"].as_str().unwrap()
}

#[test]
fn a_finding_freezes_what_led_to_it_and_what_follows() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "leaks", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &["send-unbuffered-no-receiver", "leak"]);
    let limits = ["--stuck-after", "3s", "--leak-after", "5s", "--after", "2s"];
    let mut flying = Flying::watch(target.pid(), &limits);
    let finding = flying.loiter.wait_line("a finding", |l| l["schema"] == "loiter.finding/1");
    flying.loiter.wait_message("kept ");
    let all = flying.frozen();
    assert!(all.len() == 1 && ends_with(&all[0], "-finding"), "{all:?}");
    let summary = opens(&all[0]);
    let id = finding["finding_id"].as_str().unwrap();
    assert!(ended(&summary).contains(&format!("frozen: finding {id}")), "{summary}");
    let report = run(&["report", all[0].to_str().unwrap(), "--format", "jsonl"]);
    let out = String::from_utf8(report.stdout).unwrap();
    assert!(out.contains(id), "the replay finds it again: {out}");
    // Two seconds and a look more.
    let of = |moment: &Value| moment.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let follows = of(&summary["ended_at"]).duration_since(of(&finding["at"])).as_secs_f64();
    assert!((1.5..60.0).contains(&follows), "{follows}");
    flying.loiter.interrupt();
    drop(target);
}

#[test]
fn a_target_that_is_killed_leaves_its_last_minutes() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "pool", Variant::Stripped));
    for (signal, word) in [(libc::SIGKILL, "SIGKILL"), (libc::SIGTERM, "SIGTERM")] {
        let (target, _) = GoProc::start_ready(&exe, &["-n", "50"]);
        let mode = if signal == libc::SIGKILL { "none" } else { "lifecycle" };
        let flying = Flying::watch(target.pid(), &["--events", mode]);
        target.signal(signal);
        let (code, summary, _) = flying.loiter.end();
        assert_eq!((code, ended(&summary)), (0, "the target exited"));
        let all = frozen(&flying.dir);
        assert!(all.len() == 1 && ends_with(&all[0], "-exit"), "{all:?}");
        let summary = opens(&all[0]);
        assert!(ended(&summary).contains(&format!("was killed by {word}")), "{summary}");
        assert!(ended(&summary).ends_with("the target exited"), "{summary}");
        assert_eq!(summary["alive"], 51);
    }
}

#[test]
fn a_target_that_the_kernel_kills_for_its_memory_leaves_its_last_minutes() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "leaks", Variant::Stripped));
    let cgroup = or_skip!(Cgroup::new(Controller::Memory));
    // It joins before it begins, so that all its memory is counted there.
    let join = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", cgroup.path().display());
    let args = ["-c", &join, exe.to_str().unwrap(), "send-unbuffered-no-receiver", "leak"];
    let (target, _) = GoProc::start_ready(Path::new("/bin/sh"), &args);
    let mut flying = Flying::watch(target.pid(), &["--trigger", "exit"]);
    // A look at all tasks is in the ring by then.
    flying.loiter.wait_message("watching");
    cgroup.starve_of_memory();
    let (_, summary, _) = flying.loiter.end();
    assert_eq!(ended(&summary), "the target exited");
    let all = frozen(&flying.dir);
    assert!(all.len() == 1 && ends_with(&all[0], "-exit"), "{all:?}");
    let summary = opens(&all[0]);
    assert!(ended(&summary).contains("when the kernel was out of memory for it"), "{summary}");
    assert!(summary["alive"].as_u64().unwrap() > 0, "{summary}");
}

#[test]
fn a_target_that_ends_well_leaves_nothing_frozen_and_its_ring_makes_room() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "pool", Variant::Stripped));
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("recorder");
    for _ in 0..2 {
        let (target, _) = GoProc::start_ready(&exe, &["-n", "5"]);
        let loiter = fly(target.pid(), &dir, &["--events", "none"]);
        target.finish();
        let (code, ..) = loiter.end();
        assert_eq!(code, 0);
        assert!(frozen(&dir).is_empty(), "{:?}", frozen(&dir));
        let summary = opens(&dir.join("ring"));
        assert_eq!(ended(&summary), "the target exited");
    }
}

#[test]
fn a_number_of_tasks_and_its_rise_freeze() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "many", Variant::Stripped));
    let pool = or_skip!(go_build(NEWEST_GO, "pool", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &["-n", "300"]);
    let args = ["--trigger", "tasks>200", "--after", "0s", "--events", "none"];
    let mut flying = Flying::watch(target.pid(), &args);
    flying.loiter.wait_message("kept ");
    let all = flying.frozen();
    assert!(all.len() == 1 && ends_with(&all[0], "-tasks"), "{all:?}");
    let summary = opens(&all[0]);
    assert!(ended(&summary).contains("tasks, over 200"), "{summary}");
    flying.loiter.interrupt();
    drop(target);

    let (mut target, _) = GoProc::start_ready(&pool, &["-n", "5"]);
    let args = ["--trigger", "tasks>100/s", "--after", "0s", "--events", "lifecycle"];
    let mut flying = Flying::watch(target.pid(), &args);
    let end = Instant::now() + Duration::from_secs(120);
    // More and more of them, until a rise has been seen.
    let grow = |target: &mut GoProc| target.ask("grow 300", "grown");
    while flying.frozen().is_empty() {
        assert!(Instant::now() < end, "no rise was seen");
        grow(&mut target);
        std::thread::sleep(Duration::from_millis(500));
    }
    flying.loiter.wait_message("kept ");
    let all = flying.frozen();
    assert!(all.len() == 1 && ends_with(&all[0], "-rise"), "{all:?}");
    assert!(ended(&opens(&all[0])).contains("over 100/s"));
    flying.loiter.interrupt();
    drop(target);
}

#[test]
fn a_signal_and_a_command_freeze_as_often_as_they_are_given() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "pool", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &["-n", "50"]);
    let mut flying = Flying::watch(target.pid(), &["--after", "1s", "--keep-frozen", "2"]);
    flying.loiter.signal(libc::SIGUSR1);
    flying.loiter.wait_message("kept ");
    let signalled = flying.frozen().remove(0);
    assert!(ends_with(&signalled, "-signal"), "{signalled:?}");
    assert!(ended(&opens(&signalled)).contains("SIGUSR1"));
    let dir = flying.dir.to_str().unwrap().to_owned();
    for why in ["ticket 991", "again"] {
        let output = run(&["freeze", &dir, "--why", why]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{told}");
        let path = String::from_utf8(output.stdout).unwrap();
        let summary = opens(Path::new(path.trim()));
        assert!(ended(&summary).contains(&format!("frozen: {why}")), "{summary}");
    }
    // The newest two are kept.
    let all = flying.frozen();
    assert!(all.len() == 2 && !all.contains(&signalled), "{all:?}");
    let other =
        command(&["watch", &target.pid().to_string(), "--recorder", &dir]).output().unwrap();
    let told = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(other.status.code() == Some(3) && told.contains("another loiter records"), "{told}");
    flying.loiter.interrupt();
    let output = run(&["freeze", &dir]);
    assert_eq!(output.status.code(), Some(3));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("no flight recorder is at work"), "{told}");
    drop(target);
}

#[test]
fn triggers_that_follow_one_another_too_soon_are_held_back_and_counted() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "pool", Variant::Stripped));
    let (mut target, _) = GoProc::start_ready(&exe, &["-n", "5"]);
    let args = ["--trigger", "tasks>50,tasks>500", "--after", "0s", "--trigger-every", "1h"];
    let mut flying = Flying::watch(target.pid(), &args);
    target.ask("grow 100", "grown");
    flying.loiter.wait_message("kept ");
    target.ask("grow 1000", "grown");
    // A person is not held back, and is told of what was.
    std::thread::sleep(Duration::from_secs(3));
    let at = flying.loiter.messages_so_far();
    flying.loiter.signal(libc::SIGUSR1);
    let told = flying.loiter.wait_message_after(at, "kept ");
    assert!(told.contains("1 trigger came too soon"), "{told}");
    assert_eq!(flying.frozen().len(), 2);
    flying.loiter.interrupt();
    drop(target);
}

#[test]
fn a_ring_whose_recorder_was_killed_is_kept_by_the_next_one() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "pool", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &["-n", "50"]);
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("recorder");
    let mut loiter = fly(target.pid(), &dir, &["--after", "1h", "--events", "none"]);
    std::thread::sleep(Duration::from_millis(2_500));
    // It dies while it freezes.
    loiter.signal(libc::SIGUSR1);
    loiter.wait_message("keeping ");
    loiter.signal(libc::SIGKILL);
    drop(loiter);
    let summary = opens(&frozen(&dir)[0]);
    assert_eq!((ended(&summary), &summary["alive"]), ("the recording breaks off", &51.into()));
    let mut loiter = fly(target.pid(), &dir, &["--events", "none"]);
    let all = frozen(&dir);
    let left: Vec<&PathBuf> = all.iter().filter(|path| ends_with(path, "-broken-off")).collect();
    assert!(all.len() == 2 && left.len() == 1, "{all:?}");
    assert_eq!(opens(left[0])["alive"], 51);
    assert!(loiter.wait_message("broke off").contains("-broken-off"));
    loiter.interrupt();
    drop(target);
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let exe = or_skip!(go_build(NEWEST_GO, "pool", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &["-n", "5"]);
    let pid = target.pid().to_string();
    let refused = |dir: &Path, word: &str| {
        let args = ["watch", &pid, "--events", "none", "--recorder", dir.to_str().unwrap()];
        let output = run(&args);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(3) && told.contains(word), "{told}");
    };
    let other = home.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("thesis.tex"), "all of it").unwrap();
    refused(&other, "thesis.tex");
    assert!(other.join("thesis.tex").exists());
    let open = home.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    refused(&open, "others may write in it");
    let link = home.path().join("link");
    std::os::unix::fs::symlink(&open, &link).unwrap();
    refused(&link, "link");
}
