//! Processes of a host as they start, end, and become others.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::loiter::Loiter;
use crate::common::{GoProc, NEWEST_GO, Variant, go_build, need_bpf, or_skip};
use crate::support::{Held, named, start, still, sums_up, watch_all, watches};

/// When a line was told, in seconds since the epoch.
fn told_at(line: &Value) -> f64 {
    let text = line["at"].as_str().expect("a moment");
    let at: jiff::Timestamp = text.parse().expect("RFC 3339");
    at.as_nanosecond() as f64 / 1e9
}

fn now() -> f64 {
    jiff::Timestamp::now().as_nanosecond() as f64 / 1e9
}

#[test]
fn short_lived_processes_are_left_alone_and_long_lived_ones_are_listed_soon_and_nothing_leaks() {
    or_skip!(need_bpf());
    // Nothing waits in it that a service would not wait for.
    let exe = or_skip!(go_build(NEWEST_GO, "httpd", Variant::Default));
    let dir = tempfile::tempdir().unwrap();
    let exe = named(&exe, dir.path(), "daemon-lives");
    let (short, long, over) = (300, 30, 60);
    let serve = || GoProc::start_ready(&exe, &[]).0;
    let mut loiter = watch_all("daemon-lives", &["--settle", "500ms"]);
    // The first process of a program costs what is kept of the program.
    let first = serve();
    let pid = first.pid();
    loiter.wait_line("the first is watched", |line| watches(line, pid));
    first.finish();
    loiter.wait_line("the first is summed up", |line| sums_up(line, pid));
    let before = Held::by(loiter.pid());

    let began = Instant::now();
    let pause = Duration::from_secs(over) / short;
    let mut lasting: Vec<(GoProc, f64)> = Vec::new();
    for n in 0..short {
        drop(serve());
        if n % (short / long) == 0 && lasting.len() < long as usize {
            let at = now();
            lasting.push((serve(), at));
        }
        let next = pause * (n + 1);
        std::thread::sleep(next.saturating_sub(began.elapsed()));
    }
    let mut late: f64 = 0.0;
    for (process, started) in &lasting {
        let pid = process.pid();
        let line = loiter.wait_line("a lasting process is watched", |line| watches(line, pid));
        late = late.max(told_at(&line) - started);
    }
    let with_all = Held::by(loiter.pid());
    let pids: Vec<u32> = lasting.iter().map(|(process, _)| process.pid()).collect();
    for (process, _) in lasting {
        process.finish();
    }
    for pid in pids {
        loiter.wait_line("an ended process is summed up", |line| sums_up(line, pid));
    }
    let after = Held::settles_to(loiter.pid(), &before);
    println!(
        "{short} short-lived and {long} long-lived in {over} s: listed after {late:.2} s at most; held before {before:?}, with all {with_all:?}, after {after:?}"
    );
    // Unoptimised, and on a machine that is busy with other tests, all takes longer.
    let most = if cfg!(debug_assertions) { 20.0 } else { 2.0 };
    assert!(late <= most, "{late}");
    assert!(after.fds <= before.fds && after.bpf <= before.bpf, "{before:?} {after:?}");
    assert!(after.rss_kib <= before.rss_kib + 24 * 1024, "{before:?} {after:?}");
    let (code, _, lines) = loiter.interrupt();
    let findings: Vec<_> = lines.iter().filter(|l| l["schema"] == "loiter.finding/1").collect();
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(code, 0);
}

#[test]
fn several_processes_are_watched_until_the_last_one_ends() {
    or_skip!(need_bpf());
    let exe = or_skip!(still());
    let (one, other) = (start(&exe, 10), start(&exe, 10));
    let pids = [one.pid(), other.pid()];
    let words = pids.map(|pid| pid.to_string());
    let mut loiter = Loiter::start(&["watch", &words[0], &words[1], "--format", "jsonl"]);
    for pid in pids {
        loiter.wait_line("it is watched", |line| watches(line, pid));
        loiter.wait_message(&format!("many[{pid}]: watching pid {pid}"));
    }
    one.finish();
    loiter.wait_line("the first is summed up", |line| sums_up(line, pids[0]));
    other.finish();
    let (code, summary, _) = loiter.end();
    assert_eq!((code, &summary["process"]["pid"]), (0, &Value::from(pids[1])));
    assert_eq!(summary["ended"], "the target exited");
}

#[test]
fn a_pid_that_is_not_there_is_told_and_the_others_are_watched() {
    or_skip!(need_bpf());
    let exe = or_skip!(still());
    let target = start(&exe, 10);
    let pid = target.pid();
    let mut loiter = Loiter::start(&["watch", &pid.to_string(), "4194000", "--format", "jsonl"]);
    loiter.wait_message("[4194000]: degraded: cannot be watched");
    loiter.wait_line("it is watched", |line| watches(line, pid));
    let (code, summary, _) = loiter.interrupt();
    assert_eq!((code, &summary["process"]["pid"]), (0, &Value::from(pid)));
}

