//! Beside other programs: PID namespaces, and a tracer that is killed.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use loiter::base::{Nanos, Pid};
use loiter::kernel::{AttachTarget, Kernel, LoadSettings};
use loiter::stream::Mode;

use crate::common::{GoProc, or_skip};
use crate::support::{Tally, Tracer, alone, build, values};

/// Linux, `futex`.
const FUTEX: i32 = 202;

#[test]
fn inside_a_pid_namespace_threads_have_its_numbers() {
    let _alone = alone();
    or_skip!(crate::common::need_bpf());
    or_skip!(build("futexes"));
    let done = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "host::a_tracer_in_a_pid_namespace", "--nocapture"])
        .env("LOITER_TEST_NAMESPACE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.contains("1 passed"), "{said} {errors}");
}

/// Run by the test above in a namespace of its own.
#[test]
fn a_tracer_in_a_pid_namespace() {
    if std::env::var_os("LOITER_TEST_NAMESPACE").is_none() {
        return;
    }
    let binary = build("futexes").unwrap();
    let (mut process, _) = GoProc::start_ready(&binary, &[]);
    let mut tracer = Tracer::follow(&process, Mode::All, Duration::from_millis(20));
    let mut tally = Tally::default();
    let said = values(&process.ask("hold 60", "held"));
    let tid = u32::try_from(said["tid"]).unwrap();
    tracer.drain_until(&mut tally, |tally| tally.deaths.contains(&tid));
    let birth = tally.births.get(&tid).unwrap();
    assert_eq!(birth.parent, process.pid());
    assert_ne!(birth.header.tid, birth.parent, "the head has the host's numbers");
    let wait = tally.waits.iter().find(|wait| wait.tid == tid && wait.asleep.number == FUTEX);
    assert_eq!(i64::from(wait.unwrap().waker), said["waker"]);
    tracer.end(&mut tally);
    process.finish();
}

#[test]
fn a_killed_tracer_leaves_no_program_behind() {
    let _alone = alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(build("futexes"));
    let (mut process, _) = GoProc::start_ready(&binary, &[]);
    let mut tracer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "host::a_tracer_that_follows_and_waits", "--nocapture"])
        .env("LOITER_TEST_PID", process.pid().to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(tracer.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "follows"));
    let programs = programs_of(tracer.id());
    assert!(programs.len() >= 5, "{programs:?}");
    tracer.kill().unwrap();
    tracer.wait().unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while any_is_loaded(&programs) {
        assert!(Instant::now() < end, "programs of the killed tracer are still loaded");
        std::thread::sleep(Duration::from_millis(5));
    }
    process.ask("run 100", "ran");
    process.finish();
}

/// The tracer that the test above kills; not a test of its own.
#[test]
fn a_tracer_that_follows_and_waits() {
    let Some(pid) = std::env::var("LOITER_TEST_PID").ok().and_then(|pid| pid.parse().ok()) else {
        return;
    };
    let mut kernel = Kernel::load(&LoadSettings::default()).unwrap();
    let target = AttachTarget::executable(Pid(pid));
    kernel.attach_threads(&target, Mode::All, Nanos(1)).unwrap();
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nfollows").and_then(|()| out.flush()).unwrap();
    std::thread::sleep(Duration::from_secs(600));
}

/// Ids of the BPF programs a process holds.
fn programs_of(pid: u32) -> HashSet<u32> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    let info = entries.flatten().filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    info.filter_map(|text| {
        let id = text.lines().find_map(|line| line.strip_prefix("prog_id:"))?;
        id.trim().parse().ok()
    })
    .collect()
}

fn any_is_loaded(programs: &HashSet<u32>) -> bool {
    aya::programs::loaded_programs().flatten().any(|program| programs.contains(&program.id()))
}
