//! What the tests of many processes have in common.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::loiter::Loiter;
use crate::common::{GoProc, NEWEST_GO, Variant, copy_program, go_build};

/// A program that stands still: its goroutines wait for a command.
pub fn still() -> Result<PathBuf, String> {
    go_build(NEWEST_GO, "many", Variant::Default)
}

/// One of it, with so many goroutines, under a name of its own.
pub fn start(exe: &Path, goroutines: u32) -> GoProc {
    GoProc::start_ready(exe, &["-n", &goroutines.to_string()]).0
}

/// A copy of a program, so that it has another name.
pub fn named(exe: &Path, dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    copy_program(exe, &path);
    path
}

/// `watch --all` of programs with this name, until it says that it is ready.
pub fn watch_all(name: &str, args: &[&str]) -> Loiter {
    let mut all = vec!["watch", "--all", "--name", name, "--format", "jsonl"];
    all.extend(args);
    let mut loiter = Loiter::start(&all);
    loiter.wait_message("watching this host");
    loiter
}

/// Whether a line says that this process is watched.
pub fn watches(line: &Value, pid: u32) -> bool {
    line["schema"] == "loiter.watching/1" && line["process"]["pid"] == pid
}

/// Whether a line sums this process up.
pub fn sums_up(line: &Value, pid: u32) -> bool {
    line["schema"] == "loiter.summary/1" && line["process"]["pid"] == pid
}

/// What a tracer holds: descriptors by what they are, and resident memory in KiB.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// All descriptors.
    pub fds: usize,
    /// Links, programs and maps of BPF.
    pub bpf: usize,
    /// Handles of processes.
    pub pidfds: usize,
    /// Memory.
    pub rss_kib: u64,
}

impl Held {
    /// Of a process now.
    pub fn by(pid: u32) -> Held {
        let mut held = Held { fds: 0, bpf: 0, pidfds: 0, rss_kib: 0 };
        for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten() {
            let Ok(target) = std::fs::read_link(entry.path()) else { continue };
            let target = target.to_string_lossy();
            held.fds += 1;
            held.bpf += usize::from(target.contains("bpf"));
            held.pidfds += usize::from(target.contains("pidfd"));
        }
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        held.rss_kib = rss
            .and_then(|text| text.split_whitespace().next()?.parse().ok())
            .expect("it has memory");
        held
    }

    /// Waits until it holds no more descriptors than before.
    pub fn settles_to(pid: u32, before: &Held) -> Held {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let now = Held::by(pid);
            let fits =
                now.fds <= before.fds && now.bpf <= before.bpf && now.pidfds <= before.pidfds;
            if fits || Instant::now() > end {
                return now;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
