//! Recordings of real programs: a replay tells what the live watch told, and what a crash leaves
//! behind can be read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::go::full_matrix;
use common::loiter::{command, run, run_json};
use common::process::monotonic;
use common::{
    Cgroup, Controller, GoProc, NEWEST_GO, Variant, go_build, need_bpf, need_root, or_skip, skipped,
};
use loiter::record::{Item, Recording};
use loiter::stream::Input;
use serde_json::Value;

/// `loiter record`, told to a file.
struct Recorder {
    child: Child,
    path: PathBuf,
    said: PathBuf,
    messages: PathBuf,
}

impl Recorder {
    fn start(pid: u32, path: &Path, args: &[&str]) -> Recorder {
        let beside = |ending: &str| PathBuf::from(format!("{}.{ending}", path.display()));
        let (said, messages) = (beside("jsonl"), beside("err"));
        let (pid, to) = (pid.to_string(), path.to_str().unwrap());
        let child = command(&["record", &pid, "-o", to, "--format", "jsonl", "--budget", "off"])
            .args(args)
            .stdout(fs::File::create(&said).unwrap())
            .stderr(fs::File::create(&messages).unwrap())
            .spawn()
            .unwrap();
        Recorder { child, path: path.to_owned(), said, messages }
    }

    fn messages(&self) -> String {
        fs::read_to_string(&self.messages).unwrap()
    }