#[test]
fn only_processes_that_pass_the_filter_are_watched() {
    or_skip!(need_bpf());
    let exe = or_skip!(still());
    let dir = tempfile::tempdir().unwrap();
    let wanted = named(&exe, dir.path(), "daemon-yes");
    let excluded = named(&exe, dir.path(), "daemon-not");
    let early = start(&excluded, 5);
    let mut loiter = watch_all("daemon-*", &["--exclude", "*-not", "--settle", "100ms"]);
    let late = start(&excluded, 5);
    let target = start(&wanted, 5);
    let pid = target.pid();
    loiter.wait_line("the wanted one is watched", |line| watches(line, pid));
    let (_, _, lines) = loiter.interrupt();
    for other in [early.pid(), late.pid()] {
        assert!(!lines.iter().any(|line| watches(line, other)), "{lines:?}");
    }
}

#[test]
fn a_process_that_becomes_another_program_is_watched_as_that() {
    or_skip!(need_bpf());
    let exe = or_skip!(still());
    let dir = tempfile::tempdir().unwrap();
    let first = named(&exe, dir.path(), "daemon-exec1");
    let second = named(&exe, dir.path(), "daemon-exec2");
    let mut loiter = watch_all("daemon-exec*", &["--settle", "100ms"]);
    // A shell is no Go program; what it becomes is one.
    let script = format!("read line; exec {} -n 5", second.display());
    let mut shell = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("there is a shell");
    let stays = start(&first, 5);
    let pid = stays.pid();
    loiter.wait_line("the one that stays is watched", |line| watches(line, pid));
    let mut stdin = shell.stdin.take().expect("it is piped");
    std::io::Write::write_all(&mut stdin, b"go\n").expect("the shell reads");
    let pid = shell.id();
    let line = loiter.wait_line("what the shell became is watched", |line| watches(line, pid));
    assert!(line["process"]["exe"].as_str().unwrap().ends_with("daemon-exec2"));
    drop(stdin);
    let _ended = shell.wait();
    loiter.wait_line("it is summed up", |line| sums_up(line, pid));
    let (code, _, _) = loiter.interrupt();
    assert_eq!(code, 0);
}

#[test]
fn those_beyond_the_most_are_told_and_get_room_when_another_ends() {
    or_skip!(need_bpf());
    let exe = or_skip!(still());
    let dir = tempfile::tempdir().unwrap();
    let exe = named(&exe, dir.path(), "daemon-room");
    let (one, other) = (start(&exe, 5), start(&exe, 5));
    let mut loiter = watch_all("daemon-room", &["--max-targets", "1", "--settle", "50ms"]);
    let pids = [one.pid(), other.pid()];
    let line = loiter.wait_line("one is watched", |line| line["schema"] == "loiter.watching/1");
    loiter.wait_message("1 process found no room");
    let first = u32::try_from(line["process"]["pid"].as_u64().unwrap()).unwrap();
    let second = pids[usize::from(first == pids[0])];
    let (ends, _stays) = if first == pids[0] { (one, other) } else { (other, one) };
    ends.finish();
    loiter.wait_line("the other gets its room", |line| watches(line, second));
    let (code, _, _) = loiter.interrupt();
    assert_eq!(code, 0);
}

#[test]
fn room_goes_past_those_that_ended_while_they_waited_to_one_that_lives() {
    or_skip!(need_bpf());
    let exe = or_skip!(still());
    let dir = tempfile::tempdir().unwrap();
    let exe = named(&exe, dir.path(), "daemon-wait");
    let first = start(&exe, 5);
    let pid = first.pid();
    let mut loiter = watch_all("daemon-wait", &["--max-targets", "1", "--settle", "50ms"]);
    loiter.wait_line("the first is watched", |line| watches(line, pid));
    let in_front: Vec<GoProc> = (0..3).map(|_| start(&exe, 5)).collect();
    loiter.wait_message("1 process found no room");
    let lives = start(&exe, 5);
    let pid = lives.pid();
    for process in in_front {
        process.finish();
    }
    first.finish();
    loiter.wait_line("the one that lives gets the room", |line| watches(line, pid));
    let (code, _, _) = loiter.interrupt();
    assert_eq!(code, 0);
}

/// What the issue asks for: at most a hundredth of a core for 20 programs at rest.
#[test]
#[ignore = "a measurement: of an optimised build, on a machine at rest"]
fn twenty_programs_at_rest_cost_little() {
    or_skip!(need_bpf());
    let exe = or_skip!(still());
    let dir = tempfile::tempdir().unwrap();
    let exe = named(&exe, dir.path(), "daemon-rest");
    let targets: Vec<GoProc> =
        (0..20).map(|_| GoProc::start_ready(&exe, &["-n", "100", "-tick", "1h"]).0).collect();
    let mut loiter = watch_all("daemon-rest", &[]);
    for target in &targets {
        let pid = target.pid();
        loiter.wait_line("it is watched", |line| watches(line, pid));
    }
    let used = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", loiter.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()
    };
    std::thread::sleep(Duration::from_secs(5));
    let (began, before) = (Instant::now(), used());
    std::thread::sleep(Duration::from_secs(60));
    let part = (used() - before) / 100.0 / began.elapsed().as_secs_f64();
    let held = Held::by(loiter.pid());
    println!("20 programs of 100 goroutines at rest: {:.2} % of a core, {held:?}", part * 100.0);
    assert!(cfg!(debug_assertions) || part <= 0.01, "{part}");
}