    /// Waits until this was said on stderr.
    fn wait_message(&mut self, word: &str) {
        let end = Instant::now() + Duration::from_secs(120);
        while !self.messages().contains(word) {
            assert!(Instant::now() < end, "never said `{word}`: {}", self.messages());
            assert!(self.child.try_wait().unwrap().is_none(), "it ended: {}", self.messages());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for its end; gives its exit code and what it printed.
    fn end(mut self) -> (i32, String) {
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        (code, fs::read_to_string(&self.said).unwrap())
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn report(path: &Path, args: &[&str]) -> (i32, String, String) {
    let output = run(&[&["report", path.to_str().unwrap(), "--format", "jsonl"], args].concat());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// A program of the suite, and how it is watched.
#[derive(Clone)]
struct Watched {
    program: &'static str,
    args: Vec<String>,
    events: &'static str,
}

fn watched(program: &'static str, args: &[&str], events: &'static str) -> Watched {
    let args = args.iter().map(|&arg| arg.to_owned()).collect();
    Watched { program, args, events }
}

/// So many at once: more would keep two processors so busy that the programs stand still.
const AT_ONCE: usize = 4;

/// Every program of workloads/go/leaks in every mode.
fn all_leaks(exe: &Path) -> Vec<Watched> {
    let told = Command::new(exe).arg("list").output().expect("the workload can be started");
    let text = String::from_utf8(told.stdout).expect("names are UTF-8");
    let names = text.lines().filter_map(|line| line.split_once(' '));
    let modes = ["all", "lifecycle", "none"];
    names.flat_map(|(name, twin)| modes.map(|mode| watched("leaks", &[name, twin], mode))).collect()
}

/// Those that say most, of all kinds of findings.
fn suite() -> Vec<Watched> {
    vec![
        watched("leaks", &["send-unbuffered-no-receiver", "leak"], "lifecycle"),
        watched("leaks", &["send-full-buffer", "leak"], "all"),
        watched("leaks", &["range-never-closed", "leak"], "none"),
        watched("leaks", &["select-without-exit", "leak"], "lifecycle"),
        watched("leaks", &["nil-channel", "leak"], "all"),
        watched("leaks", &["mutex-never-unlocked", "leak"], "all"),
        watched("leaks", &["waitgroup-without-done", "leak"], "lifecycle"),
        watched("leaks", &["time-after-in-loop", "leak"], "lifecycle"),
        watched("leaks", &["context-never-cancelled", "fixed"], "all"),
        watched("leaks", &["burst", "slow"], "all"),
        watched("leaks", &["ramp", "slow"], "lifecycle"),
        watched("mutexcrowd", &["-n", "2000"], "all"),
        watched("pool", &["-n", "500"], "all"),
        watched("churn", &[], "all"),
        watched("pingpong", &["-pairs", "4"], "all"),
        watched("hog", &[], "all"),
    ]
}

#[test]
fn a_replay_tells_what_the_live_watch_told_byte_for_byte() {
    or_skip!(need_bpf());
    let leaks = or_skip!(go_build(NEWEST_GO, "leaks", Variant::Stripped));
    let mut programs = suite();
    if full_matrix() {
        programs.extend(all_leaks(&leaks));
    } else {
        programs = programs.into_iter().step_by(2).collect();
    }
    let findings: usize = programs.chunks(AT_ONCE).map(replayed_as_told).sum();
    println!("{} watches, {findings} findings told", programs.len());
    assert!(findings > 5, "only {findings} findings");
}

/// Watches these side by side; gives how many findings were told, live and in the replay alike: every
/// line the same, so every id and all evidence.
fn replayed_as_told(some: &[Watched]) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Vec::new();
    for (i, one) in some.iter().enumerate() {
        let exe = match go_build(NEWEST_GO, one.program, Variant::Stripped) {
            Ok(exe) => exe,
            Err(why) => {
                skipped("replayed_as_told", &why);
                continue;
            }
        };
        let args: Vec<&str> = one.args.iter().map(String::as_str).collect();
        let (target, _) = GoProc::start_ready(&exe, &args);
        let path = dir.path().join(format!("{i}.loiter"));
        let limits = ["--stuck-after", "4s", "--leak-after", "6s", "--growth-after", "8s"];
        let args = [&["--events", one.events, "--for", "14s"], &limits[..]].concat();
        running.push((one, Recorder::start(target.pid(), &path, &args), target));
    }
    let mut findings = 0;
    for (one, recorder, target) in running {
        let (path, messages) = (recorder.path.clone(), recorder.messages.clone());
        let (code, live) = recorder.end();
        let said = fs::read_to_string(messages).unwrap();
        assert!(code == 0 || code == 1, "{code}: {said}");
        drop(target);
        let (replayed_code, replayed, notices) = report(&path, &[]);
        let what = format!("{} {:?} {}", one.program, one.args, one.events);
        assert_eq!(replayed, live, "{what}: {notices}");
        assert_eq!((replayed_code, notices.as_str()), (code, ""), "{what}");
        let found = lines(&live).iter().filter(|l| l["schema"] == "loiter.finding/1").count();
        findings += found;
        let bytes = fs::metadata(&path).unwrap().len();
        println!("{what}: {found} findings told, {bytes} bytes");
    }
    findings
}

/// The last moment a recording speaks of, and whether it was ended.
fn last_moment(path: &Path) -> (u64, Option<String>, u64) {
    let overview = Recording::open(path).unwrap().overview().unwrap();
    (overview.until.0, overview.closed, overview.inputs)
}

/// For how long those threads of a recorder were ready and not let that an input passes one after
/// another, ns: the second field of schedstat; and for how long this machine's processors were not let run by
/// the one that it is a guest of, which the scheduler does not know.
fn not_let_run(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of = |task: std::io::Result<fs::DirEntry>| -> Option<u64> {
        let task = task.ok()?.path();
        let name = fs::read_to_string(task.join("comm")).ok()?;
        ["loiter", "model", "record"].contains(&name.trim()).then_some(())?;
        let text = fs::read_to_string(task.join("schedstat")).ok()?;
        text.split_whitespace().nth(1)?.parse().ok()
    };
    tasks.filter_map(of).sum::<u64>() + stolen()
}

/// Of all processors, ns: the eighth number of /proc/stat, in hundredths of a second.
fn stolen() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let mut all = stat.lines().next().unwrap().split_whitespace();
    all.nth(8).unwrap().parse::<u64>().unwrap() * 10_000_000
}

#[test]
fn a_recorder_killed_at_any_moment_leaves_all_but_the_last_second() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "pingpong", Variant::Stripped));
    let (mut target, _) = GoProc::start_ready(&exe, &["-pairs", "4", "-procs", "1"]);
    let dir = tempfile::tempdir().unwrap();
    let kills: u64 = if full_matrix() { 50 } else { 5 };
    // Another moment each time; the seed is told, to do it again.
    let mut dice = u64::try_from(monotonic()).unwrap() | 1;
    println!("seed {dice}");
    let mut worst = 0;
    for kill in 0..kills {
        let path = dir.path().join(format!("{kill}.loiter"));
        let mut recorder = Recorder::start(target.pid(), &path, &["--events", "all"]);
        recorder.wait_message("watching");
        // Some time in the flush intervals after the first, before which nothing need be there.
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        std::thread::sleep(Duration::from_millis(dice % 3_000));
        let queued = not_let_run(recorder.child.id());
        std::thread::sleep(Duration::from_millis(1_500));
        let queued = not_let_run(recorder.child.id()) - queued;
        recorder.kill();
        let killed = u64::try_from(monotonic()).unwrap();
        let (until, closed, inputs) = last_moment(&path);
        // What it was not let run for, on a machine that does other things, is not its delay.
        let lost = killed.saturating_sub(until);
        println!("{} ms lost, {} ms not let run", lost / 1_000_000, queued / 1_000_000);
        worst = worst.max(lost.saturating_sub(queued));
        assert_eq!(closed, None);
        assert!(inputs > 0);
        let (_, replayed, notices) = report(&path, &[]);
        let summary = lines(&replayed).pop().unwrap();
        assert_eq!(summary["ended"], "the recording breaks off", "{summary}");
        assert!(notices.contains("at most 1.0 s are missing"), "{notices}");
        // Every input up to there is read: nothing is missing before the end.
        assert!(!notices.contains("missing in the recording"), "{notices}");
        target.assert_alive();
    }
    println!("{kills} kills: at most {} ms lost by itself", worst / 1_000_000);
    // The flush interval, and what the machine took to be at it again.
    assert!(worst < 1_500_000_000, "{worst} ns lost");
}

const LEAK: &[&str] = &["send-unbuffered-no-receiver", "leak"];

/// Records a leaking program until a finding was told, lets `kill` end it, and checks what is left.
fn killed_while_it_leaks(start: impl FnOnce(&Path) -> GoProc, kill: impl FnOnce(&GoProc)) {
    let exe = or_skip!(go_build(NEWEST_GO, "leaks", Variant::Stripped));
    let mut target = start(&exe);
    target.wait_for("ready");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("killed.loiter");
    let limits = ["--stuck-after", "3s", "--leak-after", "5s"];
    let mut recorder = Recorder::start(target.pid(), &path, &limits);
    recorder.wait_message("watching");
    let end = Instant::now() + Duration::from_secs(60);
    while !fs::read_to_string(&recorder.said).unwrap().contains("loiter.finding/1") {
        assert!(Instant::now() < end, "nothing found: {}", recorder.messages());
        std::thread::sleep(Duration::from_millis(100));
    }
    kill(&target);
    let (code, live) = recorder.end();
    let (replayed_code, replayed, _) = report(&path, &[]);
    assert_eq!((replayed_code, &replayed), (code, &live));
    let all = lines(&live);
    let finding = all.iter().find(|l| l["schema"] == "loiter.finding/1").unwrap();
    assert!(finding["spawn_site"]["function"].as_str().unwrap().starts_with("main."), "{finding}");
    let summary = all.last().unwrap();
    assert_eq!(summary["ended"], "the target exited");
    assert!(summary["spawn_sites"][0]["alive"].as_u64().unwrap() > 0, "{summary}");
}

#[test]
fn a_target_that_is_killed_while_it_leaks_leaves_its_leak_in_the_recording() {
    or_skip!(need_bpf());
    killed_while_it_leaks(|exe| GoProc::start(exe, LEAK), |target| target.signal(libc::SIGKILL));
}

#[test]
fn a_target_that_the_kernel_kills_for_its_memory_leaves_its_leak_in_the_recording() {
    or_skip!(need_bpf());
    let cgroup = or_skip!(Cgroup::new(Controller::Memory));
    // It joins before it begins, so that all its memory is counted there.
    let join = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", cgroup.path().display());
    killed_while_it_leaks(
        |exe| {
            let args = [&["-c", &join, exe.to_str().unwrap()], LEAK].concat();
            GoProc::start(Path::new("/bin/sh"), &args)
        },
        |_| cgroup.starve_of_memory(),
    );
}

/// A file system of this many bytes; unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(bytes: u32) -> Result<SmallDisk, String> {
        need_root()?;
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={bytes}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status()
            .map_err(|e| format!("mount cannot be started: {e}"))?;
        if mounted.success() { Ok(SmallDisk(dir)) } else { Err("tmpfs cannot be mounted".into()) }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_stops_the_recording_and_leaves_target_and_past_alone() {
    or_skip!(need_bpf());
    let disk = or_skip!(SmallDisk::mount(256 << 10));
    let exe = or_skip!(go_build(NEWEST_GO, "pingpong", Variant::Stripped));
    let (mut target, _) = GoProc::start_ready(&exe, &["-pairs", "4"]);
    let path = disk.0.path().join("full.loiter");
    let outside = tempfile::tempdir().unwrap();
    let pid = target.pid().to_string();
    let messages = outside.path().join("err");
    let status = command(&[
        "record",
        &pid,
        "-o",
        path.to_str().unwrap(),
        "--events",
        "all",
        "--budget",
        "off",
    ])
    .stdout(Stdio::null())
    .stderr(fs::File::create(&messages).unwrap())
    .status()
    .unwrap();
    let said = fs::read_to_string(&messages).unwrap();
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("has stopped") && said.contains("No space left"), "{said}");
    target.assert_alive();
    let (code, replayed, _) = report(&path, &[]);
    assert!(code == 0 || code == 1);
    let summary = lines(&replayed).pop().unwrap();
    assert_eq!(summary["process"]["pid"], target.pid());
    assert!(summary["watched_ns"].as_u64().unwrap() > 0);
    target.finish();
}

#[test]
fn moments_lives_and_differences_are_read_from_a_recording_alone() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "pool", Variant::Stripped));
    let (mut target, _) = GoProc::start_ready(&exe, &["-n", "50"]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pool.loiter");
    let mut recorder = Recorder::start(target.pid(), &path, &["--events", "all", "--for", "7s"]);
    recorder.wait_message("watching");
    target.ask("work 200", "worked");
    let own = run_json(&["dump", &target.pid().to_string(), "--format", "json"]);
    let (code, _) = recorder.end();
    assert_eq!(code, 0);
    // Another machine has neither the process nor its binary.
    target.finish();
    let file = path.to_str().unwrap();

    let dump = run_json(&["dump", file, "--format", "json"]);
    let count = |dump: &Value| dump["tasks"].as_array().unwrap().len();
    assert_eq!((count(&dump), &dump["schema"]), (count(&own), &own["schema"]));
    let sites = |dump: &Value| {
        let tasks = dump["tasks"].as_array().unwrap().iter();
        let mut all: Vec<String> = tasks.map(|t| t["wait_site"].to_string()).collect();
        all.sort();
        all
    };
    assert_eq!(sites(&dump), sites(&own));
    let full = run(&["dump", file, "--full"]);
    assert!(String::from_utf8_lossy(&full.stdout).contains("goroutine 1 ["));
    let then = run_json(&["dump", file, "--at", "+4s", "--format", "json"]);
    assert!(then["taken_at"].as_str().unwrap() < dump["taken_at"].as_str().unwrap());

    let some = dump["tasks"].as_array().unwrap().iter();
    let worker = some.clone().find(|t| t["wait_class"] == "chan-receive").expect("a worker");
    let life =
        run_json(&["report", file, "--task", &worker["id"].to_string(), "--format", "jsonl"]);
    let events = life["events"].as_array().unwrap();
    let has = |what: &str| events.iter().any(|e| e["event"] == what);
    assert!(has("seen") && has("ran") && has("parked"), "{life}");
    let missing = run(&["report", file, "--task", "99999999"]);
    assert_eq!(missing.status.code(), Some(3));

    let saved = dir.path().join("dump.json");
    fs::write(&saved, dump.to_string()).unwrap();
    let saved = saved.to_str().unwrap();
    let same = run_json(&["diff", saved, file, "--format", "json"]);
    assert_eq!(same["changes"].as_array().unwrap().len(), 0, "{same}");
    assert!(same["unchanged"].as_u64().unwrap() > 0);

    let overview = run_json(&["report", file, "--overview", "--format", "jsonl"]);
    assert_eq!(overview["schema"], "loiter.recording/1");
    assert_eq!(overview["end"]["how"], "closed");
    assert_eq!(overview["bytes"], fs::metadata(&path).unwrap().len());
    assert!(overview["sorts"]["event"]["inputs"].as_u64().unwrap() > 400, "{overview}");
}

#[test]
fn a_redacted_recording_holds_no_label_of_the_target() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "zoo", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &[]);
    let dir = tempfile::tempdir().unwrap();
    for (name, redact) in [("whole", &[][..]), ("redacted", &["--redact"][..])] {
        let path = dir.path().join(format!("{name}.loiter"));
        let args = [&["--events", "none", "--for", "3s"], redact].concat();
        let (code, _) = Recorder::start(target.pid(), &path, &args).end();
        assert!(code == 0 || code == 1);
        let mut labels = 0;
        let mut items = Recording::open(&path).unwrap().items();
        while let Some(item) = items.next_item().unwrap() {
            let Item::Inputs(inputs) = item else { panic!("a gap") };
            for input in inputs {
                if let Input::SnapshotTask(task) = input {
                    labels += task.labels.len();
                }
            }
        }
        assert_eq!(labels > 0, name == "whole", "{name}: {labels}");
    }
}
